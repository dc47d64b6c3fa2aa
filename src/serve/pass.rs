//! READ THIS FIRST: the road of one exchange, from the verdict to its last byte.
//!
//! decided (see [`mod@super::decide`]) → balance → forward → respond → recorded (when the context is dropped)

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use http::Method;

use crate::admit::{self, Refusal};
use crate::drain::Drain;
use crate::error::Cause;
use crate::exchange::Exchange;
use crate::forward::{self, Client, Forwarded, Outbound, RequestBody};
use crate::respond::{self, Break, Page};

use crate::tunnel::Tunnels;

use super::context::{self, Context};
use super::decide::Plan;
use super::snapshot::Snapshot;
use super::upgrade::{self, Switch};

thread_local! {
    /// Each worker's own ureq agent: a shared one would cost every request a lock.
    static CLIENT: RefCell<Option<Client>> = const { RefCell::new(None) };
}

/// One exchange on its way to a backend.
pub(super) struct Job {
    exchange: Box<dyn Exchange>,
    context: Context,
    plan: Plan,
    snapshot: Arc<Snapshot>,
    since: Instant,
}

impl Job {
    pub(super) fn new(
        exchange: Box<dyn Exchange>,
        context: Context,
        plan: Plan,
        snapshot: Arc<Snapshot>,
    ) -> Job {
        Job {
            exchange,
            context,
            plan,
            snapshot,
            since: Instant::now(),
        }
    }

    pub(super) fn into_parts(self) -> (Box<dyn Exchange>, Context) {
        (self.exchange, self.context)
    }
}

/// Brings one exchange to its end.
pub(super) fn pass(job: Job, drain: &Drain, tunnels: &Tunnels) {
    let Job {
        mut exchange,
        mut context,
        plan,
        snapshot,
        since,
    } = job;
    context.queued = since.elapsed();
    let Some(group) = snapshot.groups.get(plan.upstream) else {
        return refuse(exchange, context, &Refusal::new(Cause::Internal));
    };
    context.upstream = Some(group.upstream.name.clone());

    let place = match upgrade::reserve(&*exchange, &plan, tunnels) {
        Ok(place) => place,
        Err(refusal) => return refuse(exchange, context, &refusal),
    };
    let wants_upgrade = place.is_some();
    let outbound = Outbound::prepare(exchange.head(), &plan.path, context.hop(), wants_upgrade);
    let mut leases = group.balancer.candidates(&group.upstream);
    let is_at_hand = exchange.has_gathered();
    let mut body =
        RequestBody::new(exchange.body(), outbound.framing(), plan.max_body).at_hand(is_at_hand);
    let forwarded = with_client(|client| {
        forward::send(
            client,
            &outbound,
            &mut body,
            &mut leases,
            &mut context.attempts,
        )
    });
    context.bytes_in = body.taken();

    context.close |= drain.is_draining();
    match forwarded {
        Ok(forwarded) => {
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
                    upgrade::open(exchange, context, switch, tunnels, place);
                }
                (forwarded, _) => respond(exchange, context, forwarded, shows_backend),
            }
        }
        Err(gave_up) => refuse(exchange, context, &refusal(gave_up.cause, plan.max_body)),
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
    respond::decorate(
        &mut answer.head.fields,
        &context.request_id,
        shows_backend.then_some(backend.as_str()),
    );
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
            if !is_time_over && let Some(ejected) = lease.record_failure(Instant::now()) {
                context::log_ejection(&backend, ejected);
            }
        }
        // A client that left says nothing about the backend.
        Err(Break::Client(_)) => (),
        Ok(()) => lease.record_success(),
    }
    context.backend = Some(backend);
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
        request_id: &context.request_id,
    };
    let is_tunnel = exchange.head().method == Method::CONNECT;
    let close = context.close || is_tunnel || ends_connection(refusal.cause);
    let (mut head, body) = respond::refusal(page, &exchange.head().fields, close);
    respond::decorate(&mut head.fields, &context.request_id, None);
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

fn with_client<T>(work: impl FnOnce(&Client) -> T) -> T {
    let client = CLIENT.take().unwrap_or_default();
    let result = work(&client);
    CLIENT.set(Some(client));
    result
}
