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
}

impl ClientConduit {
    /// Sends `head` first.
    pub(super) fn new(link: Arc<Link>, head: Vec<u8>) -> ClientConduit {
        let mut conduit = ClientConduit { link, head };
        // What does not go out now goes before the first bytes of the backend.
        let _ = conduit.flush();
        conduit
    }
}

impl Conduit for ClientConduit {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.link.receive(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        (&self.link.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Answers to earlier requests, pipelined before this one, are older still.
        if !self.link.hold().flush()? {
            return Err(ErrorKind::WouldBlock.into());
        }
        while !self.head.is_empty() {
            let count = (&self.link.socket).write(&self.head)?;
            self.head.drain(..count);
        }
        Ok(())
    }

    fn end_sending(&mut self) -> io::Result<()> {
        self.link.socket.shutdown(Shutdown::Write)
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        AsFd::as_fd(&self.link.socket)
    }
}
