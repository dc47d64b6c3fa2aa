//! `[route.auth] jwt`: signed tokens that say who the client is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::jose::{Algorithm, KeySet};

/// Signed tokens (JWT) that are accepted.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// What they are signed with.
    pub keys: JwtKeys,
    /// Who may have issued them (`iss`); empty: that does not matter. Default empty.
    pub issuers: Vec<String>,
    /// For whom they may be (`aud`): one of these; empty: only tokens that do not say it; none: that does not matter. Default
    /// empty.
    pub audiences: Option<Vec<String>>,
    /// How far clocks may differ. Default 60 s, at most 10 min.
    pub leeway: Duration,
    /// Default [`Expiry::Required`].
    pub expiry: Expiry,
    /// Claims that a token has to have, all of them; else the answer is 403. Default none.
    pub require: Vec<RequiredClaim>,
    /// Claims for the backend. Default none.
    pub headers: Vec<ClaimHeader>,
    /// The field that they come in. Default `Authorization`.
    pub header: String,
    /// A cookie that they may come in too. One in each is one too many. Default none.
    pub cookie: Option<String>,
}

/// The keys. Only whether they are others can be seen of them.
#[derive(Debug, Serialize, Clone, Default)]
pub struct JwtKeys {
    /// Where they were read, if in files; these are read again when they change.
    pub files: Vec<PathBuf>,
    /// Those that may be used: for the algorithms that are wanted; never empty.
    #[serde(skip)]
    pub set: Arc<KeySet>,
    /// What the files hold.
    pub format: KeyFormat,
    /// The algorithms that are wanted.
    pub wanted: Vec<Algorithm>,
    /// Another one for other keys.
    #[serde(rename = "hidden")]
    pub fingerprint: u64,
}

/// What files of keys hold.
#[derive(Debug, Serialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum KeyFormat {
    /// A set of keys (RFC 7517).
    #[default]
    Jwks,
    /// Public keys in PEM form.
    Pem,
    /// A secret for HS256, which may also be in the configuration itself.
    Secret,
}

impl PartialEq for JwtKeys {
    fn eq(&self, other: &JwtKeys) -> bool {
        (&self.files, self.format, &self.wanted, self.fingerprint)
            == (&other.files, other.format, &other.wanted, other.fingerprint)
    }
}

impl Eq for JwtKeys {}

/// Whether tokens have to say when they expire (`exp`).
#[derive(Debug, Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// They have to.
    Required,
    /// They need not. What they say holds.
    Optional,
}

/// A claim that a token has to have.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct RequiredClaim {
    /// Its name, or a JSON pointer (RFC 6901) that starts with `/`.
    pub claim: String,
    /// One of these, or a list with one of these in it. `scope` and `scp` may be words with spaces between them.
    pub values: Vec<ClaimValue>,
}

/// What a claim can be compared with.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
#[serde(untagged)]
pub enum ClaimValue {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Bool(bool),
}

/// A claim for the backend.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct ClaimHeader {
    /// The name of the field.
    pub name: String,
    /// As in [`RequiredClaim::claim`].
    pub claim: String,
}
