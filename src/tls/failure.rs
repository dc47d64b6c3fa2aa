//! Why TLS with a backend did not come about, in words for the log: what is wrong, and which setting would help.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error, OtherError};

/// What is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The backend's certificate is not what the settings ask for.
    Certificate,
    /// Anything else: no TLS is spoken there, nothing in common was found, or the backend refused us.
    Protocol,
}

/// Why there is no TLS with a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What is at fault.
    pub fault: Fault,
    /// For the log and the status page; never for clients.
    pub reason: String,
}

impl Failure {
    /// A failure that is none of the certificate.
    pub fn protocol(reason: impl Into<String>) -> Failure {
        Failure {
            fault: Fault::Protocol,
            reason: reason.into(),
        }
    }

    /// The same about a server that is no backend, and whose settings are in `table`.
    #[must_use]
    pub fn about_server(&self, table: &str) -> Failure {
        let reason = self.reason.replace("the backend", "the server");
        let reason = reason.replace("http:// backend", "http:// server");
        Failure {
            fault: self.fault,
            reason: reason.replace("upstream.tls", table),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Failure {
        match error {
            Error::InvalidCertificate(error) => Failure {
                fault: Fault::Certificate,
                reason: certificate(error),
            },
            Error::NoCertificatesPresented => Failure {
                fault: Fault::Certificate,
                reason: "the backend shows no certificate".to_owned(),
            },
            Error::InvalidMessage(_) => Failure::protocol(format!(
                "what the backend says is no TLS (is it an http:// backend?): {error}"
            )),
            Error::AlertReceived(alert) => Failure::protocol(refusal(*alert)),
            Error::PeerIncompatible(_) => Failure::protocol(format!(
                "the backend speaks neither TLS 1.2 nor 1.3 as it is spoken here: {error}"
            )),
            other => Failure::protocol(other.to_string()),
        }
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the backend's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the backend's certificate is not valid yet (is the clock right?)".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "the backend's certificate is signed by nobody who is trusted (name the authority with `ca` in [upstream.tls]; the \
             backend has to send certificates in between)"
                .to_owned()
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let names = if presented.is_empty() {
                "nobody by a name that counts".to_owned()
            } else {
                let names: Vec<&str> = presented.iter().map(|name| plain(name)).collect();
                names.join(", ")
            };
            format!(
                "the backend's certificate is not for {} but for {names} (set `server_name` in [upstream.tls] if that is right)",
                expected.to_str()
            )
        }
        CertificateError::BadSignature => {
            "the backend's certificate is not signed by whom it names".to_owned()
        }
        CertificateError::Other(OtherError(inner)) => {
            let text = inner.to_string();
            let hint = if text.contains("CaUsedAsEndEntity") {
                " (the backend shows the certificate of an authority as its own: have that one sign another)"
            } else {
                ""
            };
            format!("the backend's certificate cannot be used: {text}{hint}")
        }
        other => format!("the backend's certificate cannot be used: {other}"),
    }
}

/// A name as people write it, of one such as `DnsName("b.test")`.
fn plain(name: &str) -> &str {
    let inner = name.strip_suffix(')').and_then(|name| name.split_once('('));
    inner.map_or(name, |(_, inner)| inner.trim_matches('"'))
}

/// What a backend means by an alert (RFC 8446 section 6.2).
fn refusal(alert: AlertDescription) -> String {
    let hint = match alert {
        AlertDescription::CertificateRequired => {
            " (it wants to see a certificate: set `cert` and `key` in [upstream.tls])"
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied
        | AlertDescription::UnknownCA => " (it does not accept `cert` of [upstream.tls])",
        AlertDescription::UnrecognisedName => {
            " (it does not know that name: set `server_name` in [upstream.tls])"
        }
        AlertDescription::HandshakeFailure => {
            " (nothing in common, or it wants a certificate: `cert` and `key` in [upstream.tls])"
        }
        AlertDescription::ProtocolVersion => " (TLS 1.2 and 1.3 are spoken here)",
        AlertDescription::NoApplicationProtocol => " (http/1.1 is spoken here)",
        _ => "",
    };
    format!("the backend refuses TLS: {alert:?}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;

    #[test]
    fn reasons_say_what_to_set() {
        let expected = ServerName::try_from("a.test").unwrap();
        let wrong_name = |presented: &[&str]| {
            Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                expected: expected.clone(),
                presented: presented.iter().map(|name| (*name).to_owned()).collect(),
            })
        };
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for (error, fault, part) in [
            (
                wrong_name(&["DnsName(\"b.test\")", "c.test"]),
                Fault::Certificate,
                "b.test, c.test (set `server_name`",
            ),
            (
                wrong_name(&[]),
                Fault::Certificate,
                "not for a.test but for nobody",
            ),
            (unknown, Fault::Certificate, "name the authority with `ca`"),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                Fault::Protocol,
                "set `cert` and `key`",
            ),
            (
                Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
                Fault::Protocol,
                "is it an http:// backend?",
            ),
        ] {
            let failure = Failure::from(&error);
            assert_eq!(failure.fault, fault);
            assert!(failure.reason.contains(part), "{failure}");
            let other = failure.about_server("a.tls").reason;
            let is_ours = other.contains("backend") || other.contains("upstream");
            assert!(!is_ours && other.contains("server"), "{other}");
        }
    }
}
