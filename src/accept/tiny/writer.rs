//! Writes an answer with our own framing over tiny_http's raw writer, flushed as it comes.

use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;
use tiny_http::{Header, Request, Response, StatusCode};

use crate::exchange::ResponseWriter;
use crate::message::forwarded::PSEUDONYM;
use crate::message::head::{BodyLength, ResponseHead, Version};

use super::disposal::{self, Leftover};
use super::keeper::Keeper;

/// What decides about framing and about the connection's fate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) version: Version,
    /// HEAD, 204, 304: no body, whatever is written.
    pub(super) is_bodiless: bool,
    pub(super) length: BodyLength,
    pub(super) announced: Option<u64>,
    /// `Connection: close` goes out.
    pub(super) says_close: bool,
    /// The connection is ours to close at the end; else tiny_http closes it, or it lives on.
    pub(super) hangs_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Nothing,
    Length(u64),
    Chunked,
    UntilClose,
}

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
        shape: Shape,
        peer: SocketAddr,
        keeper: Arc<dyn Keeper>,
    ) -> io::Result<Box<dyn ResponseWriter>> {
        let framing = framing(&shape);
        // HTTP/1.0 knows no other end for an unknown length than the connection's.
        let ends_connection = framing == Framing::UntilClose && !shape.says_close;
        let bytes = render(head, &shape, framing, shape.says_close || ends_connection);
        let written = socket.write_all(&bytes).and_then(|()| socket.flush());
        let hangs_up = shape.hangs_up || ends_connection;
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
                let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
                chunk.reserve(piece.len() + 2);
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

fn framing(shape: &Shape) -> Framing {
    match shape.length {
        _ if shape.is_bodiless => Framing::Nothing,
        BodyLength::Empty => Framing::Length(0),
        BodyLength::Known(length) => Framing::Length(length),
        BodyLength::Unknown if shape.version == Version::Http11 => Framing::Chunked,
        BodyLength::Unknown => Framing::UntilClose,
    }
}

fn render(head: &ResponseHead, shape: &Shape, framing: Framing, says_close: bool) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {} {}\r\n", head.status.as_u16(), head.reason()).into_bytes();
    for (name, value) in head.fields.iter() {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    let length = match framing {
        Framing::Length(length) => Some(length),
        Framing::Nothing => shape.announced.or(match shape.length {
            BodyLength::Known(length) => Some(length),
            _ => None,
        }),
        Framing::Chunked | Framing::UntilClose => None,
    };
    if let Some(length) = length.filter(|_| head.status.as_u16() != 204) {
        bytes.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
    }
    if framing == Framing::Chunked {
        bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if says_close {
        bytes.extend_from_slice(b"Connection: close\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}
