//! A socket, perhaps with the server's side of TLS on it. Whoever uses it sees plain bytes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Deref;

use rustls::ServerConnection;

/// What [`super::wire::Wire`] reads. All that is not reading and writing goes past TLS, to the socket.
#[derive(Debug)]
pub struct Link {
    socket: TcpStream,
    tls: Option<ServerConnection>,
}

impl From<TcpStream> for Link {
    fn from(socket: TcpStream) -> Link {
        Link { socket, tls: None }
    }
}

impl Link {
    /// Shakes hands as a server; the error is what rustls or the system says.
    pub fn secured(socket: TcpStream, tls: ServerConnection) -> io::Result<Link> {
        let mut link = Link {
            socket,
            tls: Some(tls),
        };
        if let Some(tls) = &mut link.tls {
            while tls.is_handshaking() || tls.wants_write() {
                tls.complete_io(&mut link.socket)?;
            }
        }
        Ok(link)
    }

    /// TLS, if it is spoken.
    pub fn tls(&mut self) -> Option<&mut ServerConnection> {
        self.tls.as_mut()
    }

    /// Sends no more, and says so.
    pub fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        let _ = self.flush();
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

impl Deref for Link {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.socket
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls, &mut self.socket).read(buffer),
            None => self.socket.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls, &mut self.socket).write(bytes),
            None => self.socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls, &mut self.socket).flush(),
            None => Ok(()),
        }
    }
}
