//! Keys, tokens and hashes of passwords, from the configuration or from files: which can be used.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::config::file::{CredentialFile, Origin};
use crate::config::model::{BadHash, KeyDigest, NamedDigest, NamedHash, PasswordHash};
use crate::config::report::Report;

/// Shorter keys can be guessed.
const SHORTEST_KEY: usize = 16;
/// Longest name of a user or a key, in bytes: it goes into every line of the log.
pub(super) const LONGEST_NAME: usize = 128;

/// The keys of one scheme, from wherever they come.
pub(in crate::config) struct Digests<'a> {
    kind: &'static str,
    report: &'a Report,
    /// By the begin of their digests.
    seen: HashMap<u64, NamedDigest>,
}

impl<'a> Digests<'a> {
    /// `kind`: what people call one.
    pub(in crate::config) fn new(kind: &'static str, report: &'a Report) -> Digests<'a> {
        Digests {
            kind,
            report,
            seen: HashMap::new(),
        }
    }

    /// For keys that come beside these, which are known already.
    pub(in crate::config) fn beside(
        kind: &'static str,
        known: &[NamedDigest],
        report: &'a Report,
    ) -> Digests<'a> {
        let known = known.iter().map(|key| (key.digest.begin(), key.clone()));
        Digests {
            kind,
            report,
            seen: known.collect(),
        }
    }

    /// Those of `written` that can be used; what is wrong with the others is reported.
    pub(in crate::config) fn check(&mut self, written: &[CredentialFile]) -> Vec<NamedDigest> {
        let check = |entry: &CredentialFile| {
            let name = check_name(entry, self.report)?;
            let digest = self.digest(entry)?;
            self.unique(NamedDigest { name, digest }, entry)
        };
        written.iter().filter_map(check).collect()
    }

    fn digest(&self, entry: &CredentialFile) -> Option<KeyDigest> {
        let (kind, name, report) = (self.kind, &entry.name, self.report);
        let text = std::str::from_utf8(entry.value.bytes()).unwrap_or_default();
        if let Some(digits) = text.strip_prefix("sha256:") {
            let digest = KeyDigest::parse(digits);
            if digest.is_none() {
                let message = format!("the {kind} of `{name}` is no SHA-256");
                let hint =
                    "write `sha256:` and 64 hexadecimal digits; `tollgate hash-key` prints that";
                entry.problem(report, message, hint);
            }
            return digest;
        }
        if self.is_bare_digest(entry, text) {
            let message = format!("the {kind} of `{name}` looks like a hash");
            let hint = "a SHA-256 is written `sha256:` and 64 hexadecimal digits; of a key that looks so itself, write that hash";
            entry.problem(report, message, hint);
            return None;
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("the {kind} of `{name}` is empty, or no client can send it");
            let hint = "use letters, digits and ASCII punctuation, without spaces";
            entry.problem(report, message, hint);
            return None;
        }
        if text.len() < SHORTEST_KEY {
            let message = format!(
                "the {kind} of `{name}` is shorter than {SHORTEST_KEY} characters: it can be guessed"
            );
            let hint = "`openssl rand -hex 24` makes a good one";
            entry.warning(report, message, hint);
        }
        if matches!(entry.origin, Origin::Configuration(_)) {
            let message = format!("the {kind} of `{name}` is written out in the configuration");
            let hint =
                "write its hash, which `tollgate hash-key` prints, or take it from `${VARIABLE}`";
            entry.warning(report, message, hint);
        }
        Some(KeyDigest::of(text.as_bytes()))
    }

    /// Whether it was meant as a hash, without what begins one. Taken for a key it would let in who knows the hash.
    fn is_bare_digest(&self, entry: &CredentialFile, text: &str) -> bool {
        let begins_so = text
            .get(..7)
            .is_some_and(|begin| begin.eq_ignore_ascii_case("sha256:"));
        // In variables there are keys, and `openssl rand -hex 32` makes such ones.
        let is_key = matches!(entry.origin, Origin::Environment(_));
        begins_so || !is_key && KeyDigest::parse(text).is_some()
    }

    /// One name may have several keys, while they are being changed; but one key has one name.
    fn unique(&mut self, named: NamedDigest, entry: &CredentialFile) -> Option<NamedDigest> {
        let known = self.seen.get(&named.digest.begin());
        if let Some(first) = known.filter(|first| first.digest == named.digest) {
            let (first, kind) = (&first.name, self.kind);
            let message = format!("`{first}` and `{}` have the same {kind}", named.name);
            entry.problem(self.report, message, "give each its own");
            return None;
        }
        self.seen.insert(named.digest.begin(), named.clone());
        Some(named)
    }
}

/// Names go into logs and to backends.
fn check_name(entry: &CredentialFile, report: &Report) -> Option<Arc<str>> {
    let name = &entry.name;
    let fits = (1..=LONGEST_NAME).contains(&name.len())
        && !name.contains(|c: char| c.is_control() || c == ':');
    if !fits {
        let message = format!("\"{}\" cannot be a name", name.escape_debug());
        let hint = "1 to 128 characters, without control characters and `:`";
        entry.problem(report, message, hint);
        return None;
    }
    Some(name.as_str().into())
}

/// The users of one scheme, from wherever they come.
pub(in crate::config) struct Hashes<'a> {
    report: &'a Report,
    seen: HashSet<String>,
}

impl<'a> Hashes<'a> {
    pub(in crate::config) fn new(report: &'a Report) -> Hashes<'a> {
        Hashes {
            report,
            seen: HashSet::new(),
        }
    }

    /// For users that come beside these, which are known already.
    pub(in crate::config) fn beside(known: &[NamedHash], report: &'a Report) -> Hashes<'a> {
        let known = known.iter().map(|user| user.name.to_string());
        Hashes {
            report,
            seen: known.collect(),
        }
    }

    /// Those of `written` that can be used; what is wrong with the others is reported.
    pub(in crate::config) fn check(&mut self, written: &[CredentialFile]) -> Vec<NamedHash> {
        let check = |entry: &CredentialFile| {
            let name = check_name(entry, self.report)?;
            if !self.seen.insert(entry.name.clone()) {
                let message = format!("user `{name}` is there twice");
                entry.problem(self.report, message, "keep one of them");
                return None;
            }
            match PasswordHash::parse(&entry.value) {
                Ok(hash) => Some(NamedHash { name, hash }),
                Err(BadHash(why)) => {
                    let message = format!("the password hash of `{name}` cannot be used: {why}");
                    let hint = "`tollgate hash-password` and `htpasswd -nB` print hashes that can";
                    entry.problem(self.report, message, hint);
                    None
                }
            }
        };
        written.iter().filter_map(check).collect()
    }
}
