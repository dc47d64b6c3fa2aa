//! Configuration: read, parse, check; the result is a value ([`model::Config`]) or a list of all problems.
//!
//! This file decides where to look. It does not watch files for changes and sets nothing up.

pub mod model;
pub mod problem;
pub mod secret;
pub mod units;

mod backends_file;
mod check;
mod command_line;
mod credentials;
pub mod diff;
mod env_file;
mod env_form;
mod file;
mod interpolate;
mod json_form;
mod key_files;
mod keys;
mod reader;
mod report;
mod secret_source;
mod suggest;
mod toml_backends;
mod toml_form;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use backends_file::{FoundBackends, load_backends, read_text};
pub use credentials::{Reread, reread};
pub use problem::{Problem, Problems};

use crate::plain_file::{self, Unreadable};
use env_file::Line;
use file::ConfigFile;
use reader::Document;
use report::Report;

/// A larger file is not a configuration, but perhaps a device that never ends.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// Names the file when `--config` does not.
const CONFIG_VARIABLE: &str = "TOLLGATE_CONFIG";

/// Where to look for the configuration.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--env-file`.
    pub env_file: Option<PathBuf>,
    /// `--listen`: with `--to` the whole configuration, else instead of what the file says.
    pub listen: Vec<String>,
    /// `--to`: backends; no file is read then.
    pub to: Vec<String>,
    /// The process environment.
    pub environment: BTreeMap<String, String>,
    /// Where relative paths start.
    pub working_dir: PathBuf,
}

/// A usable configuration.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: model::Config,
    /// What is odd in it, sorted by place.
    pub warnings: Vec<Problem>,
    /// The file it was read from, if it was one.
    pub file: Option<PathBuf>,
}

/// Finds, reads and checks the configuration.
///
/// In this order: `--to`, `--config`, `--env-file`, `$TOLLGATE_CONFIG`, `./tollgate.toml`,
/// `/etc/tollgate/tollgate.toml`, `BACKEND_N` in `./.env` or the environment. With `--config`, the variables of
/// `--env-file` serve for `${VAR}`.
pub fn load(request: &Request) -> Result<Loaded, Problems> {
    let report = Report::default();
    let file = find(request, &report).map(|mut file| {
        if request.to.is_empty()
            && let Some(listen) = command_line::listen(&request.listen, &report)
        {
            file.server.listen = Some(listen);
        }
        file
    });
    finish(file, report)
}

/// Checks a TOML document; variables are not filled in from anywhere. For tests and demonstrations.
pub fn load_str(name: &str, toml: &str) -> Result<Loaded, Problems> {
    let report = Report::default();
    let file = read_toml(name, toml, Path::new(""), &BTreeMap::new(), &report);
    finish(file, report)
}

/// Where `url` says that a backend is.
///
/// # Errors
/// What is wrong with it, in a sentence or two.
pub fn parse_backend_url(url: &str) -> Result<model::BackendAddress, String> {
    check::parse_backend(url).map_err(|(message, hint)| format!("{message}: {hint}."))
}

/// What stands for an API key or a token in a configuration.
pub fn hash_key(key: &[u8]) -> String {
    format!("sha256:{}", model::KeyDigest::of(key).digits())
}

/// Whether `text` can be the name of something: it goes into headers and logs.
pub fn is_name(text: &str) -> bool {
    check::is_name(text)
}

fn finish(file: Option<ConfigFile>, report: Report) -> Result<Loaded, Problems> {
    let path = file.as_ref().and_then(|file| file.path.clone());
    let config = file.map(|file| check::check(&file, &report));
    let clean = report.is_clean();
    let (problems, warnings) = report.finish();
    match config {
        Some(config) if clean => Ok(Loaded {
            config,
            warnings,
            file: path,
        }),
        _ => Err(Problems(problems)),
    }
}

/// None: nothing could be read; the reason is in the report.
fn find(request: &Request, report: &Report) -> Option<ConfigFile> {
    if !request.to.is_empty() {
        if request.config.is_some() || request.env_file.is_some() {
            let place = report.add_source("command line", None);
            let message = "`--to` cannot be used together with `--config` or `--env-file`";
            report.problem_hint(
                place,
                message,
                "list the backends in the file, or leave the file out",
            );
            return None;
        }
        return Some(command_line::read(&request.listen, &request.to, report));
    }
    if let Some(path) = &request.config {
        return read_config(request, path, "--config", report);
    }
    if let Some(path) = &request.env_file {
        let lines = read_env_file(request, path, report)?;
        return read_environment(request, &path.display().to_string(), lines, report);
    }
    let named = request
        .environment
        .get(CONFIG_VARIABLE)
        .filter(|path| !path.is_empty());
    if let Some(path) = named {
        let asked = "environment variable TOLLGATE_CONFIG";
        return read_config(request, Path::new(path), asked, report);
    }
    for path in ["tollgate.toml", "/etc/tollgate/tollgate.toml"] {
        if request.working_dir.join(path).exists() {
            return read_config(request, Path::new(path), path, report);
        }
    }
    find_environment(request, report)
}

/// The last places to look: `./.env` and the environment, each only with a backend in it.
fn find_environment(request: &Request, report: &Report) -> Option<ConfigFile> {
    let path = Path::new(".env");
    if let Ok(text) = read_file(&request.working_dir.join(path), LARGEST_FILE) {
        // Looked at apart first: a `.env` file of some other program is none of our business.
        let apart = env_file::read(".env", &text, &Report::default());
        if apart
            .iter()
            .any(|line| env_form::backend_number(&line.key).is_some())
        {
            let lines = env_file::read(".env", &text, report);
            return read_environment(request, ".env", lines, report);
        }
    }
    let mut names = request.environment.keys();
    if names.any(|name| env_form::backend_number(name).is_some()) {
        return read_environment(request, "environment", Vec::new(), report);
    }
    let place = report.add_source("configuration", None);
    report.problem_hint(
        place,
        "there is none: looked for --config, $TOLLGATE_CONFIG, ./tollgate.toml, /etc/tollgate/tollgate.toml, and for \
         BACKEND_1 in ./.env and the environment",
        "write a tollgate.toml, name a file with `--config FILE`, or start without one: `--listen :8080 --to :9001`",
    );
    None
}

fn read_environment(
    request: &Request,
    origin: &str,
    lines: Vec<Line>,
    report: &Report,
) -> Option<ConfigFile> {
    let variables = env_form::Variables::join(lines, &request.environment, report);
    Some(env_form::read(origin, &variables, report))
}

/// Reads the file at `path`; `asked` says who wants it.
fn read_config(request: &Request, path: &Path, asked: &str, report: &Report) -> Option<ConfigFile> {
    let full = request.working_dir.join(path);
    let name = path.display().to_string();
    let text = match read_config_file(&full) {
        Ok(text) => text,
        Err(why) => {
            let place = report.add_source(asked, None);
            let hint = "check the path; a relative one starts at the working directory";
            report.problem_hint(place, format!("\"{name}\" {why}"), hint);
            return None;
        }
    };
    if path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("json"))
    {
        let mut file = json_form::read(&name, &text, report)?;
        file.path = Some(full);
        return Some(file);
    }
    let mut variables = BTreeMap::new();
    if let Some(path) = &request.env_file {
        for line in read_env_file(request, path, report)? {
            variables.insert(line.key, line.value.value);
        }
    }
    // The process environment wins over the file.
    variables.extend(request.environment.clone());
    let directory = full.parent().unwrap_or(Path::new(""));
    let mut file = read_toml(&name, &text, directory, &variables, report)?;
    file.path = Some(full);
    Some(file)
}

fn read_toml(
    name: &str,
    text: &str,
    directory: &Path,
    variables: &BTreeMap<String, String>,
    report: &Report,
) -> Option<ConfigFile> {
    let document = Document {
        report,
        source: report.add_source(name, Some(text)),
        variables,
        directory,
    };
    toml_form::read(&document, text)
}

fn read_env_file(request: &Request, path: &Path, report: &Report) -> Option<Vec<Line>> {
    let name = path.display().to_string();
    match read_file(&request.working_dir.join(path), LARGEST_FILE) {
        Ok(text) => Some(env_file::read(&name, &text, report)),
        Err(why) => {
            let place = report.add_source("--env-file", None);
            let hint = "check the path; a relative one starts at the working directory";
            report.problem_hint(place, format!("\"{name}\" {why}"), hint);
            None
        }
    }
}

/// What the configuration file holds: a pipe will do for that one, the reader waits for who writes into it.
fn read_config_file(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes));
    let length = read.map_err(|error| describe(&error))?;
    if u64::try_from(length).is_ok_and(|length| length > LARGEST_FILE) {
        return Err(too_large(LARGEST_FILE));
    }
    text(bytes)
}

/// What any other file holds, or why there is nothing.
fn read_bytes(path: &Path, largest: u64) -> Result<Vec<u8>, String> {
    plain_file::read(path, largest).map_err(|why| match why {
        Unreadable::Failed(error) => describe(&error),
        Unreadable::Directory => "is a directory".to_owned(),
        Unreadable::NotRegular => "is not a regular file".to_owned(),
        Unreadable::TooLarge => too_large(largest),
    })
}

/// The text of a file without byte order mark, or why there is none.
fn read_file(path: &Path, largest: u64) -> Result<String, String> {
    text(read_bytes(path, largest)?)
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "may not be read by this user".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

fn too_large(largest: u64) -> String {
    format!("is larger than {}", units::format_size(largest))
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let read = error
            .as_bytes()
            .iter()
            .take(error.utf8_error().valid_up_to());
        let line = read.filter(|byte| **byte == b'\n').count() + 1;
        format!("is not UTF-8 text (line {line})")
    })?;
    Ok(text
        .strip_prefix('\u{feff}')
        .map(str::to_owned)
        .unwrap_or(text))
}

#[cfg(test)]
mod tests;
