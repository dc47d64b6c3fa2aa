//! READ THIS FIRST: the road of one exchange, from the verdict to its last byte.
//!
//! decided (see [`mod@super::decide`]) → balance → forward → respond → recorded (when the context is dropped)

use std::io;
use std::sync::Arc;
use std::time::Instant;

use http::Method;

use crate::admit::{self, Refusal};
use crate::drain::Drain;
use crate::error::Cause;
use crate::exchange::Exchange;
use crate::forward::{self, Forwarded, Outbound};
use crate::respond::{self, Break, Page};
use crate::tunnel::Tunnels;
use crate::upstream::watch::Watch;

use super::context::{self, Context};
use super::decide::Plan;
use super::errand::{Errand, First, ask, wishes};
use super::mirror::{self, Mirrors};
use super::pool::Ran;
use super::snapshot::Snapshot;
use super::split::Diversions;
use super::sticky;
use super::upgrade::{self, Switch};

/// One exchange on its way to a backend.
pub(super) struct Job {
    exchange: Box<dyn Exchange>,
    context: Context,
    decided: Decided,
    since: Instant,
    /// What a worker has made of it.
    errand: Option<Errand>,
}

/// What is to become of it, and what it was decided by, which holds until its end.
pub(super) struct Decided {
    pub(super) plan: Plan,
    pub(super) snapshot: Arc<Snapshot>,
}

/// What all jobs need.
pub(super) struct Tools {
    pub(super) drain: Drain,
    pub(super) tunnels: Arc<Tunnels>,
    pub(super) watch: Watch<Box<Job>>,
    pub(super) mirrors: Arc<Mirrors>,
    pub(super) diversions: Diversions,
}

impl Job {
    pub(super) fn new(
        exchange: Box<dyn Exchange>,
        context: Context,
        decided: Decided,
        since: Instant,
    ) -> Box<Job> {
        Box::new(Job {
            exchange,
            context,
            decided,
            since,
            errand: None,
        })
    }

    pub(super) fn into_parts(self) -> (Box<dyn Exchange>, Context) {
        (self.exchange, self.context)
    }
}

/// Brings one exchange to its end, or to where its backend has to be waited for: then the watch has it, and it comes here
/// again.
pub(super) fn pass(mut job: Box<Job>, tools: &Tools) -> Ran {
    if job.errand.is_none() {
        let now = Instant::now();
        job.context.queued = now.saturating_duration_since(job.since);
        match prepare(&mut job, tools, now) {
            Ok(errand) => job.errand = Some(errand),
            Err(refusal) => {
                refuse(job.exchange, job.context, &refusal);
                return Ran::ToTheEnd;
            }
        }
        job = match leave(job, &tools.watch) {
            Some(job) => job,
            None => return Ran::UntilItWaits,
        };
    }
    finish(*job, tools);
    Ran::ToTheEnd
}

/// Leaves a job whose request is out with the watch. Gives it back when there is nothing to be waited for.
fn leave(job: Box<Job>, watch: &Watch<Box<Job>>) -> Option<Box<Job>> {
    let wait = match job.errand.as_ref().map(|errand| &errand.first) {
        Some(First::Launched(launched)) => launched.wait(),
        _ => None,
    };
    match wait {
        Some((key, until)) => watch.leave(key, until, job),
        None => Some(job),
    }
}

/// Makes the request, picks its first backend, and sends it if that can be done without waiting.
fn prepare(job: &mut Job, tools: &Tools, now: Instant) -> Result<Errand, Refusal> {
    if job.exchange.is_gone() {
        return Err(Refusal::new(Cause::ClientGone));
    }
    let Decided { plan, snapshot } = &job.decided;
    let Some(group) = snapshot.groups.get(plan.upstream) else {
        return Err(Refusal::new(Cause::Internal));
    };
    job.context.upstream = Some(group.upstream.name.clone());
    if let Some(meant) = plan.instead_of {
        let (to, id) = (plan.upstream, &*job.context.request_id);
        tools.diversions.note(snapshot, meant, to, id, now);
    }
    let place = upgrade::reserve(&*job.exchange, plan, &tools.tunnels)?;
    let head = job.exchange.head();
    let context = &job.context;
    let change = context.change(head);
    let (path, hop) = (&plan.path, context.hop());
    let outbound = Outbound::prepare(head, path, hop, place.is_some(), change.as_ref());
    let client_ip = context.client.ip;
    let wish = group.wish(head, client_ip);
    group.upstream.record_request(now);
    let mut candidates = group.balancer.candidates(&group.upstream, wish);
    let first = match candidates.next_at(now) {
        Some(lease) => forward::launch(&outbound, lease, &tools.watch, now)
            .map_or_else(First::Leased, First::Launched),
        None => First::Nowhere,
    };
    Ok(Errand {
        outbound,
        place,
        first,
        wish,
        tried: candidates.into_tried(),
        others: wishes(&plan.others, head, client_ip, snapshot),
        copy: mirror::draw(plan, head, client_ip, snapshot),
    })
}

/// Gets the answer, from whichever backend, and passes it on.
fn finish(job: Job, tools: &Tools) {
    let Job {
        mut exchange,
        mut context,
        decided,
        errand,
        ..
    } = job;
    let Decided { plan, snapshot } = &decided;
    let (Some(mut errand), Some(group)) = (errand, snapshot.groups.get(plan.upstream)) else {
        return refuse(exchange, context, &Refusal::new(Cause::Internal));
    };
    let (wish, place) = (errand.wish, errand.place.take());
    let forwarded = ask(
        &mut *exchange,
        &mut context,
        errand,
        &decided,
        &tools.mirrors,
    );
    context.close |= tools.drain.is_draining();
    let mut forwarded = match forwarded {
        Ok(forwarded) => forwarded,
        Err(gave_up) => return refuse(exchange, context, &refusal(gave_up.cause, plan.max_body)),
    };
    sticky::keep(group, wish.stick, &mut forwarded, &context.request_id);
    let shows_backend = snapshot.config.server.backend_header;
    match (forwarded, place) {
        (
            Forwarded {
                answer,
                upgraded: Some(conduit),
                lease,
            },
            Some(place),
        ) => {
            let switch = Switch {
                head: answer.head,
                conduit,
                lease,
                shows_backend,
            };
            upgrade::open(exchange, context, switch, &tools.tunnels, place);
        }
        (forwarded, _) => respond(exchange, context, forwarded, shows_backend),
    }
}

/// Passes a backend's answer on.
fn respond(
    exchange: Box<dyn Exchange>,
    mut context: Context,
    forwarded: Forwarded,
    shows_backend: bool,
) {
    let Forwarded {
        mut answer, lease, ..
    } = forwarded;
    let backend = lease.backend().id.clone();
    context.backend = Some(backend.clone());
    let shown = shows_backend.then_some(&*backend);
    context.decorate(exchange.head(), &mut answer.head.fields, shown);
    answer.head.close |= context.close;
    let status = answer.head.status.as_u16();
    let end = respond::send(exchange, answer);
    match &end.result {
        Err(Break::Backend(error)) => {
            log::warn!(
                "backend {backend} broke its answer off: {error} (id={})",
                context.request_id
            );
            let is_time_over = error.kind() == io::ErrorKind::TimedOut;
            if !is_time_over
                && let Some(ejected) = lease.record_failure(context.elapsed(), Instant::now())
            {
                context::log_ejection(&backend, ejected);
            }
        }
        // A client that left says nothing about the backend.
        Err(Break::Client(_)) => (),
        Ok(()) => lease.record_success(),
    }
    context.finish(status, None, &end);
}

/// Answers with a refusal; to a client that has left, not at all.
pub(super) fn refuse(exchange: Box<dyn Exchange>, mut context: Context, refusal: &Refusal) {
    if refusal.cause == Cause::ClientGone {
        context.abandoned();
        return exchange.abandon();
    }
    let page = Page {
        cause: refusal.cause,
        message: &refusal.message,
        allow: &refusal.allow,
        request_id: &context.request_id,
    };
    let is_tunnel = exchange.head().method == Method::CONNECT;
    let close = context.close || is_tunnel || ends_connection(refusal.cause);
    let (mut head, body) = respond::refusal(page, &exchange.head().fields, close);
    context.decorate(exchange.head(), &mut head.fields, None);
    let end = respond::send_own(exchange, &head, &body);
    context.finish(refusal.cause.status(), Some(refusal.cause), &end);
}

/// After these the client is out of step, or hostile: whatever else it sends is not worth reading. (So it is after
/// CONNECT: what follows is meant for the tunnel that was refused.)
fn ends_connection(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::BadRequest
            | Cause::Version
            | Cause::TargetTooLong
            | Cause::HeadTooBig
            | Cause::BodyTooBig
            | Cause::ClientTimeout
    )
}

/// The refusal that tells of `cause`.
pub(super) fn refusal(cause: Cause, max_body: u64) -> Refusal {
    if cause == Cause::BodyTooBig {
        admit::body_too_big(max_body)
    } else {
        Refusal::new(cause)
    }
}
