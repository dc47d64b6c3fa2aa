//! What a client has not taken yet of answers that are written already.
//!
//! Bounded per answer and for all together ([`super::budget`]); it never waits.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;

use bytes::{Buf, BufMut, BytesMut};

use crate::socket::Socket;

use super::budget::{PER_ANSWER, Share};
use super::pace::Pace;
use super::session::Session;

/// As much is kept in any case: at most 40 MiB for 10,000 connections.
pub(super) const SMALL: usize = 4 * 1024;

/// Bytes on their way, in order.
#[derive(Debug)]
pub(super) struct Outbox {
    bytes: BytesMut,
    share: Share,
    pub(super) pace: Pace,
    /// When the client last took something.
    pub(super) moved: u64,
}

/// What a drain waits for after an answer: somebody who takes it.
pub(super) struct Delivery(pub(super) IpAddr);

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delivery to {}", self.0)
    }
}

impl Outbox {
    pub(super) fn new(share: Share, now: u64) -> Outbox {
        Outbox {
            bytes: BytesMut::new(),
            share,
            pace: Pace::begin(now),
            moved: now,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Keeps `parts` from byte `from` on. False: no room; nothing is kept then.
    pub(super) fn keep(&mut self, parts: &[&[u8]], from: usize) -> bool {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if !self.reserve(total - from.min(total)) {
            return false;
        }
        let mut skip = from;
        for part in parts {
            self.bytes
                .extend_from_slice(part.get(skip.min(part.len())..).unwrap_or_default());
            skip = skip.saturating_sub(part.len());
        }
        true
    }

    /// Makes room for `more` bytes. False: they must not be kept here.
    pub(super) fn reserve(&mut self, more: usize) -> bool {
        let fits = self.bytes.len() + more <= PER_ANSWER && self.share.grow(more);
        // Refusals come from threads that must not wait, also when slow clients have used up the memory for all.
        let is_small = self.bytes.len() + more <= SMALL;
        if fits || is_small {
            self.bytes.reserve(more);
        }
        fits || is_small
    }

    /// Takes all records that `session` has made: they cannot be made again. Whoever makes them sees to it that there are few,
    /// or has made room.
    pub(super) fn collect(&mut self, session: &mut Session) {
        session.leave(&mut (&mut self.bytes).writer());
        self.share.grow_to(self.bytes.len());
    }

    /// Sends what the socket takes. True: nothing is left.
    pub(super) fn flush(&mut self, socket: &Socket, now: u64) -> io::Result<bool> {
        let mut socket = socket;
        while !self.bytes.is_empty() {
            match socket.write(&self.bytes) {
                Ok(count) => {
                    self.bytes.advance(count);
                    self.pace.add(count);
                    self.moved = now;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        self.share.shrink_to(self.bytes.len());
        Ok(self.bytes.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::*;

    #[test]
    fn little_is_kept_even_when_nothing_is_left_for_all() {
        let budget = Budget::new(10_000);
        let mut large = Outbox::new(budget.share(), 1);
        assert!(large.keep(&[&[0; 10_000]], 0));
        let mut small = Outbox::new(budget.share(), 1);
        assert!(!small.keep(&[&[0; SMALL + 1]], 0));
        assert!(small.keep(&[b"12", &[0; SMALL]], 2));
        assert!(!small.keep(&[b"x"], 0));
        assert_eq!(small.len(), SMALL);
        // What was not taken out does not go back.
        drop(small);
        assert!(!Outbox::new(budget.share(), 1).keep(&[&[0; 10_000]], 0));
        drop(large);
        assert!(Outbox::new(budget.share(), 1).keep(&[&[0; 10_000]], 0));
    }
}
