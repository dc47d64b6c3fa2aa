//! Matching one route: its host condition, then its path condition. Pure string work.

use std::borrow::Cow;

use crate::config::model::{HostMatch, PathMatch, Route, Segment};
use crate::message::target::split_port;

/// The first condition of a route that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// Its host condition.
    Host,
    /// Its path condition.
    Path,
}

/// `host` without port and without the root dot, in lower case.
pub(super) fn canonical_host(host: &str) -> Cow<'_, str> {
    let name = split_port(host).0;
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

/// What `route` has against a request; `None`: it matches.
pub(super) fn miss(route: &Route, host: &str, path: &str) -> Option<Miss> {
    if !host_matches(&route.host, host) {
        Some(Miss::Host)
    } else if !path_matches(&route.path, path) {
        Some(Miss::Path)
    } else {
        None
    }
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
