//! For tests only: makes tokens, good ones and others.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use ring::{hmac, signature};

use super::{Algorithm, Key};

/// Who can sign.
pub(crate) enum Signer {
    Hmac(Vec<u8>),
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    /// A new one; that for RSA is always the same.
    pub(crate) fn new(algorithm: Algorithm) -> Signer {
        let random = SystemRandom::new();
        match algorithm {
            Algorithm::Hs256 => Signer::Hmac(
                ring::rand::generate::<[u8; 32]>(&random)
                    .unwrap()
                    .expose()
                    .to_vec(),
            ),
            Algorithm::Rs256 => {
                let pkcs8 = include_bytes!("../../tests/fixtures/jwt/rsa.pk8");
                Signer::Rsa(Box::new(RsaKeyPair::from_pkcs8(pkcs8).unwrap()))
            }
            Algorithm::Es256 => {
                let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
                Signer::P256(EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random).unwrap())
            }
            Algorithm::EdDsa => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Signer::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
            }
        }
    }

    /// What checks its signatures.
    pub(crate) fn key(&self) -> Key {
        match self {
            Signer::Hmac(secret) => Key::hmac(secret),
            Signer::Rsa(pair) => {
                let public: signature::RsaPublicKeyComponents<Vec<u8>> = pair.public().into();
                Key::rsa(&public.n, &public.e)
            }
            Signer::P256(pair) => Key::p256(pair.public_key().as_ref()),
            Signer::Ed25519(pair) => Key::ed25519(pair.public_key().as_ref()),
        }
        .unwrap()
    }

    /// The same as a JWK, with `more` members.
    pub(crate) fn jwk(&self, more: &str) -> String {
        let of = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let members = match self {
            Signer::Hmac(secret) => format!(r#""kty":"oct","k":"{}""#, of(secret)),
            Signer::Rsa(pair) => {
                let public: signature::RsaPublicKeyComponents<Vec<u8>> = pair.public().into();
                format!(
                    r#""kty":"RSA","n":"{}","e":"{}""#,
                    of(&public.n),
                    of(&public.e)
                )
            }
            Signer::P256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (of(&point[1..33]), of(&point[33..]));
                format!(r#""kty":"EC","crv":"P-256","x":"{x}","y":"{y}""#)
            }
            Signer::Ed25519(pair) => {
                let point = of(pair.public_key().as_ref());
                format!(r#""kty":"OKP","crv":"Ed25519","x":"{point}""#)
            }
        };
        format!("{{{members}{more}}}")
    }

    /// A token of exactly these two texts.
    pub(crate) fn token(&self, header: &str, payload: &str) -> String {
        let signed = unsigned(header, payload);
        let signature = URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Signer::Hmac(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Signer::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Signer::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// Header and payload with the dot between them.
pub(crate) fn unsigned(header: &str, payload: &str) -> String {
    let (header, payload) = (
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload),
    );
    format!("{header}.{payload}")
}
