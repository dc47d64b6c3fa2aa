//! Ask the backend: attempts, one after another, until an answer's head is there or nothing more may be tried.
//!
//! ureq speaks the protocol; connections, timeouts and facts about what was sent are ours (`connector`, `transport`). Which
//! backend is next comes from the iterator that the caller gives; when a retry is safe is decided in `retry`.

mod attempt;
mod body;
mod buffers;
mod call;
mod changes;
mod connector;
mod hedge;
mod launch;
mod outbound;
mod response;
mod retry;
mod transport;

use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::error::Cause;
use crate::message::head::Answer;
use crate::upstream::lease::Lease;
use crate::upstream::stream::Stream;

pub use attempt::Client;
pub use body::RequestBody;
pub use hedge::{Hedged, hedge};
pub use launch::{Launched, launch};
pub use outbound::Outbound;

use attempt::{Failed, Fault};
use retry::{Next, Situation};

/// An answer's head has arrived.
pub struct Forwarded {
    /// The answer, whose body is still on its way.
    pub answer: Answer,
    /// With 101: what is no HTTP any more. The fields of the answer's head have the backend's `Upgrade`, and all else that it
    /// said but the hop-by-hop fields; `Connection: Upgrade` is for the one who writes the head.
    pub upgraded: Option<BackendConduit>,
    /// The backend that gives it; active until dropped.
    pub lease: Lease,
}

/// A connection to a backend after a 101.
#[derive(Debug)]
pub struct BackendConduit {
    /// Its socket does not block.
    pub stream: Stream,
    /// What the backend has sent behind its answer.
    pub received: Vec<u8>,
}

/// Nothing more can be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GaveUp {
    /// What the client is told.
    pub cause: Cause,
}

const NO_BACKEND: GaveUp = GaveUp {
    cause: Cause::NoBackend,
};

/// All tries for one request: mostly one.
pub type Attempts = SmallVec<[Attempt; 1]>;

/// One try at one backend, for the log.
#[derive(Debug)]
pub struct Attempt {
    /// Backend id.
    pub backend: Arc<str>,
    /// Why it failed; `None`: it answered, or was overtaken.
    pub cause: Option<Cause>,
    /// More about that, where there is more to say.
    pub reason: Option<String>,
    /// The client's, while its body was read; the access line tells of that.
    pub is_clients_fault: bool,
    /// Another attempt at the same time answered first.
    pub is_overtaken: bool,
    /// Until the response head, the failure, or the end of the wait.
    pub duration: Duration,
    /// Whether an idle connection was used again.
    pub is_reused: bool,
}

/// Sends the request to one lease after another, of its own upstream first and then from `elsewhere`. Every attempt is added to
/// `attempts`, also when the result is an error. When it is `launched` already, that is the first attempt.
///
/// # Errors
/// The cause of the last failure; [`Cause::NoBackend`] when there was no lease at all.
pub fn send(
    client: &Client,
    outbound: &Outbound,
    body: &mut RequestBody<'_>,
    launched: Option<Launched>,
    leases: &mut dyn Iterator<Item = Lease>,
    elsewhere: &mut dyn Iterator<Item = Lease>,
    attempts: &mut Attempts,
) -> Result<Forwarded, GaveUp> {
    let (mut lease, mut begun) = match launched {
        Some(launched) => {
            launched.call.resume(launched.connection, launched.since);
            (launched.lease, Some((launched.since, launched.call)))
        }
        None => {
            let first = leases.next().or_else(|| elsewhere.next());
            (first.ok_or(NO_BACKEND)?, None)
        }
    };
    let mut retries = 0;
    let mut is_fresh = false;
    loop {
        let (started, call) = begun.take().unwrap_or_else(|| {
            let call = attempt::call(outbound, body, &lease, is_fresh);
            (Instant::now(), call)
        });
        let failed = match attempt::run(client, outbound, body, &call) {
            Ok(answered) => {
                let now = Instant::now();
                let duration = now.saturating_duration_since(started);
                let is_error = answered.answer.head.status.is_server_error();
                lease.record_answer(is_error, duration, now);
                attempts.push(note(&lease, None, duration, answered.is_reused));
                return Ok(Forwarded {
                    answer: answered.answer,
                    upgraded: answered.upgraded,
                    lease,
                });
            }
            Err(failed) => failed,
        };
        let next = judge(&failed, outbound, body, &lease, is_fresh);
        attempts.push(record(&failed, next, &lease, started));
        let cause = client_cause(&failed.fault);
        match next {
            Next::FreshConnection => is_fresh = true,
            Next::OtherBackend if retries < lease.upstream().settings.retry.attempts => {
                let Some(other) = retry(&lease, leases).or_else(|| elsewhere.next()) else {
                    return Err(GaveUp { cause });
                };
                lease = other;
                is_fresh = false;
                retries += 1;
            }
            Next::OtherBackend | Next::Stop => return Err(GaveUp { cause }),
        }
        body.rewind();
    }
}

/// Where in its upstream it is tried again, if there is another backend, and the upstream's budget allows for it. Other
/// upstreams do not suffer from what this one has too much of: no budget keeps a request from them.
fn retry(failed: &Lease, leases: &mut dyn Iterator<Item = Lease>) -> Option<Lease> {
    let upstream = failed.upstream();
    if upstream.withdraw_retry(Instant::now()) {
        let lease = leases.next();
        if lease.is_none() {
            upstream.return_retry(Instant::now());
        }
        return lease;
    }
    log::debug!(
        "upstream {}: no retry, its budget is used up",
        upstream.name
    );
    None
}

fn judge(
    failed: &Failed,
    outbound: &Outbound,
    body: &RequestBody<'_>,
    lease: &Lease,
    is_fresh: bool,
) -> Next {
    match failed.fault {
        Fault::Client(_) => Next::Stop,
        Fault::Backend(cause) => retry::next(Situation {
            cause,
            is_reused: failed.is_reused,
            was_fresh: is_fresh,
            sent: failed.sent,
            received: failed.received,
            is_idempotent: outbound.is_idempotent(),
            is_body_rewindable: body.is_rewindable(),
            retries_slow: lease.upstream().settings.retry.slow,
        }),
    }
}

/// What the log gets to know; a stale idle connection is nobody's failure and ejects nobody.
fn record(failed: &Failed, next: Next, lease: &Lease, started: Instant) -> Attempt {
    let now = Instant::now();
    let duration = now - started;
    let Fault::Backend(cause) = failed.fault else {
        let cause = client_cause(&failed.fault);
        return Attempt {
            is_clients_fault: true,
            ..note(lease, Some(cause), duration, failed.is_reused)
        };
    };
    let is_backends_fault = next != Next::FreshConnection && cause != Cause::Internal;
    if is_backends_fault {
        lease.record_failure(duration, now);
    }
    Attempt {
        reason: failed.reason.clone(),
        ..note(lease, Some(cause), duration, failed.is_reused)
    }
}

fn note(lease: &Lease, cause: Option<Cause>, duration: Duration, is_reused: bool) -> Attempt {
    Attempt {
        backend: lease.backend().id.clone(),
        cause,
        reason: None,
        is_clients_fault: false,
        is_overtaken: false,
        duration,
        is_reused,
    }
}

/// The cause that stands for the last fault.
fn client_cause(fault: &Fault) -> Cause {
    match fault {
        Fault::Backend(cause) => *cause,
        Fault::Client(fault) => (*fault).into(),
    }
}

#[cfg(test)]
mod tests;
