//! TLS for clients as it was written.

use std::path::PathBuf;

use super::Written;
use crate::config::report::Place;

/// `tls` in an entry of `listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListenTlsFile {
    /// True or false.
    Switch(bool),
    /// A word: there is one that means something.
    Word(String),
}

/// `[server.tls]`. Relative paths start at the configuration file already; an empty one stays empty.
#[derive(Debug, Default)]
pub(crate) struct ServerTlsFile {
    pub(crate) place: Place,
    pub(crate) cert: Written<PathBuf>,
    pub(crate) key: Written<PathBuf>,
    pub(crate) certificates: Written<Vec<CertificateFile>>,
    pub(crate) min_version: Written<String>,
    pub(crate) client_auth: Option<ClientAuthFile>,
    /// A certificate was meant, but what was written is a problem that is already reported.
    pub(crate) broken: bool,
}

/// One entry of `certificates`.
#[derive(Debug, Default)]
pub(crate) struct CertificateFile {
    pub(crate) place: Place,
    pub(crate) cert: Written<PathBuf>,
    pub(crate) key: Written<PathBuf>,
    /// What was written is a problem that is already reported.
    pub(crate) broken: bool,
}

/// `client_auth`.
#[derive(Debug, Default)]
pub(crate) struct ClientAuthFile {
    pub(crate) place: Place,
    pub(crate) ca: Written<PathBuf>,
    pub(crate) mode: Written<String>,
    pub(crate) header: Written<String>,
    /// What was written is a problem that is already reported.
    pub(crate) broken: bool,
}
