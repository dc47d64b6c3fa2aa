//! READ THIS FIRST: the road of one exchange, from the verdict to its last byte.
//!
//! decided (see [`mod@super::decide`]) → balance → forward → respond → recorded (when the context is dropped)

use std::io;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use http::Method;

use crate::admit::{self, Refusal};
use crate::balance::Tried;
use crate::drain::Drain;
use crate::error::Cause;
use crate::exchange::Exchange;
use crate::forward::{self, Forwarded, Outbound};
use crate::respond::{self, Break, Page};
use crate::tunnel::Tunnels;
use crate::upstream::watch::Watch;

use super::context::Context;
use super::errand::{Errand, First, ask, wishes};
use super::hedge;
use super::job::{Decided, Job};
use super::lobby::Lobby;
use super::mirror::{self, Mirrors};
use super::pool::Ran;
use super::snapshot::Snapshot;
use super::split::Diversions;
use super::sticky;
use super::upgrade::{self, Switch};

/// What all jobs need.
pub(super) struct Tools {
    pub(super) drain: Drain,
    pub(super) tunnels: Arc<Tunnels>,
    pub(super) watch: Watch<Box<Job>>,
    pub(super) lobby: Arc<Lobby<Box<Job>>>,
    pub(super) mirrors: Arc<Mirrors>,
    pub(super) diversions: Diversions,
    /// What requests that come now are decided by.
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
}

/// Brings one exchange to its end, or to where it has to be waited for: for a place at a backend, or for the backend's answer.
/// Then the lobby or the watch has it, and it comes here again.
pub(super) fn pass(mut job: Box<Job>, tools: &Tools) -> Ran {
    let is_new = job.errand.is_none();
    if is_new || job.is_called() {
        let now = Instant::now();
        if job.exchange.is_gone() {
            return turn_away(job, now, &Refusal::new(Cause::ClientGone));
        }
        if is_new && let Err(refusal) = prepare(&mut job, tools, now) {
            return turn_away(job, now, &refusal);
        }
        if !begin(&mut job, tools, now) {
            return wait(job, tools, now);
        }
        job.end_wait(now);
        job = match leave(job, &tools.watch) {
            Some(job) => job,
            None => return Ran::UntilItWaits,
        };
    }
    if job.errand.as_ref().is_some_and(hedge::is_uncertain) {
        job = match hedge::look(job, &tools.watch) {
            Some(job) => job,
            None => return Ran::UntilItWaits,
        };
    }
    finish(*job, tools);
    Ran::ToTheEnd
}

/// Makes the request.
fn prepare(job: &mut Job, tools: &Tools, now: Instant) -> Result<(), Refusal> {
    job.context.queued = now.saturating_duration_since(job.since);
    let Some(group) = job.decided.group() else {
        return Err(Refusal::new(Cause::Internal));
    };
    job.context.upstream = Some(group.upstream.name.clone());
    let Decided { plan, snapshot } = &job.decided;
    if let Some(meant) = plan.instead_of {
        let (to, id) = (plan.upstream, &*job.context.request_id);
        tools.diversions.note(snapshot, meant, to, id, now);
    }
    let place = upgrade::reserve(&*job.exchange, plan, &tools.tunnels)?;
    let (head, context) = (job.exchange.head(), &job.context);
    let change = context.change(head);
    let (asked, hop) = ((&*plan.path, context.query(head)), context.hop());
    let outbound = Outbound::prepare(head, asked, hop, place.is_some(), change.as_ref());
    let client_ip = context.client.ip;
    group.upstream.record_request(now);
    job.errand = Some(Errand {
        outbound,
        place,
        first: First::Nowhere,
        hedge_at: None,
        wish: group.wish(head, client_ip),
        tried: Tried::new(),
        others: wishes(&plan.others, head, client_ip, snapshot),
        copy: mirror::draw(plan, head, client_ip, snapshot),
    });
    Ok(())
}

/// Picks the first backend, and sends the request if that can be done without waiting. False: it has to wait, because all
/// backends are full, or others wait already. A client that sticks to a backend waits for no others, and a request that may go
/// to another upstream does not wait at all.
fn begin(job: &mut Job, tools: &Tools, now: Instant) -> bool {
    let is_called = job.is_called();
    let (Some(group), Some(errand)) = (job.decided.group(), &mut job.errand) else {
        return true;
    };
    let upstream = &group.upstream;
    let may_wait = errand.others.is_empty();
    if may_wait && !is_called && errand.wish.stick.is_none() && upstream.waiting() > 0 {
        return false;
    }
    let mut candidates = group.balancer.candidates(upstream, errand.wish);
    let Some(lease) = candidates.next_at(now) else {
        return !may_wait || !upstream.is_limited(now);
    };
    errand.tried = candidates.into_tried();
    errand.first = forward::launch(&errand.outbound, lease, &tools.watch, now)
        .map_or_else(First::Leased, First::Launched);
    errand.hedge_at = hedge::due(upstream, errand, now);
    true
}

/// Lets a job wait for a place; by what is known now, not when it came.
fn wait(mut job: Box<Job>, tools: &Tools, now: Instant) -> Ran {
    let ticket = job.take_ticket();
    let upstream = job.decided.group().map(|group| Arc::clone(&group.upstream));
    let Some(upstream) = upstream else {
        return turn_away(job, now, &Refusal::new(Cause::Internal));
    };
    let renew = |job: &mut Box<Job>| {
        let current = tools.snapshot.load_full();
        let is_known = Arc::ptr_eq(&current, &job.decided.snapshot);
        if is_known { None } else { job.follow(&current) }
    };
    match tools.lobby.wait(job, ticket, &upstream, now, renew) {
        Ok(()) => Ran::SetAside,
        Err((denied, job)) => {
            let refusal = job.no_place(denied);
            turn_away(job, now, &refusal)
        }
    }
}

fn turn_away(mut job: Box<Job>, now: Instant, refusal: &Refusal) -> Ran {
    job.end_wait(now);
    refuse(job.exchange, job.context, refusal);
    Ran::ToTheEnd
}

/// Leaves a job whose request is out with the watch. Gives it back when there is nothing to be waited for.
pub(super) fn leave(job: Box<Job>, watch: &Watch<Box<Job>>) -> Option<Box<Job>> {
    let errand = job.errand.as_ref();
    let wait = match errand.map(|errand| &errand.first) {
        Some(First::Launched(launched)) => launched.wait(),
        _ => None,
    };
    let hedge_at = errand.and_then(|errand| errand.hedge_at);
    match wait {
        Some((key, until)) => watch.leave(key, hedge_at.map_or(until, |at| at.min(until)), job),
        None => Some(job),
    }
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
            let told = error.to_string();
            // The word of ureq for all that it has no word for.
            let told = told.strip_prefix("other: ").unwrap_or(&told);
            log::warn!(
                "backend {backend} broke its answer off: {told} (id={})",
                context.request_id
            );
            let is_time_over = error.kind() == io::ErrorKind::TimedOut;
            if !is_time_over {
                lease.record_failure(context.elapsed(), Instant::now());
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
        fields: &refusal.fields,
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
