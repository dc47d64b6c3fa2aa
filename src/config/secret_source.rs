//! Where a secret comes from: the key itself, a file, or the environment.
//!
//! Does not keep or compare secrets (see [`super::secret`]), and never quotes one in a problem.

use super::read_file;
use super::reader::Table;
use super::report::{At, Place};
use super::secret::Secret;

/// A token file larger than this is not a token file.
const LARGEST_SECRET: u64 = 64 * 1024;

/// A problem with the secret; it is already in the report.
#[derive(Debug)]
pub(crate) struct Reported;

/// The secret of `key`, of the file named by `key_file`, or of the environment variable, in this order.
pub(crate) fn find(
    table: &Table<'_>,
    key: &str,
    key_file: &str,
    variable: &str,
) -> Result<Option<At<Secret>>, Reported> {
    let report = table.document.report;
    match (table.item(key), table.item(key_file)) {
        (Some(_), Some(file)) => {
            let message = format!(
                "`{key}` and `{key_file}` {} exclude each other",
                table.title()
            );
            report.problem_hint(file.place, message, "keep one of them");
            Err(Reported)
        }
        (Some(_), None) => {
            let text = table.string(key).ok_or(Reported)?;
            check(table, key, &text.value, text.place).map(Some)
        }
        (None, Some(_)) => {
            let name = table.string(key_file).ok_or(Reported)?;
            let path = table.document.directory.join(&name.value);
            match read_file(&path, LARGEST_SECRET) {
                Ok(text) => check(table, key_file, &text, name.place).map(Some),
                Err(why) => {
                    let message = format!("`{key_file}` \"{}\" {why}", name.value);
                    let hint = "a relative path starts at the directory of this file";
                    report.problem_hint(name.place, message, hint);
                    Err(Reported)
                }
            }
        }
        (None, None) => match table.document.variables.get(variable) {
            Some(text) => {
                let place = report.add_source(format!("environment variable {variable}"), None);
                check(table, key, text, place).map(Some)
            }
            None => Ok(None),
        },
    }
}

/// An empty secret would let everyone in; one that no header can carry would let nobody in.
fn check(table: &Table<'_>, key: &str, text: &str, place: Place) -> Result<At<Secret>, Reported> {
    let secret = Secret::new(text);
    let report = table.document.report;
    if secret.is_empty() {
        let message = format!("`{key}` is empty");
        let hint = "give a token, or leave the key and the variable out";
        report.problem_hint(place, message, hint);
        return Err(Reported);
    }
    if !text.trim().chars().all(|c| c.is_ascii_graphic()) {
        let message = format!("`{key}` holds characters that no client can send");
        report.problem_hint(
            place,
            message,
            "use letters, digits and ASCII punctuation, without spaces",
        );
        return Err(Reported);
    }
    Ok(At::new(secret, place))
}
