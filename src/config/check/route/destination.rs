//! Where a route leads: one upstream, the one that a path parameter names, or one of several by client.

use crate::config::file::RouteFile;
use crate::config::model::{PathMatch, RouteTo, Segment, Upstream};
use crate::config::report::{At, Place, Report};
use crate::config::suggest;

use super::split::{check_split, check_split_keys};

pub(super) fn check_destination(
    file: &RouteFile,
    route: &str,
    path: Option<&PathMatch>,
    upstreams: &[Upstream],
    report: &Report,
) -> Option<RouteTo> {
    let ways = [
        file.upstream.as_ref().map(|written| written.place),
        file.services.as_ref().map(|written| written.place),
        file.split.as_ref().map(|written| written.place),
    ];
    let mut ways = ways.into_iter().flatten();
    let (first, second) = (ways.next(), ways.next());
    check_split_keys(file, report);
    if let Some(second) = second {
        report.problem_hint(
            second,
            "a route leads to `upstream`, to `services` or to a `split`, not to several of them",
            "keep one of them",
        );
        return None;
    }
    if first.is_none() && !file.broken {
        report.problem_hint(
            file.place,
            "this route leads nowhere",
            "add `upstream = \"name\"`, a `split`, a `redirect` or an `answer`, or `services = { … }` with a pattern",
        );
    }
    if let Some(name) = &file.upstream {
        return find_upstream(name, upstreams, report).map(RouteTo::Upstream);
    }
    if let Some(services) = &file.services {
        return check_services(services, path, upstreams, report);
    }
    let sides = file.split.as_ref()?;
    check_split(file, route, sides, upstreams, report).map(RouteTo::Split)
}

fn check_services(
    services: &At<Vec<(String, At<String>)>>,
    path: Option<&PathMatch>,
    upstreams: &[Upstream],
    report: &Report,
) -> Option<RouteTo> {
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

/// The parameter that names the service: the only one, or the one called `service`.
fn check_parameter(place: Place, path: Option<&PathMatch>, report: &Report) -> Option<String> {
    let segments = match path? {
        PathMatch::Pattern(segments) => segments.as_slice(),
        PathMatch::Exact(_) | PathMatch::Prefix(_) => &[],
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

/// The index of the upstream of this name; that there is none is reported.
pub(super) fn find_upstream(
    name: &At<String>,
    upstreams: &[Upstream],
    report: &Report,
) -> Option<usize> {
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
