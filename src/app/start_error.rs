//! Why there is no running proxy, in words for people.

use std::fmt;
use std::io;

use crate::accept::{BindError, InheritError};
use crate::tls::Fault;

/// Why tollgate does not start.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Bind(BindError),
    /// A socket that was passed cannot be used.
    Inherit(InheritError),
    /// A certificate or a key cannot be used.
    Tls(Fault),
    /// Upstreams that speak TLS have nobody to trust; a sentence for each.
    Authorities(Vec<String>),
    /// A thread cannot be started.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Bind(error) => error.fmt(f),
            StartError::Inherit(error) => error.fmt(f),
            StartError::Tls(fault) => fault.fmt(f),
            StartError::Authorities(faults) => f.write_str(&faults.join("; ")),
            StartError::Thread(error) => {
                write!(
                    f,
                    "cannot start a thread: {error}; fewer server.workers or a higher limit help"
                )
            }
        }
    }
}

impl std::error::Error for StartError {}

impl From<BindError> for StartError {
    fn from(error: BindError) -> StartError {
        StartError::Bind(error)
    }
}

impl From<InheritError> for StartError {
    fn from(error: InheritError) -> StartError {
        StartError::Inherit(error)
    }
}

impl From<Fault> for StartError {
    fn from(fault: Fault) -> StartError {
        StartError::Tls(fault)
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError::Thread(error)
    }
}
