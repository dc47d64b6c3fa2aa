//! A connected stream to a backend: a socket, perhaps with TLS on it. Whoever uses it sees plain bytes.
//!
//! Sending never blocks; receiving blocks if it is told to, for one system call. It keeps no clock: [`wait`] does.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

use crate::socket::{Conduit, Socket};
use crate::tls::failure::Failure;

use super::secure::Secure;

/// A stream to a backend.
#[derive(Debug)]
pub enum Stream {
    /// As it is.
    Plain(Socket),
    /// With TLS.
    Secure(Box<Secure>),
}

/// What a stream has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Nothing yet.
    None,
    /// Bytes.
    Bytes,
    /// It is at its end.
    End,
}

impl Stream {
    /// What lies below.
    pub fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Secure(secure) => secure.socket(),
        }
    }

    /// Takes what has come; 0: the backend sends no more, and has said so. Without [`RecvFlags::DONTWAIT`] it may wait, as long as
    /// the socket does at most.
    ///
    /// # Errors
    /// The system's; with TLS also `INTR` when something came, but nothing whole, `PROTO` when what came is no TLS
    /// ([`Stream::failure`]), and `CONNRESET` when the end was not announced.
    pub fn receive(&mut self, buffer: &mut [u8], flags: RecvFlags) -> Result<usize, Errno> {
        match self {
            Stream::Plain(socket) => Ok(rustix::net::recv(socket, buffer, flags)?.0),
            Stream::Secure(secure) => secure.receive(buffer, flags),
        }
    }

    /// Sends as much of both as there is room for, without waiting. With TLS some of what was taken may be kept back: see
    /// [`Stream::flush`].
    ///
    /// # Errors
    /// The system's; `AGAIN` when there is no room.
    pub fn send(&mut self, head: &[u8], body: &[u8]) -> Result<usize, Errno> {
        match self {
            Stream::Plain(socket) => send_both(socket, head, body),
            Stream::Secure(secure) => secure.send(head, body),
        }
    }

    /// Sends what is kept back, without waiting.
    ///
    /// # Errors
    /// The system's; `AGAIN` when there is no room.
    pub fn flush(&mut self) -> Result<(), Errno> {
        match self {
            Stream::Plain(_) => Ok(()),
            Stream::Secure(secure) => secure.flush(),
        }
    }

    /// Looks without waiting, and takes nothing that is for whoever uses it.
    pub fn news(&mut self) -> News {
        match self {
            Stream::Plain(socket) => match peek(socket, &mut [0]) {
                Ok(0) => News::End,
                Ok(_) => News::Bytes,
                Err(Errno::AGAIN | Errno::INTR) => News::None,
                Err(_) => News::End,
            },
            Stream::Secure(secure) => secure.news(),
        }
    }

    /// The first of the bytes that are there, and how many of them fit.
    pub fn peek(&mut self, buffer: &mut [u8]) -> usize {
        match self {
            Stream::Plain(socket) => peek(socket, buffer).unwrap_or(0),
            Stream::Secure(secure) => secure.peek(buffer),
        }
    }

    /// What goes over it from now on has an end of its own, which is announced or is none: whoever drops it before cuts it off,
    /// and the backend can tell.
    pub fn begin_tunnel(&mut self) {
        if let Stream::Secure(secure) = self {
            secure.end_silently();
        }
    }

    /// Why TLS came to its end, if it did.
    pub fn failure(&self) -> Option<Failure> {
        match self {
            Stream::Plain(_) => None,
            Stream::Secure(secure) => secure.failure(),
        }
    }
}

/// Waits until `wanted` or the end of the connection can be seen, at most until `deadline`.
///
/// # Errors
/// `TimedOut` when the time is over; the system's.
pub fn wait(socket: &impl AsFd, wanted: PollFlags, deadline: Instant) -> io::Result<PollFlags> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // A wait that is too long for the system may as well be for ever.
        let patience = Timespec::try_from(left).ok();
        let mut polled = [PollFd::new(socket, wanted)];
        match poll(&mut polled, patience.as_ref()) {
            Ok(0) | Err(Errno::INTR) => (),
            Ok(_) => return Ok(polled.first().map_or(PollFlags::empty(), PollFd::revents)),
            Err(error) => return Err(error.into()),
        }
    }
}

fn peek(socket: &Socket, buffer: &mut [u8]) -> Result<usize, Errno> {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    Ok(rustix::net::recv(socket, buffer, flags)?.0)
}

fn send_both(socket: &Socket, head: &[u8], body: &[u8]) -> Result<usize, Errno> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match (head, body) {
        ([], []) => Ok(0),
        ([], one) | (one, []) => rustix::net::send(socket, one, flags),
        (head, body) => {
            let parts = [io::IoSlice::new(head), io::IoSlice::new(body)];
            let mut control = SendAncillaryBuffer::default();
            rustix::net::sendmsg(socket, &parts, &mut control, flags)
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        AsFd::as_fd(self.socket())
    }
}

/// After an upgrade: whatever the socket was told before, this does not block.
impl Conduit for Stream {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut result = Stream::receive(self, buffer, RecvFlags::DONTWAIT);
        // Something came, but nothing whole: there may be more, and readiness is told only once.
        while let (Stream::Secure(_), Err(Errno::INTR)) = (&*self, &result) {
            result = Stream::receive(self, buffer, RecvFlags::DONTWAIT);
        }
        Ok(result?)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(Stream::send(self, bytes, &[])?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(Stream::flush(self)?)
    }

    fn end_sending(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.shutdown(Shutdown::Write),
            Stream::Secure(secure) => {
                secure.say_goodbye();
                Ok(())
            }
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        AsFd::as_fd(self)
    }
}
