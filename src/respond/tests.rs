//! What an engine's writer gets to do for one answer, and in which order.

use std::io::{self, Read, Write};
use std::sync::Arc;

use http::StatusCode;
use parking_lot::Mutex;

use super::*;
use crate::exchange::{Gathered, Peer};
use crate::message::head::RequestHead;

type Events = Arc<Mutex<Vec<String>>>;

struct Recorder {
    head: RequestHead,
    peer: Peer,
    events: Events,
}

impl Exchange for Recorder {
    fn head(&self) -> &RequestHead {
        &self.head
    }

    fn head_mut(&mut self) -> &mut RequestHead {
        &mut self.head
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }

    fn body(&mut self) -> &mut dyn Read {
        panic!("nobody reads the request here")
    }

    fn gather(self: Box<Self>, _: u64, _: Gathered) {}

    fn start(
        self: Box<Self>,
        _: &ResponseHead,
        _: BodyLength,
    ) -> io::Result<Box<dyn ResponseWriter>> {
        Ok(Box::new(Writer(self.events)))
    }

    fn abandon(self: Box<Self>) {}
}

struct Writer(Events);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.0.lock().push(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().push("flush".into());
        Ok(())
    }
}

impl ResponseWriter for Writer {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.0.lock().push("finish".into());
        Ok(())
    }
}

fn events(is_body_ready: bool) -> Vec<String> {
    let address = "127.0.0.1:1".parse().unwrap();
    let events = Events::default();
    let exchange = Recorder {
        head: RequestHead::unknown(),
        peer: Peer {
            address,
            local: address,
            listener: 0,
            tls: None,
        },
        events: Arc::clone(&events),
    };
    let answer = Answer {
        head: ResponseHead::new(StatusCode::OK),
        length: BodyLength::Unknown,
        body: Box::new(b"one".as_slice().chain(b"two".as_slice())),
        is_body_ready,
    };
    let end = send(Box::new(exchange), answer);
    assert_eq!((end.bytes, end.result.is_ok()), (6, true));
    std::mem::take(&mut *events.lock())
}

#[test]
fn the_head_waits_for_a_piece_that_is_there_and_for_no_other() {
    let pieces = ["one", "flush", "two", "flush", "finish"];
    assert_eq!(events(true), pieces);
    assert_eq!(events(false)[0], "flush");
    assert_eq!(events(false)[1..], pieces);
}
