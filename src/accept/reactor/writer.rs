//! Writes an answer to a link: as much as the client takes at once; a bounded rest stays for the reactor to deliver, so that
//! no worker waits for a slow client; only what is more than that does wait.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::accept::answer::{Framing, chunk_line};
use crate::exchange::ResponseWriter;

use super::budget::PER_ANSWER;
use super::link::{GLANCE, Link};
use super::pace::Pace;
use super::state::After;

/// Pieces up to this are put together with the head, or with each other, into one send.
const JOINED: usize = 16 * 1024;

/// The body of one answer.
pub(super) struct LinkWriter {
    link: Arc<Link>,
    /// The head, and perhaps the begin of the body, until the first flush.
    pending: Vec<u8>,
    framing: Framing,
    after: After,
    is_finished: bool,
    patience: Patience,
}

impl LinkWriter {
    pub(super) fn new(
        link: Arc<Link>,
        head: Vec<u8>,
        framing: Framing,
        after: After,
    ) -> LinkWriter {
        LinkWriter {
            link,
            pending: head,
            framing,
            after,
            is_finished: false,
            patience: Patience::new(),
        }
    }

    /// Adds to what is pending, or sends all of it.
    fn push(&mut self, parts: [&[u8]; 3]) -> io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.pending.len() + length <= JOINED {
            parts
                .iter()
                .for_each(|part| self.pending.extend_from_slice(part));
            return Ok(());
        }
        let [first, second, third] = parts;
        let pending = std::mem::take(&mut self.pending);
        {
            let may_leave_rest = self.may_leave_rest();
            let parts: &[&[u8]] = &[&pending, first, second, third];
            put(&self.link, parts, may_leave_rest, None, &mut self.patience)
        }
    }

    /// Whether what is left of the answer is little enough to leave it to the reactor. A length that is not known yet may be.
    fn may_leave_rest(&self) -> bool {
        !matches!(self.framing, Framing::Length(left) if left > PER_ANSWER as u64)
    }
}

impl Write for LinkWriter {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if piece.is_empty() {
            return Ok(0);
        }
        match &mut self.framing {
            Framing::Nothing => (),
            Framing::UntilClose => self.push([piece, b"", b""])?,
            Framing::Length(left) if *left < piece.len() as u64 => {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "more body bytes than announced",
                ));
            }
            Framing::Length(left) => {
                *left -= piece.len() as u64;
                self.push([piece, b"", b""])?;
            }
            Framing::Chunked => {
                let line = chunk_line(piece.len());
                self.push([line.as_bytes(), piece, b"\r\n"])?;
            }
        }
        Ok(piece.len())
    }

    /// Sends what is pending; but not the end of a known length: [`ResponseWriter::finish`] comes next, and sends it.
    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() || matches!(self.framing, Framing::Length(0) | Framing::Nothing)
        {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let may_leave_rest = self.may_leave_rest();
        put(
            &self.link,
            &[&pending],
            may_leave_rest,
            None,
            &mut self.patience,
        )
    }
}

impl ResponseWriter for LinkWriter {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        let end: &[u8] = match self.framing {
            Framing::Length(left) if left > 0 => {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "fewer body bytes than announced",
                ));
            }
            Framing::Chunked => b"0\r\n\r\n",
            _ => b"",
        };
        put_last(&self.link, &[&self.pending, end], self.after)?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for LinkWriter {
    /// Not finished: the client must see that the answer was cut.
    fn drop(&mut self) {
        if !self.is_finished {
            self.link.hold().cut(self.framing == Framing::UntilClose);
        }
    }
}

/// Writes all of `parts`, in order; the exchange goes on.
pub(super) fn put_some(link: &Arc<Link>, parts: &[&[u8]], may_leave_rest: bool) -> io::Result<()> {
    put(link, parts, may_leave_rest, None, &mut Patience::new())
}

/// Writes all of `parts`, in order. The exchange is over then, and the reactor has the link again.
pub(super) fn put_last(link: &Arc<Link>, parts: &[&[u8]], after: After) -> io::Result<()> {
    put(link, parts, true, Some(after), &mut Patience::new())
}

fn put(
    link: &Arc<Link>,
    parts: &[&[u8]],
    may_leave_rest: bool,
    end: Option<After>,
    patience: &mut Patience,
) -> io::Result<()> {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let mut sent = 0;
    loop {
        let mut held = link.hold();
        patience.look(held.moved);
        if held.flush()? {
            sent += held.send(parts, sent)?;
        }
        if sent < total && !(may_leave_rest && held.keep(parts, sent)) {
            let moved = held.moved;
            drop(held);
            patience.look(moved);
            patience.wait(link)?;
            continue;
        }
        if let Some(after) = end {
            held.settle(after);
        }
        return Ok(());
    }
}

/// How long workers wait for a slow reader, over its whole answer.
struct Patience {
    pace: Pace,
    /// Milliseconds.
    waited: u64,
    /// Bytes that had gone out over the link when it was last looked at.
    moved: Option<u64>,
    /// When that last changed, in terms of `waited`.
    moved_at: u64,
}

impl Patience {
    fn new() -> Patience {
        Patience {
            pace: Pace::begin(0),
            waited: 0,
            moved: None,
            moved_at: 0,
        }
    }

    /// Notes how much has gone out, by the worker's hand or the reactor's. The first look is the baseline.
    fn look(&mut self, moved: u64) {
        let more = moved.saturating_sub(self.moved.unwrap_or(moved));
        self.moved = Some(moved);
        if more > 0 {
            self.pace.add(usize::try_from(more).unwrap_or(usize::MAX));
            self.moved_at = self.waited;
        }
    }

    /// Waits for room, but not for long: the kernel tells of it late, when a good part of its buffer is free, and the reactor
    /// may have made some too.
    fn wait(&mut self, link: &Link) -> io::Result<()> {
        if link.home.is_here() {
            // All other connections would wait too.
            return Err(ErrorKind::WouldBlock.into());
        }
        let timeouts = &link.rules.timeouts;
        let idle = Duration::from_millis(self.waited - self.moved_at);
        let left = timeouts.write_idle.saturating_sub(idle);
        if left.is_zero() || self.pace.is_too_slow(timeouts.min_rate, self.waited) {
            return Err(ErrorKind::TimedOut.into());
        }
        let begun = Instant::now();
        link.wait(PollFlags::OUT, left.min(GLANCE))?;
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX / 2);
        // A wait that was over at once counts as well, or a loop of them would never end.
        self.waited += millis.max(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_reactor_sends_counts_for_the_client() {
        let mut patience = Patience::new();
        // What an earlier answer moved is none of it.
        patience.look(5_000_000);
        patience.waited = 20_000;
        assert!(patience.pace.is_too_slow(1024, patience.waited));
        patience.look(5_000_000);
        assert_eq!(patience.moved_at, 0);
        patience.look(6_000_000);
        assert!(!patience.pace.is_too_slow(1024, patience.waited));
        assert_eq!(patience.moved_at, 20_000);
    }
}
