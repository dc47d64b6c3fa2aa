//! Which route a request takes: its conditions against a table that is sorted once, when the configuration is loaded.
//!
//! Precedence: an exact host beats `*.suffix` (longer suffix first), which beats any host; then an exact path beats all
//! others, and of those the longer literal path wins; then the route with more of the other conditions, where a method and
//! client addresses count once each, and every header, query parameter and cookie; then the order written. Nothing here
//! knows what is behind a route.

mod matcher;
mod preflight;
mod request;
mod rewrite;
mod rules;
mod value;

use std::sync::Arc;

use http::Method;

use crate::config::model::{FixedAnswer, HostMatch, PathMatch, Redirect, Route, RouteTo, Split};

pub use matcher::Miss;
pub use request::Request;
pub use rewrite::{backend_path, location};
pub use rules::{Broken, check_rules};

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
    /// Its index in the configuration.
    pub index: usize,
    /// Where it leads.
    pub to: Destination<'a>,
}

/// No route takes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFound {
    /// Methods that there are routes for, were it not for the request's own; each once, sorted.
    pub methods: Vec<Method>,
}

/// Where a found route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination<'a> {
    /// The upstream with this index.
    Upstream(usize),
    /// One of the sides of this, by client.
    Split(&'a Split),
    /// Somewhere else.
    Redirect(&'a Redirect),
    /// Nowhere: this is the answer.
    Answer(&'a Arc<FixedAnswer>),
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

    /// Whether this request goes to the route with this index when its path is `path`, in the form for comparing.
    pub fn leads_to(&self, index: usize, request: &Request<'_>, path: &str) -> bool {
        let other = request.with_path(path);
        let found = self.find(&other, |_, _| ());
        found.is_ok_and(|found| found.index == index)
    }

    /// The best route for this request; for a CORS preflight that is the one of the request that it asks about, where that has
    /// `cors`. `tried` hears of every route that was looked at, best first, with the first condition
    /// that failed.
    ///
    /// # Errors
    /// When there is none; with the methods for which there would be one.
    pub fn find<'a>(
        &'a self,
        request: &'a Request<'_>,
        mut tried: impl FnMut(&Route, Option<&Miss<'_>>),
    ) -> Result<Found<'a>, NotFound> {
        if let Some(found) = self.asked_about(request) {
            tried(found.route, None);
            return Ok(found);
        }
        let mut methods = Vec::new();
        for (index, route) in self
            .order
            .iter()
            .filter_map(|index| Some((*index, self.routes.get(*index)?)))
        {
            let miss = matcher::miss(route, request);
            tried(route, miss.as_ref());
            match miss {
                None => return Ok(found(route, index, request)),
                Some(Miss::Method) => methods.extend_from_slice(&route.conditions.methods),
                Some(_) => (),
            }
        }
        methods.sort_unstable_by(|one: &Method, other| one.as_str().cmp(other.as_str()));
        methods.dedup();
        Err(NotFound { methods })
    }

    /// The route that answers a CORS preflight; none: it is no preflight, or nobody here answers it.
    fn asked_about<'a>(&'a self, request: &'a Request<'_>) -> Option<Found<'a>> {
        let asked = request.head().asked_method()?;
        let index = preflight::find(&self.order, &self.routes, request, asked)?;
        Some(found(self.routes.get(index)?, index, request))
    }
}

fn found<'a>(route: &'a Route, index: usize, request: &'a Request<'_>) -> Found<'a> {
    Found {
        route,
        index,
        to: destination(route, request.path().canonical()),
    }
}

fn destination<'a>(route: &'a Route, path: &'a str) -> Destination<'a> {
    match &route.to {
        RouteTo::Upstream(index) => Destination::Upstream(*index),
        RouteTo::Split(split) => Destination::Split(split),
        RouteTo::Redirect(redirect) => Destination::Redirect(redirect),
        RouteTo::Answer(answer) => Destination::Answer(answer),
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

/// Larger is better: kind of host condition, its length, whether the path is exact, length of the literal path, number of
/// other conditions.
fn rank(route: &Route) -> (u8, usize, bool, usize, usize) {
    let (kind, length) = match &route.host {
        HostMatch::Exact(host) => (2, host.len()),
        HostMatch::Suffix(suffix) => (1, suffix.len()),
        HostMatch::Any => (0, 0),
    };
    let (is_exact, path) = match &route.path {
        PathMatch::Exact(path) => (true, path.len()),
        PathMatch::Prefix(prefix) => (false, prefix.len()),
        PathMatch::Pattern(segments) => (false, matcher::literal_length(segments)),
    };
    (kind, length, is_exact, path, route.conditions.count())
}

#[cfg(test)]
mod tests;
