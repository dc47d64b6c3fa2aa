//! Connections to the server that is asked, as ureq's transport: over TCP, and over TLS where the URL says so.
//!
//! Whom to trust is settled in [`crate::tls::client`]; a server that is not trusted is asked nothing.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::config::model::ForwardAuth;
use crate::socket::Socket;
use crate::tls::client::ClientTls;
use crate::tls::failure::Failure;
use crate::upstream::dial::{DialError, dial_tcp, over_tls};
use crate::upstream::stream::{News, Stream, wait};

/// Where the settings for TLS are.
const TABLE: &str = "route.auth.forward.tls";

/// How a server that wants TLS is spoken with: with it go the sessions that can be resumed.
#[derive(Debug)]
pub(super) struct Tls {
    host: String,
    /// Without authorities there is none.
    made: Result<ClientTls, String>,
}

impl Tls {
    /// None: it wants none.
    pub(super) fn of(settings: &ForwardAuth) -> Option<Arc<Tls>> {
        let tls = settings.tls.as_ref()?;
        Some(Arc::new(Tls {
            host: settings.host.clone(),
            made: ClientTls::new(tls),
        }))
    }
}

/// Makes connections.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) tls: Option<Arc<Tls>>,
}

impl Connector<()> for Lines {
    type Out = Line;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Line>, Error> {
        let deadline = deadline(details.timeout);
        let stream = dial_tcp(&details.addrs, deadline)
            .map_err(DialError::Connect)
            .and_then(|socket| match &self.tls {
                None => Ok(Stream::Plain(Socket::Tcp(socket))),
                Some(tls) => {
                    let made = tls.made.as_ref().map_err(Clone::clone);
                    let session = made.and_then(|made| made.connection(&tls.host));
                    let session = session.map_err(Failure::protocol).map_err(DialError::Tls)?;
                    over_tls(socket, session, deadline)
                }
            });
        let stream = stream.map_err(|error| match error {
            DialError::Name => Error::HostNotFound,
            DialError::Connect(error) => told(error, details.timeout),
            DialError::Tls(failure) => broken(&failure),
        })?;
        let (input, output) = (
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        Ok(Some(Line {
            stream,
            buffers: LazyBuffers::new(input, output),
        }))
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Line {
    stream: Stream,
    buffers: LazyBuffers,
}

impl Line {
    /// Waits after a call that could do nothing, and tells any other error.
    fn wait(
        &self,
        error: Errno,
        wanted: PollFlags,
        deadline: Instant,
        timeout: NextTimeout,
    ) -> Result<(), Error> {
        match error {
            Errno::INTR if deadline > Instant::now() => Ok(()),
            Errno::AGAIN | Errno::INTR => match wait(&self.stream, wanted, deadline) {
                Ok(_) => Ok(()),
                Err(error) => Err(told(error, timeout)),
            },
            error => Err(match self.stream.failure() {
                Some(failure) => broken(&failure),
                None => told(error.into(), timeout),
            }),
        }
    }
}

impl Transport for Line {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let deadline = deadline(timeout);
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
                Err(error) => self.wait(error, PollFlags::OUT, deadline, timeout)?,
            }
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let deadline = deadline(timeout);
        let count = loop {
            let room = self.buffers.input_append_buf();
            match self.stream.receive(room, RecvFlags::DONTWAIT) {
                Ok(count) => break count,
                Err(error) => self.wait(error, PollFlags::IN, deadline, timeout)?,
            }
        };
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    /// Whether another question may go out on it: it has not ended, and nothing has come that nobody asked for.
    fn is_open(&mut self) -> bool {
        self.stream.news() == News::None
    }

    fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Secure(_))
    }
}

fn deadline(timeout: NextTimeout) -> Instant {
    let now = Instant::now();
    now.checked_add(*timeout.after).unwrap_or(now)
}

fn told(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}

fn broken(failure: &Failure) -> Error {
    Error::Io(io::Error::other(failure.about_server(TABLE).reason))
}
