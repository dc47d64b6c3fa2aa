//! The connection of one probe, as ureq's transport: over any kind of socket, and over for good at the probe's deadline.
//!
//! Probes are few: unlike the connections of the traffic these end with the probe.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use parking_lot::Mutex;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::upstream::stream::{Stream, wait};

/// Bytes of input room, which bounds an answer's head, and of output room.
const BUFFER: usize = 16 * 1024;

/// Gives ureq the one connection that was made for it.
#[derive(Debug)]
pub(super) struct Once {
    line: Mutex<Option<Line>>,
}

impl Once {
    pub(super) fn new(stream: Stream, deadline: Instant) -> Once {
        let line = Line {
            stream,
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
    stream: Stream,
    deadline: Instant,
    buffers: LazyBuffers,
}

impl Line {
    /// What to tell when it broke.
    fn fault(&self, error: Errno) -> io::Error {
        match self.stream.failure() {
            Some(failure) => io::Error::other(failure.reason),
            None => error.into(),
        }
    }

    /// Waits after a call that could do nothing, and tells any other error.
    fn wait(&self, error: Errno, wanted: PollFlags) -> io::Result<()> {
        match error {
            Errno::INTR if self.deadline > Instant::now() => Ok(()),
            Errno::AGAIN | Errno::INTR => {
                wait(&self.stream, wanted, self.deadline)?;
                Ok(())
            }
            error => Err(self.fault(error)),
        }
    }
}

impl Transport for Line {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let mut sent = 0;
        loop {
            let bytes = self.buffers.output().get(sent..amount).unwrap_or_default();
            let result = match bytes {
                [] => self.stream.flush().map(|()| 0),
                bytes => self.stream.send(bytes, &[]),
            };
            match result {
                Ok(0) => return Ok(()),
                Ok(count) => sent += count,
                Err(error) => self.wait(error, PollFlags::OUT)?,
            }
        }
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        let count = loop {
            let room = self.buffers.input_append_buf();
            match self.stream.receive(room, RecvFlags::DONTWAIT) {
                Ok(count) => break count,
                Err(error) => self.wait(error, PollFlags::IN)?,
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
