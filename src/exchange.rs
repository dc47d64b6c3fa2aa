//! The seam between the listener engines and everything behind them: one client request and its one answer.
//!
//! An engine in [`crate::accept`] makes an [`Exchange`] and gives it to an [`Intake`]; nobody behind the seam knows
//! which engine it was. No policy lives here, and no I/O.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::drain::Drain;
use crate::message::head::{BodyLength, RequestHead, ResponseHead};

/// Accepts connections on one address and turns their bytes into exchanges.
pub trait Listener: Send {
    /// The address it is bound to, with the port that the system picked.
    fn local_addr(&self) -> SocketAddr;

    /// Hands every exchange to `intake` until `drain` says that the listener has to stop.
    fn run(self: Box<Self>, intake: Arc<dyn Intake>, drain: Drain) -> io::Result<()>;
}

/// Takes exchanges from a listener. The call must neither block nor write to the client: it queues.
pub trait Intake: Send + Sync {
    /// Takes over `exchange`; dropping it makes its engine answer 500 or hang up.
    fn take(&self, exchange: Box<dyn Exchange>);
}

/// One client request and its one answer.
///
/// Dropping an exchange without [`Exchange::start`] answers 500 with cause `internal`.
pub trait Exchange: Send {
    /// The request head; its size and framing have been judged.
    fn head(&self) -> &RequestHead;

    /// Who sent it.
    fn peer(&self) -> &Peer;

    /// The body without its framing. `Ok(0)` comes only at the true end; everything else that ends a body early is
    /// an error that carries a [`BodyFault`]. The first read answers `Expect: 100-continue`.
    fn body(&mut self) -> &mut dyn Read;

    /// Writes the head of the answer and gives a writer for its body.
    ///
    /// # Errors
    /// Whatever the connection says; the client has left then.
    fn start(
        self: Box<Self>,
        head: &ResponseHead,
        length: BodyLength,
    ) -> io::Result<Box<dyn ResponseWriter>>;

    /// Ends the connection without an answer and without blocking: the last resort when there is no room to answer.
    fn abandon(self: Box<Self>);
}

/// Writes the body of an answer. Dropping it without [`ResponseWriter::finish`] cuts the answer so that the client
/// sees the cut: an early return can never end half a body cleanly.
pub trait ResponseWriter: Write + Send {
    /// The only clean end.
    ///
    /// # Errors
    /// Whatever the connection says, and `InvalidData` when fewer bytes came than the head announced.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// The other end of a client connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Address of the connection; never taken from a header.
    pub address: SocketAddr,
    /// The local address that was connected to.
    pub local: SocketAddr,
}

impl Peer {
    /// The peer's IP address, with IPv4-mapped IPv6 addresses turned into plain IPv4.
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }
}

/// Why a request body ended before its end. Always the client's doing, never the backend's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// The connection ended.
    Left,
    /// No byte came in time.
    TooSlow,
    /// Broken chunked framing.
    Malformed,
    /// More bytes than the limit.
    TooBig,
}

impl BodyFault {
    /// Finds the fault in an error that a body reader returned.
    pub fn of(error: &io::Error) -> Option<BodyFault> {
        error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<BodyFault>())
            .copied()
    }

    /// The fault as the error of a reader.
    pub fn into_io(self) -> io::Error {
        io::Error::other(self)
    }
}

impl std::fmt::Display for BodyFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BodyFault::Left => "the client left before the end of its request body",
            BodyFault::TooSlow => "the client sent no body byte in time",
            BodyFault::Malformed => "the client's chunked body is malformed",
            BodyFault::TooBig => "the request body is larger than the limit",
        })
    }
}

impl std::error::Error for BodyFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_the_way_through_io_error() {
        assert_eq!(
            BodyFault::of(&BodyFault::TooBig.into_io()),
            Some(BodyFault::TooBig)
        );
        assert_eq!(BodyFault::of(&io::Error::other("else")), None);
    }
}
