//! A certificate with the key that belongs to it, ready to be shown, and what people want to know of it.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::certificate::{self, Contents, fingerprint};
use super::{Fault, pem, provider};

/// Certificates between one of a server and its authority are few.
const LONGEST_CHAIN: usize = 20;

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) contents: Contents,
    pub(super) fingerprint: String,
    /// Odd, but it can be used: the order of the chain.
    pub(super) oddity: Option<String>,
}

impl Pair {
    /// Out of the bytes of both files.
    pub(super) fn parse(cert: (&Path, &[u8]), key: (&Path, &[u8])) -> Result<Pair, Fault> {
        let chain = pem::certificates(cert.0, cert.1)?;
        Pair::new(chain, pem::key(key.0, key.1)?, cert.0, key.0)
    }

    /// `cert` and `key` are where they come from.
    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        private: PrivateKeyDer<'static>,
        cert: &Path,
        key: &Path,
    ) -> Result<Pair, Fault> {
        let Some(contents) = chain.first().and_then(certificate::contents) else {
            return Err(Fault::of(
                cert,
                "what is in it is not a certificate (X.509)",
            ));
        };
        if chain.len() > LONGEST_CHAIN {
            let what = format!(
                "has {} certificates, the limit is {LONGEST_CHAIN}",
                chain.len()
            );
            return Err(Fault::of(cert, what));
        }
        let fingerprint = chain.first().map(fingerprint).unwrap_or_default();
        let signer = provider().key_provider.load_private_key(private);
        let signer = signer.map_err(|_| {
            Fault::of(key, "the key cannot be used: it must be RSA (2048 to 8192 bits), ECDSA (P-256 or P-384) or Ed25519")
        })?;
        let oddity = oddity(cert, &chain, &contents);
        let certified = CertifiedKey::new(chain, signer);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => (),
            Err(Error::InconsistentKeys(_)) => return Err(mismatch(cert, key, &certified)),
            Err(error) => {
                return Err(Fault::of(
                    cert,
                    format!("the certificate cannot be used: {error}"),
                ));
            }
        }
        Ok(Pair {
            key: Arc::new(certified),
            contents,
            fingerprint,
            oddity,
        })
    }

    /// The first of [`Pair::names`], and how many more there are.
    pub(super) fn title(&self) -> String {
        const SHOWN: usize = 5;
        let names = self.names();
        let first: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
        let more = names.len().saturating_sub(SHOWN);
        match more {
            0 => first.join(", "),
            more => format!("{} and {more} more", first.join(", ")),
        }
    }

    /// Host names and addresses; without any, the subject.
    pub(super) fn names(&self) -> Vec<String> {
        let addresses = self.contents.addresses.iter().map(ToString::to_string);
        let mut names: Vec<String> = self.contents.hosts.clone();
        names.extend(addresses);
        if names.is_empty() {
            names.extend(self.contents.subject.clone());
        }
        names
    }
}

fn mismatch(cert: &Path, key: &Path, certified: &CertifiedKey) -> Fault {
    let fits_another = certified.cert.iter().skip(1).any(|other| {
        CertifiedKey::new(vec![other.clone()], Arc::clone(&certified.key))
            .keys_match()
            .is_ok()
    });
    let what = match fits_another {
        true => format!(
            "the certificate of the server must be the first one: {} belongs to a later one",
            key.display()
        ),
        false => format!(
            "the key in {} does not belong to this certificate",
            key.display()
        ),
    };
    Fault::of(cert, what)
}

/// Each certificate should be signed by the next one.
fn oddity(cert: &Path, chain: &[CertificateDer<'static>], first: &Contents) -> Option<String> {
    let mut issuer = first.issuer.clone();
    for (number, next) in chain.iter().enumerate().skip(1) {
        let next = certificate::contents(next);
        let subject = next.as_ref().and_then(|next| next.subject.clone());
        if subject.is_none() || subject != issuer {
            return Some(format!(
                "{}: certificate {} of the file has not signed the one before it: some clients will not trust this chain",
                cert.display(),
                number + 1
            ));
        }
        issuer = next.and_then(|next| next.issuer);
    }
    None
}
