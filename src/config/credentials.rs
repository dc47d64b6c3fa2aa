//! Files of `name:value` lines: keys, tokens and hashes of passwords. Does not judge the values; never shows one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::credentials::{Digests, Hashes};
use super::file::{CredentialFile, Origin};
use super::key_files;
use super::model::{Auth, Config};
use super::problem::Problem;
use super::report::{Place, Report};
use super::secret::Secret;

/// A larger file is none of credentials.
const LARGEST: u64 = 4 * 1024 * 1024;

/// The lines of the file at `path`, which is called `name`. None: it is reported, for `place`, why there are none.
pub(crate) fn read(
    path: &Path,
    name: &str,
    place: Place,
    report: &Report,
) -> Option<Vec<CredentialFile>> {
    let text = super::read_file(path, LARGEST)
        .map_err(|why| {
            let message = format!("`file` \"{name}\" {why}");
            let hint = "a relative path starts at the directory of this file";
            report.problem_hint(place, message, hint);
        })
        .ok()?;
    Some(lines(&text, name, report))
}

/// What the lines say. Empty ones and those that begin with `#` say nothing.
fn lines(text: &str, name: &str, report: &Report) -> Vec<CredentialFile> {
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((who, value)) = line.split_once(':') else {
            let place = report.add_source(format!("{name}:{number}"), None);
            let hint = "write `name:value`, one on a line";
            report.problem_hint(place, "this line has no `:`", hint);
            continue;
        };
        entries.push(CredentialFile {
            name: who.trim().to_owned(),
            value: Secret::new(value),
            origin: Origin::File(name.to_owned(), number),
        });
    }
    entries
}

/// What reading files of credentials again came to.
#[derive(Debug)]
pub struct Reread {
    /// The configuration with what is in them now; as before where that cannot be used.
    pub config: Config,
    /// How many keys, tokens and users each file that could be used has, all routes taken together.
    pub good: Vec<(PathBuf, usize)>,
    /// Why others cannot be used.
    pub problems: Vec<Problem>,
}

/// Reads those files of `config` again that are among `changed`. A file with a problem in it stays as it was, as a whole.
pub fn reread(config: &Config, changed: &[PathBuf]) -> Reread {
    let mut reread = Reread {
        config: config.clone(),
        good: Vec::new(),
        problems: Vec::new(),
    };
    let routes = config.routes.iter();
    let auths: Vec<&Arc<Auth>> = routes.filter_map(|route| route.auth.as_ref()).collect();
    let is_list = |path: &PathBuf| {
        let mut lists = auths.iter().flat_map(|auth| auth.lists());
        lists.any(|list| list == path)
    };
    for path in changed {
        let report = Report::default();
        let name = path.display().to_string();
        let place = report.add_source(&name, None);
        let mut fresh = reread.config.clone();
        let mut count = key_files::renew(&mut fresh, path, place, &report);
        if is_list(path)
            && let Some(written) = read(path, &name, place, &report)
        {
            for route in &mut fresh.routes {
                let Some(auth) = &mut route.auth else {
                    continue;
                };
                if auth.lists().any(|file| file == path) {
                    count += renew(Arc::make_mut(auth), path, &written, &report);
                }
            }
        }
        if report.is_clean() {
            reread.config = fresh;
            reread.good.push((path.clone(), count));
        } else {
            reread.problems.extend(report.finish().0);
        }
    }
    reread
}

/// Puts what was `written` into the file at `path` into the schemes that name it; gives the number of entries.
fn renew(auth: &mut Auth, path: &Path, written: &[CredentialFile], report: &Report) -> usize {
    let mut count = 0;
    if let Some(keys) = &mut auth.api_keys
        && let Some(file) = keys.file.as_mut().filter(|file| file.path == path)
    {
        file.entries = Digests::beside("key", &keys.keys, report).check(written);
        count += file.entries.len();
    }
    if let Some(bearer) = &mut auth.bearer
        && let Some(file) = bearer.file.as_mut().filter(|file| file.path == path)
    {
        file.entries = Digests::beside("token", &bearer.tokens, report).check(written);
        count += file.entries.len();
    }
    if let Some(basic) = &mut auth.basic
        && let Some(file) = basic.file.as_mut().filter(|file| file.path == path)
    {
        file.entries = Hashes::beside(&basic.users, report).check(written);
        count += file.entries.len();
    }
    count
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{Request, load};

    #[test]
    fn a_new_file_takes_effect_and_a_bad_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (path, keys) = (folder.path().join("t.toml"), folder.path().join("keys.txt"));
        let text = "[[upstream]]\nname = \"web\"\nbackends = [\"http://127.0.0.1:1\"]\n[[route]]\nupstream = \"web\"\n\
             [route.auth.api_keys]\nkeys.inside = \"inside-0123456789\"\nfile = \"keys.txt\"\n";
        fs::write(&path, text).unwrap();
        fs::write(&keys, "# keys\n\n one : one-0123456789abc\n").unwrap();
        let request = Request {
            config: Some(path),
            working_dir: folder.path().to_owned(),
            ..Request::default()
        };
        let before = load(&request).unwrap().config;
        let names = |config: &Config| -> Vec<String> {
            let auth = config.routes[0].auth.as_ref().unwrap();
            let keys = auth.api_keys.as_ref().unwrap();
            keys.all().map(|key| key.name.to_string()).collect()
        };
        assert_eq!(names(&before), ["inside", "one"]);
        let changed = [keys.clone()];
        fs::write(&keys, "two:two-0123456789abc\ntwo:two-0123456789abd\r\n").unwrap();
        let after = reread(&before, &changed);
        assert_eq!(names(&after.config), ["inside", "two", "two"]);
        assert_eq!(after.good, [(keys.clone(), 2)]);
        for (text, problem) in [
            ("no colon and a secret", "keys.txt:1: this line has no `:`"),
            (
                "\na:sha256:secret",
                "keys.txt:2: the key of `a` is no SHA-256",
            ),
            (
                "a:inside-0123456789",
                "keys.txt:1: `inside` and `a` have the same key",
            ),
        ] {
            fs::write(&keys, format!("{text}\n")).unwrap();
            let bad = reread(&after.config, &changed);
            let told = bad.problems[0].to_string();
            assert!(told.contains(problem) && !told.contains("secret"), "{told}");
            assert_eq!(names(&bad.config), ["inside", "two", "two"]);
            assert!(bad.good.is_empty());
        }
        fs::remove_file(&keys).unwrap();
        let gone = reread(&after.config, &changed);
        assert!(gone.problems[0].to_string().contains("does not exist"));
        assert_eq!(names(&gone.config), ["inside", "two", "two"]);
    }
}
