//! One backend connection as ureq's transport: our own head, our own clock, and an eye on the backend while sending.
//!
//! What it does beyond reading and writing, each because ureq's own transport cannot:
//! - It replaces the head that ureq writes by the one of the call, so that targets and names go out byte for byte, and the
//!   response head by a short one, because ureq would lose its spelling and order.
//! - It knows whether it waits for a head or for body bytes, and applies the timeout of that phase.
//! - It notices an answer that comes while the request body is still being sent (a 413, say), stops sending and lets ureq
//!   read it. ureq's own loses that answer, or hangs.
//! - It reports a reset as an error also within a body that ends with the connection; ureq takes it for a clean end.
//! - It tells what was sent and received, which decides about retries.
//! - It keeps the connection after a 101, where ureq would close it.

mod receive;
mod send;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use crate::error::Cause;
use crate::tls::failure::Failure;
use crate::upstream::idle::Connection;

use super::BackendConduit;
use super::buffers::WireBuffers;
use super::call::Call;

#[derive(Debug)]
pub(super) struct Wire {
    /// `None` once it has gone to the pool, or out of HTTP.
    connection: Option<Connection>,
    buffers: WireBuffers,
    call: Arc<Call>,
    /// ureq has written its head; ours goes out instead.
    is_head_due: bool,
    is_head_sent: bool,
    is_broken: bool,
    /// 1xx heads that came so far.
    interims: u32,
    /// Of the response, once its head is there.
    status: u16,
    /// How long the backend says that it keeps the connection.
    announced: Option<Duration>,
    /// When the wait for the head began, if that was before ureq came in.
    since: Option<Instant>,
}

impl Wire {
    pub(super) fn new(connection: Connection, call: Arc<Call>) -> Wire {
        Wire {
            connection: Some(connection),
            buffers: WireBuffers::take(),
            call,
            is_head_due: false,
            is_head_sent: false,
            is_broken: false,
            interims: 0,
            status: 0,
            announced: None,
            since: None,
        }
    }

    /// A connection over which the whole request has gone out, at `since`.
    pub(super) fn launched(connection: Connection, call: Arc<Call>, since: Instant) -> Wire {
        let mut wire = Wire::new(connection, call);
        wire.is_head_sent = true;
        wire.since = Some(since);
        wire
    }

    fn broken(&self) -> Error {
        match self.tls_failure() {
            Some(failure) => self.call.fail_tls(failure),
            None => self
                .call
                .fail(Cause::BackendClosed, "the connection is gone"),
        }
    }

    fn tls_failure(&self) -> Option<Failure> {
        self.connection.as_ref()?.stream.failure()
    }

    fn slow(&self) -> Error {
        self.call
            .fail(Cause::BackendSlow, "the backend took too long")
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        if self.is_head_due {
            return self.send(amount);
        }
        // These bytes are ureq's head.
        self.is_head_due = true;
        if self.call.manner.is_body_at_hand {
            return Ok(());
        }
        self.send(0)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        if !self.is_head_sent {
            self.send(0)?;
        }
        if self.buffers.awaits_head() {
            self.await_head()?;
            return Ok(true);
        }
        self.await_body()
    }

    /// ureq asks when an exchange has ended cleanly and the connection could be used again. It goes to the backend's own
    /// pool; ureq is told no, so that it forgets the empty shell.
    fn is_open(&mut self) -> bool {
        if !self.is_broken
            && let Some(connection) = self.connection.take()
        {
            let idle = &self.call.backend.idle;
            idle.check_in(connection, Instant::now(), self.announced);
        }
        false
    }
}

impl Drop for Wire {
    /// ureq lets go of a connection after a 101. If that was wanted, this is where the tunnel begins.
    fn drop(&mut self) {
        if self.status == 101
            && self.call.manner.is_upgrade
            && let Some(mut connection) = self.connection.take()
        {
            connection.stream.begin_tunnel();
            *self.call.facts.conduit.lock() = Some(BackendConduit {
                stream: connection.stream,
                received: self.buffers.unread().to_vec(),
            });
        }
    }
}
