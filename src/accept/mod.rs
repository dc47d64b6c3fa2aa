//! Bytes become exchanges: opens the sockets and chooses the engine that accepts on them.
//!
//! It decides nothing about a request beyond its syntax and framing, and sees nothing of what is behind
//! [`crate::exchange::Intake`].

mod answer;
mod bind;
mod inherited;
mod reactor;
mod tiny;

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::config::model::{Address, Engine, Listen, Server};
use crate::exchange::Listener;
use crate::tls::server::Terminator;

pub use inherited::{InheritError, Inherited};

/// A listener could not be opened.
#[derive(Debug)]
pub struct BindError {
    address: Address,
    error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_unix = matches!(self.address, Address::Unix(_));
        let hint = match self.error.kind() {
            io::ErrorKind::AddrInUse if is_unix => {
                ": another process listens there; stop it or choose another path (only a socket that a supervisor \
                 passes can have two: systemd socket activation)"
            }
            io::ErrorKind::AddrInUse => {
                ": another process listens there; stop it or choose another port (two processes share one with \
                 server.reuse_port = true in both, or by systemd socket activation)"
            }
            io::ErrorKind::PermissionDenied if is_unix => {
                ": the folder must be writable for the user that runs tollgate"
            }
            io::ErrorKind::PermissionDenied => ": ports below 1024 need the right to bind them",
            io::ErrorKind::NotFound if is_unix => ": the folder must exist",
            io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
            _ => "",
        };
        write!(f, "cannot listen on {}: {}{hint}", self.address, self.error)
    }
}

impl std::error::Error for BindError {}

/// Listeners that are ready to run, and where they listen (with the ports that the system picked).
pub struct Opened {
    /// One or more; each wants a thread.
    pub listeners: Vec<Box<dyn Listener>>,
    /// In the order asked for.
    pub addresses: Vec<Address>,
}

/// Opens all of `listen` with the engine, limits and timeouts of `server`; what was `inherited` is open already. The
/// `terminator` has the certificates for those that speak TLS.
///
/// # Errors
/// When an address cannot be bound; and when the tiny_http engine would be exposed to a network that nobody called
/// trusted.
pub fn open(
    listen: &[Listen],
    server: &Server,
    terminator: Option<&Arc<Terminator>>,
    inherited: &mut Inherited,
) -> Result<Opened, BindError> {
    match server.engine {
        Engine::Reactor => reactor::open(listen, server, terminator, inherited),
        Engine::TinyHttp => open_tiny(listen, server, inherited),
    }
}

fn open_tiny(
    listen: &[Listen],
    server: &Server,
    inherited: &mut Inherited,
) -> Result<Opened, BindError> {
    let mut opened = Opened {
        listeners: Vec::new(),
        addresses: Vec::new(),
    };
    for (number, entry) in listen.iter().enumerate() {
        let failed = |error| BindError {
            address: entry.address.clone(),
            error,
        };
        let Address::Ip(address) = entry.address else {
            let error = io::Error::other("the tiny_http engine cannot listen on unix sockets");
            return Err(failed(error));
        };
        if !address.ip().is_loopback() && !server.trusted_network {
            let error = io::Error::other(
                "the tiny_http engine listens beyond this machine only with server.trusted_network = true",
            );
            return Err(failed(error));
        }
        let passed = inherited.take_tcp(address);
        let listener = passed
            .map_or_else(|| bind::tcp(address, false), Ok)
            .and_then(|socket| tiny::TinyListener::new(socket, number, server))
            .map_err(failed)?;
        opened.addresses.push(Address::Ip(listener.local()));
        opened.listeners.push(Box::new(listener));
    }
    Ok(opened)
}
