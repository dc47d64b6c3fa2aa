//! Keys that are known by their digests, found without looking at each.

use std::sync::Arc;

use crate::config::model::{KeyDigest, NamedDigest};

use super::Identity;

/// Digests in their order, each with whose it is.
#[derive(Debug)]
pub(super) struct Digests(Vec<(u64, KeyDigest, Arc<Identity>)>);

impl Digests {
    /// The keys of one scheme.
    pub(super) fn new<'a>(
        scheme: &'static str,
        keys: impl Iterator<Item = &'a NamedDigest>,
    ) -> Digests {
        let entry = |key: &NamedDigest| {
            let identity = Arc::new(Identity::new(scheme, Arc::clone(&key.name)));
            (key.digest.begin(), key.digest, identity)
        };
        let mut entries: Vec<_> = keys.map(entry).collect();
        entries.sort_by_key(|(begin, ..)| *begin);
        Digests(entries)
    }

    /// Whose key it is. Where the search ends depends on the begin of a digest only, which nobody can choose without knowing
    /// what it is the digest of; the digest as a whole is compared in constant time.
    pub(super) fn find(&self, key: &[u8]) -> Option<&Arc<Identity>> {
        let digest = KeyDigest::of(key);
        let begin = digest.begin();
        let first = self.0.partition_point(|(other, ..)| *other < begin);
        let same = self.0.iter().skip(first);
        let mut same = same.take_while(|(other, ..)| *other == begin);
        same.find(|(_, other, _)| *other == digest)
            .map(|(.., identity)| identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_no_other() {
        let name = |number: usize| format!("key-{number}");
        let keys: Vec<NamedDigest> = (0..1000)
            .map(|number| NamedDigest {
                name: name(number).into(),
                digest: KeyDigest::of(format!("secret {number}").as_bytes()),
            })
            .collect();
        let digests = Digests::new("api_keys", keys.iter());
        for number in 0..1000 {
            let found = digests.find(format!("secret {number}").as_bytes()).unwrap();
            assert_eq!(*found.name, *name(number));
        }
        assert!(digests.find(b"secret 1000").is_none() && digests.find(b"").is_none());
    }
}
