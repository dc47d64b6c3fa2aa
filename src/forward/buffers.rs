//! The buffers that ureq reads from and writes to, and the place where response heads are seen as they came.
//!
//! One pair per thread is enough, because a worker has one backend connection at a time; an idle connection holds none.

use std::cell::RefCell;

use ureq::unversioned::transport::Buffers;

/// Bytes of input room made at a time.
const INPUT: usize = 64 * 1024;
/// Input never grows beyond this: response heads end earlier, early answers wait in the socket.
const MAX_INPUT: usize = 256 * 1024;
/// Bytes of output room: one piece of a request body.
const OUTPUT: usize = 64 * 1024;

thread_local! {
    static SPARE: RefCell<Option<(Vec<u8>, Vec<u8>)>> = const { RefCell::new(None) };
}

/// Input and output of one connection while it is used.
#[derive(Debug)]
pub(super) struct WireBuffers {
    input: Vec<u8>,
    start: usize,
    end: usize,
    output: Vec<u8>,
    /// There is input that ureq has not looked at. Without this flag a head that came in pieces is parsed over and over,
    /// and one that came before ureq asked is never parsed (see the test for early answers).
    is_fresh: bool,
    /// The last head that ureq consumed; taken by the transport.
    consumed_head: Option<Vec<u8>>,
    is_head_done: bool,
}

impl WireBuffers {
    /// The thread's spare pair, or a new one.
    pub(super) fn take() -> WireBuffers {
        let (input, output) = SPARE.take().unwrap_or_default();
        WireBuffers {
            input,
            start: 0,
            end: 0,
            output,
            is_fresh: false,
            consumed_head: None,
            is_head_done: false,
        }
    }

    /// A head that ureq has consumed since this was last asked.
    pub(super) fn take_head(&mut self) -> Option<Vec<u8>> {
        self.consumed_head.take()
    }

    /// The final head has been seen; what follows is body.
    pub(super) fn set_head_done(&mut self) {
        self.is_head_done = true;
    }

    pub(super) fn is_head_done(&self) -> bool {
        self.is_head_done
    }

    /// The bytes to send when ureq says that it wrote `amount`.
    pub(super) fn written(&self, amount: usize) -> &[u8] {
        self.output.get(..amount).unwrap_or_default()
    }

    /// Makes room; false when the input is full.
    pub(super) fn has_room(&mut self) -> bool {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        if self.end == self.input.len() {
            if self.start > 0 {
                self.input.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else if self.input.len() < MAX_INPUT {
                self.input.resize(self.input.len() + INPUT, 0);
            }
        }
        self.end < self.input.len()
    }
}

impl Drop for WireBuffers {
    fn drop(&mut self) {
        let mut input = std::mem::take(&mut self.input);
        if input.len() > INPUT {
            input.truncate(INPUT);
            input.shrink_to_fit();
        }
        // A thread that is ending has no thread-locals any more; then the buffers simply go.
        let _ =
            SPARE.try_with(|spare| spare.replace(Some((input, std::mem::take(&mut self.output)))));
    }
}

impl Buffers for WireBuffers {
    fn output(&mut self) -> &mut [u8] {
        if self.output.is_empty() {
            self.output.resize(OUTPUT, 0);
        }
        &mut self.output
    }

    fn input(&self) -> &[u8] {
        self.input.get(self.start..self.end).unwrap_or_default()
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.has_room();
        self.input.get_mut(self.end..).unwrap_or_default()
    }

    fn input_appended(&mut self, amount: usize) {
        self.end = (self.end + amount).min(self.input.len());
        self.is_fresh |= amount > 0;
    }

    fn input_consume(&mut self, amount: usize) {
        if amount > 0 && !self.is_head_done {
            self.consumed_head = self.input().get(..amount).map(<[u8]>::to_vec);
        }
        self.start = (self.start + amount).min(self.end);
        self.is_fresh = amount > 0;
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        if self.output.is_empty() {
            self.output.resize(OUTPUT, 0);
        }
        if self.input.len() - self.end < INPUT / 2 {
            self.input.resize(self.input.len() + INPUT, 0);
        }
        (
            self.input.get_mut(self.end..).unwrap_or_default(),
            &mut self.output,
        )
    }

    fn can_use_input(&self) -> bool {
        self.start < self.end && self.is_fresh
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
    fn unread_input_is_usable_until_it_was_looked_at_in_vain() {
        let mut buffers = WireBuffers::take();
        assert!(!buffers.can_use_input());
        append(&mut buffers, b"HTTP/1.1 2");
        assert!(buffers.can_use_input());
        buffers.input_consume(0);
        assert!(!buffers.can_use_input());
        append(&mut buffers, b"00 OK\r\n\r\nbody");
        assert!(buffers.can_use_input());
        buffers.input_consume(19);
        assert_eq!(buffers.take_head().unwrap(), b"HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(buffers.input(), b"body");
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
        buffers.input_consume(10);
        assert!(buffers.has_room());
    }
}
