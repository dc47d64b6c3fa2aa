//! The decision: from a request head to a verdict. It does no I/O and waits for nothing; it changes nothing but what limits
//! count.
//!
//! What runs in production is what is explained: both call this, with another trace.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use crate::admit::{self, Refusal};
use crate::config::model::{HealthKind, Mirror, Route};
use crate::drain::Phase;
use crate::error::Cause;
use crate::message::forwarded::Client;
use crate::message::head::RequestHead;
use crate::route::{self, Destination, Found, Miss, NotFound};

use super::access;
use super::browser::{self, Browser};
use super::decision::{Decision, own_query};
use super::gate::{self, Passed, Passport, Visit};
use super::own_answer::OwnAnswer;
use super::snapshot::Snapshot;
use super::spelling;
use super::split;
use super::trace::{Step, Trace};

/// What happens now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Answered by us.
    Refuse(Refusal),
    /// A health endpoint, answered by us.
    Health(HealthKind),
    /// The route answers by itself.
    Own(OwnAnswer),
    /// A worker asks a backend.
    Forward(Plan),
}

/// What a worker needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Index into the snapshot's upstreams.
    pub upstream: usize,
    /// The path for the backend, without query.
    pub path: String,
    /// Most bytes of the request body.
    pub max_body: u64,
    /// Whether the connection may be upgraded, should the client ask for it.
    pub upgrade: bool,
    /// The upstream that the client would have gone to, had it a usable backend.
    pub instead_of: Option<usize>,
    /// Upstreams to try when those of `upstream` fail, best first: the other sides of a split.
    pub others: SmallVec<[usize; 2]>,
    /// Where copies go.
    pub mirror: Option<Mirror>,
}

/// Decides about `head`, which `client` has sent.
pub fn decide(
    head: &RequestHead,
    client: &Client,
    snapshot: &Snapshot,
    phase: Phase,
    now: Instant,
    trace: &mut impl Trace,
) -> Decision {
    let mut passport = Passport::default();
    let stopped = before_route(head, client, snapshot, phase, trace).or_else(|| {
        let visit = Visit {
            head,
            client,
            now,
            trace: &mut *trace,
            passport: &mut passport,
        };
        gate::enter(&snapshot.first_gate, visit)
    });
    let mut decision = match stopped {
        Some(verdict) => Decision::without_route(verdict, passport),
        None => by_route(head, client, snapshot, now, trace, passport),
    };
    if matches!(decision.verdict, Verdict::Refuse(_)) {
        // What is refused is not under way.
        decision.passport.presences.clear();
    }
    decision
}

/// What is decided without looking at routes.
fn before_route(
    head: &RequestHead,
    client: &Client,
    snapshot: &Snapshot,
    phase: Phase,
    trace: &mut impl Trace,
) -> Option<Verdict> {
    let server = &snapshot.config.server;
    if let Err(refusal) = access::by_listener(&snapshot.config, client, trace) {
        return Some(Verdict::Refuse(refusal));
    }
    let admitted = admit::check(&server.limits, head);
    trace.step(|| Step::Admitted(admitted.clone()));
    if let Err(mut refusal) = admitted {
        if refusal.cause == Cause::Method {
            refusal.allow.clone_from(&server.access.methods);
        }
        return Some(Verdict::Refuse(refusal));
    }
    if let Err(refusal) = access::by_server(&snapshot.config, head, trace) {
        return Some(Verdict::Refuse(refusal));
    }
    if phase >= Phase::Draining {
        trace.step(|| Step::Draining);
        return Some(Verdict::Refuse(Refusal::new(Cause::Draining)));
    }
    let path = head.target.path();
    let health = server
        .health_paths
        .iter()
        .find(|health| health.path == path);
    if let Some(health) = health {
        trace.step(|| Step::HealthPath(path.to_owned()));
        return Some(Verdict::Health(health.kind));
    }
    browser::to_https(head, client, &snapshot.config, trace)
}

fn by_route(
    head: &RequestHead,
    client: &Client,
    snapshot: &Snapshot,
    now: Instant,
    trace: &mut impl Trace,
    mut passport: Passport,
) -> Decision {
    let request = route::Request::new(head, client.ip);
    let tried = |route: &Route, miss: Option<&Miss<'_>>| {
        trace.step(|| Step::Route {
            name: route.name.to_string(),
            miss: miss.cloned().map(Miss::into_owned),
        });
    };
    let found = match snapshot.routes.find(&request, tried) {
        Ok(found) => found,
        Err(not_found) => {
            let refusal = without_route(&request, not_found, snapshot, trace);
            return Decision::without_route(Verdict::Refuse(refusal), passport);
        }
    };
    let config = &snapshot.config;
    let barred = spelling::check(&found, &request, &snapshot.routes, &config.server, trace)
        .and_then(|()| access::by_route(config, found.route, &request, client, trace))
        .err();
    let gate = snapshot.gates.get(found.index);
    let passed = match (barred, gate) {
        (Some(refusal), _) => Err(Verdict::Refuse(refusal)),
        (None, Some(gate)) => {
            let visit = Visit {
                head,
                client,
                now,
                trace: &mut *trace,
                passport: &mut passport,
            };
            gate::pass(gate, visit)
        }
        // Every route has one; should that ever change, nobody gets by without.
        (None, None) => Err(Verdict::Refuse(Refusal::new(Cause::Internal))),
    };
    let (passed, verdict) = match passed {
        Err(verdict) => (Passed::Open, verdict),
        Ok(passed) => {
            let verdict = own_answer(&request, client, &found, trace).unwrap_or_else(|| {
                to_upstream(&request, client, &found, snapshot, now, trace)
                    .map_or_else(Verdict::Refuse, Verdict::Forward)
            });
            (passed, verdict)
        }
    };
    let (identity, due) = passed.known_and_due(found.index);
    Decision {
        route: Some(found.route.name.clone()),
        headers: found.route.headers.clone(),
        identity,
        due,
        query: own_query(found.route, head),
        browser: Some(Browser::of_route(found.route, &snapshot.config)),
        passport,
        verdict,
    }
}

/// Why no route takes the request.
fn without_route(
    request: &route::Request<'_>,
    not_found: NotFound,
    snapshot: &Snapshot,
    trace: &mut impl Trace,
) -> Refusal {
    let server = &snapshot.config.server;
    if let Err(misspelt) = spelling::check_without_route(request, server, trace) {
        return misspelt;
    }
    match not_found.methods {
        methods if methods.is_empty() => Refusal::new(Cause::NoRoute),
        methods => admit::no_such_method(admit::access::within(&server.access.methods, methods)),
    }
}

/// What the route answers without a backend; `None`: it is forwarded.
fn own_answer(
    request: &route::Request<'_>,
    client: &Client,
    found: &Found<'_>,
    trace: &mut impl Trace,
) -> Option<Verdict> {
    let route: &Route = found.route;
    if let Some(maintenance) = &route.maintenance {
        let lets_through = maintenance.lets_through(client.ip);
        trace.step(|| Step::Maintenance {
            client: client.ip,
            lets_through,
        });
        if !lets_through {
            let answer = OwnAnswer::Maintenance(Arc::clone(maintenance));
            return Some(Verdict::Own(answer));
        }
    }
    match found.to {
        Destination::Redirect(redirect) => {
            let Some(location) = route::location(redirect, route, request, client) else {
                let message = "This redirect needs to know the host, and the request names none.";
                return Some(Verdict::Refuse(Refusal::with(Cause::BadRequest, message)));
            };
            let status = redirect.status;
            Some(Verdict::Own(OwnAnswer::Redirect { status, location }))
        }
        Destination::Answer(fixed) => Some(Verdict::Own(OwnAnswer::Fixed(Arc::clone(fixed)))),
        _ => None,
    }
}

fn to_upstream(
    request: &route::Request<'_>,
    client: &Client,
    found: &Found<'_>,
    snapshot: &Snapshot,
    now: Instant,
    trace: &mut impl Trace,
) -> Result<Plan, Refusal> {
    let head = request.head();
    let (mut instead_of, mut others) = (None, SmallVec::new());
    let upstream = match found.to {
        Destination::Upstream(index) => index,
        Destination::Split(split) => {
            let side = split::choose(split, head, client.ip, snapshot, now, trace);
            (instead_of, others) = (side.instead_of, side.others);
            side.upstream
        }
        Destination::UnknownService(name) => {
            trace.step(|| Step::UnknownService(name.to_owned()));
            return Err(Refusal::with(
                Cause::NoRoute,
                format!("Service '{name}' not found"),
            ));
        }
        Destination::Redirect(_) | Destination::Answer(_) => {
            return Err(Refusal::new(Cause::Internal));
        }
    };
    let max_body = found
        .route
        .max_body
        .unwrap_or(snapshot.config.server.limits.body);
    let fits = admit::check_body(head, max_body);
    trace.step(|| Step::BodyLimit {
        limit: max_body,
        fits: fits.is_ok(),
    });
    fits?;
    check_candidates(snapshot, upstream, &others, now, trace)?;
    let mirror = found.route.mirror;
    if let Some(mirror) = mirror {
        trace.step(|| Step::Mirror {
            upstream: snapshot.name(mirror.upstream).to_owned(),
            percent: mirror.percent,
        });
    }
    let (path, upgrade) = if head.target.is_asterisk() {
        ("*".into(), false)
    } else {
        let spelling = spelling::of(found.route, &snapshot.config.server);
        let path = route::backend_path(found.route, request, client, spelling);
        (path.into_owned(), found.route.upgrade)
    };
    Ok(Plan {
        upstream,
        path,
        max_body,
        upgrade,
        instead_of,
        others,
        mirror,
    })
}

/// Refuses early what no backend could take. The pick itself is the balancer's, later, when the attempt begins. `others`: where
/// the request can go too; the side that was chosen a moment ago may be out by now.
fn check_candidates(
    snapshot: &Snapshot,
    index: usize,
    others: &[usize],
    now: Instant,
    trace: &mut impl Trace,
) -> Result<(), Refusal> {
    let Some(group) = snapshot.groups.get(index) else {
        return Err(Refusal::new(Cause::Internal));
    };
    for member in &group.upstream.members {
        trace.step(|| Step::Candidate {
            name: format!("{}/{}", group.upstream.name, member.backend.id),
            weight: member.settings.weight,
            is_backup: member.settings.is_backup,
            tls: group.upstream.settings.tls.describe(&member.settings.at),
            skip: member.skip(now),
        });
    }
    let mut others = others
        .iter()
        .filter_map(|other| snapshot.groups.get(*other));
    if group.upstream.can_serve(now) || others.any(|group| group.upstream.can_serve(now)) {
        Ok(())
    } else {
        Err(Refusal::new(Cause::NoBackend))
    }
}
