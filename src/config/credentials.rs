//! Files of `name:value` lines: keys, tokens and hashes of passwords. Does not judge the values; never shows one.

use std::path::Path;

use super::file::{CredentialFile, Origin};
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
    let text = super::read_regular(path, LARGEST)
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
