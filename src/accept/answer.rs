//! An answer's head as bytes, and the framing of its body for the client's version: the same for every engine.
//!
//! Pure. Whether the connection lives on is decided by the engine; here it is only said.

use std::io::Write;

use crate::message::head::{BodyLength, ResponseHead, Version};

/// Bytes of a head beside the fields that came.
const ADDED: usize = 192;
/// Room is made for a body up to this: it will go out together with the head.
const SMALL: usize = 1024;

/// What decides about the framing, and about what the head says of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// The client's version.
    pub(super) version: Version,
    /// HEAD, 204, 304: no body, whatever is written.
    pub(super) is_bodiless: bool,
    pub(super) length: BodyLength,
    pub(super) announced: Option<u64>,
    /// `Connection: close` goes out.
    pub(super) says_close: bool,
}

/// How the body of an answer is delimited on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    Nothing,
    /// By a length, of which this much is left.
    Length(u64),
    /// In chunks.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

impl Shape {
    /// The framing that fits (RFC 9112 section 6.3). HTTP/1.0 knows no other end for an unknown length than the connection's.
    pub(super) fn framing(&self) -> Framing {
        match self.length {
            _ if self.is_bodiless => Framing::Nothing,
            BodyLength::Empty => Framing::Length(0),
            BodyLength::Known(length) => Framing::Length(length),
            BodyLength::Unknown if self.version == Version::Http11 => Framing::Chunked,
            BodyLength::Unknown => Framing::UntilClose,
        }
    }

    fn content_length(&self, framing: Framing) -> Option<u64> {
        match framing {
            Framing::Length(length) => Some(length),
            Framing::Nothing => self.announced.or(match self.length {
                BodyLength::Known(length) => Some(length),
                _ => None,
            }),
            Framing::Chunked | Framing::UntilClose => None,
        }
    }
}

/// Appends the head of an answer to `bytes`.
pub(super) fn render(head: &ResponseHead, shape: &Shape, bytes: &mut Vec<u8>) {
    let framing = shape.framing();
    let body = match framing {
        Framing::Length(length) => usize::try_from(length).unwrap_or(usize::MAX).min(SMALL),
        _ => 0,
    };
    bytes.reserve(ADDED + head.fields.size() + body);
    line(head, bytes);
    fields(head, bytes);
    if let Some(length) = shape.content_length(framing)
        && head.status.as_u16() != 204
    {
        // Writing into a vector cannot fail.
        let _ = write!(bytes, "Content-Length: {length}\r\n");
    }
    if framing == Framing::Chunked {
        bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if shape.says_close {
        bytes.extend_from_slice(b"Connection: close\r\n");
    } else if shape.version == Version::Http10 {
        bytes.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
}

/// Appends the head of a 101 answer: nothing about a body, and the connection is what the fields say.
pub(super) fn render_switch(head: &ResponseHead, bytes: &mut Vec<u8>) {
    line(head, bytes);
    fields(head, bytes);
    bytes.extend_from_slice(b"Connection: Upgrade\r\n\r\n");
}

fn line(head: &ResponseHead, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(b"HTTP/1.1 ");
    bytes.extend_from_slice(head.status.as_str().as_bytes());
    bytes.push(b' ');
    bytes.extend_from_slice(head.reason().as_bytes());
    bytes.extend_from_slice(b"\r\n");
}

fn fields(head: &ResponseHead, bytes: &mut Vec<u8>) {
    for (name, value) in head.fields.iter() {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
}

/// The line before a chunk of `length` bytes; the chunk is followed by a line end.
pub(super) fn chunk_line(length: usize) -> ChunkLine {
    let mut line = ChunkLine {
        bytes: [0; 18],
        length: 0,
    };
    let mut rest = line.bytes.as_mut_slice();
    let room = rest.len();
    let _ = write!(rest, "{length:x}\r\n");
    line.length = room - rest.len();
    line
}

/// A chunk's size line, without an allocation.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkLine {
    bytes: [u8; 18],
    length: usize,
}

impl ChunkLine {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn shape(version: Version, length: BodyLength) -> Shape {
        Shape {
            version,
            is_bodiless: false,
            length,
            announced: None,
            says_close: false,
        }
    }

    fn rendered(status: u16, shape: &Shape) -> String {
        let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        head.fields.append("X-A", "b");
        let mut bytes = Vec::new();
        render(&head, shape, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn each_version_gets_a_framing_that_it_knows() {
        let unknown = |version| shape(version, BodyLength::Unknown).framing();
        assert_eq!(unknown(Version::Http11), Framing::Chunked);
        assert_eq!(unknown(Version::Http10), Framing::UntilClose);
        let known = shape(Version::Http10, BodyLength::Known(3));
        assert_eq!(known.framing(), Framing::Length(3));
        assert_eq!(
            rendered(200, &known),
            "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n"
        );
    }

    #[test]
    fn an_answer_without_body_has_no_length_unless_it_announces_one() {
        let mut shape = shape(Version::Http11, BodyLength::Empty);
        shape.is_bodiless = true;
        assert_eq!(
            rendered(204, &shape),
            "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n"
        );
        shape.announced = Some(7);
        assert!(rendered(304, &shape).contains("Content-Length: 7\r\n"));
        assert!(!rendered(204, &shape).contains("Content-Length"));
    }

    #[test]
    fn chunk_lines_are_hexadecimal() {
        assert_eq!(chunk_line(0x1f).as_bytes(), b"1f\r\n");
        assert_eq!(chunk_line(usize::MAX).as_bytes(), b"ffffffffffffffff\r\n");
    }
}
