//! A secret: compared in constant time, never printed.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use serde::{Serialize, Serializer};
use subtle::ConstantTimeEq;

/// A token or password from a file, the environment or the configuration.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps `value`; surrounding white space (a file's last newline) is not part of it.
    pub fn new(value: &str) -> Secret {
        Secret(value.trim().to_owned())
    }

    /// Whether nothing is left after trimming.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For those who compute with it; never to be shown.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Compares in time that depends on the lengths only.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(candidate).into()
    }
}

/// Not the secret, but something that is different for another one: for telling whether it has changed.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(fingerprint(&self.0))
    }
}

/// Not the text, but a number that is different for another one; and another one in every process, so that nobody can find
/// the text by trying.
pub(in crate::config) fn fingerprint(text: &str) -> u64 {
    static SALT: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    SALT.hash_one(text)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_prints_and_compares_whole() {
        let secret = Secret::new("hunter2\n");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert!(secret.matches(b"hunter2"));
        assert!(!secret.matches(b"hunter"));
        assert!(!secret.matches(b"hunter22"));
    }
}
