//! Letting go of a tiny_http request whose body was not read.
//!
//! tiny_http allocates the whole announced remainder when the body is dropped: a few bytes with `Content-Length:
//! 99999999999999` abort the process. A remainder that could do so is never dropped. Its connection is closed, and the
//! request with its thread and two descriptors is given up; there is no way to get those back (tiny-http pull request 290).

use std::fs;
use std::io::Empty;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tiny_http::{ReadWrite, Request, Response, StatusCode};

use crate::message::framing::parse_length;

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

/// Lets go of a request that nobody looked at. Its connection should be closed before, or this waits for its body.
pub(super) fn discard(request: Request) {
    let unread = unread(&request);
    if is_dangerous(unread) {
        dispose(take_over(request, Response::empty(StatusCode(400)), unread));
    }
}

/// The most that tiny_http may take for the length of a request's body.
pub(super) fn unread(request: &Request) -> u64 {
    let lengths = request
        .headers()
        .iter()
        .filter(|header| header.field.equiv("Content-Length"));
    lengths
        .map(|header| announced(header.value.as_str()))
        .max()
        .unwrap_or(0)
}

/// The length that tiny_http may have taken from a value, however odd.
fn announced(value: &str) -> u64 {
    let digits = value.trim().trim_start_matches('+');
    parse_length(digits.as_bytes()).unwrap_or_else(|| {
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            u64::MAX
        } else {
            0
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tiny_http_may_read_as_a_length_counts() {
        assert_eq!(announced("5"), 5);
        assert_eq!(announced("+99999999999999"), 99_999_999_999_999);
        assert_eq!(announced("99999999999999999999"), u64::MAX);
        assert_eq!(announced("abc"), 0);
        assert!(is_dangerous(announced("99999999999999")) && !is_dangerous(1024));
    }

    #[test]
    fn memory_is_read_from_its_own_line() {
        assert_eq!(
            total_memory("A: 1 kB\nMemTotal:       2048 kB\nMemFree: 1 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(total_memory("MemTotal: many\n"), None);
    }
}
