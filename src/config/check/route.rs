//! `[[route]]`: conditions, destinations, and routes that get in each other's way.
//!
//! Does not order routes or match requests; that is the route table's business.

use super::engine::needs_reactor;
use super::{address, check_name, check_unique, given, path_fault};
use crate::config::file::{ConfigFile, RouteFile};
use crate::config::model::{Engine, HostMatch, PathMatch, Route, RouteTo, Segment, Upstream};
use crate::config::report::{At, Place, Report};
use crate::config::suggest;

/// Checks every `[[route]]`; without any, everything goes to the first upstream.
pub(super) fn check_routes(
    file: &ConfigFile,
    engine: Engine,
    upstreams: &[Upstream],
    report: &Report,
) -> Vec<Route> {
    if file.routes.is_empty() {
        return vec![Route {
            name: "default".into(),
            host: HostMatch::Any,
            path: PathMatch::Prefix("/".to_owned()),
            to: RouteTo::Upstream(0),
            strip_prefix: None,
            max_body: None,
            upgrade: true,
        }];
    }
    let mut names = Vec::new();
    let mut matches: Vec<(HostMatch, PathMatch, Place)> = Vec::new();
    let mut routes = Vec::new();
    for (index, written) in file.routes.iter().enumerate() {
        let name = match &written.name {
            Some(name) => {
                if check_name(report, "route name", name) {
                    check_unique(report, &mut names, "route name", &name.value, name.place);
                }
                name.value.clone()
            }
            None => {
                let name = format!("route-{}", index + 1);
                check_unique(report, &mut names, "route name", &name, written.place);
                name
            }
        };
        if upstreams.is_empty() {
            // Without upstreams every route is wrong, and that is said already.
            continue;
        }
        let Some(route) = check_route(written, name, engine, upstreams, report) else {
            continue;
        };
        let condition = (route.host.clone(), anonymous(&route.path));
        let same = |(host, path, _): &&(HostMatch, PathMatch, Place)| {
            *host == condition.0 && *path == condition.1
        };
        if let Some((_, _, first)) = matches.iter().find(same) {
            let first = report.name(*first);
            report.problem_hint(
                written.place,
                format!("this route matches exactly what the route on {first} matches"),
                "change or remove one of them: the second could never be used",
            );
        } else {
            matches.push((condition.0, condition.1, written.place));
        }
        routes.push(route);
    }
    routes
}

/// None: no host or path to compare with others; the reason is reported.
fn check_route(
    file: &RouteFile,
    name: String,
    engine: Engine,
    upstreams: &[Upstream],
    report: &Report,
) -> Option<Route> {
    let host = match &file.host {
        None => Some(HostMatch::Any),
        Some(host) => address::parse_host_match(&host.value)
            .map_err(|(message, hint)| report.problem_hint(host.place, message, hint))
            .ok(),
    };
    let path = match &file.path {
        None => Some(PathMatch::Prefix("/".to_owned())),
        Some(path) => parse_path(&path.value)
            .map_err(|message| {
                let hint =
                    "write a prefix such as \"/api/\" or a pattern such as \"/items/{service}\"";
                report.problem_hint(path.place, message, hint);
            })
            .ok(),
    };
    let to = check_destination(file, path.as_ref(), upstreams, report);
    let strip_prefix = check_strip_prefix(file, path.as_ref(), report);
    let asked = file.upgrade.clone().filter(|upgrade| upgrade.value);
    needs_reactor(report, engine, "`upgrade = true`", &asked);
    if file.broken {
        return None;
    }
    Some(Route {
        name: name.into(),
        host: host?,
        path: path?,
        to: to.unwrap_or(RouteTo::Upstream(0)),
        strip_prefix,
        max_body: file.max_body.as_ref().map(|size| size.value),
        upgrade: given(&file.upgrade, true),
    })
}

/// Parses a path condition; the error is the message.
fn parse_path(text: &str) -> Result<PathMatch, String> {
    let pattern = text.contains(['{', '}']);
    if let Some(fault) = path_fault(text) {
        return Err(format!("path \"{text}\" {fault}"));
    }
    if !pattern {
        return Ok(PathMatch::Prefix(text.to_owned()));
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
            None if !segment.contains(['{', '}']) => Segment::Literal(segment.to_owned()),
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
fn anonymous(path: &PathMatch) -> PathMatch {
    let PathMatch::Pattern(segments) = path else {
        return path.clone();
    };
    let segments = segments.iter().map(|segment| match segment {
        Segment::Parameter(_) => Segment::Parameter(String::new()),
        literal @ Segment::Literal(_) => literal.clone(),
    });
    PathMatch::Pattern(segments.collect())
}

fn check_destination(
    file: &RouteFile,
    path: Option<&PathMatch>,
    upstreams: &[Upstream],
    report: &Report,
) -> Option<RouteTo> {
    match (&file.upstream, &file.services) {
        (Some(name), None) => find_upstream(name, upstreams, report).map(RouteTo::Upstream),
        (None, Some(services)) => {
            let parameter = check_parameter(services.place, path, report);
            if services.value.is_empty() {
                let hint = "add a service, as in `services = { books = \"web\" }`";
                report.problem_hint(services.place, "`services` is empty", hint);
            }
            let table = services.value.iter().filter_map(|(service, upstream)| {
                Some((service.clone(), find_upstream(upstream, upstreams, report)?))
            });
            let table = table.collect();
            Some(RouteTo::Services {
                parameter: parameter?,
                table,
            })
        }
        (Some(_), Some(services)) => {
            report.problem_hint(
                services.place,
                "a route leads to `upstream` or to `services`, not to both",
                "keep one of them",
            );
            None
        }
        (None, None) => {
            if !file.broken {
                report.problem_hint(
                    file.place,
                    "this route leads nowhere",
                    "add `upstream = \"name\"`, or `services = { … }` with a pattern",
                );
            }
            None
        }
    }
}

/// The parameter that names the service: the only one, or the one called `service`.
fn check_parameter(place: Place, path: Option<&PathMatch>, report: &Report) -> Option<String> {
    let segments = match path? {
        PathMatch::Pattern(segments) => segments.as_slice(),
        PathMatch::Prefix(_) => &[],
    };
    let names: Vec<&String> = segments
        .iter()
        .filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(name),
            Segment::Literal(_) => None,
        })
        .collect();
    let parameter = match names.as_slice() {
        [only] => Some(*only),
        several => several.iter().copied().find(|name| *name == "service"),
    };
    if parameter.is_none() {
        let (message, hint) = if names.is_empty() {
            (
                "`services` needs a path with a parameter that names the service",
                "add `match = { path = \"/items/{service}\" }`",
            )
        } else {
            (
                "`services` cannot tell which parameter names the service",
                "call that parameter `{service}`",
            )
        };
        report.problem_hint(place, message, hint);
    }
    parameter.cloned()
}

fn find_upstream(name: &At<String>, upstreams: &[Upstream], report: &Report) -> Option<usize> {
    let found = upstreams
        .iter()
        .position(|upstream| upstream.name == name.value);
    if found.is_none() {
        let names = upstreams.iter().map(|upstream| upstream.name.as_str());
        let names = names.filter(|name| !name.is_empty());
        let hint = suggest::hint(&name.value, "the upstreams are", names);
        report.problem_hint(
            name.place,
            format!("there is no upstream `{}`", name.value),
            hint,
        );
    }
    found
}

/// The prefix without a `/` at its end: the first `/` of what is left stays in the path anyway.
fn check_strip_prefix(
    file: &RouteFile,
    path: Option<&PathMatch>,
    report: &Report,
) -> Option<String> {
    let written = file.strip_prefix.as_ref()?;
    let prefix = written.value.trim_end_matches('/');
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
        PathMatch::Prefix(path) => path.clone(),
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
