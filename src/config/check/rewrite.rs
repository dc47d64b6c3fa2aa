//! `add_prefix` and `rewrite`: the path that a backend is asked for. (`strip_prefix` is checked with the path it belongs to.)

use super::action::parameters;
use super::path_fault;
use super::template::{Scope, check_template};
use crate::config::file::RouteFile;
use crate::config::model::{PathMatch, Piece, Template, Variable};
use crate::config::report::Report;

/// The prefix without a `/` at its end: what it is put before starts with one.
pub(super) fn check_add_prefix(file: &RouteFile, report: &Report) -> Option<String> {
    let written = file.actions.add_prefix.as_ref()?;
    let prefix = written.value.trim_end_matches('/');
    if let Some(fault) = path_fault(&written.value) {
        let message = format!("`add_prefix` \"{}\" {fault}", written.value);
        report.problem_hint(written.place, message, "write it as in \"/v2\"");
        return None;
    }
    if prefix.is_empty() {
        let message = "`add_prefix` \"/\" adds nothing";
        report.problem_hint(written.place, message, "leave it out");
        return None;
    }
    Some(prefix.to_owned())
}

/// The template of the whole path.
pub(super) fn check_rewrite(
    file: &RouteFile,
    path: Option<&PathMatch>,
    report: &Report,
) -> Option<Template> {
    let written = file.actions.rewrite.as_ref()?;
    for (key, other) in [
        ("strip_prefix", &file.strip_prefix),
        ("add_prefix", &file.actions.add_prefix),
    ] {
        if let Some(other) = other {
            let message = format!("`{key}` and `rewrite` exclude each other");
            let hint = "keep one of them: `rewrite` is the whole path";
            report.problem_hint(other.place, message, hint);
        }
    }
    let parameters = parameters(path?);
    let template = check_template(written, "`rewrite`", Scope::Path(&parameters), report)?;
    if let Some(fault) = fault(&template) {
        let message = format!("`rewrite` \"{}\" {fault}", written.value);
        let hint = "write it as in \"/people/{id}{rest}\"";
        report.problem_hint(written.place, message, hint);
        return None;
    }
    Some(template)
}

fn fault(template: &Template) -> Option<&'static str> {
    match template.pieces().first() {
        Some(Piece::Text(text)) if text.starts_with('/') => (),
        Some(Piece::Variable(Variable::Path | Variable::Rest)) => (),
        _ => return Some("must start with `/`"),
    }
    template.pieces().iter().find_map(|piece| match piece {
        Piece::Text(text) if text.contains(['?', '#']) => {
            Some("must be a path only, without `?` or `#`")
        }
        Piece::Text(text) if !text.chars().all(|c| c.is_ascii_graphic()) => {
            Some("holds characters that no request path has (write them as %XX)")
        }
        _ => None,
    })
}
