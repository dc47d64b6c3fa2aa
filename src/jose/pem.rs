//! Reads public keys in PEM form: `PUBLIC KEY` (RFC 7468 section 13), one or several, or one `CERTIFICATE`.
//!
//! The kind of a key says which algorithm it is for. A certificate only carries a key here: whether it has expired, and who has
//! signed it, is not looked at.

use rustls_pki_types::pem::{PemObject, SectionKind};
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::key::{Key, KeySet};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// Most keys in one file.
const MOST_KEYS: usize = 16;

/// The keys of the PEM `text`.
///
/// # Errors
/// A sentence for people that quotes nothing of the file.
pub fn parse(text: &[u8]) -> Result<KeySet, String> {
    let mut set = KeySet::default();
    let mut certificates = 0;
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        let (kind, der) = section.map_err(|_| "is not well-formed PEM")?;
        let key = match kind {
            SectionKind::PublicKey => public_key(&der)?,
            SectionKind::Certificate => {
                certificates += 1;
                let certificate = Certificate::from_der(&der)
                    .map_err(|_| "has a certificate that cannot be read")?;
                let info = certificate.tbs_certificate().subject_public_key_info();
                public_key(&info.to_der().map_err(|_| UNREADABLE)?)?
            }
            SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey => {
                return Err("holds a private key; only its public part belongs here".into());
            }
            _ => continue,
        };
        set.keys.push(key);
        if set.keys.len() > MOST_KEYS {
            return Err(format!("has more than {MOST_KEYS} keys"));
        }
    }
    // Behind a certificate comes the one of who has signed it, and that one's key signs no tokens.
    if certificates > 0 && set.keys.len() > 1 {
        return Err(
            "has a certificate and something else; one certificate alone, or public keys".into(),
        );
    }
    if set.keys.is_empty() {
        return Err("has no public key in PEM form (\"-----BEGIN PUBLIC KEY-----\")".into());
    }
    Ok(set)
}

const UNREADABLE: &str = "has a public key that cannot be read";

/// Reads a SubjectPublicKeyInfo.
fn public_key(der: &[u8]) -> Result<Key, String> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| UNREADABLE)?;
    let bits = info.subject_public_key.as_bytes().ok_or(UNREADABLE)?;
    let (kind, curve) = (info.algorithm.oid, info.algorithm.parameters);
    let key = if kind == RSA {
        let (modulus, exponent) = rsa(bits).ok_or(UNREADABLE)?;
        Key::rsa(&modulus, &exponent)
    } else if kind == ED25519 {
        Key::ed25519(bits)
    } else if kind == EC {
        let curve = curve.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
        if curve != Some(P256) {
            return Err("has an elliptic key of another curve than P-256".into());
        }
        Key::p256(bits)
    } else {
        return Err("has a key that is not RSA, P-256 or Ed25519".into());
    };
    key.map_err(|bad| format!("has a key that cannot be used: {bad}"))
}

/// Modulus and exponent of an RSAPublicKey (RFC 8017 appendix A.1.1).
fn rsa(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut reader = SliceReader::new(der).ok()?;
    let numbers = reader.sequence(|inner| {
        let modulus = UintRef::decode(inner)?.as_bytes().to_vec();
        let exponent = UintRef::decode(inner)?.as_bytes().to_vec();
        Ok::<_, x509_cert::der::Error>((modulus, exponent))
    });
    let numbers = numbers.ok()?;
    reader.is_finished().then_some(numbers)
}
