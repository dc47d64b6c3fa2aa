//! `[route.auth]`: who is let in, by what they show. Keys are kept as their SHA-256 only, and nothing here shows one.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};
use subtle::ConstantTimeEq;

use super::super::secret::fingerprint;
use super::password::PasswordHash;
use super::{Config, ForwardAuth, Jwt};

/// `[route.auth]`. At least one of the ways to be let in is there; any of them will do.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct Auth {
    /// What challenges call the place (RFC 9110 section 11.5). Default `tollgate`.
    pub realm: String,
    /// Whether what credentials come in is kept from backends. Default true.
    pub strip_credentials: bool,
    /// The field that tells backends who it is; from clients it is never passed on. Default none.
    pub user_header: Option<String>,
    /// `api_keys`.
    pub api_keys: Option<ApiKeys>,
    /// `bearer`.
    pub bearer: Option<Bearer>,
    /// `jwt`.
    pub jwt: Option<Jwt>,
    /// `forward`.
    pub forward: Option<ForwardAuth>,
    /// `basic`.
    pub basic: Option<Basic>,
}

impl Auth {
    /// The parameter of a query in which a secret may come.
    pub fn secret_parameter(&self) -> Option<&str> {
        self.api_keys.as_ref()?.query.as_deref()
    }

    /// Fields of a request in which credentials come.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        let keys = self.api_keys.as_ref();
        let key = keys.and_then(|keys| keys.header.as_deref());
        let token = self.jwt.as_ref().map(|jwt| jwt.header.as_str());
        let is_authorization = self.bearer.is_some() || self.basic.is_some();
        key.into_iter()
            .chain(token)
            .chain(is_authorization.then_some("Authorization"))
    }

    /// Files whose content is part of this.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let signing = self.jwt.iter().flat_map(|jwt| &jwt.keys.files);
        self.lists().chain(signing)
    }

    /// Those of `name:value` lines among them.
    pub fn lists(&self) -> impl Iterator<Item = &PathBuf> {
        let keys = self.api_keys.as_ref().and_then(|keys| keys.file.as_ref());
        let tokens = self.bearer.as_ref().and_then(|tokens| tokens.file.as_ref());
        let users = self.basic.as_ref().and_then(|users| users.file.as_ref());
        let users = users.map(|file| &file.path);
        let digests = keys.into_iter().chain(tokens);
        digests.map(|file| &file.path).chain(users)
    }
}

impl Config {
    /// Parameters of a query whose values are nobody's business, on whichever route they come.
    pub fn secret_parameters(&self) -> Vec<String> {
        let auths = self.routes.iter().filter_map(|route| route.auth.as_ref());
        let secret = auths.filter_map(|auth| auth.secret_parameter());
        let mut secret: Vec<String> = secret.map(str::to_owned).collect();
        secret.sort_unstable();
        secret.dedup();
        secret
    }
}

/// `api_keys`.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct ApiKeys {
    /// The field that a key comes in. Default `X-API-Key`, unless there is `query`.
    pub header: Option<String>,
    /// The parameter of the query that a key comes in. Default none.
    pub query: Option<String>,
    /// Those of the configuration itself.
    pub keys: Vec<NamedDigest>,
    /// Those of a file.
    pub file: Option<CredentialFile<NamedDigest>>,
}

impl ApiKeys {
    /// All keys.
    pub fn all(&self) -> impl Iterator<Item = &NamedDigest> {
        self.keys.iter().chain(of_file(self.file.as_ref()))
    }
}

/// `bearer`: tokens that are compared as a whole (RFC 6750).
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// Those of the configuration itself.
    pub tokens: Vec<NamedDigest>,
    /// Those of a file.
    pub file: Option<CredentialFile<NamedDigest>>,
}

impl Bearer {
    /// All tokens.
    pub fn all(&self) -> impl Iterator<Item = &NamedDigest> {
        self.tokens.iter().chain(of_file(self.file.as_ref()))
    }
}

/// `basic`: users and passwords (RFC 7617).
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct Basic {
    /// Those of the configuration itself.
    pub users: Vec<NamedHash>,
    /// Those of a file.
    pub file: Option<CredentialFile<NamedHash>>,
}

impl Basic {
    /// All users with the hashes of their passwords; each name is there once.
    pub fn all(&self) -> impl Iterator<Item = (&Arc<str>, &PasswordHash)> {
        let all = self.users.iter().chain(of_file(self.file.as_ref()));
        all.map(|user| (&user.name, &user.hash))
    }
}

/// A user, and the hash of the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedHash {
    /// Who it is.
    pub name: Arc<str>,
    /// Of the password.
    pub hash: PasswordHash,
}

/// The name, and whether the hash is another one.
impl Serialize for NamedHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = String::from_utf8_lossy(self.hash.bytes());
        hidden(&self.name, &text, serializer)
    }
}

fn of_file<T>(file: Option<&CredentialFile<T>>) -> impl Iterator<Item = &T> {
    file.into_iter().flat_map(|file| &file.entries)
}

/// A file of `name:value` lines, which is read again when it changes.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct CredentialFile<T> {
    /// Where it is.
    pub path: PathBuf,
    /// What was in it when it was read last.
    pub entries: Vec<T>,
}

/// A key or token: whose it is, and its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedDigest {
    /// For logs and backends.
    pub name: Arc<str>,
    /// Of the key.
    pub digest: KeyDigest,
}

/// The name, and whether the key is another one.
impl Serialize for NamedDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        hidden(&self.name, &self.digest.digits(), serializer)
    }
}

/// A name with something that nobody may see.
fn hidden<S: Serializer>(name: &str, secret: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let mut entry = serializer.serialize_struct("Hidden", 2)?;
    entry.serialize_field("name", name)?;
    entry.serialize_field("hidden", &fingerprint(secret))?;
    entry.end()
}

/// The SHA-256 of a key: compared in constant time, never printed.
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of `key`.
    pub fn of(key: &[u8]) -> KeyDigest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, key).as_ref());
        KeyDigest(bytes)
    }

    /// A digest that was written as 64 hexadecimal digits.
    pub fn parse(digits: &str) -> Option<KeyDigest> {
        let mut bytes = [0; 32];
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            let pair = digits.get(2 * index..2 * index + 2)?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(KeyDigest(bytes))
    }

    /// As 64 hexadecimal digits.
    pub fn digits(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Its first bytes, for finding it among many. They tell nothing about the key.
    pub fn begin(&self) -> u64 {
        let begin = self.0.iter().take(8);
        begin.fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }
}

/// In constant time.
impl PartialEq for KeyDigest {
    fn eq(&self, other: &KeyDigest) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyDigest {}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_compared_and_never_shown() {
        // The second example of FIPS 180-4: the digest of "abc".
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let digest = KeyDigest::of(b"abc");
        assert_eq!(KeyDigest::parse(text), Some(digest));
        assert_eq!(KeyDigest::parse(&text.to_uppercase()), Some(digest));
        assert_ne!(digest, KeyDigest::of(b"abd"));
        assert_eq!(digest.begin(), 0xba78_16bf_8f01_cfea);
        for bad in ["", "ba", &text[1..], &format!("{}é", &text[..62])] {
            assert_eq!(KeyDigest::parse(bad), None, "{bad}");
        }
        let named = NamedDigest {
            name: "ci".into(),
            digest,
        };
        let shown = format!("{named:?}{}", serde_json::to_string(&named).unwrap());
        assert!(!shown.contains("ba78") && shown.contains("ci"), "{shown}");
    }
}
