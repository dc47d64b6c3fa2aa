//! Writes an answer with our own framing over tiny_http's raw writer, flushed as it comes.

use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;
use tiny_http::{Header, Request, Response, StatusCode};

use crate::exchange::ResponseWriter;
use crate::message::forwarded::PSEUDONYM;
use crate::message::head::ResponseHead;

use super::disposal::{self, Leftover};
use super::keeper::Keeper;
use crate::accept::answer::{self, Framing, Shape};

/// The body of one answer.
pub(super) struct TinyWriter {
    /// `None` once finished.
    out: Option<Out>,
    framing: Framing,
    hangs_up: bool,
    peer: SocketAddr,
    keeper: Arc<dyn Keeper>,
}

enum Out {
    Socket(Box<dyn Write + Send>),
    /// The request's body was not read: the connection is ours and ends with the answer.
    Leftover(Leftover),
}

impl TinyWriter {
    /// Writes the head and gives a writer for the body.
    pub(super) fn start(
        mut socket: Box<dyn Write + Send>,
        head: &ResponseHead,
        mut shape: Shape,
        hangs_up: bool,
        peer: SocketAddr,
        keeper: Arc<dyn Keeper>,
    ) -> io::Result<Box<dyn ResponseWriter>> {
        let framing = shape.framing();
        let ends_connection = framing == Framing::UntilClose && !shape.says_close;
        shape.says_close |= ends_connection;
        let mut bytes = Vec::new();
        answer::render(head, &shape, &mut bytes);
        let written = socket.write_all(&bytes).and_then(|()| socket.flush());
        let hangs_up = hangs_up || ends_connection;
        let writer = TinyWriter {
            out: Some(Out::Socket(socket)),
            framing,
            hangs_up,
            peer,
            keeper,
        };
        // On an error the writer is dropped, which closes the connection.
        written.map(|()| Box::new(writer) as Box<dyn ResponseWriter>)
    }

    /// The same for a request whose body is not read to its end. tiny_http writes the head, so fields that are not ASCII
    /// are left out, and the answer ends with the connection.
    pub(super) fn start_unread(
        request: Request,
        unread: u64,
        head: &ResponseHead,
        peer: SocketAddr,
        keeper: Arc<dyn Keeper>,
    ) -> Box<dyn ResponseWriter> {
        let fields = head
            .fields
            .iter()
            .filter_map(|(name, value)| Header::from_bytes(name, value).ok());
        let server = Header::from_bytes("Server", PSEUDONYM).ok();
        let has_server = head.fields.contains("server");
        let fields = fields.chain(server.filter(|_| !has_server)).collect();
        let status = StatusCode(head.status.as_u16());
        let response = Response::new(status, fields, io::empty(), None, None);
        let is_bodiless = head.is_bodiless(&Method::GET);
        Box::new(TinyWriter {
            out: Some(Out::Leftover(disposal::take_over(
                request, response, unread,
            ))),
            framing: if is_bodiless {
                Framing::Nothing
            } else {
                Framing::UntilClose
            },
            hangs_up: true,
            peer,
            keeper,
        })
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.out {
            Some(Out::Socket(socket)) => socket.write_all(bytes),
            Some(Out::Leftover(leftover)) => leftover.stream.write_all(bytes),
            None => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn write_piece(&mut self, piece: &[u8]) -> io::Result<()> {
        match &mut self.framing {
            Framing::Nothing => Ok(()),
            Framing::UntilClose => self.send(piece),
            Framing::Length(left) if *left < piece.len() as u64 => Err(io::Error::new(
                ErrorKind::InvalidData,
                "more body bytes than announced",
            )),
            Framing::Length(left) => {
                *left -= piece.len() as u64;
                self.send(piece)
            }
            Framing::Chunked => {
                let mut chunk = Vec::with_capacity(piece.len() + 20);
                chunk.extend_from_slice(answer::chunk_line(piece.len()).as_bytes());
                chunk.extend_from_slice(piece);
                chunk.extend_from_slice(b"\r\n");
                self.send(&chunk)
            }
        }
    }

    fn end_body(&mut self) -> io::Result<()> {
        match self.framing {
            Framing::Length(left) if left > 0 => Err(io::Error::new(
                ErrorKind::InvalidData,
                "fewer body bytes than announced",
            )),
            Framing::Chunked => self.send(b"0\r\n\r\n"),
            _ => Ok(()),
        }
    }
}

impl Write for TinyWriter {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if !piece.is_empty() {
            self.write_piece(piece)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Some(Out::Socket(socket)) => socket.flush(),
            Some(Out::Leftover(leftover)) => leftover.stream.flush(),
            None => Ok(()),
        }
    }
}

impl ResponseWriter for TinyWriter {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.end_body()?;
        self.flush()?;
        if self.hangs_up {
            self.keeper.poison(self.peer);
        }
        match self.out.take() {
            Some(Out::Socket(socket)) => {
                // Before tiny_http gets its turn: it may have an answer of its own to what it has read ahead.
                if self.hangs_up {
                    self.keeper.hangup().close(self.peer);
                }
                drop(socket);
            }
            Some(Out::Leftover(leftover)) => self.keeper.linger(self.peer, leftover),
            None => (),
        }
        Arc::clone(&self.keeper).ended(self.peer);
        Ok(())
    }
}

impl Drop for TinyWriter {
    /// Not finished: the client must see that the answer was cut.
    fn drop(&mut self) {
        let Some(out) = self.out.take() else { return };
        self.keeper.poison(self.peer);
        if self.framing == Framing::UntilClose {
            self.keeper.hangup().reset(self.peer);
        } else {
            self.keeper.hangup().close(self.peer);
        }
        match out {
            Out::Socket(socket) => drop(socket),
            Out::Leftover(leftover) => disposal::dispose(leftover),
        }
        Arc::clone(&self.keeper).ended(self.peer);
    }
}
