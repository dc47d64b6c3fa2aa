//! The connection of one probe, as ureq's transport: over any kind of socket, and over for good at the probe's deadline.
//!
//! Probes are few: unlike the connections of the traffic these are plain, and end with the probe.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use parking_lot::Mutex;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::socket::Socket;

/// Bytes of input room, which bounds an answer's head, and of output room.
const BUFFER: usize = 16 * 1024;

/// Gives ureq the one connection that was made for it.
#[derive(Debug)]
pub(super) struct Once {
    line: Mutex<Option<Line>>,
}

impl Once {
    pub(super) fn new(socket: Socket, deadline: Instant) -> Once {
        let line = Line {
            socket,
            deadline,
            buffers: LazyBuffers::new(BUFFER, BUFFER),
        };
        Once {
            line: Mutex::new(Some(line)),
        }
    }
}

impl Connector<()> for Once {
    type Out = Line;

    fn connect(&self, _: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Line>, Error> {
        Ok(self.line.lock().take())
    }
}

/// A connection until its deadline.
#[derive(Debug)]
pub(super) struct Line {
    socket: Socket,
    deadline: Instant,
    buffers: LazyBuffers,
}

impl Line {
    /// Lets the next system call wait no longer than there is time.
    fn limit(&self, which: Timeout) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(set_socket_timeout(&self.socket, which, Some(left))?)
    }
}

impl Transport for Line {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        // A probe's request is one small write, so limiting it as a whole is not worth a loop.
        self.limit(Timeout::Send)?;
        let bytes = self.buffers.output().get(..amount).unwrap_or_default();
        (&self.socket).write_all(bytes)?;
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        let count = loop {
            self.limit(Timeout::Recv)?;
            let read = (&self.socket).read(self.buffers.input_append_buf());
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                read => break read?,
            }
        };
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        false
    }
}

/// ureq asks for an address before it connects; the connection is made already, so any will do.
#[derive(Debug)]
pub(super) struct Anywhere;

impl Resolver for Anywhere {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from(([127, 0, 0, 1], 0)));
        Ok(addresses)
    }
}
