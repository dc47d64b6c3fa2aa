//! The first half of an attempt: the request goes out over an idle connection, and nobody waits for the answer yet.
//!
//! For requests without a body that may be repeated. If anything is not as it should be, nothing has happened: the attempt is
//! made in one piece ([`super::attempt`]), which knows how to connect, to send large heads and to judge errors.

use std::sync::Arc;
use std::time::Instant;

use crate::upstream::idle::Connection;
use crate::upstream::lease::Lease;
use crate::upstream::watch::Watch;

use super::Outbound;
use super::call::{Call, Manner};

/// A request that is with its backend.
#[derive(Debug)]
pub struct Launched {
    pub(super) lease: Lease,
    pub(super) call: Arc<Call>,
    pub(super) connection: Connection,
    pub(super) since: Instant,
}

impl Launched {
    /// Its key in the [`Watch`], and until when its answer may be waited for.
    pub fn wait(&self) -> Option<(usize, Instant)> {
        let key = self.connection.registration.as_ref()?.key();
        let until = self.call.limit(self.since, self.call.timeouts.response);
        Some((key, until))
    }
}

/// Sends the request, at `now`, or gives the lease back when that cannot be done without waiting.
///
/// # Errors
/// With the lease, unused.
pub fn launch<T>(
    outbound: &Outbound,
    lease: Lease,
    watch: &Watch<T>,
    now: Instant,
) -> Result<Launched, Lease> {
    let may_repeat = outbound.is_idempotent();
    if !may_repeat || outbound.is_upgrade() || outbound.framing().has_body() {
        return Err(lease);
    }
    let call = Call::new(&lease, outbound, Manner::of(outbound));
    match send(&call, watch, now) {
        Some(connection) => Ok(Launched {
            lease,
            call,
            connection,
            since: now,
        }),
        None => Err(lease),
    }
}

/// The connection, if the whole head went out.
fn send<T>(call: &Call, watch: &Watch<T>, now: Instant) -> Option<Connection> {
    let idle = &call.backend.idle;
    // It peeks at the connection, although the watch may know already that nothing has come: what a backend says unasked must
    // never be taken for the answer, and the watch may learn of it later than now.
    let mut connection = call.reuse(idle.check_out(now, call.manner.tolerates_stale)?);
    let place = &mut connection.registration;
    // Without a place in the watch the answer is waited for as always: the request can go out all the same.
    let _ = watch.arm(connection.stream.socket(), place);
    send_over(call, connection)
}

/// Sends the head over `connection`, and gives that back if all of it went out.
pub(super) fn send_over(call: &Call, mut connection: Connection) -> Option<Connection> {
    let count = connection.stream.send(&call.head, &[]).ok()?;
    call.facts.sent.add(count as u64);
    connection.stream.flush().ok()?;
    Some(connection).filter(|_| count == call.head.len())
}
