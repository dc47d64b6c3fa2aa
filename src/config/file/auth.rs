//! `[route.auth]` as it was written. Secrets in it are [`Secret`]s from the first moment.

use std::path::PathBuf;

use super::{ForwardAuthFile, JwtFile, Written};
use crate::config::report::{Place, Report};
use crate::config::secret::Secret;

/// `auth`.
#[derive(Debug, Default)]
pub(crate) struct AuthFile {
    pub(crate) place: Place,
    pub(crate) realm: Written<String>,
    pub(crate) strip_credentials: Written<bool>,
    pub(crate) user_header: Written<String>,
    pub(crate) api_keys: Option<ApiKeysFile>,
    pub(crate) bearer: Option<BearerFile>,
    pub(crate) jwt: Option<JwtFile>,
    pub(crate) forward: Option<ForwardAuthFile>,
    pub(crate) basic: Option<BasicFile>,
    /// Something was written that is a problem which is already reported.
    pub(crate) broken: bool,
}

/// `api_keys`.
#[derive(Debug, Default)]
pub(crate) struct ApiKeysFile {
    pub(crate) place: Place,
    pub(crate) header: Written<String>,
    pub(crate) query: Written<String>,
    pub(crate) keys: Vec<CredentialFile>,
    pub(crate) file: Option<CredentialsFile>,
    /// A part of it is a problem that is already reported; so in the others.
    pub(crate) broken: bool,
}

/// `bearer`.
#[derive(Debug, Default)]
pub(crate) struct BearerFile {
    pub(crate) place: Place,
    pub(crate) tokens: Vec<CredentialFile>,
    pub(crate) file: Option<CredentialsFile>,
    pub(crate) broken: bool,
}

/// `basic`.
#[derive(Debug, Default)]
pub(crate) struct BasicFile {
    pub(crate) place: Place,
    pub(crate) users: Vec<CredentialFile>,
    pub(crate) file: Option<CredentialsFile>,
    pub(crate) broken: bool,
}

/// A file of credentials, and what is in it.
#[derive(Debug)]
pub(crate) struct CredentialsFile {
    pub(crate) path: PathBuf,
    pub(crate) entries: Vec<CredentialFile>,
}

/// One name with its key, token or hash.
#[derive(Debug)]
pub(crate) struct CredentialFile {
    pub(crate) name: String,
    pub(crate) value: Secret,
    pub(crate) origin: Origin,
}

/// Where a secret was written. Its line is never shown.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// In the configuration itself.
    Configuration(Place),
    /// In the configuration, which takes it from the environment.
    Environment(Place),
    /// In a file of secrets: its name and the line.
    File(String, usize),
}

impl CredentialFile {
    /// Reports that it cannot be used.
    pub(crate) fn problem(&self, report: &Report, message: String, hint: &str) {
        report.problem_unseen(self.origin.place(report), message, hint);
    }

    /// Reports that it should not be used.
    pub(crate) fn warning(&self, report: &Report, message: String, hint: &str) {
        report.warning_unseen(self.origin.place(report), message, hint);
    }
}

impl Origin {
    fn place(&self, report: &Report) -> Place {
        match self {
            Origin::Configuration(place) | Origin::Environment(place) => *place,
            Origin::File(name, line) => report.add_source(format!("{name}:{line}"), None),
        }
    }
}
