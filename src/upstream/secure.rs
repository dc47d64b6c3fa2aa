//! TLS over a socket to a backend: the handshake within a deadline, then bytes both ways without waiting for room.
//!
//! Whom to trust is settled in [`crate::tls::client`]. Records may come at any time that hold nothing for the one who reads
//! (session tickets, new keys): they are taken in here and seen by nobody.

use std::io::{self, BufRead, IoSlice, Read, Write};
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use rustls::ClientConnection;

use crate::socket::Socket;
use crate::tls::failure::Failure;

use super::stream::{News, wait};

/// Most system calls in a row that bring nothing for the one who reads.
const MOST_VAIN: usize = 64;

/// A socket with TLS on it.
#[derive(Debug)]
pub struct Secure {
    socket: Socket,
    session: ClientConnection,
    failure: Option<rustls::Error>,
    /// Whether to announce the end when it is dropped.
    is_polite: bool,
}

/// Why a handshake did not succeed.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// `TimedOut`: the backend took too long. Or the system's.
    Io(io::Error),
    Tls(Failure),
}

impl Secure {
    /// Shakes hands over `socket` until `deadline`, however the backend doles out its bytes.
    pub(super) fn establish(
        socket: Socket,
        session: ClientConnection,
        deadline: Instant,
    ) -> Result<Secure, HandshakeError> {
        let mut secure = Secure {
            socket,
            session,
            failure: None,
            is_polite: true,
        };
        loop {
            match secure.flush() {
                Ok(()) if !secure.session.is_handshaking() => return Ok(secure),
                Ok(()) => (),
                Err(Errno::AGAIN) => {
                    wait(&secure.socket, PollFlags::OUT, deadline).map_err(HandshakeError::Io)?;
                    continue;
                }
                Err(error) => return Err(secure.broke_off(error)),
            }
            match secure.pull(RecvFlags::DONTWAIT) {
                Ok(pulled) if pulled.count == 0 => {
                    return Err(secure.broke_off(Errno::CONNRESET));
                }
                Ok(_) | Err(Errno::INTR) => (),
                Err(Errno::AGAIN) => {
                    wait(&secure.socket, PollFlags::IN, deadline).map_err(HandshakeError::Io)?;
                }
                Err(error) => return Err(secure.broke_off(error)),
            }
            if deadline <= Instant::now() {
                return Err(HandshakeError::Io(io::ErrorKind::TimedOut.into()));
            }
        }
    }

    fn broke_off(&self, error: Errno) -> HandshakeError {
        let closed = || match error {
            Errno::CONNRESET | Errno::PIPE => {
                Failure::protocol("the backend closed the connection during the TLS handshake")
            }
            other => Failure::protocol(format!("the TLS handshake broke off: {other}")),
        };
        HandshakeError::Tls(self.failure().unwrap_or_else(closed))
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.as_ref().map(Failure::from)
    }

    pub(super) fn receive(&mut self, buffer: &mut [u8], flags: RecvFlags) -> Result<usize, Errno> {
        if let Some(count) = self.take(buffer)? {
            return Ok(count);
        }
        let (mut total, mut flags) = (0, flags);
        for _ in 0..MOST_VAIN {
            let pulled = match self.pull(flags) {
                Ok(pulled) => pulled,
                // It will be seen again.
                Err(_) if total > 0 => return Ok(total),
                Err(error) => return Err(error),
            };
            flags |= RecvFlags::DONTWAIT;
            match self.take(buffer.get_mut(total..).unwrap_or_default()) {
                Ok(Some(0)) | Err(_) if total > 0 => return Ok(total),
                Ok(Some(0)) => return Ok(0),
                Ok(Some(count)) => total += count,
                Ok(None) => (),
                Err(error) => return Err(error),
            }
            if total >= buffer.len() || !pulled.is_full {
                break;
            }
        }
        match total {
            // The caller keeps the clock.
            0 => Err(Errno::INTR),
            total => Ok(total),
        }
    }

    /// Takes bytes that are decrypted already; `Some(0)`: none will come, `None`: none are there.
    fn take(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
        match self.session.reader().read(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            // The end was not announced: what came before it may have been cut.
            Err(_) => Err(Errno::CONNRESET),
        }
    }

    /// Takes in what the socket has, with one system call. It must not be called while decrypted bytes lie here.
    fn pull(&mut self, flags: RecvFlags) -> Result<Pulled, Errno> {
        let mut source = Source {
            socket: &self.socket,
            flags,
            is_full: false,
        };
        let count = self
            .session
            .read_tls(&mut source)
            .map_err(|error| errno(&error))?;
        let is_full = source.is_full;
        if let Err(error) = self.session.process_new_packets() {
            // Tells the backend why; that it hears it is not certain.
            let _ = self.flush();
            self.failure.get_or_insert(error);
            return Err(Errno::PROTO);
        }
        // New keys are to be answered. If there is no room, it goes out with what is sent next.
        let _ = self.flush();
        Ok(Pulled { count, is_full })
    }

    pub(super) fn send(&mut self, head: &[u8], body: &[u8]) -> Result<usize, Errno> {
        self.flush()?;
        let mut writer = self.session.writer();
        let written = match (head, body) {
            ([], []) => return Ok(0),
            ([], one) | (one, []) => writer.write(one),
            // In one record, if they fit.
            (head, body) => writer.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]),
        };
        let taken = match written {
            Ok(0) => return Err(Errno::AGAIN),
            Ok(taken) => taken,
            Err(error) => return Err(errno(&error)),
        };
        // Some of it may be out, so it counts as sent; if the connection is broken, that shows with the next call.
        let _ = self.flush();
        Ok(taken)
    }

    pub(super) fn flush(&mut self) -> Result<(), Errno> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Sink(&self.socket)) {
                Ok(0) => return Err(Errno::PIPE),
                Ok(_) => (),
                Err(error) => match errno(&error) {
                    Errno::INTR => (),
                    error => return Err(error),
                },
            }
        }
        Ok(())
    }

    pub(super) fn news(&mut self) -> News {
        for _ in 0..MOST_VAIN {
            match self.session.reader().fill_buf() {
                Ok([]) => return News::End,
                Ok(_) => return News::Bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                Err(_) => return News::End,
            }
            match self.pull(RecvFlags::DONTWAIT) {
                Ok(_) | Err(Errno::INTR) => (),
                Err(Errno::AGAIN) => return News::None,
                Err(_) => return News::End,
            }
        }
        // One record after another with nothing in it: nobody should rely on it.
        News::End
    }

    pub(super) fn peek(&mut self, buffer: &mut [u8]) -> usize {
        let mut reader = self.session.reader();
        let bytes = reader.fill_buf().unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(bytes) {
            *to = *from;
        }
        count
    }

    /// From now on an end is announced only by [`Secure::say_goodbye`]: to be dropped is to be cut off.
    pub(super) fn end_silently(&mut self) {
        self.is_polite = false;
    }

    /// Announces the end of what is sent; it goes out with the next flush. To be called once.
    pub(super) fn say_goodbye(&mut self) {
        self.session.send_close_notify();
    }
}

impl Drop for Secure {
    /// A backend is told of the end, if there is room for it right now.
    fn drop(&mut self) {
        if self.is_polite && self.failure.is_none() && !self.session.is_handshaking() {
            self.say_goodbye();
            let _ = self.flush();
        }
    }
}

/// What came with one system call.
#[derive(Debug, Clone, Copy)]
struct Pulled {
    /// Encrypted bytes; 0: the connection is at its end.
    count: usize,
    /// There may be more.
    is_full: bool,
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Where encrypted bytes come from.
struct Source<'a> {
    socket: &'a Socket,
    flags: RecvFlags,
    is_full: bool,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len();
        let (count, _) = rustix::net::recv(self.socket, buffer, self.flags)?;
        self.is_full = count == room;
        Ok(count)
    }
}

/// Where they go.
struct Sink<'a>(&'a Socket);

const UNWAITED: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self.0, bytes, UNWAITED)?)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut control = SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(self.0, parts, &mut control, UNWAITED)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
