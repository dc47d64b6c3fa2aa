//! Why a backend is not used, in the words that status, log and `explain` show.

use std::time::Instant;

/// Why a backend is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// It was taken out by hand.
    Disabled,
    /// It is being emptied: it gets nothing new.
    Draining,
    /// No address is known for its name.
    Unresolved,
    /// Its probes fail.
    Unreachable,
    /// Live traffic failed; it comes back by itself.
    Ejected {
        /// Until then.
        until: Instant,
    },
    /// One request is on its way to find out whether it is back.
    Probing,
    /// It has as many requests as it may have.
    Full,
}

impl Skip {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Skip::Disabled => "disabled",
            Skip::Draining => "draining",
            Skip::Unresolved => "its name does not resolve",
            Skip::Unreachable => "unreachable",
            Skip::Ejected { .. } => "ejected",
            Skip::Probing => "one request is finding out whether it is back",
            Skip::Full => "it has all the requests it may have",
        }
    }
}
