//! Authorities and the certificates that they sign, for servers and for clients.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use time::{Duration, OffsetDateTime};

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

/// A certificate and its key.
pub struct Leaf {
    /// PEM.
    pub cert: String,
    /// PEM.
    pub key: String,
    der: CertificateDer<'static>,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// For 90 days from an hour ago.
    Now,
    /// For this many days from an hour ago.
    Days(i64),
    /// Until yesterday.
    Past,
}

impl Authority {
    /// One with this common name.
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        Authority {
            pem: made.pem(),
            der: made.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Its own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for these names; the first one is its common name too.
    pub fn leaf(&self, names: &[&str], when: When) -> Leaf {
        let texts: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(texts).unwrap();
        params.distinguished_name.push(DnType::CommonName, names[0]);
        let now = OffsetDateTime::now_utc();
        let hour = Duration::hours(1);
        (params.not_before, params.not_after) = match when {
            When::Now => (now - hour, now + Duration::days(90)),
            When::Days(days) => (now - hour, now + Duration::days(days) + hour),
            When::Past => (now - Duration::days(30), now - Duration::days(1) - hour),
        };
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            cert: made.pem(),
            key: key.serialize_pem(),
            der: made.der().clone(),
        }
    }

    /// What a client offers that trusts this authority and no other.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(tollgate::tls::provider());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        Arc::new(builder.with_no_client_auth())
    }
}

impl Leaf {
    /// Writes `NAME.pem`, then `NAME.key`.
    pub fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.pem")), &self.cert).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), &self.key).unwrap();
    }

    /// As everybody prints it.
    pub fn fingerprint(&self) -> String {
        tollgate::tls::fingerprint(&self.der)
    }
}
