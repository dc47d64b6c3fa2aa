//! A link with a TLS session: what is sent becomes records, what is received becomes plaintext.
//!
//! Outside a call here rustls has nothing to send: all of it is on the wire or, as records, in the outbox, which is bounded
//! ([`super::budget`]) and goes out first. So a byte of plaintext that was taken counts as sent.

use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;

use super::link::{Held, LINGER, MAX_PARTS};
use super::outbox::SMALL;
use super::session::BATCH;
use super::state::Stage;

impl Held<'_> {
    /// Receives plaintext and notes whether there may be more. 0: the client sends no more.
    ///
    /// # Errors
    /// `WouldBlock`, or what ends the connection.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let link = self.link;
        let Some(session) = &mut self.session else {
            return link.receive(buffer);
        };
        // What readiness the socket has told of since it was last asked stays as it is then.
        let is_asked = !session.has_news();
        let result = session.receive(&link.socket, buffer);
        let (has_more, owes) = (session.has_more(), session.wants_write());
        // The end of the stream is told once.
        self.is_readable = has_more || self.is_read_closed || (self.is_readable && !is_asked);
        if owes {
            // Where something was received, a connection that takes nothing more shows with the next send.
            let _ = self.dispatch();
        }
        result
    }

    /// Sends as much of `parts` as there is room for, from byte `from` on, as records.
    pub(super) fn send_sealed(&mut self, parts: &[&[u8]], from: usize) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            // What is sealed must be kept if the socket does not take it.
            let batch = if self.link.rules.budget.has(BATCH) {
                BATCH
            } else {
                SMALL
            };
            let count = self.seal(parts, from + taken, batch)?;
            if count == 0 {
                return Ok(taken);
            }
            taken += count;
            self.dispatch()?;
            if self.outbox.is_some() {
                return Ok(taken);
            }
        }
    }

    /// Leaves `parts` from byte `from` on to be sent later, as records. False: no room for that; nothing is kept then.
    pub(super) fn keep_sealed(&mut self, parts: &[&[u8]], from: usize) -> bool {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let mut outbox = self.take_outbox();
        let has_room = outbox.reserve(total.saturating_sub(from));
        let mut at = from;
        while has_room && at < total {
            // A session that has broken takes nothing: its connection is about to end.
            let Ok(count @ 1..) = self.seal(parts, at, BATCH) else {
                break;
            };
            at += count;
            if let Some(session) = &mut self.session {
                outbox.collect(session);
            }
        }
        self.put_outbox(outbox);
        has_room && at >= total
    }

    /// Says that nothing more comes, so that the client can tell the end from a cut. A plain connection has no such word.
    pub(super) fn say_end(&mut self) -> io::Result<()> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        session.seal_end();
        self.dispatch()
    }

    /// Sends what rustls has to send; what finds no room goes to the outbox.
    pub(super) fn dispatch(&mut self) -> io::Result<()> {
        let link = self.link;
        let is_clear = self.outbox.is_none();
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        if is_clear {
            let sent = session.send(&link.socket)? as u64;
            let is_left = session.wants_write();
            self.moved += sent;
            if !is_left {
                return Ok(());
            }
        }
        let mut outbox = self.take_outbox();
        if let Some(session) = &mut self.session {
            outbox.collect(session);
        }
        self.put_outbox(outbox);
        Ok(())
    }

    /// Ends our side; what still comes is thrown away, so that the last words arrive.
    pub(super) fn linger(&mut self) {
        let _ = self.link.socket.shutdown(Shutdown::Write);
        self.stage = Stage::Lingering;
        self.link.set_deadline(LINGER);
    }

    /// Makes up to `most` bytes of `parts` into records. How many.
    fn seal(&mut self, parts: &[&[u8]], from: usize, most: usize) -> io::Result<usize> {
        let Some(session) = &mut self.session else {
            return Err(ErrorKind::NotConnected.into());
        };
        let (mut skip, mut room) = (from, most);
        let mut slices = [IoSlice::new(&[]); MAX_PARTS];
        let mut count = 0;
        for part in parts {
            let rest = part.get(skip.min(part.len())..).unwrap_or_default();
            skip = skip.saturating_sub(part.len());
            let rest = rest.get(..room).unwrap_or(rest);
            if let Some(slice) = slices.get_mut(count).filter(|_| !rest.is_empty()) {
                *slice = IoSlice::new(rest);
                room -= rest.len();
                count += 1;
            }
        }
        match slices.get(..count).unwrap_or_default() {
            [] => Ok(0),
            slices => session.seal(slices),
        }
    }
}
