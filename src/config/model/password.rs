//! Hashes of passwords: which are taken, and how a password is compared with one. Argon2id (RFC 9106) and bcrypt; what can be
//! reversed by trying is refused.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier};

use super::super::secret::Secret;

/// Most memory that one comparison may take, in KiB: 256 MiB.
const MOST_MEMORY: u32 = 256 * 1024;
/// Most passes over it.
const MOST_PASSES: u32 = 16;
/// Most lanes.
const MOST_LANES: u32 = 16;
/// Most KiB times passes: bounds the time that a comparison takes to a second or two.
const MOST_WORK: u32 = 1024 * 1024;
/// Most rounds of bcrypt, as a power of two: 14 take a second or so.
const MOST_COST: u32 = 14;
/// What hashes are made with: 19 MiB and two passes, as RFC 9106 has it for those who cannot spare more, and tens of
/// milliseconds.
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// The same for bcrypt.
const COST: u32 = 11;
/// What bcrypt looks at, in bytes: it takes no notice of the rest.
const BCRYPT_SEES: usize = 72;

/// The hash of a password: never printed.
#[derive(Clone)]
pub struct PasswordHash {
    text: Secret,
    kind: HashKind,
}

/// How a password was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashKind {
    /// `$argon2id$…`.
    Argon2id,
    /// `$2a$…`, `$2b$…`, `$2y$…`.
    Bcrypt,
}

/// Why a hash is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadHash(pub &'static str);

impl PasswordHash {
    /// The hash that is written like this.
    ///
    /// # Errors
    /// Why it cannot be used; does not quote it.
    pub fn parse(text: &Secret) -> Result<PasswordHash, BadHash> {
        let bytes = text.bytes();
        let kind = if bytes.starts_with(b"$argon2id$") {
            check_argon2(text)?;
            HashKind::Argon2id
        } else if is_bcrypt(bytes) {
            check_bcrypt(text)?;
            HashKind::Bcrypt
        } else {
            return Err(BadHash(refused(bytes)));
        };
        let text = text.clone();
        Ok(PasswordHash { text, kind })
    }

    /// The hash of `password`, with a salt of its own.
    ///
    /// # Errors
    /// For bcrypt: when it would not take notice of the whole password. Else when the system has no random numbers.
    pub fn make(password: &[u8], kind: HashKind) -> Result<String, String> {
        match kind {
            HashKind::Argon2id => {
                let params = Params::new(MEMORY, PASSES, 1, None).map_err(|e| e.to_string())?;
                let argon2 = Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params);
                let hash = argon2.hash_password(password).map_err(|e| e.to_string())?;
                Ok(hash.to_string())
            }
            HashKind::Bcrypt if password.len() > BCRYPT_SEES => Err(format!(
                "bcrypt looks at {BCRYPT_SEES} bytes of a password only; use argon2id, which looks at all"
            )),
            HashKind::Bcrypt => bcrypt::hash(password, COST).map_err(|e| e.to_string()),
        }
    }

    /// Whether it is the hash of `password`. Takes tens of milliseconds, the same for good and bad ones.
    pub fn verify(&self, password: &[u8]) -> bool {
        let text = as_text(&self.text);
        match self.kind {
            HashKind::Argon2id => Argon2::default().verify_password(password, text).is_ok(),
            HashKind::Bcrypt => bcrypt::verify(password, text).unwrap_or(false),
        }
    }

    /// For those who compute with it; never to be shown.
    pub fn bytes(&self) -> &[u8] {
        self.text.bytes()
    }
}

impl PartialEq for PasswordHash {
    fn eq(&self, other: &PasswordHash) -> bool {
        self.text.matches(other.text.bytes())
    }
}

impl Eq for PasswordHash {}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({:?}, …)", self.kind)
    }
}

fn as_text(secret: &Secret) -> &str {
    std::str::from_utf8(secret.bytes()).unwrap_or_default()
}

fn check_argon2(text: &Secret) -> Result<(), BadHash> {
    let broken = BadHash("it is no Argon2 hash as `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`");
    let hash = argon2::PasswordHash::new(as_text(text)).map_err(|_| broken)?;
    let params = Params::try_from(&hash).map_err(|_| broken)?;
    if hash.salt.is_none() || hash.hash.is_none() || hash.version != Some(0x13) {
        return Err(broken);
    }
    let (memory, passes) = (params.m_cost(), params.t_cost());
    let is_within = memory <= MOST_MEMORY
        && passes <= MOST_PASSES
        && params.p_cost() <= MOST_LANES
        && memory.saturating_mul(passes) <= MOST_WORK;
    if is_within {
        Ok(())
    } else {
        Err(BadHash(
            "it takes too much: at most m=262144, t=16, p=16, and m times t at most 1048576",
        ))
    }
}

fn is_bcrypt(text: &[u8]) -> bool {
    [b"$2a$", b"$2b$", b"$2y$"]
        .iter()
        .any(|begin| text.starts_with(*begin))
}

fn check_bcrypt(text: &Secret) -> Result<(), BadHash> {
    let broken = BadHash("it is no bcrypt hash as `$2y$COST$…`, 60 characters long");
    let parts: bcrypt::HashParts = as_text(text).parse().map_err(|_| broken)?;
    match parts.get_cost() {
        4..=MOST_COST => Ok(()),
        _ => Err(BadHash(
            "it takes too much, or too little: a cost from 4 to 14",
        )),
    }
}

/// Why this is not taken.
fn refused(text: &[u8]) -> &'static str {
    let starts_with = |begin: &str| text.starts_with(begin.as_bytes());
    if text.is_empty() {
        "there is none"
    } else if starts_with("{SHA}") || starts_with("{SSHA}") {
        "it is a SHA-1 hash: passwords are found out from it by trying, within hours"
    } else if starts_with("$apr1$") || starts_with("$1$") {
        "it is an MD5 hash: passwords are found out from it by trying, within hours"
    } else if starts_with("$5$") || starts_with("$6$") {
        "it is a crypt hash; only argon2id and bcrypt are taken"
    } else if starts_with("$argon2") {
        "it is another Argon2; only argon2id is taken"
    } else if starts_with("$2") {
        "it is from a broken bcrypt; only `$2a$`, `$2b$` and `$2y$` are taken"
    } else {
        "it is no hash that is taken here, and a password itself must not be kept"
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A hash that takes no time.
    pub(crate) fn quick_hash(password: &str) -> String {
        let params = Params::new(8, 1, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params);
        argon2
            .hash_password(password.as_bytes())
            .unwrap()
            .to_string()
    }

    fn parse(text: &str) -> Result<PasswordHash, BadHash> {
        PasswordHash::parse(&Secret::new(text))
    }

    #[test]
    fn what_is_made_is_taken_and_compared() {
        for kind in [HashKind::Argon2id, HashKind::Bcrypt] {
            let text = PasswordHash::make("pässword".as_bytes(), kind).unwrap();
            let hash = parse(&text).unwrap();
            assert!(hash.verify("pässword".as_bytes()) && !hash.verify(b"password"));
            assert_eq!(hash.kind, kind);
            assert!(!format!("{hash:?}").contains(&text[10..]));
        }
        assert!(PasswordHash::make(&[b'a'; 73], HashKind::Bcrypt).is_err());
    }

    /// Made by other programs: the example of OpenBSD's bcrypt in `$2a$`, and of htpasswd in `$2y$`.
    #[test]
    fn hashes_of_others_are_taken() {
        let text = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        assert!(parse(text).unwrap().verify(b"U*U"));
        let text = text.replace("$2a$", "$2y$");
        assert!(parse(&text).unwrap().verify(b"U*U"));
    }

    #[test]
    fn what_is_weak_or_takes_too_much_is_refused() {
        let why = |text: &str| parse(text).unwrap_err().0;
        let good = quick_hash("x");
        for (text, word) in [
            ("", "none"),
            ("hunter2", "no hash"),
            ("{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "SHA-1"),
            ("$apr1$aaaaaaaa$bbbbbbbbbbbbbbbbbbbbbb", "MD5"),
            ("$6$salt$hash", "crypt"),
            (&good.replace("argon2id", "argon2i"), "another Argon2"),
            (&good.replace("m=8", "m=262145"), "too much"),
            (&good.replace("t=1", "t=17"), "too much"),
            (&good.replace("m=8,t=1", "m=262144,t=5"), "too much"),
            (&good.replace("m=8", "m=4294967296"), "no Argon2 hash"),
            (&good[..good.len() - 44], "no Argon2 hash"),
            (&good.replace("v=19", "v=16"), "no Argon2 hash"),
            ("$argon2id$", "no Argon2 hash"),
            (
                "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                "broken bcrypt",
            ),
            (
                "$2y$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                "too much",
            ),
            ("$2y$05$CCCCCCCCCCCCCCCCCCCCC", "no bcrypt hash"),
            ("$2y$", "no bcrypt hash"),
        ] {
            assert!(why(text).contains(word), "{text}: {}", why(text));
        }
    }
}
