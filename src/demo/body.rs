//! Request bodies: read in pieces, counted, and only their beginning kept.
//!
//! tiny_http allocates the unread rest of a body with a length when the request is dropped. So a request may be dropped
//! only after its body was read up, and one that announces more than we read must never be dropped at all: see
//! [`refuse`].

use std::io::{self, Read};

use tiny_http::{Request, Response};

/// Largest body that is read.
pub(super) const LARGEST: u64 = 1 << 30;

/// One piece. On the heap, since the threads have small stacks.
const PIECE: usize = 64 * 1024;

/// A body after it was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Body {
    /// All bytes of it.
    pub(super) length: u64,
    /// Its first bytes, as many as were asked for.
    pub(super) start: Vec<u8>,
}

/// Why a body was not read.
#[derive(Debug)]
pub(super) enum BodyError {
    /// More than [`LARGEST`]. Only [`refuse`] may have the request now.
    TooLarge,
    /// The client left, or its chunks are broken. The request may be dropped.
    Cut,
}

/// Reads the body to its end and keeps up to `keep` bytes.
///
/// # Errors
/// See [`BodyError`].
pub(super) fn read(request: &mut Request, keep: usize) -> Result<Body, BodyError> {
    let announced = request
        .body_length()
        .map(|length| u64::try_from(length).unwrap_or(u64::MAX));
    if announced.is_some_and(|length| length > LARGEST) {
        return Err(BodyError::TooLarge);
    }
    if asks_for_upgrade(request) {
        // tiny_http does not bound the reader then: only the announced part is the body.
        let length = announced.unwrap_or(0);
        if length == 0 {
            return Ok(Body::default());
        }
        return consume(&mut request.as_reader().take(length), keep);
    }
    let body = consume(request.as_reader(), keep)?;
    match announced {
        Some(length) if body.length < length => Err(BodyError::Cut),
        _ => Ok(body),
    }
}

fn asks_for_upgrade(request: &Request) -> bool {
    request.headers().iter().any(|header| {
        header.field.equiv("Connection")
            && header
                .value
                .as_str()
                .to_ascii_lowercase()
                .contains("upgrade")
    })
}

fn consume(reader: &mut dyn Read, keep: usize) -> Result<Body, BodyError> {
    let mut piece = vec![0; PIECE];
    let mut body = Body::default();
    loop {
        let count = match reader.read(&mut piece) {
            Ok(0) => return Ok(body),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Err(BodyError::Cut),
        };
        let room = keep.saturating_sub(body.start.len());
        body.start
            .extend(piece.iter().take(count.min(room)).copied());
        body.length = body
            .length
            .saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        if body.length > LARGEST {
            return Err(BodyError::TooLarge);
        }
    }
}

/// Answers a request whose body is too large with these bytes, and forgets its connection.
///
/// Dropping it would allocate what it announced (and abort the process), or take the rest of a chunked body for the next
/// request. So socket and thread stay behind until the process ends. tiny_http gives the writer out without dropping the
/// reader only for an upgrade: hence the empty `103` before the answer, which clients skip (a `100` must have no fields for some).
pub(super) fn refuse(request: Request, answer: &[u8]) {
    let mut stream = request.upgrade("none", Response::empty(103));
    // The client may be gone already.
    let _ = stream.write_all(answer).and_then(|()| stream.flush());
    std::mem::forget(stream);
}
