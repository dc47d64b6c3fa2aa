//! `jwt` and `forward` of `[route.auth]` as they were written.

use std::path::PathBuf;
use std::time::Duration;

use super::{UpstreamTlsFile, Written};
use crate::config::model::{ClaimValue, KeyFormat};
use crate::config::report::{At, Place};
use crate::jose::KeySet;

/// `jwt`.
#[derive(Debug, Default)]
pub(crate) struct JwtFile {
    pub(crate) place: Place,
    /// None: there are none, or they are a problem that is already reported.
    pub(crate) keys: Option<KeysFile>,
    pub(crate) algorithms: Written<Vec<At<String>>>,
    pub(crate) issuer: Written<Vec<At<String>>>,
    pub(crate) audience: Written<Vec<At<String>>>,
    pub(crate) leeway: Written<Duration>,
    pub(crate) require_expiry: Written<bool>,
    pub(crate) require: Vec<(At<String>, Vec<ClaimValue>)>,
    pub(crate) headers: Vec<(String, At<String>)>,
    pub(crate) header: Written<String>,
    pub(crate) cookie: Written<String>,
}

/// The keys, and where they came from.
#[derive(Debug)]
pub(crate) struct KeysFile {
    pub(crate) place: Place,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) format: KeyFormat,
    pub(crate) set: KeySet,
    /// Of what they were made: something that is another one for other keys.
    pub(crate) fingerprint: u64,
}

/// `forward`.
#[derive(Debug, Default)]
pub(crate) struct ForwardAuthFile {
    pub(crate) place: Place,
    pub(crate) url: Written<String>,
    pub(crate) timeout: Written<Duration>,
    pub(crate) request_headers: Written<Vec<At<String>>>,
    pub(crate) response_headers: Written<Vec<At<String>>>,
    pub(crate) user_header: Written<String>,
    pub(crate) tls: Option<UpstreamTlsFile>,
}
