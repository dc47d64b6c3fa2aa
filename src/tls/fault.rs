//! What is wrong with a file of certificates or keys, in words.

use std::fmt;
use std::path::{Path, PathBuf};

/// A file, and why it cannot be used. Never tells what is in a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    file: Option<PathBuf>,
    what: String,
}

impl Fault {
    pub(super) fn of(file: &Path, what: impl Into<String>) -> Fault {
        Fault {
            file: Some(file.to_owned()),
            what: what.into(),
        }
    }

    /// For what is in no file.
    pub(super) fn general(what: impl Into<String>) -> Fault {
        Fault {
            file: None,
            what: what.into(),
        }
    }

    /// The file, if it is one's fault.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What is wrong, without the name of the file.
    pub fn what(&self) -> &str {
        &self.what
    }
}

/// As in `cert.pem: there is no certificate in it`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}", file.display(), self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for Fault {}
