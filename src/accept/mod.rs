//! Bytes become exchanges: opens the sockets and chooses the engine that accepts on them.
//!
//! It decides nothing about a request beyond its syntax and framing, and sees nothing of what is behind
//! [`crate::exchange::Intake`].

mod bind;
mod tiny;

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::config::model::{Engine, Server};
use crate::exchange::Listener;

/// A listener could not be opened.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self.error.kind() {
            io::ErrorKind::AddrInUse => {
                ": another process listens there; stop it or choose another port"
            }
            io::ErrorKind::PermissionDenied => ": ports below 1024 need the right to bind them",
            io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
            _ => "",
        };
        write!(f, "cannot listen on {}: {}{hint}", self.address, self.error)
    }
}

impl std::error::Error for BindError {}

/// Opens a listener on `address` with the engine and the timeouts of `server`.
///
/// # Errors
/// When the address cannot be bound; and when the tiny_http engine would be exposed to a network that nobody called
/// trusted.
pub fn open(address: SocketAddr, server: &Server) -> Result<Box<dyn Listener>, BindError> {
    match server.engine {
        Engine::TinyHttp => {
            if !address.ip().is_loopback() && !server.trusted_network {
                let error = io::Error::other(
                    "the tiny_http engine listens beyond this machine only with server.trusted_network = true",
                );
                return Err(BindError { address, error });
            }
            let socket = bind::tcp(address).map_err(|error| BindError { address, error })?;
            let listener = tiny::TinyListener::new(socket, server)
                .map_err(|error| BindError { address, error })?;
            Ok(Box::new(listener))
        }
    }
}
