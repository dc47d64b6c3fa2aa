//! Path conditions of a route, and what is stripped off the paths that they let in.

use super::super::path_fault;
use crate::config::file::RouteFile;
use crate::config::model::{PathMatch, Segment};
use crate::config::report::Report;
use crate::message::path::canonical_text;

/// The path condition; without one, every path. None: the reason is reported.
pub(super) fn check_path(file: &RouteFile, report: &Report) -> Option<PathMatch> {
    let parsed = match (&file.path, &file.path_exact) {
        (None, None) => return Some(PathMatch::Prefix("/".to_owned())),
        (Some(_), Some(exact)) => {
            let message = "a route has a `path` or a `path_exact`, not both";
            report.problem_hint(exact.place, message, "keep one of them");
            return None;
        }
        (Some(path), None) => parse_path(&path.value).map_err(|message| {
            let hint = "write a prefix such as \"/api/\" or a pattern such as \"/items/{service}\"";
            report.problem_hint(path.place, message, hint);
        }),
        (None, Some(exact)) => parse_exact(&exact.value).map_err(|message| {
            report.problem_hint(exact.place, message, "write it as in \"/login\"");
        }),
    };
    parsed.ok()
}

fn parse_exact(text: &str) -> Result<PathMatch, String> {
    match path_fault(text) {
        Some(fault) => Err(format!("path \"{text}\" {fault}")),
        None if text.contains(['{', '}']) => Err(format!(
            "path \"{text}\" has a parameter, which only `path` can have"
        )),
        None => Ok(PathMatch::Exact(canonical_text(text))),
    }
}

/// Parses a path condition; the error is the message.
fn parse_path(text: &str) -> Result<PathMatch, String> {
    let pattern = text.contains(['{', '}']);
    if let Some(fault) = path_fault(text) {
        return Err(format!("path \"{text}\" {fault}"));
    }
    if !pattern {
        return Ok(PathMatch::Prefix(canonical_text(text)));
    }
    let mut segments: Vec<Segment> = Vec::new();
    for segment in text.split('/').skip(1) {
        let parameter = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        let segment = match parameter {
            Some(name) if is_parameter(name) => Segment::Parameter(name.to_owned()),
            None if segment.is_empty() => {
                return Err(format!(
                    "pattern \"{text}\" must not end with `/`: what follows matches anyway"
                ));
            }
            None if !segment.contains(['{', '}']) => Segment::Literal(canonical_text(segment)),
            _ => {
                return Err(format!(
                    "pattern \"{text}\" has a bad segment `{segment}`: a parameter is a whole segment, `{{name}}`"
                ));
            }
        };
        if matches!(segment, Segment::Parameter(_)) && segments.contains(&segment) {
            return Err(format!("pattern \"{text}\" has a parameter twice"));
        }
        segments.push(segment);
    }
    Ok(PathMatch::Pattern(segments))
}

fn is_parameter(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The same condition whatever its parameters are called.
pub(super) fn anonymous(path: &PathMatch) -> PathMatch {
    let PathMatch::Pattern(segments) = path else {
        return path.clone();
    };
    let segments = segments.iter().map(|segment| match segment {
        Segment::Parameter(_) => Segment::Parameter(String::new()),
        literal @ Segment::Literal(_) => literal.clone(),
    });
    PathMatch::Pattern(segments.collect())
}

/// The prefix without a `/` at its end: the first `/` of what is left stays in the path anyway.
pub(super) fn check_strip_prefix(
    file: &RouteFile,
    path: Option<&PathMatch>,
    report: &Report,
) -> Option<String> {
    let written = file.strip_prefix.as_ref()?;
    let canonical = canonical_text(&written.value);
    let prefix = canonical.trim_end_matches('/');
    if let Some(fault) = path_fault(&written.value) {
        let message = format!("`strip_prefix` \"{}\" {fault}", written.value);
        report.problem_hint(written.place, message, "write it as in \"/api\"");
        return None;
    }
    if prefix.is_empty() {
        report.problem_hint(
            written.place,
            "`strip_prefix` \"/\" removes nothing",
            "leave it out",
        );
        return None;
    }
    let fixed = match path? {
        PathMatch::Exact(path) | PathMatch::Prefix(path) => path.clone(),
        PathMatch::Pattern(segments) => leading_literals(segments),
    };
    let rest = fixed.strip_prefix(prefix);
    if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        let hint = match fixed.trim_end_matches('/') {
            "" => "give the route a `match` with a `path` that starts with it".to_owned(),
            fixed => format!(
                "every path of this route starts with \"{fixed}\", so at most that can be removed"
            ),
        };
        let message = format!(
            "`strip_prefix` \"{}\" is not how the paths of this route start",
            written.value
        );
        report.problem_hint(written.place, message, hint);
        return None;
    }
    Some(prefix.to_owned())
}

fn leading_literals(segments: &[Segment]) -> String {
    let mut path = String::new();
    for segment in segments {
        let Segment::Literal(text) = segment else {
            break;
        };
        path.push('/');
        path.push_str(text);
    }
    path
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert_eq!(
            parse_path("/items/{service}"),
            Ok(PathMatch::Pattern(vec![
                Segment::Literal("items".to_owned()),
                Segment::Parameter("service".to_owned()),
            ]))
        );
        assert_eq!(
            parse_path("/api/"),
            Ok(PathMatch::Prefix("/api/".to_owned()))
        );
        for bad in [
            "/{}",
            "/{1}",
            "/a{b}",
            "/{a",
            "/a}",
            "/{a}/",
            "/{a}/{a}",
            "/{a-b}",
            "items/{a}",
        ] {
            assert!(parse_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parameter_names_do_not_make_a_pattern_different() {
        let one = parse_path("/a/{x}").unwrap();
        let other = parse_path("/a/{y}").unwrap();
        assert_ne!(one, other);
        assert_eq!(anonymous(&one), anonymous(&other));
    }
}
