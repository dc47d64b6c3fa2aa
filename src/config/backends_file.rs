//! A file that has backends and nothing else, for those who write it while tollgate runs.
//!
//! It is read and checked as `backends` in the configuration is, but for `${VAR}`: it has no variables. Nothing is watched
//! here.

use std::collections::BTreeMap;
use std::path::Path;

use super::check::backend::check_entries;
use super::file::BackendFile;
use super::model::{Backend, Listen};
use super::problem::{Problem, Problems};
use super::reader::Document;
use super::report::Report;
use super::{LARGEST_FILE, json_form, read_file, toml_form};

/// What a file of backends says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBackends {
    /// In the order written; may be empty.
    pub backends: Vec<Backend>,
    /// What is odd, sorted by place.
    pub warnings: Vec<Problem>,
}

/// The text of such a file, at most 4 MiB.
///
/// # Errors
/// Why there is none, in words that follow the file's name.
pub fn read_text(path: &Path) -> Result<String, String> {
    read_file(path, LARGEST_FILE)
}

/// Checks the text of the file at `path`: JSON where its name ends in `.json`, else TOML. `most`: the `max_connections` of
/// backends that say nothing else. `own`: where this proxy listens.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_backends(
    path: &Path,
    text: &str,
    most: usize,
    own: &[Listen],
) -> Result<FoundBackends, Problems> {
    let report = Report::default();
    let backends = entries(path, text, &report)
        .map(|entries| check_entries(&entries, own, most, &report))
        .unwrap_or_default();
    let is_clean = report.is_clean();
    let (problems, warnings) = report.finish();
    if is_clean {
        Ok(FoundBackends { backends, warnings })
    } else {
        Err(Problems(problems))
    }
}

/// None: nothing could be read; the reason is in the report.
fn entries(path: &Path, text: &str, report: &Report) -> Option<Vec<BackendFile>> {
    let name = path.display().to_string();
    let is_json = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    if is_json {
        return json_form::read_backends(&name, text, report);
    }
    let document = Document {
        report,
        source: report.add_source(name, Some(text)),
        variables: &BTreeMap::new(),
        directory: Path::new(""),
    };
    toml_form::read_backends(&document, text)
}
