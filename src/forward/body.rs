//! The request body on its way to a backend: counted, limited, and kept while it is small so that an attempt can be repeated.

use std::io::{self, Read};
use std::time::Instant;

use crate::exchange::BodyFault;
use crate::message::framing::Framing;

use super::call::Call;

/// Bytes of a body that are kept for another attempt.
pub(super) const KEPT: usize = 64 * 1024;
/// A body larger than this is not pretended to be sent when the backend has answered early (about 0.1 s of empty work).
const MAX_PRETENDED: u64 = 1 << 40;

/// A request body that can be rewound as long as no more than 64 KiB were taken from the client.
pub struct RequestBody<'a> {
    source: &'a mut dyn Read,
    framing: Framing,
    limit: u64,
    kept: Vec<u8>,
    position: usize,
    is_lost: bool,
    /// The source has ended.
    is_ended: bool,
    taken: u64,
    is_at_hand: bool,
}

impl<'a> RequestBody<'a> {
    /// A body that fails with [`BodyFault::TooBig`] beyond `limit` bytes.
    pub fn new(source: &'a mut dyn Read, framing: Framing, limit: u64) -> RequestBody<'a> {
        RequestBody {
            source,
            framing,
            limit,
            kept: Vec::new(),
            position: 0,
            is_lost: false,
            is_ended: false,
            taken: 0,
            is_at_hand: false,
        }
    }

    /// Says that reading the begin of the body does not wait for the client; default false. The request's head and that begin
    /// then go to the backend in one piece.
    #[must_use]
    pub fn at_hand(mut self, is_at_hand: bool) -> RequestBody<'a> {
        self.is_at_hand = is_at_hand;
        self
    }

    /// Whether reading the next bytes does not wait for the client.
    pub(super) fn is_at_hand(&self) -> bool {
        self.framing.has_body()
            && (self.is_at_hand && self.taken == 0 || self.position < self.kept.len())
    }

    /// Bytes taken from the client.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether it can be sent from its begin.
    pub fn is_rewindable(&self) -> bool {
        !self.is_lost
    }

    /// The body, if all of it has come and is kept.
    pub fn into_whole(self) -> Option<Vec<u8>> {
        let is_whole = match self.framing {
            Framing::None => true,
            Framing::Length(length) => self.kept.len() as u64 == length,
            Framing::Chunked => self.is_ended,
        };
        (is_whole && !self.is_lost).then_some(self.kept)
    }

    /// Goes back to the begin.
    pub(super) fn rewind(&mut self) {
        self.position = 0;
    }

    fn keep(&mut self, piece: &[u8]) {
        if self.is_lost {
            return;
        }
        if self.kept.len() + piece.len() > KEPT {
            self.is_lost = true;
            self.kept = Vec::new();
            self.position = 0;
        } else {
            self.kept.extend_from_slice(piece);
            self.position = self.kept.len();
        }
    }
}

impl Read for RequestBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut kept = self.kept.get(self.position..).unwrap_or_default();
        if !kept.is_empty() {
            let count = kept.read(buffer)?;
            self.position += count;
            return Ok(count);
        }
        let count = self.source.read(buffer)?;
        self.taken += count as u64;
        self.is_ended |= count == 0 && !buffer.is_empty();
        if self.taken > self.limit {
            self.is_lost = true;
            return Err(BodyFault::TooBig.into_io());
        }
        self.keep(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// What ureq reads: the body, until the backend answers early; then as many bytes of nothing as ureq still expects.
pub(super) struct Upload<'a, 'b> {
    body: &'a mut RequestBody<'b>,
    call: &'a Call,
    left: Option<u64>,
}

impl<'a, 'b> Upload<'a, 'b> {
    pub(super) fn new(body: &'a mut RequestBody<'b>, call: &'a Call) -> Upload<'a, 'b> {
        let left = body.framing.length();
        Upload { body, call, left }
    }
}

impl Read for Upload<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = self.left.map_or(buffer.len(), |left| {
            buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX))
        });
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        let count = if self.call.facts.is_early.is_set() {
            pretend(self.left, room)?
        } else {
            let begun = Instant::now();
            let result = self.body.read(buffer);
            self.call.add_client_time(begun.elapsed());
            result?
        };
        match &mut self.left {
            // ureq would wait for the missing bytes in an endless loop: a short body must be an error.
            Some(left) if count == 0 && *left > 0 && room > 0 => {
                return Err(BodyFault::Left.into_io());
            }
            Some(left) => *left -= count as u64,
            None => (),
        }
        Ok(count)
    }
}

/// The transport throws away what is sent now, so any bytes will do.
fn pretend(left: Option<u64>, room: usize) -> io::Result<usize> {
    match left {
        None => Ok(0),
        Some(left) if left > MAX_PRETENDED => Err(io::Error::other("the backend answered early")),
        Some(_) => Ok(room),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_bodies_can_be_read_again() {
        let mut source: &[u8] = b"hello";
        let mut body = RequestBody::new(&mut source, Framing::Length(5), 10);
        let mut text = String::new();
        body.read_to_string(&mut text).unwrap();
        body.rewind();
        body.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), body.taken()), ("hellohello", 5));
    }

    #[test]
    fn a_body_is_at_hand_when_its_owner_says_so_or_when_it_was_kept() {
        let mut source: &[u8] = b"hello";
        let mut body = RequestBody::new(&mut source, Framing::Length(5), 10);
        assert!(!body.is_at_hand());
        io::copy(&mut body, &mut io::sink()).unwrap();
        body.rewind();
        assert!(body.is_at_hand());
        let at_hand = |framing| {
            RequestBody::new(&mut io::empty(), framing, 10)
                .at_hand(true)
                .is_at_hand()
        };
        assert!(at_hand(Framing::Length(5)) && !at_hand(Framing::None));
    }

    #[test]
    fn large_bodies_cannot() {
        let data = vec![b'x'; KEPT + 1];
        let mut source = data.as_slice();
        let mut body = RequestBody::new(&mut source, Framing::Chunked, u64::MAX);
        assert!(body.is_rewindable());
        io::copy(&mut body, &mut io::sink()).unwrap();
        assert!(!body.is_rewindable());
    }

    #[test]
    fn only_whole_bodies_can_be_had_as_a_whole() {
        let whole = |data: &[u8], framing, read: usize| {
            let mut source = data;
            let mut body = RequestBody::new(&mut source, framing, u64::MAX);
            let count = io::copy(&mut (&mut body).take(read as u64), &mut io::sink());
            assert_eq!(count.unwrap(), data.len().min(read) as u64);
            body.into_whole()
        };
        assert_eq!(whole(b"", Framing::None, 0), Some(Vec::new()));
        assert_eq!(
            whole(b"hello", Framing::Length(5), 5),
            Some(b"hello".to_vec())
        );
        assert_eq!(whole(b"hello", Framing::Length(5), 4), None);
        // Without a length only the end says that it was all.
        assert_eq!(whole(b"hello", Framing::Chunked, 5), None);
        assert_eq!(
            whole(b"hello", Framing::Chunked, 6),
            Some(b"hello".to_vec())
        );
        let large = vec![b'x'; KEPT + 1];
        let length = Framing::Length(large.len() as u64);
        assert_eq!(whole(&large, length, large.len()), None);
        assert_eq!(whole(&large, Framing::Chunked, large.len() + 1), None);
    }

    #[test]
    fn the_limit_holds_without_a_length() {
        let mut source: &[u8] = b"hello world";
        let mut body = RequestBody::new(&mut source, Framing::Chunked, 5);
        let error = io::copy(&mut body, &mut io::sink()).unwrap_err();
        assert_eq!(BodyFault::of(&error), Some(BodyFault::TooBig));
    }
}
