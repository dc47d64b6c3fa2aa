//! One backend connection as ureq's transport: our own head, our own clock, and an eye on the backend while sending.
//!
//! What it does beyond reading and writing, each because ureq's own transport cannot:
//! - It replaces the head that ureq writes by the one of the call, so that targets and names go out byte for byte.
//! - It knows whether it waits for a head or for body bytes, and applies the timeout of that phase.
//! - It notices an answer that comes while the request body is still being sent (a 413, say), stops sending and lets ureq
//!   read it. ureq's own loses that answer, or hangs.
//! - It reports a reset as an error also within a body that ends with the connection; ureq takes it for a clean end.
//! - It tells what was sent and received, which decides about retries.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use ureq::Error;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use crate::error::Cause;

use super::buffers::WireBuffers;
use super::call::Call;
use super::response::RawHead;

/// How long a connection stays idle when its backend does not say: below the 5 s after which common servers close.
const IDLE_AGE: Duration = Duration::from_secs(4);
/// Longest time that a backend's `Keep-Alive: timeout=N` is believed.
const MAX_IDLE_AGE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Wire {
    /// `None` once it has gone back to the pool.
    stream: Option<TcpStream>,
    buffers: WireBuffers,
    call: Arc<Call>,
    is_head_sent: bool,
    /// When the wait for the response head began.
    waiting_since: Option<Instant>,
    is_broken: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, call: Arc<Call>) -> Wire {
        let buffers = WireBuffers::take(Arc::clone(&call));
        Wire {
            stream: Some(stream),
            buffers,
            call,
            is_head_sent: false,
            waiting_since: None,
            is_broken: false,
        }
    }

    /// Sends all of `from..` of the head or the output. Returns early, without error, when the backend answers first.
    fn send(&mut self, amount: usize) -> Result<(), Error> {
        let mut done = 0;
        while !self.call.is_early() {
            let Some(stream) = &self.stream else {
                return Err(self.broken());
            };
            let bytes = if self.is_head_sent {
                self.buffers.written(amount)
            } else {
                &self.call.head
            };
            let rest = bytes.get(done..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            match rustix::net::send(stream, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => {
                    done += count;
                    self.call.facts(|facts| facts.sent += count as u64);
                }
                Err(Errno::INTR) => (),
                Err(Errno::AGAIN) => self.wait_to_send()?,
                // The backend does not want more. What it had to say may lie in the socket: let ureq read it.
                Err(error) => {
                    self.call
                        .facts(|facts| facts.is_reset |= error == Errno::CONNRESET);
                    self.stop_sending();
                }
            }
        }
        Ok(())
    }

    /// Waits until more can be sent; meanwhile takes in what the backend says.
    fn wait_to_send(&mut self) -> Result<(), Error> {
        if !self.buffers.has_room() {
            // The backend answers at length before it has read the request. Both directions at once is more than ureq can
            // do; the answer is what counts.
            self.stop_sending();
            return Ok(());
        }
        let ready = self.poll(
            PollFlags::OUT | PollFlags::IN,
            self.call.timeouts.idle,
            None,
        )?;
        if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            let is_end = matches!(self.receive_now(), Ok(Some(0)) | Err(_));
            if is_end || is_final_answer(self.buffers.input()) {
                self.stop_sending();
            }
        }
        Ok(())
    }

    fn stop_sending(&mut self) {
        self.call.set_early();
        self.is_broken = true;
    }

    /// Reads what is there. `Ok(None)`: nothing yet; `Ok(Some(0))`: the backend has closed.
    fn receive_now(&mut self) -> Result<Option<usize>, Errno> {
        let Some(stream) = &self.stream else {
            return Ok(Some(0));
        };
        let room = self.buffers.input_append_buf();
        match rustix::net::recv(stream, room, RecvFlags::DONTWAIT) {
            Ok((count, _)) => {
                self.buffers.input_appended(count);
                self.call.facts(|facts| {
                    facts.received += count as u64;
                });
                Ok(Some(count))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for one of `wanted`, at most `patience` from `since` (default: now), and within the call's deadline.
    fn poll(
        &self,
        wanted: PollFlags,
        patience: Duration,
        since: Option<Instant>,
    ) -> Result<PollFlags, Error> {
        let Some(stream) = &self.stream else {
            return Err(self.broken());
        };
        let limit = since.unwrap_or_else(Instant::now) + patience;
        let limit = self
            .call
            .deadline()
            .map_or(limit, |deadline| deadline.min(limit));
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).unwrap_or(Timespec {
                tv_sec: 86_400,
                tv_nsec: 0,
            });
            let mut fds = [PollFd::new(stream, wanted)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => {
                    return Err(self
                        .call
                        .fail(Cause::BackendSlow, "the backend took too long"));
                }
                Ok(_) => return Ok(fds.first().map_or(PollFlags::empty(), PollFd::revents)),
                Err(Errno::INTR) => (),
                Err(_) => return Err(self.call.fail(Cause::Internal, "poll failed")),
            }
        }
    }

    fn broken(&self) -> Error {
        self.call
            .fail(Cause::BackendClosed, "the connection is gone")
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        self.send(amount)?;
        self.is_head_sent = true;
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        if !self.buffers.has_room() {
            return Err(self
                .call
                .fail(Cause::BadResponse, "the response head is too large"));
        }
        if self
            .call
            .deadline()
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            return Err(self
                .call
                .fail(Cause::BackendSlow, "the attempt took too long"));
        }
        let in_head = !self.buffers.is_head_done();
        loop {
            // A body's next bytes are often there already; a head's first are not.
            if in_head {
                let since = *self.waiting_since.get_or_insert_with(Instant::now);
                self.poll(PollFlags::IN, self.call.timeouts.response, Some(since))?;
            }
            match self.receive_now() {
                Ok(Some(count)) => {
                    if count == 0 && in_head {
                        self.call.facts(|facts| {
                            facts.failure.get_or_insert(Cause::BackendClosed);
                        });
                    }
                    if count == 0 && !in_head {
                        // The reset was seen while sending; here it looks like a clean end.
                        if self.call.facts(|facts| facts.is_reset) {
                            return Err(self.broken());
                        }
                        self.call.facts(|facts| facts.is_ended = true);
                    }
                    return Ok(count > 0);
                }
                Ok(None) if in_head => (),
                Ok(None) => {
                    self.poll(PollFlags::IN, self.call.timeouts.idle, None)?;
                }
                Err(_) => return Err(self.broken()),
            }
        }
    }

    /// ureq asks when an exchange has ended cleanly and the connection could be used again. It goes to the backend's own
    /// pool; ureq is told no, so that it forgets the empty shell.
    fn is_open(&mut self) -> bool {
        if !self.is_broken
            && let Some(stream) = self.stream.take()
        {
            let announced = self
                .call
                .facts(|facts| facts.head.as_ref().and_then(RawHead::keep_alive));
            // One second less than announced: the clocks start at different ends of the wire.
            let age = announced.map_or(IDLE_AGE, |age| age.saturating_sub(Duration::from_secs(1)));
            if !age.is_zero() {
                self.call
                    .backend
                    .idle
                    .check_in(stream, Instant::now(), age.min(MAX_IDLE_AGE));
            }
        }
        false
    }
}

/// Whether the input has an answer that makes the rest of the request pointless, behind interim ones. A 2xx does not: some
/// backends answer while they read.
fn is_final_answer(mut input: &[u8]) -> bool {
    while input.get(9) == Some(&b'1') {
        let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
            return false;
        };
        input = input.get(end + 4..).unwrap_or_default();
    }
    matches!(input.get(9), Some(b'3'..=b'9'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_answers_are_found_behind_interim_ones() {
        assert!(is_final_answer(b"HTTP/1.1 413 Too Large\r\n"));
        assert!(is_final_answer(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 Too"
        ));
        assert!(!is_final_answer(b"HTTP/1.1 100 Continue\r\n\r\n"));
        assert!(!is_final_answer(b"HTTP/1.1 200 OK\r\n"));
        assert!(!is_final_answer(b"HTTP/1.1 "));
    }
}
