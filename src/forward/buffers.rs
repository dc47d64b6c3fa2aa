//! The buffers that ureq reads from and writes to, and the place where response heads are seen as they came.
//!
//! One pair per thread is enough, because a worker has one backend connection at a time; an idle connection holds none.

use std::cell::RefCell;
use std::sync::Arc;

use ureq::unversioned::transport::Buffers;

use super::call::Call;
use super::response::RawHead;

/// Bytes of input room made at a time.
const INPUT: usize = 64 * 1024;
/// Input never grows beyond this: response heads end earlier, early answers wait in the socket.
const MAX_INPUT: usize = 256 * 1024;
/// Bytes of output room: one piece of a request body.
const OUTPUT: usize = 64 * 1024;

/// Bytes of a chunked request body read at a time.
const SCRATCH: usize = 32 * 1024;

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
    /// Where ureq reads pieces of chunked request bodies into; never the input, which must keep its bound.
    scratch: Vec<u8>,
    /// There is input that ureq has not looked at. Without this flag a head that came in pieces is parsed over and over,
    /// and one that came before ureq asked is never parsed (see the test for early answers).
    is_fresh: bool,
    is_head_done: bool,
    /// Gets the final head as it came.
    call: Arc<Call>,
}

impl WireBuffers {
    /// The thread's spare pair, or a new one.
    pub(super) fn take(call: Arc<Call>) -> WireBuffers {
        let (input, output) = SPARE.take().unwrap_or_default();
        WireBuffers {
            input,
            start: 0,
            end: 0,
            output,
            scratch: Vec::new(),
            is_fresh: false,
            is_head_done: false,
            call,
        }
    }

    /// Whether the final head has been seen; what follows is body.
    pub(super) fn is_head_done(&self) -> bool {
        self.is_head_done
    }

    /// The bytes to send when ureq says that it wrote `amount`.
    pub(super) fn written(&self, amount: usize) -> &[u8] {
        self.output.get(..amount).unwrap_or_default()
    }

    /// ureq consumes heads whole: what it takes before the body are the interim heads and the final one.
    fn note_head(&mut self, amount: usize) {
        if let Some(head) = self.input().get(..amount).and_then(RawHead::parse)
            && !head.is_interim()
        {
            self.is_head_done = true;
            self.call.facts(|facts| facts.head = Some(head));
        }
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
            self.note_head(amount);
        }
        self.start = (self.start + amount).min(self.end);
        self.is_fresh = amount > 0;
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        if self.output.is_empty() {
            self.output.resize(OUTPUT, 0);
        }
        if self.scratch.is_empty() {
            self.scratch.resize(SCRATCH, 0);
        }
        (&mut self.scratch, &mut self.output)
    }

    fn can_use_input(&self) -> bool {
        self.start < self.end && self.is_fresh
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::model;
    use crate::upstream::backend::Backend;

    fn call() -> Arc<Call> {
        let backend = model::Backend {
            id: "b".into(),
            host: "127.0.0.1".into(),
            port: 1,
            weight: 1,
        };
        let timeouts = model::UpstreamTimeouts {
            connect: Duration::ZERO,
            response: Duration::ZERO,
            idle: Duration::ZERO,
            total: None,
        };
        Call::new(
            Arc::new(Backend::new(&backend)),
            timeouts,
            Vec::new(),
            false,
        )
    }

    fn append(buffers: &mut WireBuffers, bytes: &[u8]) {
        buffers.input_append_buf()[..bytes.len()].copy_from_slice(bytes);
        buffers.input_appended(bytes.len());
    }

    #[test]
    fn unread_input_is_usable_until_it_was_looked_at_in_vain() {
        let mut buffers = WireBuffers::take(call());
        assert!(!buffers.can_use_input());
        append(&mut buffers, b"HTTP/1.1 2");
        assert!(buffers.can_use_input());
        buffers.input_consume(0);
        assert!(!buffers.can_use_input());
        append(&mut buffers, b"00 OK\r\n\r\nbody");
        assert!(buffers.can_use_input());
        buffers.input_consume(19);
        assert!(buffers.is_head_done());
        assert!(buffers.call.facts(|facts| facts.head.is_some()));
        assert_eq!(buffers.input(), b"body");
        assert!(buffers.can_use_input());
    }

    #[test]
    fn input_grows_to_its_bound_and_no_further() {
        let mut buffers = WireBuffers::take(call());
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
