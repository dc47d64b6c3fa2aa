//! The receiving side of a backend connection: heads, body bytes, and how long they are waited for.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use ureq::Error;
use ureq::unversioned::transport::Buffers;

use crate::error::Cause;

use super::Wire;
use crate::forward::response::{MAX_RESPONSE_HEAD, RawHead};

/// What of a body may still be missing for the connection to stay registered. Every piece of the rest may wake the thread that
/// watches it, to no purpose.
const LONG: u64 = 16 * 1024;

/// Most 1xx heads before the final one.
const MAX_INTERIMS: u32 = 100;

/// The shortest wait that a socket can be told: zero would be for ever.
const MIN_PATIENCE: Duration = Duration::from_millis(1);

impl Wire {
    /// Reads until the final response head is there.
    pub(super) fn await_head(&mut self) -> Result<(), Error> {
        let launched = self.since.take();
        let since = launched.unwrap_or_else(Instant::now);
        let limit = self.call.limit(since, self.call.timeouts.response);
        if launched.is_some() {
            // What was waited for is there, most likely; also when it was told late, and the time is over by now.
            match self.receive_now(RecvFlags::DONTWAIT) {
                Ok(0) => return Err(self.broken()),
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => (),
                Err(_) => return Err(self.broken()),
            }
        }
        loop {
            // It may have come, or something that is none, while the request was sent.
            if !self.buffers.unread().is_empty() {
                self.take_heads()?;
            }
            if !self.buffers.awaits_head() {
                return Ok(());
            }
            if self.receive(limit)? == 0 {
                return Err(self.broken());
            }
        }
    }

    /// Reads some of the body; false at its end, if the end is that of the connection.
    pub(super) fn await_body(&mut self) -> Result<bool, Error> {
        let limit = self.call.limit(Instant::now(), self.call.timeouts.idle);
        let count = self.receive(limit)?;
        if count == 0 {
            // The reset was seen while sending; here it looks like a clean end.
            if self.call.facts.is_reset.is_set() {
                return Err(self.broken());
            }
            self.call.facts.is_ended.set();
        }
        Ok(count > 0)
    }

    /// Takes the response head off the input as soon as it is whole, with the interim ones before it.
    pub(super) fn take_heads(&mut self) -> Result<(), Error> {
        while self.buffers.awaits_head() {
            let unread = self.buffers.unread();
            let (head, length) = match RawHead::parse(unread) {
                Ok(Some(found)) if found.1 <= MAX_RESPONSE_HEAD => found,
                Ok(None) if unread.len() <= MAX_RESPONSE_HEAD => return Ok(()),
                _ => {
                    if is_tls_record(unread) {
                        let reason =
                            "what the backend says looks like TLS: is it an https:// backend?";
                        *self.call.facts.reason.lock() = Some(reason.to_owned());
                    }
                    return Err(self.call.fail(
                        Cause::BadResponse,
                        "the response head is malformed or too large",
                    ));
                }
            };
            if head.is_interim() {
                self.interims += 1;
                if self.interims > MAX_INTERIMS {
                    let detail = "there are too many interim responses";
                    return Err(self.call.fail(Cause::BadResponse, detail));
                }
                self.buffers.skip(length);
                continue;
            }
            let rest = unread.get(length..).unwrap_or_default();
            if head.is_begun_by(rest) {
                self.call.facts.is_body_ready.set();
            }
            if !head.is_ended_by(rest, LONG)
                && let Some(connection) = &mut self.connection
            {
                connection.expect_much();
            }
            self.status = head.status().as_u16();
            self.announced = head.keep_alive();
            self.buffers
                .replace_head(length, |short| head.write_short(short));
            *self.call.facts.head.lock() = Some(head);
        }
        Ok(())
    }

    /// Waits for input until `limit` and takes it in. 0: the backend has closed.
    fn receive(&mut self, limit: Instant) -> Result<usize, Error> {
        if !self.buffers.has_room() {
            return Err(self
                .call
                .fail(Cause::BadResponse, "the response cannot be understood"));
        }
        let mut is_retry = false;
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.slow());
            }
            self.set_patience(left, is_retry)?;
            match self.receive_now(RecvFlags::empty()) {
                Ok(count) => return Ok(count),
                Err(Errno::AGAIN | Errno::INTR) => is_retry = true,
                Err(_) => return Err(self.broken()),
            }
        }
    }

    /// Bounds the next blocking receive by about `left`, or by less: then it is made again. What is set already stays where
    /// it will do, since it costs a system call; the shortest of the timeouts does for all waits but the longest.
    fn set_patience(&mut self, left: Duration, is_retry: bool) -> Result<(), Error> {
        let timeouts = self.call.timeouts;
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let tolerance = left / 32;
        let fits = connection.patience.is_some_and(|set| {
            set <= left.saturating_add(tolerance)
                && (!is_retry || set.saturating_add(tolerance) >= left)
        });
        if fits {
            return Ok(());
        }
        let wanted = if is_retry {
            left
        } else {
            left.min(timeouts.response).min(timeouts.idle)
        };
        let patience = wanted.max(MIN_PATIENCE);
        connection.patience = Some(patience);
        set_socket_timeout(&connection.stream, Timeout::Recv, Some(patience))
            .map_err(|_| self.broken())
    }

    pub(super) fn receive_now(&mut self, flags: RecvFlags) -> Result<usize, Errno> {
        let Some(connection) = &mut self.connection else {
            return Ok(0);
        };
        let room = self.buffers.input_append_buf();
        let count = connection.stream.receive(room, flags)?;
        self.buffers.input_appended(count);
        self.call.facts.received.add(count as u64);
        Ok(count)
    }
}

/// Whether it begins like an alert or a handshake (RFC 8446 section 5.1).
fn is_tls_record(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 3, ..])
}
