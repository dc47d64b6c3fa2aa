//! `basic`: a user and a password in `Authorization: Basic` (RFC 7617), compared with hashes that take their time.
//!
//! A good password is remembered for a short while, as a keyed hash that holds for one stored hash only: who asks again does
//! not cost that time again, and a new hash in the configuration ends it at once. A user that nobody is called costs as much
//! time as one that there is.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use parking_lot::Mutex;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::config::model::{Basic, PasswordHash};
use crate::message::head::RequestHead;

use super::{Asking, Authorization, Denied, Effort, Fault, Identity, Look, Scheme, authorization};

const NAME: &str = "basic";
/// How long a good password is not looked at again.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Users whose passwords are remembered at the same time.
const MOST_REMEMBERED: usize = 4096;
/// Longest user and password together, in bytes.
const LONGEST: usize = 1024;
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The scheme.
#[derive(Debug)]
pub(super) struct BasicAuth {
    users: Vec<(Arc<Identity>, PasswordHash)>,
    /// Where each user is.
    places: HashMap<Arc<str>, usize>,
    /// Picks whose hash an unknown user is compared with.
    decoys: RandomState,
    remembered: Option<Remembered>,
}

/// What came, decoded.
struct Credentials {
    user: String,
    password: Vec<u8>,
}

impl BasicAuth {
    pub(super) fn new(settings: &Basic) -> BasicAuth {
        let entry = |(name, hash): (&Arc<str>, &PasswordHash)| {
            let identity = Identity::new(NAME, Arc::clone(name));
            (Arc::new(identity), hash.clone())
        };
        let users: Vec<_> = settings.all().map(entry).collect();
        let names = users.iter().map(|(identity, _)| Arc::clone(&identity.name));
        BasicAuth {
            places: names.zip(0..).collect(),
            users,
            decoys: RandomState::new(),
            remembered: Remembered::new(),
        }
    }

    /// The hash to compare with, and who it is then; for a user that there is not, somebody's hash and nobody.
    fn candidate(&self, user: &str) -> Option<(&PasswordHash, Option<&Arc<Identity>>)> {
        if let Some(place) = self.places.get(user) {
            let (identity, hash) = self.users.get(*place)?;
            return Some((hash, Some(identity)));
        }
        // Always the same one for the same name, as if there were that user.
        let number = self.decoys.hash_one(user) % u64::try_from(self.users.len().max(1)).ok()?;
        let (_, hash) = self.users.get(usize::try_from(number).ok()?)?;
        Some((hash, None))
    }
}

impl Scheme for BasicAuth {
    fn name(&self) -> &'static str {
        NAME
    }

    fn look(&self, Asking { head, .. }: Asking<'_>) -> Look {
        let credentials = match credentials(head) {
            Ok(Some(credentials)) => credentials,
            Ok(None) => return Look::Absent,
            Err(fault) => return Look::Bad(fault),
        };
        let Some((hash, identity)) = self.candidate(&credentials.user) else {
            return Look::Bad(Fault::Wrong);
        };
        let remembered = self.remembered.as_ref();
        let is_known = remembered.is_some_and(|known| known.has(&credentials, hash));
        match identity.filter(|_| is_known) {
            Some(identity) => Look::Known(Arc::clone(identity)),
            None => Look::Later(Effort::Password),
        }
    }

    fn judge(&self, Asking { head, .. }: Asking<'_>) -> Result<Arc<Identity>, Denied> {
        let wrong = Denied::Fault(Fault::Wrong);
        let Ok(Some(credentials)) = credentials(head) else {
            return Err(wrong);
        };
        let Some((hash, identity)) = self.candidate(&credentials.user) else {
            return Err(wrong);
        };
        let is_good = hash.verify(&credentials.password);
        let identity = identity.filter(|_| is_good).ok_or(wrong)?;
        if let Some(remembered) = &self.remembered {
            remembered.keep(&credentials, hash, Instant::now());
        }
        Ok(Arc::clone(identity))
    }

    fn challenge(&self, realm: &str, _: Option<Fault>) -> Option<String> {
        Some(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
    }
}

/// What came; none: it was not for this scheme.
fn credentials(head: &RequestHead) -> Result<Option<Credentials>, Fault> {
    let encoded = match authorization(head, "Basic") {
        Authorization::Absent => return Ok(None),
        Authorization::Ambiguous => return Err(Fault::Malformed),
        Authorization::Is(encoded) => encoded,
    };
    decode(encoded).map(Some).ok_or(Fault::Malformed)
}

/// RFC 7617 section 2: `user:password` in Base64, the user without a colon, neither with control characters.
fn decode(encoded: &[u8]) -> Option<Credentials> {
    if encoded.len() > LONGEST * 2 {
        return None;
    }
    let decoded = BASE64.decode(encoded).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, rest) = decoded.split_at_checked(colon)?;
    let is_control = |byte: &u8| *byte < 0x20 || *byte == 0x7f;
    if decoded.len() > LONGEST || user.is_empty() || decoded.iter().any(is_control) {
        return None;
    }
    Some(Credentials {
        // A name in another encoding is nobody's.
        user: String::from_utf8_lossy(user).into_owned(),
        password: rest.get(1..)?.to_vec(),
    })
}

/// Who has shown a good password lately.
struct Remembered {
    /// Drawn for this table: what is in it means nothing to anybody else.
    key: hmac::Key,
    until: Mutex<HashMap<[u8; 32], Instant>>,
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Remembered(…)")
    }
}

impl Remembered {
    /// None: the system has no random numbers; then nothing is remembered.
    fn new() -> Option<Remembered> {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key).ok()?;
        Some(Remembered {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            until: Mutex::default(),
        })
    }

    /// Names all three, so that another user, password or stored hash is another tag.
    fn tag(&self, credentials: &Credentials, hash: &PasswordHash) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        let user = credentials.user.as_bytes();
        for part in [user, &credentials.password, hash.bytes()] {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&length.to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn has(&self, credentials: &Credentials, hash: &PasswordHash) -> bool {
        let tag = self.tag(credentials, hash);
        let until = self.until.lock().get(&tag).copied();
        until.is_some_and(|until| Instant::now() < until)
    }

    fn keep(&self, credentials: &Credentials, hash: &PasswordHash, now: Instant) {
        let tag = self.tag(credentials, hash);
        let mut until = self.until.lock();
        if until.len() >= MOST_REMEMBERED {
            until.retain(|_, until| now < *until);
        }
        if until.len() >= MOST_REMEMBERED
            && let Some(some) = until.keys().next().copied()
        {
            until.remove(&some);
        }
        until.insert(tag, now + REMEMBERED);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{client, head};
    use super::*;
    use crate::admit::auth::Guard;
    use crate::config::model::quick_hash;

    fn guard(users: &[(&str, &str)]) -> Guard {
        let users: Vec<String> = users
            .iter()
            .map(|(user, password)| format!("\"{user}\" = '{}'", quick_hash(password)))
            .collect();
        super::super::tests::guard(&format!("basic.users = {{ {} }}", users.join(", ")))
    }

    fn encoded(text: &str) -> String {
        format!("Basic {}", BASE64.encode(text))
    }

    /// Who is let in, after the closer look where there is one; and whether there was.
    fn ask(guard: &Guard, field: &str) -> (Result<String, Fault>, bool) {
        let (head, client) = (head("/", &[("Authorization", field)]), client());
        let asking = Asking {
            head: &head,
            client: &client,
            request_id: "id",
        };
        match guard.look(asking) {
            super::super::Found::Known(identity) => (Ok(identity.name.to_string()), false),
            super::super::Found::Refused { fault, .. } => (Err(fault), false),
            super::super::Found::Pending(pending) => {
                let judged = guard.judge(pending, asking);
                let name = judged.map(|identity| identity.name.to_string());
                (name.map_err(|_| Fault::Wrong), true)
            }
        }
    }

    #[test]
    fn good_wrong_and_malformed() {
        let guard = guard(&[("alice", "open: sesame"), ("bob", ""), ("Jürgen", "ä")]);
        for (text, name) in [
            ("alice:open: sesame", "alice"),
            ("bob:", "bob"),
            ("Jürgen:ä", "Jürgen"),
        ] {
            assert_eq!(ask(&guard, &encoded(text)), (Ok(name.into()), true));
        }
        for text in [
            "alice:open",
            "alice:",
            "nobody:open: sesame",
            "bob:x",
            "Alice:open: sesame",
        ] {
            assert_eq!(
                ask(&guard, &encoded(text)),
                (Err(Fault::Wrong), true),
                "{text}"
            );
        }
        let long = encoded(&format!("alice:{}", "x".repeat(LONGEST)));
        for field in [
            "Basic",
            "Basic ",
            "Basic !!!!",
            "Basic YWxpY2U", // no colon
            "Basic YWxpY2U6b3Blb",
            "Basic YWxp Y2U6",
            &encoded(":x"),
            &encoded("alice:a\nb"),
            &encoded("alice:a\0"),
            &long,
        ] {
            let (result, _) = ask(&guard, field);

            assert_eq!(result, Err(Fault::Malformed), "{field}");
        }
        for field in ["basic Ym9iOg==", "BASIC   Ym9iOg"] {
            assert_eq!(ask(&guard, field).0, Ok("bob".into()), "{field}");
        }
        assert_eq!(ask(&guard, "Bearer x").0, Err(Fault::Missing));
    }

    #[test]
    fn a_good_password_is_remembered_and_no_other() {
        let guard = guard(&[("alice", "one"), ("bob", "two")]);
        assert_eq!(
            ask(&guard, &encoded("alice:one")),
            (Ok("alice".into()), true)
        );
        assert_eq!(
            ask(&guard, &encoded("alice:one")),
            (Ok("alice".into()), false)
        );
        for text in ["alice:two", "bob:one", "nobody:one", "alic:eone"] {
            for _ in 0..2 {
                assert_eq!(
                    ask(&guard, &encoded(text)),
                    (Err(Fault::Wrong), true),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn the_memory_is_bounded_and_short() {
        let remembered = Remembered::new().unwrap();
        let hash = PasswordHash::parse(&crate::config::secret::Secret::new(&quick_hash("x")));
        let (hash, now) = (hash.unwrap(), Instant::now());
        let credentials = |number: usize| Credentials {
            user: number.to_string(),
            password: b"x".to_vec(),
        };
        for number in 0..MOST_REMEMBERED + 10 {
            remembered.keep(&credentials(number), &hash, now);
        }
        assert_eq!(remembered.until.lock().len(), MOST_REMEMBERED);
        assert!(remembered.has(&credentials(MOST_REMEMBERED + 9), &hash));
        remembered.keep(&credentials(1_000_000), &hash, now + REMEMBERED);
        assert_eq!(remembered.until.lock().len(), 1);
        let other = PasswordHash::parse(&crate::config::secret::Secret::new(&quick_hash("x")));
        assert!(!remembered.has(&credentials(1_000_000), &other.unwrap()));
        let old = now.checked_sub(REMEMBERED).unwrap();
        remembered.keep(&credentials(7), &hash, old);
        assert!(!remembered.has(&credentials(7), &hash));
    }
}
