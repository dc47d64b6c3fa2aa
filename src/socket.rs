//! A connected stream socket, TCP or Unix, and what an upgraded connection is made of.
//!
//! It knows no protocol and keeps no time; whoever holds one decides whether it blocks.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// A connected stream socket.
#[derive(Debug)]
pub enum Socket {
    /// Over IP.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
}

/// One side of an upgraded connection: bytes both ways, never blocking.
pub trait Conduit: Send {
    /// Takes what has come; `Ok(0)`: the peer sends no more.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; anything else is the end.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Sends as much of `bytes` as there is room for.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; anything else is the end.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends what lies between here and the wire, if the conduit keeps such a thing (TLS does).
    ///
    /// # Errors
    /// `WouldBlock` when there is no room yet; anything else is the end.
    fn flush(&mut self) -> io::Result<()>;

    /// Tells the peer that nothing more comes.
    ///
    /// # Errors
    /// Whatever the connection says; it is of no use any more then.
    fn end_sending(&mut self) -> io::Result<()>;

    /// What a poller watches.
    fn as_fd(&self) -> BorrowedFd<'_>;
}

impl Socket {
    /// Switches between blocking and not.
    ///
    /// # Errors
    /// The system's.
    pub fn set_nonblocking(&self, is_nonblocking: bool) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.set_nonblocking(is_nonblocking),
            Socket::Unix(stream) => stream.set_nonblocking(is_nonblocking),
        }
    }

    /// Shuts down one or both directions.
    ///
    /// # Errors
    /// The system's; a connection that is gone already is one.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.shutdown(how),
            Socket::Unix(stream) => stream.shutdown(how),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(stream) => stream.as_fd(),
            Socket::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&*stream).read(buffer),
            Socket::Unix(stream) => (&*stream).read(buffer),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&*stream).write(bytes),
            Socket::Unix(stream) => (&*stream).write(bytes),
        }
    }

    /// All parts in one system call.
    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&*stream).write_vectored(parts),
            Socket::Unix(stream) => (&*stream).write_vectored(parts),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The socket must have been set to not block.
impl Conduit for Socket {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn end_sending(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        AsFd::as_fd(self)
    }
}
