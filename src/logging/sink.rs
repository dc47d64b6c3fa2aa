//! Sinks: a bounded queue of lines and one thread that writes them, so that no caller ever waits for a disk or a pipe.
//!
//! When the queue is full, or a write fails, lines are dropped and counted, and the log itself says so as soon as it can.
//! A sink does not format lines and does not decide where they go: that is its [`Destination`].

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use time::OffsetDateTime;

/// Lines a sink may be behind. At 300 bytes a line about 2.5 MB, and a second of a busy proxy.
const QUEUE: usize = 8192;

/// Lines are written together up to this many bytes: one system call for many lines when there is much to write.
const BATCH: usize = 32 * 1024;

/// Where lines end up. Only the sink's thread touches it, so it may block.
pub(super) trait Destination: Write + Send {
    /// Opens what is behind it anew. Does nothing by default.
    fn reopen(&mut self) {}
}

/// Standard error of the process, unbuffered.
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl Destination for Stderr {}

/// A running sink.
pub(super) struct Sink {
    sender: LineSender,
    done: Receiver<()>,
    thread: JoinHandle<()>,
}

/// The way into a sink.
#[derive(Clone)]
pub(super) struct LineSender {
    queue: Sender<Message>,
    shared: Arc<Shared>,
}

enum Message {
    Line(Vec<u8>),
    /// Look at the flags.
    Wake,
}

#[derive(Default)]
struct Shared {
    dropped: AtomicU64,
    /// Dropped because the queue was full, and not yet told in the log.
    untold_slow: AtomicU64,
    reopen: AtomicBool,
    stop: AtomicBool,
}

// === impl Sink ===

impl Sink {
    /// Starts the thread `name`, which writes to `destination`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(name: &str, destination: Box<dyn Destination>) -> io::Result<Sink> {
        Sink::with_queue(name, destination, QUEUE)
    }

    fn with_queue(
        name: &str,
        destination: Box<dyn Destination>,
        length: usize,
    ) -> io::Result<Sink> {
        let (queue, lines) = bounded(length);
        let (ended, done) = bounded::<()>(0);
        let shared = Arc::new(Shared::default());
        let sender = LineSender {
            queue,
            shared: Arc::clone(&shared),
        };
        let mut writer = LineWriter {
            lines,
            shared,
            destination,
            batch: Vec::with_capacity(BATCH),
            untold_failed: 0,
            is_torn: false,
        };
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Dropped when the thread ends, however it ends.
                let _ended = ended;
                writer.run();
            })?;
        Ok(Sink {
            sender,
            done,
            thread,
        })
    }

    /// Another way in.
    pub(super) fn sender(&self) -> LineSender {
        self.sender.clone()
    }

    /// Lines lost so far.
    pub(super) fn dropped(&self) -> u64 {
        self.sender.shared.dropped.load(Ordering::Relaxed)
    }

    /// Asks the thread to reopen its destination before the next line.
    pub(super) fn reopen(&self) {
        self.sender.shared.reopen.store(true, Ordering::Release);
        self.sender.wake();
    }

    /// Asks the thread to write what is queued and to end.
    pub(super) fn stop(&self) {
        self.sender.shared.stop.store(true, Ordering::Release);
        self.sender.wake();
    }

    /// Waits until the thread has ended, at most until `deadline`; then it is left alone.
    pub(super) fn join(self, deadline: Instant) {
        if let Err(crossbeam_channel::RecvTimeoutError::Disconnected) =
            self.done.recv_deadline(deadline)
        {
            // A panic in the thread has been reported by the panic hook already.
            let _ = self.thread.join();
        }
    }
}

// === impl LineSender ===

impl LineSender {
    /// Queues a line, or drops and counts it. Never blocks.
    fn send(&self, line: Vec<u8>) {
        match self.queue.try_send(Message::Line(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                self.shared.untold_slow.fetch_add(1, Ordering::Relaxed);
            }
            Err(TrySendError::Disconnected(_)) => {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A full queue needs no waking: the thread looks at the flags between batches anyway.
    fn wake(&self) {
        let _ = self.queue.try_send(Message::Wake);
    }
}

// === Lines ===

/// Puts the pieces that simplelog writes together to lines, and gives each line to every sink.
pub(super) struct Lines {
    partial: Vec<u8>,
    sinks: Vec<LineSender>,
}

impl Lines {
    /// Lines for these sinks.
    pub(super) fn new(sinks: Vec<LineSender>) -> Lines {
        Lines {
            partial: Vec::new(),
            sinks,
        }
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.partial.extend_from_slice(bytes);
        // A message holds no line end (see `escape`), so this is the end of the record.
        if self.partial.last() == Some(&b'\n') {
            let line = std::mem::take(&mut self.partial);
            if let Some((last, others)) = self.sinks.split_last() {
                for sink in others {
                    sink.send(line.clone());
                }
                last.send(line);
            }
        }
        Ok(bytes.len())
    }

    /// Nothing to do: flushing would mean waiting for the sinks.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === LineWriter ===

/// The thread's side.
struct LineWriter {
    lines: Receiver<Message>,
    shared: Arc<Shared>,
    destination: Box<dyn Destination>,
    batch: Vec<u8>,
    /// Lost to write errors, and not yet told in the log.
    untold_failed: u64,
    /// The last write stopped within a line.
    is_torn: bool,
}

impl LineWriter {
    fn run(&mut self) {
        // Ends when all senders are gone, too; the global logger keeps one for ever.
        while let Ok(first) = self.lines.recv() {
            self.gather(first);
            if self.shared.reopen.swap(false, Ordering::AcqRel) {
                self.destination.reopen();
            }
            self.write_batch();
            self.tell_losses();
            if self.shared.stop.load(Ordering::Acquire) && self.lines.is_empty() {
                break;
            }
        }
        let _ = self.destination.flush();
    }

    /// Takes what is queued already, up to a batch.
    fn gather(&mut self, first: Message) {
        let mut next = Some(first);
        while let Some(message) = next {
            if let Message::Line(line) = message {
                self.batch.extend_from_slice(&line);
            }
            if self.batch.len() >= BATCH {
                break;
            }
            next = self.lines.try_recv().ok();
        }
    }

    fn write_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let written = self.write(&batch);
        let lost = count_lines(batch.get(written..).unwrap_or_default());
        if lost > 0 {
            self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
            self.untold_failed += lost;
        }
        self.batch = batch;
        self.batch.clear();
    }

    /// Says how many lines are missing, once there is room again.
    fn tell_losses(&mut self) {
        let is_behind = self
            .lines
            .capacity()
            .is_some_and(|capacity| self.lines.len() > capacity / 2);
        if is_behind {
            return;
        }
        let slow = self.shared.untold_slow.swap(0, Ordering::Relaxed);
        if slow > 0 && !self.write_notice(slow, "could not be written fast enough") {
            self.shared.untold_slow.fetch_add(slow, Ordering::Relaxed);
        }
        let failed = self.untold_failed;
        if failed > 0 && self.write_notice(failed, "could not be written") {
            self.untold_failed = 0;
        }
    }

    fn write_notice(&mut self, lost: u64, reason: &str) -> bool {
        let now = OffsetDateTime::now_utc()
            .format(super::TIME_FORMAT)
            .unwrap_or_default();
        let notice =
            format!("{now} [WARN] tollgate::logging: {lost} log lines dropped: the log {reason}\n");
        self.write(notice.as_bytes()) == notice.len()
    }

    /// Writes as much as goes, and says how much that was. After a cut line it starts a new one.
    fn write(&mut self, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        if self.is_torn {
            if self.write_some(b"\n") == 0 {
                return 0;
            }
            self.is_torn = false;
        }
        let written = self.write_some(bytes);
        if let Some(last) = written.checked_sub(1).and_then(|last| bytes.get(last)) {
            self.is_torn = *last != b'\n';
        }
        written
    }

    fn write_some(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.destination.write(rest) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        written
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests;
