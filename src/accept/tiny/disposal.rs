//! Letting go of a tiny_http request whose body was not read.
//!
//! tiny_http allocates the whole announced remainder when the body is dropped: a few bytes with `Content-Length:
//! 99999999999999` abort the process. A remainder that could do so is never dropped. Its connection is closed, and the
//! request with its thread and two descriptors is given up; there is no way to get those back (tiny-http pull request 290).

use std::fs;
use std::io::{self, Empty};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crossbeam_channel::{Sender, bounded};
use tiny_http::{ReadWrite, Request, Response, StatusCode};

/// A remainder up to this can be dropped on any machine: the allocation is address space that is never touched.
const ALWAYS_DROPPABLE: u64 = 64 * 1024 * 1024;

/// The largest remainder that is dropped: a quarter of the memory, since Linux refuses only what could never fit; less
/// where it counts every byte of address space (`vm.overcommit_memory = 2`).
static DROPPABLE: LazyLock<u64> = LazyLock::new(|| {
    let is_strict =
        fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim() == "2");
    let memory = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total_memory(&text))
        .unwrap_or(0);
    if is_strict {
        ALWAYS_DROPPABLE
    } else {
        (memory / 4).max(ALWAYS_DROPPABLE)
    }
});

static GIVEN_UP: AtomicU64 = AtomicU64::new(0);

/// Whether a request with this many unread body bytes must not be dropped.
pub(super) fn is_dangerous(unread: u64) -> bool {
    unread > *DROPPABLE
}

/// Bytes, from `MemTotal` in the form of `/proc/meminfo`.
fn total_memory(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Both sides of a connection, taken out of a request whose body was not read to its end.
pub(super) struct Leftover {
    pub(super) stream: Box<dyn ReadWrite + Send>,
    /// Body bytes that were announced and not read.
    pub(super) unread: u64,
}

/// Takes the connection out of `request`, with `response`'s head written to it: this is the only call of tiny_http that
/// hands out the writer without dropping the reader of the body. Its answer ends with the connection.
pub(super) fn take_over(request: Request, response: Response<Empty>, unread: u64) -> Leftover {
    // tiny_http writes an Upgrade field whatever we do. That HTTP/1.1 could be used is at least true.
    let stream = request.upgrade("HTTP/1.1", response);
    Leftover { stream, unread }
}

/// Lets go of a connection. It should be closed before, or this waits for the rest of the body.
pub(super) fn dispose(leftover: Leftover) {
    if !is_dangerous(leftover.unread) {
        return;
    }
    let count = GIVEN_UP.fetch_add(1, Ordering::Relaxed) + 1;
    log::warn!(
        "a body too large to be skipped was left unread; {count} tiny_http connections are stuck for good"
    );
    std::mem::forget(leftover.stream);
}

/// A thread that lets go of requests nobody is going to answer. tiny_http answers them itself when they are dropped, which
/// waits until all earlier answers of the connection are out: nobody else may wait for that.
pub(super) struct Bin {
    sender: Sender<Request>,
}

/// Requests that may wait in the bin; beyond that they are given up.
const WAITING: usize = 1024;

impl Bin {
    pub(super) fn start() -> io::Result<Bin> {
        let (sender, requests) = bounded(WAITING);
        let work = move || requests.into_iter().for_each(discard);
        thread::Builder::new()
            .name("listener-discard".into())
            .spawn(work)?;
        Ok(Bin { sender })
    }

    /// Takes a request. Its connection should be closed before.
    pub(super) fn take(&self, request: Request) {
        if let Err(error) = self.sender.try_send(request) {
            log::error!("too many requests are waiting to be thrown away; one is given up");
            std::mem::forget(error.into_inner());
        }
    }
}

fn discard(request: Request) {
    let unread = unread(&request);
    if is_dangerous(unread) {
        dispose(take_over(request, Response::empty(StatusCode(400)), unread));
    }
}

/// The length that tiny_http took for that of the body, whatever the fields say. Only then does it hold a reader that must
/// not be dropped; and only then is nothing of the connection read before the reader is.
pub(super) fn unread(request: &Request) -> u64 {
    request.body_length().map_or(0, |length| length as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_its_own_line() {
        assert_eq!(
            total_memory("A: 1 kB\nMemTotal:       2048 kB\nMemFree: 1 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(total_memory("MemTotal: many\n"), None);
    }
}
