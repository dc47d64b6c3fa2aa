//! The TLS session of one connection: records become plaintext and back. Nothing here waits, and nothing decides.
//!
//! What rustls has to send leaves it at once, to the socket or, as far as that has no room, to the link's outbox
//! ([`super::sealed`]). What it has received may stay in it: [`Session::has_more`].

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};

use crate::exchange::{ClientCertificate, Secured};
use crate::socket::Socket;
use crate::tls;
use crate::tls::server::Terminator;

/// Plaintext that is made into records at a time; four whole records.
pub(super) const BATCH: usize = 64 * 1024;

/// One connection's keys, and what rustls has not given away yet.
pub(super) struct Session {
    connection: ServerConnection,
    /// Bytes of plaintext that rustls still has.
    left: usize,
    /// The client has said that it sends no more.
    is_over: bool,
    /// The last look at the socket took all that was there.
    is_exhausted: bool,
    /// The client may have to show a certificate.
    asks_for_certificate: bool,
}

impl Session {
    /// A session that waits for its first handshake message.
    ///
    /// # Errors
    /// When the configuration makes no session.
    pub(super) fn new(terminator: &Terminator) -> Result<Session, rustls::Error> {
        let mut connection = ServerConnection::new(terminator.config())?;
        // Asked after the configuration, which is changed last.
        let asks_for_certificate = terminator.asks_for_certificates();
        connection.set_buffer_limit(Some(BATCH));
        Ok(Session {
            connection,
            left: 0,
            is_over: false,
            is_exhausted: false,
            asks_for_certificate,
        })
    }

    /// Whether the keys are not agreed on yet.
    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether a last message of the handshake would cost no public-key operation: no certificate comes before it.
    pub(super) fn ends_cheaply(&self) -> bool {
        !self.asks_for_certificate
            && self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Whether there is something here that no readiness of the socket will tell of, or the socket may have more.
    pub(super) fn has_more(&self) -> bool {
        self.has_news() || !self.is_exhausted
    }

    /// Whether there is plaintext here, or its end: the socket is not asked then.
    pub(super) fn has_news(&self) -> bool {
        self.left > 0 || self.is_over
    }

    /// Whether rustls has something to send.
    pub(super) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// What was agreed on.
    pub(super) fn secured(&self) -> Secured {
        let connection = &self.connection;
        let suite = connection.negotiated_cipher_suite();
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        Secured {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "1.3",
                _ => "1.2",
            },
            cipher_suite: suite.and_then(|suite| suite.suite().as_str()).unwrap_or(""),
            server_name: connection.server_name().map(Box::from),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            client_certificate: certificate.map(client_certificate),
        }
    }

    /// Receives plaintext, as much as there is room for. 0: the client has said that it sends no more.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; `UnexpectedEof` when the connection ended without a word; `InvalidData` when the
    /// client breaks the rules, and there may be an alert to send then; or whatever the socket says.
    pub(super) fn receive(&mut self, mut socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.left > 0 {
                return self.take(buffer);
            }
            if self.is_over {
                return Ok(0);
            }
            let received = match socket.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.is_exhausted = error.kind() == ErrorKind::WouldBlock;
                    return Err(error);
                }
            };
            self.is_exhausted = received < buffer.len();
            let opened = self.open(buffer, received).map_err(broken)?;
            // Not for ever: rustls bears with a few records that have nothing in them.
            if opened > 0 {
                return Ok(opened);
            }
        }
    }

    /// Takes the first `received` bytes of `buffer`, which are records or parts of them, and puts plaintext in their place. How
    /// much; what finds no room stays here.
    ///
    /// # Errors
    /// When the records are not what they must be.
    pub(super) fn open(
        &mut self,
        buffer: &mut [u8],
        received: usize,
    ) -> Result<usize, rustls::Error> {
        let (mut used, mut opened) = (0, 0);
        while used < received {
            let mut records = buffer.get(used..received).unwrap_or_default();
            // From memory it fails only when rustls has no room left, which is the client's doing.
            let read = self.connection.read_tls(&mut records);
            let count = read.map_err(|error| rustls::Error::General(error.to_string()))?;
            used += count;
            let state = self.connection.process_new_packets()?;
            self.left = state.plaintext_bytes_to_read();
            self.is_over = state.peer_has_closed();
            // Plaintext is shorter than its records, and rustls takes no more while it has a whole record's worth.
            let room = buffer.get_mut(opened..used).unwrap_or_default();
            opened += self.take(room).unwrap_or_default();
            if self.is_over {
                break;
            }
            if count == 0 {
                return Err(rustls::Error::General("a record without end".into()));
            }
        }
        let room = buffer.get_mut(opened..).unwrap_or_default();
        Ok(opened + self.take(room).unwrap_or_default())
    }

    /// Plaintext that is here.
    fn take(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || room.is_empty() {
            return Ok(0);
        }
        let mut taken = 0;
        while taken < room.len() && self.left > 0 {
            let rest = room.get_mut(taken..).unwrap_or_default();
            let count = self.connection.reader().read(rest)?;
            if count == 0 {
                self.left = 0;
            }
            self.left = self.left.saturating_sub(count);
            taken += count;
        }
        Ok(taken)
    }

    /// Makes records of `parts`; how many bytes of them. [`BATCH`] at most, and never 0 where there is something and all
    /// earlier records are gone.
    ///
    /// # Errors
    /// When the session has broken.
    pub(super) fn seal(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.connection.writer().write_vectored(parts)
    }

    /// The client gets to know that nothing more comes.
    pub(super) fn seal_end(&mut self) {
        self.connection.send_close_notify();
    }

    /// Sends records as far as the socket has room: how many bytes.
    ///
    /// # Errors
    /// Whatever the socket says, except that it has no room.
    pub(super) fn send(&mut self, socket: &Socket) -> io::Result<usize> {
        let mut sent = 0;
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut { socket }) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// Gives away all records that are not sent.
    pub(super) fn leave(&mut self, to: &mut dyn Write) {
        // Writing to memory cannot fail; should it stop, nothing here goes on for ever.
        while self.connection.wants_write() && matches!(self.connection.write_tls(to), Ok(1..)) {}
    }
}

/// A fault of the client's as an error of its connection.
pub(super) fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

fn client_certificate(certificate: &CertificateDer<'_>) -> ClientCertificate {
    ClientCertificate {
        subject: tls::subject(certificate).map(String::into_boxed_str),
        fingerprint: tls::fingerprint(certificate).into_boxed_str(),
    }
}
