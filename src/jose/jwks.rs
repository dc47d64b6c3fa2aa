//! Reads a set of keys (JWKS, RFC 7517 section 5).
//!
//! Keys that are of another kind or for another purpose are left aside, as that section asks for; what says that it is a key of
//! ours and is none makes the whole file a bad one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::{self, Json, Members};
use super::key::{Algorithm, Key, KeySet};

/// Most keys in one set.
const MOST_KEYS: usize = 100;
/// Longest id of a key in bytes.
pub(super) const LONGEST_ID: usize = 256;

/// What is to become of one member of `keys`.
enum Found {
    Key(Key),
    Ignored(String),
}

/// The keys of the JWKS `text`.
///
/// # Errors
/// A sentence for people; it quotes nothing but ids and kinds of keys.
pub fn parse(text: &[u8]) -> Result<KeySet, String> {
    let members = json::object(text)
        .ok_or("is not a JSON object, has a member twice, or is nested too deeply")?;
    let Some(Json::List(list)) = members.get("keys") else {
        return Err("has no list `keys`".into());
    };
    if list.len() > MOST_KEYS {
        return Err(format!("has more than {MOST_KEYS} keys"));
    }
    let mut set = KeySet::default();
    for (number, item) in (1..).zip(list) {
        let Json::Object(key) = item else {
            return Err(format!("key {number} is no object"));
        };
        let name = name(number, key);
        match read(key).map_err(|why| format!("{name}: {why}"))? {
            Found::Key(key) => set.keys.push(key),
            Found::Ignored(why) => set.ignored.push(format!("{name}: {why}")),
        }
    }
    if set.keys.is_empty() {
        let why = set.ignored.join("; ");
        return Err(match why.is_empty() {
            true => "has no keys".into(),
            false => format!("has no key that can be used ({why})"),
        });
    }
    Ok(set)
}

/// What people call the key.
fn name(number: usize, key: &Members) -> String {
    match key.get("kid").and_then(Json::text) {
        Some(id) => format!("key {number} (kid {id:.80?})"),
        None => format!("key {number}"),
    }
}

fn read(key: &Members) -> Result<Found, String> {
    let ignored = |why: String| Ok(Found::Ignored(why));
    let kind = text(key, "kty")?.ok_or("has no `kty`")?;
    let curve = text(key, "crv")?;
    let algorithm = match (kind, curve) {
        ("RSA", _) => Algorithm::Rs256,
        ("oct", _) => Algorithm::Hs256,
        ("EC", Some("P-256")) => Algorithm::Es256,
        ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
        (_, Some(curve)) => {
            return ignored(format!("{kind:.40} keys of curve {curve:.40} are not used"));
        }
        _ => return ignored(format!("keys of kind {kind:.40?} are not used")),
    };
    if let Some(other) = text(key, "alg")?
        && other != algorithm.name()
    {
        return ignored(format!("it is for {other:.40}"));
    }
    if let Some(purpose) = text(key, "use")?
        && purpose != "sig"
    {
        return ignored(format!("its use is {purpose:.40?}, not \"sig\""));
    }
    if !may_verify(key)? {
        return ignored("its key_ops have no \"verify\"".into());
    }
    let id = text(key, "kid")?;
    if id.is_some_and(|id| id.len() > LONGEST_ID) {
        return Err(format!("its `kid` has more than {LONGEST_ID} bytes"));
    }
    if algorithm != Algorithm::Hs256 && key.contains_key("d") {
        return Err("is a private key; only its public part belongs here".into());
    }
    let made = make(key, algorithm)?;
    Ok(Found::Key(made.named(id.map(str::to_owned))))
}

fn make(key: &Members, algorithm: Algorithm) -> Result<Key, String> {
    let made = match algorithm {
        Algorithm::Hs256 => Key::hmac(&bytes(key, "k")?),
        Algorithm::Rs256 => Key::rsa(&bytes(key, "n")?, &bytes(key, "e")?),
        Algorithm::Es256 => {
            let (x, y) = (bytes(key, "x")?, bytes(key, "y")?);
            // RFC 7518 section 6.2.1.2: the full length, zeros in front included.
            if x.len() != 32 || y.len() != 32 {
                return Err("`x` and `y` of a P-256 key have 32 bytes each".into());
            }
            Key::p256(&[&[4][..], &x, &y].concat())
        }
        Algorithm::EdDsa => Key::ed25519(&bytes(key, "x")?),
    };
    made.map_err(|bad| bad.to_string())
}

fn may_verify(key: &Members) -> Result<bool, String> {
    match key.get("key_ops") {
        None => Ok(true),
        Some(Json::List(list)) => Ok(list.iter().any(|item| item.text() == Some("verify"))),
        Some(_) => Err("`key_ops` is no list".into()),
    }
}

fn text<'a>(key: &'a Members, name: &str) -> Result<Option<&'a str>, String> {
    match key.get(name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` is no text")),
    }
}

fn bytes(key: &Members, name: &str) -> Result<Vec<u8>, String> {
    let text = text(key, name)?.ok_or_else(|| format!("has no `{name}`"))?;
    let decoded = URL_SAFE_NO_PAD.decode(text);
    decoded.map_err(|_| format!("`{name}` is not base64url without padding"))
}
