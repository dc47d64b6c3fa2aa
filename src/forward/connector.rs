//! Connects for ureq: an idle connection of the backend if one is alive, else a new one.
//!
//! ureq's own pool stays empty: its connections never call themselves open (see [`super::transport`]); nor does it know of TLS.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout};

use crate::error::Cause;
use crate::upstream::dial::{DialError, dial};
use crate::upstream::idle::Connection;

use super::call::Call;
use super::transport::Wire;

#[derive(Debug)]
pub(super) struct BackendConnector;

impl Connector<()> for BackendConnector {
    type Out = Wire;

    fn connect(&self, _: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Wire>, Error> {
        let call = Call::current().ok_or(Error::ConnectionFailed)?;
        if let Some((connection, since)) = call.facts.launched.lock().take() {
            return Ok(Some(Wire::launched(connection, Arc::clone(&call), since)));
        }
        let connection = match check_out(&call) {
            Some(connection) => connection,
            None => connect(&call)?,
        };
        Ok(Some(Wire::new(connection, call)))
    }
}

fn check_out(call: &Call) -> Option<Connection> {
    if call.manner.is_fresh {
        return None;
    }
    let idle = &call.backend.idle;
    let reused = idle.check_out(Instant::now(), call.manner.tolerates_stale)?;
    Some(call.reuse(reused))
}

fn connect(call: &Call) -> Result<Connection, Error> {
    let deadline = Instant::now() + call.timeouts.connect;
    let deadline = call
        .deadline()
        .map_or(deadline, |total| total.min(deadline));
    match dial(&call.backend, deadline) {
        Ok(stream) => Ok(stream.into()),
        Err(DialError::Name) => Err(call.fail(Cause::DnsFailed, "the name does not resolve")),
        Err(DialError::Connect(error)) => {
            Err(call.fail(cause_of(&error), "the connection could not be made"))
        }
        Err(DialError::Tls(failure)) => Err(call.fail_tls(failure)),
    }
}

/// What a failed connect tells the client.
pub(super) fn cause_of(error: &io::Error) -> Cause {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Cause::ConnectTimeout,
        ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::AddrNotAvailable
        // A Unix socket that is not there, or not for us.
        | ErrorKind::NotFound
        | ErrorKind::PermissionDenied => Cause::ConnectRefused,
        // Out of descriptors or memory: not the backend's doing.
        _ => Cause::Internal,
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
