//! What a client has not taken yet of answers that are written already.
//!
//! Bounded per answer and for all together ([`super::budget`]); it never waits.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;

use bytes::{Buf, BytesMut};

use crate::socket::Socket;

use super::budget::{PER_ANSWER, Share};
use super::pace::Pace;

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

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Keeps `parts` from byte `from` on. False: no room; nothing is kept then.
    pub(super) fn keep(&mut self, parts: &[&[u8]], from: usize) -> bool {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let more = total - from.min(total);
        if self.bytes.len() + more > PER_ANSWER || !self.share.grow(more) {
            return false;
        }
        self.bytes.reserve(more);
        let mut skip = from;
        for part in parts {
            self.bytes
                .extend_from_slice(part.get(skip.min(part.len())..).unwrap_or_default());
            skip = skip.saturating_sub(part.len());
        }
        true
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
