//! Which route a request takes: host and path against a table that is sorted once, when the configuration is loaded.
//!
//! Precedence: an exact host beats `*.suffix` (longer suffix first), which beats any host; within one host condition
//! the longer literal path wins, then the order written. Nothing here knows what is behind a route.

mod matcher;

use crate::config::model::{HostMatch, PathMatch, Route, RouteTo};

pub use matcher::Miss;

/// All routes in order of precedence.
#[derive(Debug)]
pub struct RouteTable {
    /// Indexes into the configured list, best first.
    order: Vec<usize>,
    routes: Vec<Route>,
}

/// The route of a request.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// The route.
    pub route: &'a Route,
    /// Where it leads.
    pub to: Destination<'a>,
}

/// Where a found route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination<'a> {
    /// The upstream with this index.
    Upstream(usize),
    /// A path parameter named a service that is not in the route's table.
    UnknownService(&'a str),
}

impl RouteTable {
    /// Sorts `routes` by precedence.
    pub fn new(routes: &[Route]) -> RouteTable {
        let mut order: Vec<usize> = (0..routes.len()).collect();
        order.sort_by_key(|index| {
            routes
                .get(*index)
                .map(|route| std::cmp::Reverse(rank(route)))
        });
        RouteTable {
            order,
            routes: routes.to_vec(),
        }
    }

    /// The best route for this host (a port is ignored) and path. `tried` hears of every route that was looked at, best
    /// first, with the first condition that failed.
    pub fn find<'a>(
        &'a self,
        host: &str,
        path: &'a str,
        mut tried: impl FnMut(&Route, Option<Miss>),
    ) -> Option<Found<'a>> {
        let host = matcher::canonical_host(host);
        for route in self
            .order
            .iter()
            .filter_map(|index| self.routes.get(*index))
        {
            let miss = matcher::miss(route, &host, path);
            tried(route, miss);
            if miss.is_none() {
                return Some(Found {
                    route,
                    to: destination(route, path),
                });
            }
        }
        None
    }
}

fn destination<'a>(route: &Route, path: &'a str) -> Destination<'a> {
    match &route.to {
        RouteTo::Upstream(index) => Destination::Upstream(*index),
        RouteTo::Services { parameter, table } => {
            let service = matcher::parameter(&route.path, parameter, path).unwrap_or_default();
            let index = table
                .iter()
                .find(|(name, _)| name == service)
                .map(|(_, index)| *index);
            index.map_or(Destination::UnknownService(service), Destination::Upstream)
        }
    }
}

/// Larger is better: kind of host condition, its length, length of the literal path.
fn rank(route: &Route) -> (u8, usize, usize) {
    let (kind, length) = match &route.host {
        HostMatch::Exact(host) => (2, host.len()),
        HostMatch::Suffix(suffix) => (1, suffix.len()),
        HostMatch::Any => (0, 0),
    };
    let path = match &route.path {
        PathMatch::Prefix(prefix) => prefix.len(),
        PathMatch::Pattern(segments) => matcher::literal_length(segments),
    };
    (kind, length, path)
}

/// The path a backend is asked for: `prefix` is taken off `path`, a leading `/` stays.
pub fn strip_prefix<'a>(path: &'a str, prefix: &str) -> std::borrow::Cow<'a, str> {
    match path.strip_prefix(prefix) {
        Some("") => "/".into(),
        Some(rest) if rest.starts_with('/') => rest.into(),
        Some(rest) => format!("/{rest}").into(),
        None => path.into(),
    }
}

#[cfg(test)]
mod tests;
