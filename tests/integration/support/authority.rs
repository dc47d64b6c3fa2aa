//! Certificates for tests, all signed by authorities of their own, in a folder that goes with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// Somebody who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    folder: TempDir,
}

/// A certificate, its key, and where both are.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate in PEM.
    pub cert: PathBuf,
    /// Its key in PEM.
    pub key: PathBuf,
}

impl Authority {
    /// With a key of its own.
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Who issues and who is issued may not have the same name: OpenSSL takes that for signed by itself.
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), &pem).unwrap();
        Authority {
            issuer: Issuer::new(params, key),
            pem,
            folder,
        }
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Where its certificate is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The line of an upstream that trusts it.
    pub fn trust(&self) -> String {
        format!("tls.ca = \"{}\"", self.path().display())
    }

    /// A file beside it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// For a server with these names and addresses.
    pub fn server(&self, names: &[&str]) -> Issued {
        self.issue("server", names, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
    }

    /// The same, too old.
    pub fn expired(&self, names: &[&str]) -> Issued {
        self.issue("expired", names, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    /// For a client.
    pub fn client(&self) -> Issued {
        self.issue("client", &["tollgate"], |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    fn issue(
        &self,
        file: &str,
        names: &[&str],
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let file = format!("{file}-{}", names.join("-"));
        let mut params = CertificateParams::new(names).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, file.as_str());
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let issued = Issued {
            cert: self.file(&format!("{file}.pem")),
            key: self.file(&format!("{file}.key")),
        };
        fs::write(&issued.cert, cert.pem()).unwrap();
        fs::write(&issued.key, key.serialize_pem()).unwrap();
        issued
    }

    /// Those whom somebody trusts who trusts this one.
    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(chain(&self.path()));
        Arc::new(roots)
    }
}

impl Issued {
    /// The certificate.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        chain(&self.cert)
    }

    /// The key.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(&self.key).unwrap()
    }
}

fn chain(path: &Path) -> Vec<CertificateDer<'static>> {
    let all = CertificateDer::pem_file_iter(path).unwrap();
    all.map(Result::unwrap).collect()
}
