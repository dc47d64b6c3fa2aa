//! Matching one route: host, path, then the other conditions, the method last. No I/O, no state.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::model::{Conditions, HostMatch, NamedValue, PathMatch, Route, Segment};

use super::request::Request;
use super::value::is_like;

/// The first condition of a route that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss<'a> {
    /// Its host condition.
    Host,
    /// Its path condition.
    Path,
    /// The client is somewhere else.
    ClientIp,
    /// This header field.
    Header(Cow<'a, NamedValue>),
    /// This parameter of the query.
    Query(Cow<'a, NamedValue>),
    /// This cookie.
    Cookie(Cow<'a, NamedValue>),
    /// Its methods, and nothing else: all other conditions hold.
    Method,
}

impl Miss<'_> {
    /// The same, for later.
    pub fn into_owned(self) -> Miss<'static> {
        let owned = |value: Cow<'_, NamedValue>| Cow::Owned(value.into_owned());
        match self {
            Miss::Host => Miss::Host,
            Miss::Path => Miss::Path,
            Miss::ClientIp => Miss::ClientIp,
            Miss::Header(value) => Miss::Header(owned(value)),
            Miss::Query(value) => Miss::Query(owned(value)),
            Miss::Cookie(value) => Miss::Cookie(owned(value)),
            Miss::Method => Miss::Method,
        }
    }
}

/// Whether a route would take the request that a preflight is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    No,
    /// It depends on cookies, which a preflight does not carry.
    Perhaps,
    Yes,
}

/// Whether `route` would take the request that the preflight `request` asks about, for the method `asked`. Fields that it announces
/// count as if they had the right value.
pub(super) fn fit(route: &Route, request: &Request<'_>, asked: &str) -> Fit {
    let methods = &route.conditions.methods;
    if !methods.is_empty() && !methods.iter().any(|method| method.as_str() == asked) {
        return Fit::No;
    }
    let announced = "access-control-request-headers";
    match miss_but(route, request, |wanted| {
        request.head().fields.has_member(announced, wanted)
    }) {
        None | Some(Miss::Method) => Fit::Yes,
        Some(Miss::Cookie(_)) => Fit::Perhaps,
        Some(_) => Fit::No,
    }
}

/// What `route` has against a request; `None`: it matches.
pub(super) fn miss<'a>(route: &'a Route, request: &Request<'_>) -> Option<Miss<'a>> {
    miss_but(route, request, |_| false)
}

/// The same, where the values of some fields do not matter.
fn miss_but<'a>(
    route: &'a Route,
    request: &Request<'_>,
    is_given: impl Fn(&str) -> bool,
) -> Option<Miss<'a>> {
    if !host_matches(&route.host, request.host()) {
        return Some(Miss::Host);
    }
    if !path_matches(&route.path, request.path().canonical()) {
        return Some(Miss::Path);
    }
    condition_miss(&route.conditions, request, is_given)
}

/// Whether all of `conditions` hold.
pub(super) fn conditions_hold(conditions: &Conditions, request: &Request<'_>) -> bool {
    condition_miss(conditions, request, |_| false).is_none()
}

/// `is_given`: whether a field of this name counts as if it had the right value.
fn condition_miss<'a>(
    conditions: &'a Conditions,
    request: &Request<'_>,
    is_given: impl Fn(&str) -> bool,
) -> Option<Miss<'a>> {
    if !is_within(&conditions.client_ip, request.client_ip()) {
        return Some(Miss::ClientIp);
    }
    let head = request.head();
    let miss = first_miss(&conditions.headers, |wanted| {
        let mut values = head.fields.all(&wanted.name);
        values.any(|value| is_like(&wanted.value, value)) || is_given(&wanted.name)
    })
    .map(Miss::Header)
    .or_else(|| {
        let holds = |wanted: &NamedValue| request.has_parameter(wanted);
        first_miss(&conditions.query, holds).map(Miss::Query)
    })
    .or_else(|| {
        let holds = |wanted: &NamedValue| {
            let mut values = head.cookies(&wanted.name);
            values.any(|value| is_like(&wanted.value, value))
        };
        first_miss(&conditions.cookies, holds).map(Miss::Cookie)
    });
    // Last, since a request that misses by nothing else is told which methods there are.
    miss.or_else(|| {
        let methods = &conditions.methods;
        let fits = methods.is_empty() || methods.contains(&head.method);
        (!fits).then_some(Miss::Method)
    })
}

pub(super) fn is_within(networks: &[IpNet], address: IpAddr) -> bool {
    networks.is_empty() || networks.iter().any(|network| network.contains(&address))
}

fn first_miss(
    conditions: &[NamedValue],
    holds: impl Fn(&NamedValue) -> bool,
) -> Option<Cow<'_, NamedValue>> {
    let missed = conditions.iter().find(|condition| !holds(condition));
    missed.map(Cow::Borrowed)
}

fn host_matches(condition: &HostMatch, host: &str) -> bool {
    match condition {
        HostMatch::Any => true,
        HostMatch::Exact(wanted) => wanted == host,
        HostMatch::Suffix(suffix) => host
            .strip_suffix(suffix.as_str())
            .is_some_and(|label| !label.is_empty()),
    }
}

fn path_matches(condition: &PathMatch, path: &str) -> bool {
    match condition {
        PathMatch::Exact(wanted) => wanted == path,
        PathMatch::Prefix(prefix) => path
            .strip_prefix(prefix.as_str())
            .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/')),
        PathMatch::Pattern(segments) => {
            let mut parts = path.split('/').skip(1);
            segments
                .iter()
                .all(|segment| match (segment, parts.next()) {
                    (Segment::Literal(wanted), Some(part)) => wanted == part,
                    (Segment::Parameter(_), Some(part)) => !part.is_empty(),
                    (_, None) => false,
                })
        }
    }
}

/// The value of a pattern's parameter in `path`.
pub(super) fn parameter<'a>(condition: &PathMatch, name: &str, path: &'a str) -> Option<&'a str> {
    let PathMatch::Pattern(segments) = condition else {
        return None;
    };
    let position = segments.iter().position(
        |segment| matches!(segment, Segment::Parameter(candidate) if candidate == name),
    )?;
    path.split('/').nth(position + 1)
}

/// Characters of a pattern that must match literally.
pub(super) fn literal_length(segments: &[Segment]) -> usize {
    segments
        .iter()
        .map(|segment| match segment {
            Segment::Literal(text) => text.len() + 1,
            Segment::Parameter(_) => 1,
        })
        .sum()
}
