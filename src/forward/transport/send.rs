//! The sending side of a backend connection: head and body, with an eye on what the backend says meanwhile.

use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use ureq::Error;

use crate::error::Cause;

use super::Wire;

impl Wire {
    /// Sends the head, unless it is out, and `amount` bytes of output. Returns early, without error, when the backend
    /// answers first.
    pub(super) fn send(&mut self, amount: usize) -> Result<(), Error> {
        let mut done = 0;
        while !self.call.facts.is_early.is_set() {
            let Some(connection) = &mut self.connection else {
                return Err(self.broken());
            };
            let stream = &mut connection.stream;
            let head: &[u8] = if self.is_head_sent {
                &[]
            } else {
                &self.call.head
            };
            let body = self.buffers.written(amount);
            let rest = (
                head.get(done..).unwrap_or_default(),
                body.get(done.saturating_sub(head.len())..)
                    .unwrap_or_default(),
            );
            let sent = match rest {
                ([], []) => stream.flush().map(|()| 0),
                (head, body) => stream.send(head, body),
            };
            match sent {
                Ok(0) => {
                    self.is_head_sent = true;
                    return Ok(());
                }
                Ok(count) => {
                    done += count;
                    self.call.facts.sent.add(count as u64);
                }
                Err(Errno::INTR) => (),
                Err(Errno::AGAIN) => self.wait_to_send()?,
                // The backend does not want more. What it had to say may lie in the socket: let ureq read it.
                Err(error) => {
                    if error == Errno::CONNRESET {
                        self.call.facts.is_reset.set();
                    }
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
        let ready = self.poll(PollFlags::OUT | PollFlags::IN)?;
        if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            let is_over = match self.receive_now(RecvFlags::DONTWAIT) {
                Ok(0) => true,
                // An answer that makes the rest of the request pointless. A 2xx does not: some backends answer while they
                // read.
                Ok(_) => self.take_heads().is_err() || self.status >= 300,
                Err(Errno::AGAIN | Errno::INTR) => false,
                Err(_) => true,
            };
            if is_over {
                self.stop_sending();
            }
        }
        Ok(())
    }

    fn stop_sending(&mut self) {
        self.call.facts.is_early.set();
        self.is_broken = true;
    }

    /// Waits until something can be sent or received, at most as long as a body may stall.
    fn poll(&self, wanted: PollFlags) -> Result<PollFlags, Error> {
        let Some(connection) = &self.connection else {
            return Err(self.broken());
        };
        let limit = self.call.limit(Instant::now(), self.call.timeouts.idle);
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).unwrap_or(Timespec {
                tv_sec: 86_400,
                tv_nsec: 0,
            });
            let mut fds = [PollFd::new(&connection.stream, wanted)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return Err(self.slow()),
                Ok(_) => return Ok(fds.first().map_or(PollFlags::empty(), PollFd::revents)),
                Err(Errno::INTR) => (),
                Err(_) => return Err(self.call.fail(Cause::Internal, "poll failed")),
            }
        }
    }
}
