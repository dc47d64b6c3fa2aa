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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn load(name: &str, text: &str) -> Result<Vec<String>, String> {
        match load_backends(Path::new(name), text, 9, &[]) {
            Ok(found) => Ok(found.backends.into_iter().map(|one| one.id).collect()),
            Err(problems) => Err(problems.to_string()),
        }
    }

    #[test]
    fn both_forms_say_the_same() {
        let toml = "backends = [\"http://a\", { id = \"b\", url = \"http://b\", backup = true }]";
        let list = r#"["http://a", {"id": "b", "url": "http://b", "backup": true}]"#;
        let object = format!("{{\"backends\": {list}}}");
        let of = |name: &str, text: &str| load_backends(Path::new(name), text, 9, &[]).unwrap();
        let found = of("b.toml", toml);
        assert_eq!(found.backends[1].max_connections, 9);
        assert!(found.backends[1].is_backup && found.warnings.is_empty());
        assert_eq!(of("b.json", list), found);
        assert_eq!(of("B.JSON", &object), found);
    }

    #[test]
    fn problems_are_those_of_the_configuration() {
        for (name, text, part) in [
            (
                "b.json",
                "[\n1]",
                "b.json: backends[0]: a backend must be an object, not 1",
            ),
            ("b.json", "[\n1,,", "b.json:2:3: not valid JSON"),
            ("b.json", "1", "neither a list nor an object"),
            ("b.json", "{}", "`backends` is missing"),
            (
                "b.json",
                r#"[{"url": "http://a", "weight": 0}]"#,
                "`weight` must be from 1 to 1000, not 0",
            ),
            (
                "b.json",
                r#"[{"url": "http://a", "weight": "1"}]"#,
                "`weight` must be a whole number, not a string",
            ),
            (
                "b.json",
                r#"[{"url": "http://a", "backup": 1}]"#,
                "`backup` must be true or false, not 1",
            ),
            (
                "b.json",
                r#"["http://a", "http://a"]"#,
                "backend id `a:80` is used twice",
            ),
            (
                "b.toml",
                "backends = [1]",
                "b.toml:1:13: a backend must be a URL or a table",
            ),
            ("b.toml", "backends = [\"http://${X}\"]", "b.toml:1:13: "),
            ("b.toml", "backends = [", "b.toml:1:"),
        ] {
            let problems = load(name, text).unwrap_err();
            assert!(problems.contains(part), "{part}: {problems}");
        }
        assert_eq!(load("b.json", "[]"), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}|(backends ?= ?)?[\\{\\}\\[\\]\",:=a-z0-9/\n]{0,60}") {
            let _ = load("b.toml", &text);
            let _ = load("b.json", &text);
        }
    }
}
