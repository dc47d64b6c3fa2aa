//! At the gate of a route: everything that is asked before the request may go on, in the one order that holds.
//!
//! 1. who may come at all: addresses, header and query rules (403); see [`super::access`]
//! 2. what browsers ask beforehand (CORS preflight), which carries no credentials
//! 3. how often, by address, header or route (429): before credentials are looked at, so that nobody can try many
//! 4. who it is (401)
//! 5. how often, by who it is (429)
//!
//! A check of 4 that takes long is made later, by [`judge`]; then 5 comes after it. The checks themselves are in
//! [`crate::admit`].

use std::sync::Arc;

use crate::admit::Refusal;
use crate::admit::auth::{Asking, Found, Identity, Pending, Stop};
use crate::admit::gate::Gate;
use crate::error::Cause;
use crate::message::forwarded::Client;
use crate::message::head::RequestHead;

use super::browser;
use super::decide::Verdict;
use super::own_answer::OwnAnswer;
use super::trace::{Auth, Step, Trace};

/// How a request got through.
pub(super) enum Passed {
    /// The route does not ask who it is.
    Open,
    /// It is known.
    Known(Arc<Identity>),
    /// [`judge`] has to be asked before anything else happens.
    Pending(Pending),
}

/// Asks `gate`.
///
/// # Errors
/// What happens instead of what the route does: the request gets no further.
pub(super) fn pass(
    gate: &Gate,
    head: &RequestHead,
    client: &Client,
    trace: &mut impl Trace,
) -> Result<Passed, Verdict> {
    let cors = gate.cors.as_ref();
    if let Some(verdict) = cors.and_then(|cors| browser::ask(cors, head, client, trace)) {
        return Err(verdict);
    }
    let Some(guard) = &gate.guard else {
        return Ok(Passed::Open);
    };
    let asking = Asking {
        head,
        client,
        request_id: "",
    };
    match guard.look(asking) {
        Found::Known(identity) => {
            trace.step(|| Step::Auth(Auth::Known(Arc::clone(&identity))));
            known(gate, head, client, &identity, trace)?;
            Ok(Passed::Known(identity))
        }
        Found::Pending(check) => {
            trace.step(|| Step::Auth(Auth::Pending(check.name)));
            Ok(Passed::Pending(check))
        }
        Found::Refused {
            scheme,
            fault,
            refusal,
        } => {
            trace.step(|| Step::Auth(Auth::Refused(scheme, fault)));
            Err(Verdict::Refuse(refusal))
        }
    }
}

/// Makes the check that is pending, which takes its time, and asks what comes after it.
///
/// # Errors
/// As [`pass`].
pub(super) fn judge(
    gate: &Gate,
    check: Pending,
    head: &RequestHead,
    client: &Client,
    request_id: &str,
    trace: &mut impl Trace,
) -> Result<Arc<Identity>, Verdict> {
    let Some(guard) = &gate.guard else {
        return Err(Verdict::Refuse(Refusal::new(Cause::Internal)));
    };
    let identity = guard
        .judge(
            check,
            Asking {
                head,
                client,
                request_id,
            },
        )
        .map_err(|stop| {
            trace.step(|| Step::Auth(Auth::Denied(check.name)));
            match stop {
                Stop::Refusal(refusal) => Verdict::Refuse(refusal),
                Stop::Answer(answer) => Verdict::Own(OwnAnswer::Relayed(answer)),
            }
        })?;
    trace.step(|| Step::Auth(Auth::Known(Arc::clone(&identity))));
    known(gate, head, client, &identity, trace)?;
    Ok(identity)
}

/// What is asked once it is known who it is.
fn known(
    _gate: &Gate,
    _head: &RequestHead,
    _client: &Client,
    _identity: &Identity,
    _trace: &mut impl Trace,
) -> Result<(), Verdict> {
    Ok(())
}
