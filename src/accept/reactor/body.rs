//! A request body: what was read ahead of it, and the rest as a worker asks for it.
//!
//! It counts, limits and times what the client sends. The bytes behind the body stay in the link's input.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use rustix::event::PollFlags;

use crate::exchange::BodyFault;
use crate::message::framing::Framing;

use super::chunks::{Chunks, Malformed, Step};
use super::link::Link;
use super::pace::Pace;

/// How much of a body is read ahead of its worker.
pub(super) const AHEAD: usize = 64 * 1024;
/// Bytes of a chunked body received at a time.
const PIECE: usize = 16 * 1024;

/// Finds the end of a body.
#[derive(Debug)]
enum Decoder {
    Length(u64),
    Chunks(Chunks),
}

/// One request's body.
#[derive(Debug)]
pub(super) struct Body {
    decoder: Decoder,
    ahead: Vec<u8>,
    /// How much of `ahead` has been given away.
    at: usize,
    /// `100 Continue` is still owed.
    pub(super) owes_continue: bool,
    /// Time that a worker has waited for the client, and what came of it.
    pace: Pace,
    waited: u64,
    fault: Option<BodyFault>,
}

/// How far reading ahead has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// The body is whole, or [`AHEAD`] bytes are there.
    Enough,
    /// More has to come first.
    More,
}

impl Decoder {
    fn is_done(&self) -> bool {
        match self {
            Decoder::Length(left) => *left == 0,
            Decoder::Chunks(chunks) => chunks.is_done(),
        }
    }

    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Malformed> {
        match self {
            Decoder::Length(left) => {
                let count = input
                    .len()
                    .min(output.len())
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                if let (Some(to), Some(from)) = (output.get_mut(..count), input.get(..count)) {
                    to.copy_from_slice(from);
                }
                *left -= count as u64;
                Ok(Step {
                    consumed: count,
                    produced: count,
                })
            }
            Decoder::Chunks(chunks) => chunks.decode(input, output),
        }
    }
}

impl Body {
    pub(super) fn new(framing: Framing, owes_continue: bool) -> Body {
        Body {
            decoder: match framing {
                Framing::None => Decoder::Length(0),
                Framing::Length(length) => Decoder::Length(length),
                Framing::Chunked => Decoder::Chunks(Chunks::new()),
            },
            ahead: Vec::new(),
            at: 0,
            owes_continue,
            pace: Pace::begin(0),
            waited: 0,
            fault: None,
        }
    }

    /// Whether the client has sent it all, as far as is known here.
    pub(super) fn is_over(&self) -> bool {
        self.decoder.is_done()
    }

    /// Whether it is worth reading ahead: what is announced as large streams anyway.
    pub(super) fn is_small(&self) -> bool {
        match self.decoder {
            Decoder::Length(left) => left <= AHEAD as u64,
            Decoder::Chunks(_) => true,
        }
    }

    /// Whether its begin is here.
    pub(super) fn has_begin(&self) -> bool {
        self.at < self.ahead.len()
    }

    /// Takes what has come, up to [`AHEAD`] bytes.
    pub(super) fn read_ahead(
        &mut self,
        input: &mut BytesMut,
        limit: u64,
    ) -> Result<Ahead, BodyFault> {
        while !input.is_empty() && !self.is_over() && self.ahead.len() < AHEAD {
            let begin = self.ahead.len();
            self.ahead.resize((begin + input.len()).min(AHEAD), 0);
            let room = self.ahead.get_mut(begin..).unwrap_or_default();
            let step = self
                .decoder
                .decode(input, room)
                .map_err(|Malformed| BodyFault::Malformed)?;
            self.ahead.truncate(begin + step.produced);
            input.advance(step.consumed);
            if self.ahead.len() as u64 > limit {
                return Err(BodyFault::TooBig);
            }
        }
        if self.is_over() || self.ahead.len() >= AHEAD {
            Ok(Ahead::Enough)
        } else {
            Ok(Ahead::More)
        }
    }

    /// Skips what is left of the body, if that has come already.
    pub(super) fn skip(&mut self, input: &mut BytesMut) {
        let mut scrap = [0; 1024];
        while !input.is_empty() && !self.is_over() {
            match self.decoder.decode(input, &mut scrap) {
                Ok(step) => input.advance(step.consumed),
                Err(Malformed) => return,
            }
        }
    }

    /// A worker's read: waits for the client where it has to.
    pub(super) fn read(&mut self, link: &Arc<Link>, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(fault) = self.fault {
            return Err(fault.into_io());
        }
        let ready = self.ahead.get(self.at..).unwrap_or_default();
        if !ready.is_empty() {
            let count = ready.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..count), ready.get(..count)) {
                to.copy_from_slice(from);
            }
            self.at += count;
            if self.at == self.ahead.len() {
                self.ahead = Vec::new();
                self.at = 0;
            }
            return Ok(count);
        }
        self.read_on(link, buffer).map_err(|fault| {
            self.fault = Some(fault);
            fault.into_io()
        })
    }

    fn read_on(&mut self, link: &Arc<Link>, buffer: &mut [u8]) -> Result<usize, BodyFault> {
        while !self.is_over() && !buffer.is_empty() {
            let produced = {
                let mut held = link.hold();
                let step = self
                    .decoder
                    .decode(&held.input, buffer)
                    .map_err(|Malformed| BodyFault::Malformed)?;
                held.input.advance(step.consumed);
                step.produced
            };
            if produced > 0 {
                self.pace.add(produced);
                return Ok(produced);
            }
            if let Some(count) = self.receive(link, buffer)? {
                self.pace.add(count);
                return Ok(count);
            }
        }
        Ok(0)
    }

    /// Receives: a body of known length straight into `buffer`; chunks, and what comes over TLS, into the link's input (then
    /// `None`).
    fn receive(&mut self, link: &Arc<Link>, buffer: &mut [u8]) -> Result<Option<usize>, BodyFault> {
        // Records do not end where a body ends: plaintext goes into the input, which the next request is read from.
        if let Decoder::Length(left) = &mut self.decoder
            && link.tls.is_none()
        {
            let room = buffer
                .len()
                .min(usize::try_from(*left).unwrap_or(usize::MAX));
            let room = buffer.get_mut(..room).unwrap_or_default();
            let count = wait_and_receive(link, room, &mut self.waited, self.pace)?;
            *left -= count as u64;
            return Ok(Some(count));
        }
        if self.is_over() {
            return Ok(Some(0));
        }
        let mut piece = [0; PIECE];
        let count = wait_and_receive(link, &mut piece, &mut self.waited, self.pace)?;
        let piece = piece.get(..count).unwrap_or_default();
        link.hold().input.extend_from_slice(piece);
        Ok(None)
    }
}

/// Receives at least one byte. `waited` grows by the time that took, which is what the client's pace is measured by.
fn wait_and_receive(
    link: &Arc<Link>,
    buffer: &mut [u8],
    waited: &mut u64,
    pace: Pace,
) -> Result<usize, BodyFault> {
    loop {
        let received = if link.tls.is_some() {
            link.hold().receive(buffer)
        } else {
            link.receive(buffer)
        };
        match received {
            Ok(0) => return Err(BodyFault::Left),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => (),
            Err(_) => return Err(BodyFault::Left),
        }
        let timeouts = &link.rules.timeouts;
        let begun = Instant::now();
        let is_ready = link
            .wait(PollFlags::IN, timeouts.body_idle)
            .map_err(|_| BodyFault::Left)?;
        *waited += u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX / 2);
        if !is_ready || pace.is_too_slow(timeouts.min_rate, *waited) {
            return Err(BodyFault::TooSlow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ahead(
        framing: Framing,
        input: &[u8],
        limit: u64,
    ) -> (Result<Ahead, BodyFault>, Vec<u8>, usize) {
        let mut input = BytesMut::from(input);
        let mut body = Body::new(framing, false);
        let result = body.read_ahead(&mut input, limit);
        (result, body.ahead, input.len())
    }

    #[test]
    fn a_body_is_read_ahead_up_to_its_end_and_no_further() {
        let (result, body, left) = ahead(Framing::Length(3), b"abcGET", 9);
        assert_eq!(
            (result, body.as_slice(), left),
            (Ok(Ahead::Enough), &b"abc"[..], 3)
        );
        let (result, body, _) = ahead(Framing::Length(3), b"ab", 9);
        assert_eq!((result, body.as_slice()), (Ok(Ahead::More), &b"ab"[..]));
        let (result, body, left) = ahead(Framing::Chunked, b"3\r\nabc\r\n0\r\n\r\nGET", 3);
        assert_eq!(
            (result, body.as_slice(), left),
            (Ok(Ahead::Enough), &b"abc"[..], 3)
        );
        let (result, ..) = ahead(Framing::Chunked, b"3\r\nabc\r\n", 2);
        assert_eq!(result, Err(BodyFault::TooBig));
        let (result, ..) = ahead(Framing::Chunked, b"x", 2);
        assert_eq!(result, Err(BodyFault::Malformed));
    }

    #[test]
    fn no_more_is_read_ahead_than_the_bound() {
        let mut input = format!("{:x}\r\n", 2 * AHEAD).into_bytes();
        input.resize(input.len() + 2 * AHEAD, b'x');
        let (result, body, left) = ahead(Framing::Chunked, &input, u64::MAX);
        assert_eq!(
            (result, body.len(), left),
            (Ok(Ahead::Enough), AHEAD, AHEAD)
        );
        assert!(!Body::new(Framing::Length(AHEAD as u64 + 1), false).is_small());
    }

    #[test]
    fn what_is_left_can_be_skipped() {
        let mut input = BytesMut::from(&b"3\r\nabc\r\n0\r\n\r\nGET"[..]);
        let mut body = Body::new(Framing::Chunked, false);
        body.skip(&mut input);
        assert!(body.is_over() && input == b"GET"[..]);
    }
}
