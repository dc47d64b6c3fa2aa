//! The client's end of an upgraded connection. The link is still counted as a connection while it lives.

use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::socket::Conduit;

use super::link::Link;

/// Bytes to and from the client.
pub(super) struct ClientConduit {
    link: Arc<Link>,
    /// The answer's head, as far as it is not sent.
    head: Vec<u8>,
    /// Our side ends once everything is sent.
    is_ending: bool,
}

impl ClientConduit {
    /// Sends `head` first.
    pub(super) fn new(link: Arc<Link>, head: Vec<u8>) -> ClientConduit {
        let mut conduit = ClientConduit {
            link,
            head,
            is_ending: false,
        };
        // What does not go out now goes before the first bytes of the backend.
        let _ = conduit.flush();
        conduit
    }
}

impl Conduit for ClientConduit {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.link.tls.is_some() {
            return self.link.hold().receive(buffer);
        }
        self.link.receive(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        if self.link.tls.is_some() {
            return self.link.hold().send(&[bytes], 0);
        }
        (&self.link.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Answers to earlier requests, pipelined before this one, are older still.
        if !self.link.hold().flush()? {
            return Err(ErrorKind::WouldBlock.into());
        }
        while !self.head.is_empty() {
            let mut held = self.link.hold();
            let count = held.send(&[&self.head], 0)?;
            self.head.drain(..count);
            if !self.head.is_empty() || held.outbox.is_some() {
                return Err(ErrorKind::WouldBlock.into());
            }
        }
        if self.is_ending {
            self.is_ending = false;
            return self.link.socket.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    /// Over TLS there is a word to be said first; the connection's own end comes when that is out.
    fn end_sending(&mut self) -> io::Result<()> {
        if self.link.tls.is_none() {
            return self.link.socket.shutdown(Shutdown::Write);
        }
        self.is_ending = true;
        self.link.hold().say_end()
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        AsFd::as_fd(&self.link.socket)
    }
}
