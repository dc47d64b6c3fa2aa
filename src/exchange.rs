//! The seam between the listener engines and everything behind them: one client request and its one answer.
//!
//! An engine in [`crate::accept`] makes an [`Exchange`] and gives it to an [`Intake`]; nobody behind the seam knows
//! which engine it was. No policy lives here, and no I/O.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use crate::drain::Drain;
use crate::error::Cause;
use crate::message::head::{BodyLength, RequestHead, ResponseHead};
use crate::socket::Conduit;

/// Accepts connections and turns their bytes into exchanges.
pub trait Listener: Send {
    /// Where it listens, for people.
    fn name(&self) -> String;

    /// Hands every exchange to `intake` until `drain` says that the listener has to stop.
    fn run(self: Box<Self>, intake: Arc<dyn Intake>, drain: Drain) -> io::Result<()>;
}

/// Takes exchanges from a listener. The calls must not block; they answer at once only where
/// [`Exchange::is_nonblocking`] says that this cannot block either, else they queue.
pub trait Intake: Send + Sync {
    /// Takes over `exchange`; dropping it makes its engine answer 500 or hang up.
    fn take(&self, exchange: Box<dyn Exchange>);

    /// Takes over an exchange whose request could not be understood, or did not come whole, to refuse it. Its head may be a
    /// stand-in ([`RequestHead::unknown`]).
    fn refuse(&self, exchange: Box<dyn Exchange>, fault: HeadFault);

    /// Something else that the first thread to ask looks after from then on, while it waits for its connections. An engine whose
    /// threads cannot do that does not ask.
    fn sideline(&self) -> Option<Arc<dyn Sideline>> {
        None
    }
}

/// Work beside the connections: one thread that waits for both is woken less often than two.
pub trait Sideline: Send + Sync {
    /// Readable when there may be something to do (an epoll descriptor, edge-triggered).
    fn descriptor(&self) -> RawFd;

    /// When there is something to do at the latest; `None`: only when the descriptor says so.
    fn patience(&self) -> Option<Duration>;

    /// Does what there is to do. Never blocks.
    fn look(&self);
}

/// Why a request is refused before anything looks at what it asks for. The connection ends with the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadFault {
    /// Gives the status.
    pub cause: Cause,
    /// What exactly is wrong, for people; empty: the cause's own sentence.
    pub message: Cow<'static, str>,
}

/// What happens once a small body is there, or its client has failed.
pub type Gathered = Box<dyn FnOnce(Box<dyn Exchange>, Result<(), BodyFault>) + Send>;

/// A connection that is not HTTP any more.
pub struct Upgraded {
    /// The way to the client. What the answer's head was, is on it already, or goes first.
    pub conduit: Box<dyn Conduit>,
    /// What the client has sent behind its request.
    pub received: Vec<u8>,
}

/// One client request and its one answer.
///
/// Dropping an exchange without [`Exchange::start`] answers 500 with cause `internal`.
pub trait Exchange: Send {
    /// The request head; its size and framing have been judged.
    fn head(&self) -> &RequestHead;

    /// The same, for what is known better here than by the client.
    fn head_mut(&mut self) -> &mut RequestHead;

    /// Who sent it.
    fn peer(&self) -> &Peer;

    /// The body without its framing. `Ok(0)` comes only at the true end; everything else that ends a body early is
    /// an error that carries a [`BodyFault`]. The first read answers `Expect: 100-continue`.
    fn body(&mut self) -> &mut dyn Read;

    /// Reads a small body ahead, so that no worker waits for the client, then calls `then`: at once where there is nothing to
    /// wait for, or later on the engine's thread. A body of more than 64 KiB comes with its begin. `limit`: most bytes of
    /// the body; more are [`BodyFault::TooBig`].
    fn gather(self: Box<Self>, limit: u64, then: Gathered);

    /// Whether the begin of the body is here, so that reading it waits for nobody.
    fn has_gathered(&self) -> bool {
        false
    }

    /// Whether another process takes what this client asks next: then even a process that drains serves what has come to it.
    fn has_successor(&self) -> bool {
        false
    }

    /// Whether the client is known to be gone; a client that has only ended its sending side is not.
    fn is_gone(&self) -> bool {
        false
    }

    /// Whether answering never blocks, however large the answer and however slow the client.
    fn is_nonblocking(&self) -> bool {
        false
    }

    /// Whether [`Exchange::upgrade`] can succeed.
    fn can_upgrade(&self) -> bool {
        false
    }

    /// Answers with `head` (101) and gives the connection away.
    ///
    /// # Errors
    /// When the connection is gone, or the engine cannot do it.
    fn upgrade(self: Box<Self>, _head: &ResponseHead) -> io::Result<Upgraded> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes the head of the answer and gives a writer for its body. The head may stay here until the first
    /// [`Write::flush`].
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
    /// Which entry of `listen` it came by.
    pub listener: usize,
    /// What TLS has agreed on; none: the connection is plain.
    pub tls: Option<Arc<Secured>>,
}

/// What is known of a connection once its TLS handshake is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secured {
    /// Protocol version: `1.2` or `1.3`.
    pub version: &'static str,
    /// By its name in the IANA registry, such as `TLS13_AES_128_GCM_SHA256`; empty: unknown.
    pub cipher_suite: &'static str,
    /// The host that the client asked for (SNI, RFC 6066 section 3).
    pub server_name: Option<Box<str>>,
    /// Whether the keys come from an earlier session.
    pub is_resumed: bool,
    /// Who the client has proved to be.
    pub client_certificate: Option<ClientCertificate>,
}

/// A client certificate that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// As text (RFC 4514), visible ASCII only; none: it has none that could be passed on.
    pub subject: Option<Box<str>>,
    /// SHA-256 of the certificate, `AB:CD:…`.
    pub fingerprint: Box<str>,
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

impl From<BodyFault> for Cause {
    fn from(fault: BodyFault) -> Cause {
        match fault {
            BodyFault::Left => Cause::ClientGone,
            BodyFault::TooSlow => Cause::ClientTimeout,
            BodyFault::Malformed => Cause::BadRequest,
            BodyFault::TooBig => Cause::BodyTooBig,
        }
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
