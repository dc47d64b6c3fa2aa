//! Files of keys for signed tokens: read when the configuration is, and again when they change. Never shows one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::model::{Config, Jwt, JwtKeys, KeyFormat};
use super::report::{At, Place, Report};
use super::secret::{Secret, fingerprint};
use crate::jose::{Algorithm, Key, KeySet, parse_jwks, parse_pem};

/// A larger file is none of keys.
const LARGEST: u64 = 1024 * 1024;

/// The keys of some files, and a number that is another one for others.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) set: KeySet,
    pub(crate) fingerprint: u64,
}

/// The keys of all these files together; `names` are what the configuration calls them, under `key`. None: it is reported what
/// is wrong.
pub(crate) fn read(
    format: KeyFormat,
    files: &[PathBuf],
    names: &[At<String>],
    key: &str,
    report: &Report,
) -> Option<Found> {
    let (mut set, mut all) = (KeySet::default(), String::new());
    for (path, name) in files.iter().zip(names) {
        let problem = |why: String, hint: &str| {
            let message = format!("`{key}` \"{}\" {why}", name.value);
            report.problem_hint(name.place, message, hint);
        };
        let text = super::read_file(path, LARGEST)
            .map_err(|why| problem(why, "a relative path starts at the directory of this file"))
            .ok()?;
        let found = parse(format, &text)
            .map_err(|why| problem(why, "keys for RS256 (2048 to 8192 bits), ES256, EdDSA (Ed25519) and HS256 can be used"))
            .ok()?;
        for why in found.ignored {
            let message = format!(
                "`{key}` \"{}\" has a key that is not used, {why}",
                name.value
            );
            let hint = "tokens that are signed with it are refused";
            report.warning(name.place, message, hint);
        }
        set.keys.extend(found.keys);
        all.push_str(text.trim());
    }
    Some(Found {
        set,
        fingerprint: fingerprint(&all),
    })
}

fn parse(format: KeyFormat, text: &str) -> Result<KeySet, String> {
    match format {
        KeyFormat::Jwks => parse_jwks(text.as_bytes()),
        KeyFormat::Pem => parse_pem(text.as_bytes()),
        KeyFormat::Secret => {
            let secret = Secret::new(text);
            let is_text = secret.bytes().iter().all(u8::is_ascii_graphic);
            let key = Key::hmac(secret.bytes()).map_err(|bad| format!("cannot be used: {bad}"))?;
            is_text.then(|| KeySet::from(key)).ok_or_else(|| {
                "cannot be used: a secret is one line of letters, digits and ASCII punctuation"
                    .into()
            })
        }
    }
}

/// Reads the keys again of all routes of `config` that have some in the file at `path`; gives how many there are. What is wrong
/// is reported for `place`.
pub(crate) fn renew(config: &mut Config, path: &Path, place: Place, report: &Report) -> usize {
    let auths = config
        .routes
        .iter_mut()
        .filter_map(|route| route.auth.as_mut());
    let mut count = 0;
    for auth in auths {
        let has_it = |jwt: &&Jwt| jwt.keys.files.iter().any(|file| file == path);
        let Some(keys) = auth.jwt.as_ref().filter(has_it).map(|jwt| &jwt.keys) else {
            continue;
        };
        let Some(fresh) = again(keys, place, report) else {
            continue;
        };
        count += fresh.set.keys.len();
        if let Some(jwt) = &mut Arc::make_mut(auth).jwt {
            jwt.keys = fresh;
        }
    }
    count
}

/// What is in the files of `keys` now.
fn again(keys: &JwtKeys, place: Place, report: &Report) -> Option<JwtKeys> {
    let names = keys
        .files
        .iter()
        .map(|file| At::new(file.display().to_string(), place));
    let names: Vec<At<String>> = names.collect();
    let Found { set, fingerprint } = read(keys.format, &keys.files, &names, "jwt", report)?;
    let fresh = JwtKeys::new(
        keys.files.clone(),
        keys.format,
        &keys.wanted,
        set,
        fingerprint,
    );
    if fresh.set.keys.is_empty() {
        let hint = "the algorithm of a token is that of the key";
        report.problem_hint(place, "no key is for one of `algorithms`", hint);
        return None;
    }
    Some(fresh)
}

/// A set of one key.
impl From<Key> for KeySet {
    fn from(key: Key) -> KeySet {
        KeySet {
            keys: vec![key],
            ignored: Vec::new(),
        }
    }
}

impl JwtKeys {
    /// Those keys of `set` that are for one of the `wanted` algorithms.
    pub(crate) fn new(
        files: Vec<PathBuf>,
        format: KeyFormat,
        wanted: &[Algorithm],
        mut set: KeySet,
        fingerprint: u64,
    ) -> JwtKeys {
        set.keys.retain(|key| wanted.contains(&key.algorithm()));
        JwtKeys {
            files,
            format,
            wanted: wanted.to_vec(),
            set: Arc::new(set),
            fingerprint,
        }
    }
}
