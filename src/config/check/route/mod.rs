//! `[[route]]`: its parts, and routes that get in each other's way.
//!
//! Does not order routes or match requests; that is the route table's business.

mod conditions;
mod destination;
mod path;
mod split;

use super::cors::check_cors;
use super::engine::needs_reactor;
use super::security_headers;
use super::{access, action, address, auth, check_name, check_unique, given, headers};
use super::{rates, rewrite};
use crate::config::file::{ConfigFile, RouteFile};
use crate::config::model::{
    Concurrency, Conditions, HostMatch, PathMatch, Route, RouteAccess, RouteTo, Server, Upstream,
};
use crate::config::report::{Place, Report};

pub(super) use conditions::{check_conditions, check_methods};
use destination::check_destination;
use path::{anonymous, check_path, check_strip_prefix};
use split::check_mirror;

/// Checks every `[[route]]`; without any, everything goes to the first upstream.
pub(super) fn check_routes(
    file: &ConfigFile,
    server: &Server,
    upstreams: &[Upstream],
    report: &Report,
) -> Vec<Route> {
    if file.routes.is_empty() {
        return vec![Route {
            name: "default".into(),
            host: HostMatch::Any,
            path: PathMatch::Prefix("/".to_owned()),
            conditions: Conditions::default(),
            to: RouteTo::Upstream(0),
            mirror: None,
            strip_prefix: None,
            add_prefix: None,
            rewrite: None,
            access: RouteAccess::default(),
            maintenance: None,
            rate_limits: Vec::new(),
            concurrency: Concurrency::default(),
            headers: None,
            cors: None,
            security_headers: None,
            auth: None,
            max_body: None,
            upgrade: true,
        }];
    }
    let mut names = Vec::new();
    let mut matches: Vec<(Matching, Place)> = Vec::new();
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
        let Some(route) = check_route(written, name, server, upstreams, report) else {
            continue;
        };
        let matching = Matching::of(&route);
        if let Some((_, first)) = matches.iter().find(|(other, _)| *other == matching) {
            let first = report.name(*first);
            report.problem_hint(
                written.place,
                format!("this route matches exactly what the route on {first} matches"),
                "change or remove one of them: the second could never be used",
            );
        } else {
            matches.push((matching, written.place));
        }
        routes.push(route);
    }
    routes
}

/// What a route matches, to be compared with what others match.
#[derive(PartialEq)]
struct Matching(HostMatch, PathMatch, Conditions);

impl Matching {
    fn of(route: &Route) -> Matching {
        Matching(
            route.host.clone(),
            anonymous(&route.path),
            route.conditions.clone(),
        )
    }
}

/// None: what it matches cannot be compared with others; the reason is reported.
fn check_route(
    file: &RouteFile,
    name: String,
    server: &Server,
    upstreams: &[Upstream],
    report: &Report,
) -> Option<Route> {
    let host = match &file.host {
        None => Some(HostMatch::Any),
        Some(host) => address::parse_host_match(&host.value)
            .map_err(|(message, hint)| report.problem_hint(host.place, message, hint))
            .ok(),
    };
    let path = check_path(file, report);
    let conditions = check_conditions(&file.conditions, report);
    let to = if action::is_own(file) {
        action::check_own(file, path.as_ref(), report)
    } else {
        check_destination(file, &name, path.as_ref(), upstreams, report)
    };
    let strip_prefix = check_strip_prefix(file, path.as_ref(), report);
    let add_prefix = rewrite::check_add_prefix(file, report);
    let rewrite = rewrite::check_rewrite(file, path.as_ref(), report);
    let access = RouteAccess {
        lists: access::check_lists(&file.lists, report),
        rules: access::check_rules(&file.rules, report),
        paths: access::check_paths(&file.paths, report),
    };
    let maintenance = action::check_maintenance(file.actions.maintenance.as_ref(), report);
    let headers = headers::check_headers(file, report);
    let cors = check_cors(file, conditions.as_ref(), report);
    let (own, servers) = (&file.security_headers, &server.security_headers);
    let security_headers = security_headers::check_route(own.as_ref(), servers.as_deref(), report);
    let auth = auth::check_auth(file, report);
    let headers = auth::applied(headers, auth.as_deref(), file, report);
    let asked = file.upgrade.clone().filter(|upgrade| upgrade.value);
    needs_reactor(report, server.engine, "`upgrade = true`", &asked);
    let rate_limits = rates::check_rates(&file.limits.rates, rates::Scope::Route, report);
    rates::check_identity(file, report);
    let concurrency = rates::check_concurrency(&file.limits, report);
    let mirror = check_mirror(file.mirror.as_ref(), to.as_ref(), upstreams, report);
    if file.broken {
        return None;
    }
    Some(Route {
        name: name.into(),
        host: host?,
        path: path?,
        conditions: conditions?,
        mirror,
        to: to.unwrap_or(RouteTo::Upstream(0)),
        strip_prefix,
        add_prefix,
        rewrite,
        access,
        maintenance,
        rate_limits,
        concurrency,
        headers,
        cors,
        security_headers,
        auth,
        max_body: file.max_body.as_ref().map(|size| size.value),
        upgrade: given(&file.upgrade, true),
    })
}
