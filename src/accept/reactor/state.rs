//! What changes about a link: who has it, what has come, and what has not gone yet.

use bytes::BytesMut;

use crate::drain::FlightGuard;
use crate::exchange::Peer;

use super::exchange::Waiting;
use super::handshake::Turn;
use super::outbox::Outbox;
use super::seats::Seat;
use super::session::Session;

/// Behind the link's lock.
pub(super) struct State {
    pub(super) stage: Stage,
    pub(super) peer: Peer,
    /// Received and not used yet.
    pub(super) input: BytesMut,
    /// How much of the input has been searched for the end of a head.
    pub(super) scanned: usize,
    /// Written and not sent yet.
    pub(super) outbox: Option<Box<Outbox>>,
    /// The keys, once the handshake has begun; none: a plain connection. The outbox has records then, and the input what came
    /// before the end of the handshake, else plaintext.
    pub(super) session: Option<Box<Session>>,
    /// There may be something to receive: readiness is told once.
    pub(super) is_readable: bool,
    /// The client has ended its sending side, or both.
    pub(super) is_read_closed: bool,
    /// Bytes that went out, whoever sent them.
    pub(super) moved: u64,
    /// Requests answered.
    pub(super) served: u64,
    /// Frees its place in the count when the link goes.
    pub(super) seat: Seat,
}

/// Who has the connection, and for what.
pub(super) enum Stage {
    /// The reactor reads a PROXY protocol header.
    Preamble,
    /// Reactor and crew agree on keys with the client.
    Handshake(Turn),
    /// The reactor waits for a request, or reads its head.
    Head,
    /// The reactor reads a small body.
    Body(Box<Waiting>),
    /// An exchange has it; the reactor only notes what happens.
    Busy,
    /// The answer is complete; the reactor delivers what the client has not taken yet. A drain waits for it.
    Delivering(After, #[expect(dead_code, reason = "held")] FlightGuard),
    /// Closed from our side; the reactor throws away what still comes.
    Lingering,
    /// Over; the reactor forgets it.
    Ended,
    /// Somebody else reads and writes it now; the reactor forgets it.
    GivenAway,
}

/// What becomes of a connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The next request.
    Keep,
    /// Our side is closed.
    Close,
}

impl State {
    /// Whether a further request has begun; empty lines before one do not count (RFC 9112 section 2.2).
    pub(super) fn has_begun(&self) -> bool {
        self.input.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }
}
