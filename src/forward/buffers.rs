//! The buffers that ureq reads from and writes to.
//!
//! One set per thread is enough, because a worker has one backend connection at a time; an idle connection holds none. ureq
//! never sees a response head as it came: the transport takes it off the input and puts a short one in its place.

use std::cell::RefCell;

use ureq::unversioned::transport::Buffers;

/// Bytes of input room made at a time.
const INPUT: usize = 64 * 1024;
/// Input never grows beyond this: response heads end earlier, early answers wait in the socket.
const MAX_INPUT: usize = 256 * 1024;
/// Bytes of output room: one piece of a request body.
const OUTPUT: usize = 64 * 1024;
/// Bytes of a chunked request body read at a time.
const SCRATCH: usize = 32 * 1024;

thread_local! {
    static SPARE: RefCell<Option<Room>> = const { RefCell::new(None) };
}

/// The memory, which goes from one connection to the next.
#[derive(Debug, Default)]
struct Room {
    input: Vec<u8>,
    output: Vec<u8>,
    /// Where ureq reads pieces of chunked request bodies into; never the input, which must keep its bound.
    scratch: Vec<u8>,
    /// The response head that ureq gets.
    head: Vec<u8>,
}

/// What ureq may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing: the response head is not whole yet.
    Waiting,
    /// The short head.
    Head,
    /// The input: a body.
    Body,
}

/// Input and output of one connection while it is used.
#[derive(Debug)]
pub(super) struct WireBuffers {
    room: Room,
    start: usize,
    end: usize,
    stage: Stage,
    /// There is something that ureq has not looked at: else it would look again and again at half a chunk.
    is_fresh: bool,
}

impl WireBuffers {
    /// With the thread's spare memory, or new.
    pub(super) fn take() -> WireBuffers {
        WireBuffers {
            room: SPARE.take().unwrap_or_default(),
            start: 0,
            end: 0,
            stage: Stage::Waiting,
            is_fresh: false,
        }
    }

    /// Whether the response head is still to come, or to be taken off.
    pub(super) fn awaits_head(&self) -> bool {
        self.stage == Stage::Waiting
    }

    /// What the backend sent and nobody has taken.
    pub(super) fn unread(&self) -> &[u8] {
        self.room
            .input
            .get(self.start..self.end)
            .unwrap_or_default()
    }

    /// Takes `amount` bytes off the input.
    pub(super) fn skip(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.end);
    }

    /// Takes the final response head, of `amount` bytes, off the input; `write` writes the one that ureq gets.
    pub(super) fn replace_head(&mut self, amount: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.skip(amount);
        self.room.head.clear();
        write(&mut self.room.head);
        self.stage = Stage::Head;
        self.is_fresh = true;
    }

    /// The bytes to send when ureq says that it wrote `amount`.
    pub(super) fn written(&self, amount: usize) -> &[u8] {
        self.room.output.get(..amount).unwrap_or_default()
    }

    /// Makes room; false when the input is full.
    pub(super) fn has_room(&mut self) -> bool {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        let input = &mut self.room.input;
        if self.end == input.len() {
            if self.start > 0 {
                input.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else if input.is_empty() {
                *input = zeroed(INPUT);
            } else if input.len() < MAX_INPUT {
                input.resize(input.len() + INPUT, 0);
            }
        }
        self.end < input.len()
    }
}

/// Memory that takes no room before it is used: many workers only ever see small answers.
fn zeroed(length: usize) -> Vec<u8> {
    vec![0; length]
}

/// Makes `buffer` as long as that.
fn fit(buffer: &mut Vec<u8>, length: usize) {
    if buffer.len() != length {
        *buffer = zeroed(length);
    }
}

impl Drop for WireBuffers {
    fn drop(&mut self) {
        let mut room = std::mem::take(&mut self.room);
        if room.input.len() > INPUT {
            room.input.truncate(INPUT);
            room.input.shrink_to_fit();
        }
        // A thread that is ending has no thread-locals any more; then the buffers simply go.
        let _ = SPARE.try_with(|spare| spare.replace(Some(room)));
    }
}

impl Buffers for WireBuffers {
    fn output(&mut self) -> &mut [u8] {
        fit(&mut self.room.output, OUTPUT);
        &mut self.room.output
    }

    fn input(&self) -> &[u8] {
        match self.stage {
            Stage::Waiting => &[],
            Stage::Head => &self.room.head,
            Stage::Body => self.unread(),
        }
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.has_room();
        self.room.input.get_mut(self.end..).unwrap_or_default()
    }

    fn input_appended(&mut self, amount: usize) {
        self.end = (self.end + amount).min(self.room.input.len());
        self.is_fresh |= amount > 0;
    }

    fn input_consume(&mut self, amount: usize) {
        self.is_fresh = amount > 0;
        match self.stage {
            // ureq takes a head whole or not at all.
            Stage::Head if amount > 0 => self.stage = Stage::Body,
            Stage::Waiting | Stage::Head => (),
            Stage::Body => self.skip(amount),
        }
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        fit(&mut self.room.output, OUTPUT);
        fit(&mut self.room.scratch, SCRATCH);
        (&mut self.room.scratch, &mut self.room.output)
    }

    fn can_use_input(&self) -> bool {
        self.is_fresh && !self.input().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(buffers: &mut WireBuffers, bytes: &[u8]) {
        buffers.input_append_buf()[..bytes.len()].copy_from_slice(bytes);
        buffers.input_appended(bytes.len());
    }

    #[test]
    fn ureq_sees_the_short_head_and_then_the_body() {
        let mut buffers = WireBuffers::take();
        append(&mut buffers, b"a long head|bo");
        assert!(buffers.awaits_head() && !buffers.can_use_input());
        assert_eq!(buffers.unread(), b"a long head|bo");
        buffers.replace_head(12, |head| head.extend_from_slice(b"short"));
        assert!(!buffers.awaits_head() && buffers.can_use_input());
        assert_eq!(buffers.input(), b"short");
        buffers.input_consume(5);
        assert_eq!(buffers.input(), b"bo");
        assert!(buffers.can_use_input());
        buffers.input_consume(2);
        assert!(!buffers.can_use_input());
    }

    #[test]
    fn unread_input_is_usable_until_it_was_looked_at_in_vain() {
        let mut buffers = WireBuffers::take();
        buffers.replace_head(0, |head| head.push(b'h'));
        buffers.input_consume(1);
        assert!(!buffers.can_use_input());
        append(&mut buffers, b"1");
        assert!(buffers.can_use_input());
        buffers.input_consume(0);
        assert!(!buffers.can_use_input());
        append(&mut buffers, b"\r\nx\r\n");
        assert!(buffers.can_use_input());
    }

    #[test]
    fn input_grows_to_its_bound_and_no_further() {
        let mut buffers = WireBuffers::take();
        let mut total = 0;
        while buffers.has_room() {
            let room = buffers.input_append_buf().len();
            buffers.input_appended(room);
            total += room;
        }
        assert_eq!(total, MAX_INPUT);
        buffers.skip(10);
        assert!(buffers.has_room());
    }
}
