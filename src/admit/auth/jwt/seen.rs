//! Tokens that were found to be good, so that a client that comes again costs a hash and no signature. Only good ones are kept,
//! by their SHA-256; each until it expires, or until another one needs its place.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ring::digest::{SHA256, digest};

use super::super::Identity;

/// Places. Each has room for one token.
const PLACES: usize = 1024;

/// The tokens of one route.
pub(super) struct Seen(Box<[Mutex<Option<Known>>]>);

struct Known {
    digest: [u8; 32],
    until: Duration,
    identity: Arc<Identity>,
}

impl Seen {
    /// None yet.
    pub(super) fn new() -> Seen {
        Seen((0..PLACES).map(|_| Mutex::new(None)).collect())
    }

    /// Whose `token` is, if that is known at `now` (since 1970).
    pub(super) fn find(&self, token: &[u8], now: Duration) -> Option<Arc<Identity>> {
        let digest = hash(token);
        let known = self.place(&digest)?.lock();
        let known = known.as_ref()?;
        // Who could learn something here by its time would have to know tokens by their hashes.
        (known.digest == digest && now < known.until).then(|| Arc::clone(&known.identity))
    }

    /// Keeps in mind whose `token` is until that time (since 1970).
    pub(super) fn keep(&self, token: &[u8], until: Duration, identity: &Arc<Identity>) {
        let digest = hash(token);
        if let Some(place) = self.place(&digest) {
            *place.lock() = Some(Known {
                digest,
                until,
                identity: Arc::clone(identity),
            });
        }
    }

    fn place(&self, digest: &[u8; 32]) -> Option<&Mutex<Option<Known>>> {
        let [first, second, ..] = digest;
        let number = usize::from(u16::from_be_bytes([*first, *second]));
        self.0.get(number % PLACES)
    }
}

fn hash(token: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token).as_ref());
    bytes
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seen(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_kept_is_found_and_only_in_its_time() {
        let seen = Seen::new();
        let identity = Arc::new(Identity::new("jwt", "ann".into()));
        let at = Duration::from_secs;
        assert!(seen.find(b"a", at(1)).is_none());
        seen.keep(b"a", at(10), &identity);
        assert!(seen.find(b"a", at(9)).is_some());
        assert!(seen.find(b"a", at(10)).is_none());
        assert!(seen.find(b"b", at(1)).is_none());
        for number in 0..10_000 {
            seen.keep(format!("{number}").as_bytes(), at(10), &identity);
        }
        assert!(seen.find(b"9999", at(9)).is_some());
        assert_eq!(seen.0.len(), PLACES);
    }
}
