//! `[route.cors]`: whether what other sites may do is said in full, and is nothing that no browser would obey.

use std::sync::Arc;
use std::time::Duration;

use super::given;
use crate::config::file::{CorsFile, FieldsFile, RouteFile, Written};
use crate::config::model::{Conditions, Cors, Names, OriginPattern, Origins};
use crate::config::report::{At, Place, Report};
use crate::config::units;
use crate::message::fields::is_token;

/// Most entries of one list.
const MOST: usize = 100;
const MAX_AGE: Duration = Duration::from_secs(600);
/// No browser remembers it for longer.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Methods that a page can use without asking.
const METHODS: [&str; 3] = ["GET", "HEAD", "POST"];
/// Methods that no page can use (Fetch standard section 2.2.1).
const FORBIDDEN: [&str; 3] = ["CONNECT", "TRACE", "TRACK"];

/// None: there is no such table, or what it says cannot be used.
pub(super) fn check_cors(
    file: &RouteFile,
    conditions: Option<&Conditions>,
    report: &Report,
) -> Option<Arc<Cors>> {
    let written = file.cors.as_ref()?;
    check_alone(&file.actions.response, written.place, report);
    let methods = match &written.methods {
        Some(_) => names(
            &written.methods,
            "methods",
            Names::Any,
            method_fault,
            report,
        ),
        None => default_methods(conditions),
    };
    let content_type = Names::Only(vec!["Content-Type".to_owned()]);
    let headers = names(
        &written.headers,
        "headers",
        content_type,
        name_fault,
        report,
    );
    let nothing = Names::Only(Vec::new());
    let expose = names(&written.expose, "expose", nothing, name_fault, report);
    let origins = check_origins(written, report)?;
    let credentials = given(&written.credentials, false);
    if let Some(place) = written.credentials.as_ref().map(|at| at.place)
        && credentials
    {
        let any = [
            ("origins", origins == Origins::Any),
            ("methods", methods == Names::Any),
            ("headers", headers == Names::Any),
            ("expose", expose == Names::Any),
        ];
        for (key, _) in any.into_iter().filter(|(_, is_any)| *is_any) {
            let message = format!("`credentials = true` cannot go together with `{key} = [\"*\"]`");
            let hint = "name them one by one, or leave `credentials` out";
            report.problem_hint(place, message, hint);
        }
    }
    Some(Arc::new(Cors {
        origins,
        methods,
        headers,
        expose,
        credentials,
        max_age: check_max_age(written, report),
    }))
}

/// What the route takes, as far as a page can ask for it.
fn default_methods(conditions: Option<&Conditions>) -> Names {
    let methods = conditions.map_or(&[][..], |conditions| &conditions.methods);
    if methods.is_empty() {
        return Names::Only(METHODS.map(str::to_owned).to_vec());
    }
    let methods = methods.iter().map(|method| method.as_str().to_owned());
    Names::Only(methods.collect())
}

fn check_origins(file: &CorsFile, report: &Report) -> Option<Origins> {
    let entries = match &file.origins {
        Some(written) if !written.value.is_empty() => &written.value,
        _ if file.broken => return None,
        written => {
            let place = written.as_ref().map_or(file.place, |at| at.place);
            let message = "`cors` does not say which sites may use the route";
            let hint = "add `origins = [\"https://app.example.com\"]`";
            report.problem_hint(place, message, hint);
            return None;
        }
    };
    check_length(entries, "origins", report);
    if let Some(star) = entries.iter().find(|entry| entry.value == "*") {
        if entries.len() > 1 {
            let message = "`*` stands for every site: what else is in `origins` means nothing";
            report.problem_hint(star.place, message, "keep `*` alone, or the others");
        }
        return Some(Origins::Any);
    }
    let mut patterns: Vec<OriginPattern> = Vec::new();
    for entry in entries {
        match origin(&entry.value) {
            Ok(pattern) if patterns.contains(&pattern) => {
                let message = format!("origin \"{pattern}\" is listed twice");
                report.problem_hint(entry.place, message, "keep it once");
            }
            Ok(pattern) => patterns.push(pattern),
            Err((fault, hint)) => {
                let message = format!("origin \"{}\" {fault}", entry.value);
                report.problem_hint(entry.place, message, hint);
            }
        }
    }
    Some(Origins::Only(patterns))
}

/// What is wrong with it, and the way out.
fn origin(text: &str) -> Result<OriginPattern, (&'static str, &'static str)> {
    const FORM: &str = "write scheme, host and port, as in \"https://app.example.com\", \"https://*.example.com\" or \
         \"http://localhost:3000\"";
    if text == "null" {
        let fault = "is what browsers say for sandboxed pages of anybody";
        return Err((
            fault,
            "serve the page from a site of its own, and name that",
        ));
    }
    match OriginPattern::parse(text) {
        Some(pattern) if pattern.is_boundless() => Err((
            "would mean every site of a whole top level",
            "name the site, as in \"https://*.example.com\"",
        )),
        Some(pattern) => Ok(pattern),
        None if text
            .split_once("://")
            .is_some_and(|(_, rest)| rest.contains('/')) =>
        {
            Err(("has a path, which no origin has", FORM))
        }
        None => Err(("is no origin", FORM)),
    }
}

fn names(
    written: &Written<Vec<At<String>>>,
    key: &str,
    default: Names,
    fault: fn(&str) -> Option<&'static str>,
    report: &Report,
) -> Names {
    let Some(written) = written else {
        return default;
    };
    check_length(&written.value, key, report);
    if written.value.iter().any(|entry| entry.value == "*") {
        if written.value.len() > 1 {
            let message = format!("`*` in `{key}` stands for all: the others mean nothing");
            let hint = match key {
                "headers" => {
                    "keep `*` alone, or the others; only Authorization has to be named, then name all"
                }
                _ => "keep `*` alone, or the others",
            };
            report.problem_hint(written.place, message, hint);
        }
        return Names::Any;
    }
    let mut names: Vec<String> = Vec::new();
    for entry in &written.value {
        if let Some(hint) = fault(&entry.value) {
            let message = format!("\"{}\" cannot be in `{key}`", entry.value.escape_debug());
            report.problem_hint(entry.place, message, hint);
        } else if names.contains(&entry.value) {
            let message = format!("`{key}` has \"{}\" twice", entry.value);
            report.problem_hint(entry.place, message, "keep it once");
        } else {
            names.push(entry.value.clone());
        }
    }
    Names::Only(names)
}

fn method_fault(method: &str) -> Option<&'static str> {
    if !is_token(method.as_bytes()) {
        return Some("a method is a word such as \"PUT\"");
    }
    if FORBIDDEN
        .iter()
        .any(|other| method.eq_ignore_ascii_case(other))
    {
        return Some("no page can use it");
    }
    method
        .bytes()
        .any(|byte| byte.is_ascii_lowercase())
        .then_some("methods are written in capital letters: a browser sends them so")
}

fn name_fault(name: &str) -> Option<&'static str> {
    (!is_token(name.as_bytes())).then_some("the name of a header field, as in \"X-Request-ID\"")
}

fn check_length(entries: &[At<String>], key: &str, report: &Report) {
    if let (Some(first), true) = (entries.first(), entries.len() > MOST) {
        let message = format!("`{key}` has {} entries, the limit is {MOST}", entries.len());
        report.problem(first.place, message);
    }
}

fn check_max_age(file: &CorsFile, report: &Report) -> Duration {
    match &file.max_age {
        None => MAX_AGE,
        Some(written) => {
            if written.value > LONGEST {
                let message = format!(
                    "`max_age` must be at most 1d, not {}",
                    units::format_duration(written.value)
                );
                report.problem_hint(written.place, message, "no browser remembers it for longer");
            }
            written.value
        }
    }
}

/// Two who write the same fields would contradict each other.
fn check_alone(fields: &FieldsFile, cors: Place, report: &Report) {
    let set = fields.set.iter().chain(&fields.add);
    let set = set.map(|(name, value)| (name, value.place));
    let removed = fields.remove.iter().flat_map(|written| &written.value);
    let all = set.chain(removed.map(|name| (&name.value, name.place)));
    for (name, place) in all {
        if name.to_ascii_lowercase().starts_with("access-control-") {
            let message = format!("`{name}` is written by `cors`, {}", report.name(cors));
            report.problem_hint(place, message, "leave it out here, or remove `cors`");
        }
    }
}
