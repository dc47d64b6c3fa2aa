//! How TLS is spoken with the backends of an upstream, and with a server that says who may pass. The certificates are here already, read with the configuration.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Serialize, Serializer};

use super::BackendAddress;

/// `[upstream.tls]`: for its `https://` backends. `[route.auth.forward.tls]` has the same for the server that is asked.
#[derive(Debug, Serialize, Clone, PartialEq, Eq, Default)]
pub struct UpstreamTls {
    /// Authorities that are trusted instead of the system's. Default the system's.
    pub ca: Option<CertificateList>,
    /// How much of a backend's certificate is verified. Default all.
    pub verify: Verify,
    /// The name asked for (SNI) and verified, or the address verified. Default the host of the backend's URL.
    pub server_name: Option<String>,
    /// Who this proxy is to backends that want to know. Default nobody.
    #[serde(rename = "cert")]
    pub identity: Option<Identity>,
}

impl UpstreamTls {
    /// What is done for the backend at `at`, in words; `None`: TLS is not spoken with it.
    pub fn describe(&self, at: &BackendAddress) -> Option<String> {
        let (host, _) = at.host_and_port().filter(|_| at.is_tls())?;
        let name = self.server_name.as_deref().unwrap_or(host);
        let how = match self.verify {
            Verify::Full => format!("verified as {name}"),
            Verify::Ca => "verified but for its name".to_owned(),
            Verify::None => "not verified".to_owned(),
        };
        let own = match &self.identity {
            Some(_) => ", with a certificate of our own",
            None => "",
        };
        Some(format!("over TLS, {how}{own}"))
    }
}

/// How much of a backend's certificate is verified.
#[derive(Debug, Serialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// `full`: its chain, its dates and its name.
    #[default]
    Full,
    /// `ca`: its chain and its dates; it may be for another name.
    Ca,
    /// `none`: nothing but that the backend has its key.
    None,
}

/// The certificates of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateList {
    /// Where they were read.
    pub path: PathBuf,
    /// In the order of the file; never empty.
    pub list: Vec<CertificateDer<'static>>,
}

/// A certificate with its chain, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate itself comes first.
    pub chain: CertificateList,
    /// Its debug form shows nothing of it.
    pub key: Arc<PrivateKeyDer<'static>>,
}

/// The path, and the begin of a SHA-256 over all of them: what a renewed file changes.
impl fmt::Display for CertificateList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<u8> = self
            .list
            .iter()
            .flat_map(|one| one.iter().copied())
            .collect();
        write!(f, "{} (sha256 ", self.path.display())?;
        for byte in digest(&SHA256, &all).as_ref().iter().take(6) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…)")
    }
}

impl Serialize for CertificateList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As its certificates: a key is not shown, and it fits one certificate only.
impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.chain.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::PrivatePkcs8KeyDer;

    #[test]
    fn what_is_done_is_said_in_words() {
        let host = "api.internal".to_owned();
        let at = BackendAddress::Tls { host, port: 443 };
        let mut tls = UpstreamTls::default();
        let said = |tls: &UpstreamTls| tls.describe(&at).unwrap();
        assert_eq!(said(&tls), "over TLS, verified as api.internal");
        tls.server_name = Some("other".to_owned());
        assert_eq!(said(&tls), "over TLS, verified as other");
        tls.verify = Verify::None;
        assert_eq!(said(&tls), "over TLS, not verified");
        assert_eq!(tls.describe(&BackendAddress::Unix("/a".into())), None);
    }

    #[test]
    fn a_key_is_shown_nowhere() {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(b"secret".to_vec()));
        let identity = Identity {
            chain: CertificateList {
                path: "c.pem".into(),
                list: vec![CertificateDer::from(b"public".to_vec())],
            },
            key: Arc::new(key),
        };
        let shown = format!("{identity:?}");
        assert!(shown.contains("elided"), "{shown}");
        let json = serde_json::to_string(&identity).unwrap();
        assert_eq!(json, "\"c.pem (sha256 efa1f375d761…)\"");
    }
}
