//! Certificates that nobody has signed but their own key: for development, where clients are told to trust them.

use std::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use time::OffsetDateTime;

use super::Fault;

/// How long one that is made at the start is valid.
pub(super) const VALID_DAYS: u32 = 90;
/// Clocks of clients may be a little slow.
const EARLIER: Duration = Duration::from_secs(3600);

/// A new certificate with its key, ECDSA with P-256.
pub struct SelfSigned {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl SelfSigned {
    /// For these host names and addresses.
    ///
    /// # Errors
    /// When one of them is neither, or the time is beyond all calendars.
    pub fn new(names: &[String], days: u32) -> Result<SelfSigned, Fault> {
        let failed =
            |error: rcgen::Error| Fault::general(format!("no certificate can be made: {error}"));
        if let Some(bad) = names.iter().find(|name| !is_name(name)) {
            let bad = bad.escape_debug();
            return Err(Fault::general(format!(
                "\"{bad}\" is neither a host name, such as www.example.com or *.example.com, nor an address"
            )));
        }
        let mut params = CertificateParams::new(names).map_err(failed)?;
        let now = OffsetDateTime::now_utc();
        let until = now.checked_add(
            Duration::from_secs(u64::from(days) * 86_400)
                .try_into()
                .unwrap_or_default(),
        );
        params.not_before = now
            .checked_sub(EARLIER.try_into().unwrap_or_default())
            .unwrap_or(now);
        params.not_after = until.ok_or_else(|| Fault::general("that is too many days"))?;
        params.distinguished_name = DistinguishedName::new();
        let name = names.first().map_or("tollgate", String::as_str);
        // A common name has at most 64 characters (RFC 5280, appendix A); clients look at the other names.
        let name: String = name.chars().take(64).collect();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(SelfSigned { certificate, key })
    }

    /// The certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// The certificate as PEM.
    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// The private key as PEM (PKCS #8).
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

/// Whether a certificate can be for it: a host name, all that are one label below a name, or an address.
fn is_name(name: &str) -> bool {
    let below = name.strip_prefix("*.");
    match ServerName::try_from(below.unwrap_or(name)) {
        Ok(ServerName::DnsName(_)) => true,
        Ok(_) => below.is_none(),
        Err(_) => false,
    }
}

/// The name of this machine, where it is one that a certificate can have.
pub(super) fn machine() -> Option<String> {
    let name = rustix::system::uname()
        .nodename()
        .to_str()
        .ok()?
        .to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    (name.len() <= 253 && name.split('.').all(is_label) && is_name(&name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_certificate_can_be_for_is_named() {
        let make = |name: &str| SelfSigned::new(&["localhost".to_owned(), name.to_owned()], 1);
        for good in [
            "*.example.com",
            "A-1.test",
            "under_score",
            "::1",
            "10.0.0.1",
        ] {
            assert!(make(good).is_ok(), "{good}");
        }
        for bad in [
            "a b",
            "",
            "*.10.0.0.1",
            "a.*.b",
            "http://a",
            "a:1",
            "é",
            "*",
        ] {
            let told = make(bad).err().unwrap().to_string();
            assert!(told.contains(&format!("\"{bad}\" is neither")), "{told}");
        }
    }
}
