//! A key that says whether a signature is good: with exactly one algorithm, which is a property of the key and never of a token.
//!
//! Reads no files (see [`super::jwks`] and [`super::pem`]) and no tokens. The cryptography is that of `ring`.

use std::fmt;

use ring::{agreement, hmac, rand, signature};
use serde::Serialize;

/// Shortest HS256 secret in bytes: as long as the hash (RFC 7518 section 3.2).
pub const SHORTEST_SECRET: usize = 32;
/// Longest HS256 secret in bytes.
const LONGEST_SECRET: usize = 4096;
/// Bits of an RSA modulus that are accepted.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Bytes of the longest RSA exponent that `ring` takes (33 bits).
const LONGEST_EXPONENT: usize = 5;

/// How a token is signed (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Algorithm {
    /// HMAC with SHA-256: who can check a token can make one.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA over P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// EdDSA over Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 4] = [
        Algorithm::Hs256,
        Algorithm::Rs256,
        Algorithm::Es256,
        Algorithm::EdDsa,
    ];

    /// The name in `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// The algorithm with exactly this name; names differ in case.
    pub fn of(name: &str) -> Option<Algorithm> {
        let mut all = Algorithm::ALL.into_iter();
        all.find(|algorithm| algorithm.name() == name)
    }
}

/// A key.
#[derive(Clone)]
pub struct Key {
    id: Option<String>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Hmac(hmac::Key),
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadKey(pub &'static str);

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Key {
    /// An HS256 key.
    ///
    /// # Errors
    /// It has less than 32 or more than 4096 bytes.
    pub fn hmac(secret: &[u8]) -> Result<Key, BadKey> {
        if secret.len() < SHORTEST_SECRET {
            return Err(BadKey("a secret for HS256 has at least 32 bytes"));
        }
        if secret.len() > LONGEST_SECRET {
            return Err(BadKey("a secret for HS256 has at most 4096 bytes"));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Ok(Key::with(Material::Hmac(key)))
    }

    /// An RS256 key of big-endian numbers; zeros in front count for nothing.
    ///
    /// # Errors
    /// The modulus has less than 2048 or more than 8192 bits, or one of the numbers is no part of an RSA key.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Key, BadKey> {
        let (modulus, exponent) = (significant(modulus), significant(exponent));
        let first = modulus.first().map_or(0, |byte| byte.leading_zeros());
        let bits = (modulus.len() * 8).saturating_sub(first as usize);
        if !RSA_BITS.contains(&bits) {
            return Err(BadKey("an RSA key has 2048 to 8192 bits"));
        }
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
        if !is_odd(modulus) {
            return Err(BadKey("no RSA key has an even modulus"));
        }
        let is_exponent = is_odd(exponent) && exponent != [1] && exponent.len() <= LONGEST_EXPONENT;
        if !is_exponent {
            return Err(BadKey(
                "the exponent of an RSA key is odd, at least 3, and has at most 33 bits",
            ));
        }
        let (modulus, exponent) = (modulus.to_vec(), exponent.to_vec());
        Ok(Key::with(Material::Rsa { modulus, exponent }))
    }

    /// An ES256 key: an uncompressed point of P-256, `04 x y`.
    ///
    /// # Errors
    /// There is no such point.
    pub fn p256(point: &[u8]) -> Result<Key, BadKey> {
        if point.len() != 65 || point.first() != Some(&4) || !is_on_curve(point) {
            return Err(BadKey("not a point of the curve P-256"));
        }
        Ok(Key::with(Material::P256(point.to_vec())))
    }

    /// An EdDSA key.
    ///
    /// # Errors
    /// It has not 32 bytes.
    pub fn ed25519(point: &[u8]) -> Result<Key, BadKey> {
        if point.len() != 32 {
            return Err(BadKey("an Ed25519 key has 32 bytes"));
        }
        Ok(Key::with(Material::Ed25519(point.to_vec())))
    }

    fn with(material: Material) -> Key {
        Key { id: None, material }
    }

    /// The same key with an id (`kid`).
    #[must_use]
    pub fn named(self, id: Option<String>) -> Key {
        Key { id, ..self }
    }

    /// Its id (`kid`).
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What it checks, and nothing else.
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Hmac(_) => Algorithm::Hs256,
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Whether `signature` is this key's for `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.material {
            Material::Hmac(key) => hmac::verify(key, message, signature),
            Material::Rsa { modulus, exponent } => signature::RsaPublicKeyComponents {
                n: modulus,
                e: exponent,
            }
            .verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature),
            Material::P256(point) => {
                signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
            }
            Material::Ed25519(point) => {
                signature::UnparsedPublicKey::new(&signature::ED25519, point)
                    .verify(message, signature)
            }
        };
        verified.is_ok()
    }
}

/// Nothing of the key itself.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.algorithm().name())
    }
}

/// A number without zeros in front.
fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// `ring` judges points when it computes with them, and signatures are no computation that could say why it failed; so a
/// throw-away key agreement is asked.
fn is_on_curve(point: &[u8]) -> bool {
    let curve = &agreement::ECDH_P256;
    let random = rand::SystemRandom::new();
    let Ok(key) = agreement::EphemeralPrivateKey::generate(curve, &random) else {
        return false;
    };
    let peer = agreement::UnparsedPublicKey::new(curve, point);
    agreement::agree_ephemeral(key, &peer, |_| ()).is_ok()
}

/// Keys among which a token's key is.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    /// In the order in which they are tried.
    pub keys: Vec<Key>,
    /// For people: the keys of the file that are not used, and why.
    pub ignored: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_too_weak_or_none_are_refused() {
        assert!(Key::hmac(&[7; 31]).is_err());
        assert!(Key::hmac(&[7; 32]).is_ok());
        assert!(Key::hmac(&[7; 4097]).is_err());
        assert!(Key::rsa(&[0xff; 256], &[1, 0, 1]).is_ok());
        assert!(Key::rsa(&[&[0, 0][..], &[0xff; 256]].concat(), &[0, 3]).is_ok());
        assert!(Key::rsa(&[&[0x7f][..], &[0xff; 255]].concat(), &[3]).is_err());
        assert!(Key::rsa(&[0xff; 1024], &[3]).is_ok());
        assert!(Key::rsa(&[0xff; 1025], &[3]).is_err());
        assert!(Key::rsa(&[0xfe; 256], &[3]).is_err());
        for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0, 0, 0, 1]] {
            assert!(Key::rsa(&[0xff; 256], exponent).is_err(), "{exponent:?}");
        }
        assert!(Key::p256(&[4; 65]).is_err());
        assert!(Key::p256(&[4; 64]).is_err());
        assert!(Key::ed25519(&[4; 33]).is_err());
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let key = Key::hmac(b"abcdefghijklmnopqrstuvwxyz0123456789").unwrap();
        assert_eq!(format!("{key:?}"), "Key(HS256)");
    }

    #[test]
    fn names_of_algorithms_are_exact() {
        assert_eq!(Algorithm::of("RS256"), Some(Algorithm::Rs256));
        for name in [
            "none", "None", "nOnE", "", "rs256", "RS256 ", "HS512", "PS256", "ES256K",
        ] {
            assert_eq!(Algorithm::of(name), None, "{name}");
        }
    }
}
