//! Connects for ureq: an idle connection of the backend if one is alive, else a new one.
//!
//! ureq's own pool stays empty: its connections never call themselves open (see [`super::transport`]). TLS is not spoken.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout};

use crate::error::Cause;

use super::call::Call;
use super::transport::Wire;

/// No single address gets less time than this, however many there are.
const MIN_CONNECT: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct BackendConnector;

impl Connector<()> for BackendConnector {
    type Out = Wire;

    fn connect(&self, _: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Wire>, Error> {
        let call = Call::current().ok_or(Error::ConnectionFailed)?;
        if !call.is_fresh
            && let Some(stream) = check_out(&call)
        {
            call.facts(|facts| facts.is_reused = true);
            return Ok(Some(Wire::new(stream, call)));
        }
        let stream = dial(&call)?;
        Ok(Some(Wire::new(stream, call)))
    }
}

/// An idle connection that the backend has not closed, and on which it has said nothing.
fn check_out(call: &Arc<Call>) -> Option<TcpStream> {
    loop {
        let stream = call.backend.idle.check_out(Instant::now())?;
        if is_quiet(&stream) {
            return Some(stream);
        }
    }
}

fn is_quiet(stream: &TcpStream) -> bool {
    let mut byte = [0];
    let peeked = rustix::net::recv(stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(peeked, Err(error) if error == rustix::io::Errno::AGAIN)
}

fn dial(call: &Call) -> Result<TcpStream, Error> {
    let deadline = Instant::now() + call.timeouts.connect;
    let deadline = call
        .deadline()
        .map_or(deadline, |total| total.min(deadline));
    let addresses = call
        .backend
        .addresses()
        .map_err(|_| call.fail(Cause::DnsFailed, "the name does not resolve"))?;
    let mut failure = call.fail_later(Cause::ConnectTimeout);
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
        match dial_one(address, share.max(MIN_CONNECT)) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = call.fail_later(cause_of(&error)),
        }
    }
    Err(failure.into_error())
}

fn dial_one(address: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(address, timeout)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn cause_of(error: &io::Error) -> Cause {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Cause::ConnectTimeout,
        ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::AddrNotAvailable => Cause::ConnectRefused,
        // Out of descriptors or memory: not the backend's doing.
        _ => Cause::Internal,
    }
}

/// A failure that is noted only when it is the last word.
struct Later<'a> {
    call: &'a Call,
    cause: Cause,
}

impl Later<'_> {
    fn into_error(self) -> Error {
        self.call
            .fail(self.cause, "the connection could not be made")
    }
}

impl Call {
    fn fail_later(&self, cause: Cause) -> Later<'_> {
        Later { call: self, cause }
    }
}

/// ureq asks for an address before it connects; ours come from the backend, so any will do.
#[derive(Debug)]
pub(super) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from(([127, 0, 0, 1], 0)));
        Ok(addresses)
    }
}
