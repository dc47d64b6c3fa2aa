//! What people want to know of a certificate: its names, its subject, until when it is valid, its fingerprint.
//!
//! Judges nothing: rustls does that where certificates of others are concerned.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Longer subjects are as good as none: they would fill the head of a request.
const LONGEST_SUBJECT: usize = 2048;

/// From when until when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not before this.
    pub from: SystemTime,
    /// Not after this.
    pub until: SystemTime,
}

impl Validity {
    /// How long it is still valid. None: it is not any more.
    pub fn left(&self, now: SystemTime) -> Option<Duration> {
        self.until.duration_since(now).ok()
    }

    /// When it begins, as in `2026-01-01T00:00:00Z`.
    pub fn from_text(&self) -> String {
        moment(self.from)
    }

    /// When it ends.
    pub fn until_text(&self) -> String {
        moment(self.until)
    }

    /// Whole days that it is still valid; negative: days since it was.
    pub fn days_left(&self, now: SystemTime) -> i64 {
        let days = |time: Duration| i64::try_from(time.as_secs() / 86_400).unwrap_or(i64::MAX);
        match self.until.duration_since(now) {
            Ok(left) => days(left),
            Err(past) => -days(past.duration()).saturating_add(1),
        }
    }
}

fn moment(time: SystemTime) -> String {
    let text = OffsetDateTime::from(time).format(&Rfc3339);
    text.unwrap_or_else(|_| "a time beyond all calendars".to_owned())
}

/// What is read out of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    /// Host names of the subject alternative names, in lower case.
    pub(super) hosts: Vec<String>,
    /// The addresses among them.
    pub(super) addresses: Vec<IpAddr>,
    /// As in [`subject`].
    pub(super) subject: Option<String>,
    /// The same of who has signed it.
    pub(super) issuer: Option<String>,
    pub(super) validity: Validity,
}

/// None: it is not a certificate, or one that does not keep to RFC 5280.
pub(super) fn contents(certificate: &CertificateDer<'_>) -> Option<Contents> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let fields = certificate.tbs_certificate();
    let names = fields.get_extension::<SubjectAltName>().ok()?;
    let names = names.map(|(_, names)| names.0).unwrap_or_default();
    let mut contents = Contents {
        hosts: Vec::new(),
        addresses: Vec::new(),
        subject: readable(&fields.subject().to_string()),
        issuer: readable(&fields.issuer().to_string()),
        validity: Validity {
            from: fields.validity().not_before.to_system_time(),
            until: fields.validity().not_after.to_system_time(),
        },
    };
    for name in &names {
        match name {
            // Nobody can ask for a name that is not visible, and it would spoil a line of the log.
            GeneralName::DnsName(host)
                if host.as_str().bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                contents.hosts.push(host.as_str().to_ascii_lowercase());
            }
            GeneralName::IpAddress(bytes) => contents.addresses.extend(address(bytes.as_bytes())),
            _ => (),
        }
    }
    Some(contents)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let sixteen = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    four.or(sixteen).ok()
}

/// The subject as text (RFC 4514), as in `CN=alice,O=Example`: visible ASCII and spaces only, everything else is escaped. None:
/// there is none, or it is longer than 2 KiB.
pub fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    readable(&certificate.tbs_certificate().subject().to_string())
}

/// Bytes that a field value should not have become pairs of hexadecimal digits (RFC 4514 section 2.4).
fn readable(name: &str) -> Option<String> {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b' '..=b'~' => text.push(char::from(byte)),
            // Writing to a text cannot fail.
            other => drop(write!(text, "\\{other:02X}")),
        }
    }
    (1..=LONGEST_SUBJECT).contains(&text.len()).then_some(text)
}

/// SHA-256 of the whole certificate as `openssl x509 -fingerprint -sha256` prints it: `AB:CD:…`.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    let pairs = digest.as_ref().iter().map(|byte| format!("{byte:02X}"));
    pairs.collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

    fn certificate(
        names: &[&str],
        change: impl Fn(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn names_and_times() {
        let made = certificate(
            &["A.Example", "*.b.example", "127.0.0.1", "::1"],
            |params| {
                params.not_before = rcgen::date_time_ymd(2026, 1, 1);
                params.not_after = rcgen::date_time_ymd(2026, 3, 1);
            },
        );
        let contents = contents(&made).unwrap();
        assert_eq!(contents.hosts, ["a.example", "*.b.example"]);
        let addresses: Vec<String> = contents.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["127.0.0.1", "::1"]);
        let validity = contents.validity;
        let at = |days: u64| validity.from + Duration::from_secs(days * 86_400);
        assert_eq!(validity.days_left(at(0)), 59);
        assert_eq!(validity.days_left(at(58) + Duration::from_secs(1)), 0);
        assert_eq!(validity.days_left(at(59) + Duration::from_secs(1)), -1);
        assert_eq!(validity.days_left(at(60)), -2);
        assert!(validity.left(at(59)).is_some() && validity.left(at(60)).is_none());
    }

    #[test]
    fn a_subject_cannot_break_a_header() {
        let of = |name: &str| {
            let made = certificate(&[], |params| {
                params.distinguished_name = rcgen::DistinguishedName::new();
                let organization = DnValue::Utf8String("Example, Inc".to_owned());
                params
                    .distinguished_name
                    .push(DnType::OrganizationName, organization);
                let name = DnValue::Utf8String(name.to_owned());
                params.distinguished_name.push(DnType::CommonName, name);
            });
            subject(&made)
        };
        assert_eq!(of("alice").unwrap(), "CN=alice,O=Example\\, Inc");
        assert_eq!(
            of("a\r\nX-Admin: 1").unwrap(),
            "CN=a\\0d\\0aX-Admin: 1,O=Example\\, Inc"
        );
        assert_eq!(
            of("J\u{f6}rg\u{85}\0").unwrap(),
            "CN=J\\C3\\B6rg\\C2\\85\\00,O=Example\\, Inc"
        );
        assert_eq!(
            of("#a+b=\"c\" ").unwrap(),
            "CN=\\#a\\+b=\\\"c\\\"\\ ,O=Example\\, Inc"
        );
        assert_eq!(of(&"x".repeat(3000)), None);
    }

    #[test]
    fn a_fingerprint_has_32_pairs() {
        let text = fingerprint(&certificate(&["a"], |_| ()));
        assert_eq!(text.split(':').count(), 32);
        assert!(
            text.bytes()
                .all(|b| b == b':' || b.is_ascii_digit() || b.is_ascii_uppercase())
        );
    }

    #[test]
    fn rubbish_is_no_certificate() {
        let rubbish = CertificateDer::from(vec![0x30, 0x82, 0xff, 0xff, 1]);
        assert_eq!(contents(&rubbish), None);
        assert_eq!(subject(&rubbish), None);
    }
}
