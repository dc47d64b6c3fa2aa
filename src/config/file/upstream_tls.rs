//! `[upstream.tls]` and `[route.auth.forward.tls]` as they were written.

use std::fmt;
use std::path::PathBuf;

use super::Written;
use crate::config::report::Place;

/// Either of them.
#[derive(Debug)]
pub(crate) struct UpstreamTlsFile {
    pub(crate) place: Place,
    pub(crate) ca: Written<PemFile>,
    pub(crate) verify: Written<String>,
    pub(crate) server_name: Written<String>,
    pub(crate) cert: Written<PemFile>,
    pub(crate) key: Written<PemFile>,
}

/// A file in PEM, with certificates or a key.
pub(crate) struct PemFile {
    /// As it was written.
    pub(crate) name: String,
    /// Relative paths start at the configuration file already.
    pub(crate) path: PathBuf,
    /// None: it cannot be read, which is reported already.
    pub(crate) bytes: Option<Vec<u8>>,
}

/// It may be a key.
impl fmt::Debug for PemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
