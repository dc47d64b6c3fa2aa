//! What a backend's script does with one request.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;

use super::backend::{Life, Shared};
use super::gate::Gate;
use super::pattern;
use super::wire::{Broken, Framing, Head, Piece, Wire};

/// How much of a body is kept for the test to look at.
const KEPT: usize = 1 << 20;

/// How far the reading of a request body came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyEnd {
    /// Not read, or not to its end yet.
    #[default]
    Unread,
    /// To its clean end.
    Whole,
    /// It broke off.
    Cut,
}

/// One request as the backend saw it.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Request line and fields.
    pub head: Head,
    /// The first MiB of the body.
    pub body: Vec<u8>,
    /// Bytes of the body in all.
    pub length: u64,
    /// Whether the body was [`pattern`] from its first byte to its last.
    pub is_pattern: bool,
    /// Whether the body came to its end.
    pub end: BodyEnd,
    /// Number of the connection it came on.
    pub connection: usize,
}

impl Seen {
    /// The method.
    pub fn method(&self) -> &str {
        &self.head.line[0]
    }

    /// The request-target.
    pub fn target(&self) -> &str {
        &self.head.line[1]
    }

    /// The only value of a field.
    #[track_caller]
    pub fn get(&self, name: &str) -> Option<String> {
        self.head.get(name)
    }
}

/// A connection, while its script runs.
pub struct Conn {
    pub(super) wire: Wire,
    pub(super) framing: Framing,
    pub(super) number: usize,
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) life: Arc<Life>,
    pub(super) ended: bool,
}

impl Conn {
    /// Reads the rest of the request body and gives the request as seen.
    pub fn request(&mut self) -> Seen {
        loop {
            let piece = self.wire.piece(&mut self.framing);
            let mut all = self.shared.seen.lock().unwrap();
            let seen = &mut all[self.index];
            match piece {
                Piece::Data(data) => {
                    seen.is_pattern &= pattern::matches(seen.length, &data);
                    seen.length += data.len() as u64;
                    let room = KEPT.saturating_sub(seen.body.len()).min(data.len());
                    seen.body.extend_from_slice(&data[..room]);
                }
                Piece::End => {
                    seen.end = BodyEnd::Whole;
                    return seen.clone();
                }
                Piece::Cut(Broken::Malformed(why)) => {
                    panic!("a backend was sent a bad body: {why}")
                }
                Piece::Cut(_) => {
                    seen.end = BodyEnd::Cut;
                    self.ended = true;
                    return seen.clone();
                }
            }
        }
    }

    /// The request-target, without reading the body.
    pub fn head_target(&self) -> String {
        self.shared.seen.lock().unwrap()[self.index]
            .target()
            .to_owned()
    }

    /// Answers with a Content-Length, after the request body has been read.
    pub fn reply(&mut self, status: u16, fields: &[(&str, &str)], body: impl AsRef<[u8]>) {
        self.request();
        let body = body.as_ref();
        let mut answer = format!("HTTP/1.1 {status} Scripted\r\n");
        for (name, value) in fields {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        answer.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut answer = answer.into_bytes();
        answer.extend_from_slice(body);
        self.raw(answer);
    }

    /// Writes bytes as they are. Says whether the peer took them; when not, the connection is over.
    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.ended |= self.wire.stream.write_all(bytes.as_ref()).is_err();
        !self.ended
    }

    /// Writes one chunk; an empty one is the end of the body.
    pub fn chunk(&mut self, data: impl AsRef<[u8]>) -> bool {
        let data = data.as_ref();
        let mut bytes = format!("{:x}\r\n", data.len()).into_bytes();
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(b"\r\n");
        self.raw(bytes)
    }

    /// Writes `length` bytes of [`pattern`].
    pub fn pattern(&mut self, length: u64) -> bool {
        let mut at = 0;
        while at < length {
            let slice = pattern::slice(at, length - at);
            if !self.raw(slice) {
                return false;
            }
            at += slice.len() as u64;
        }
        true
    }

    /// Waits until the test lets it pass; false when the backend is killed meanwhile.
    pub fn wait(&mut self, gate: &Gate) -> bool {
        let life = Arc::clone(&self.life);
        gate.wait(|| life.stopped.load(Ordering::Acquire))
    }

    /// Says nothing and keeps the connection until the peer ends it.
    pub fn stall(&mut self) {
        while self.wire.fill().is_ok_and(|got| got > 0) {}
        self.ended = true;
    }

    /// Ends the connection cleanly.
    pub fn close(&mut self) {
        self.wire.stream.close();
        self.ended = true;
    }

    /// Sends with other keys from now on, and says so: a record with nothing in it for HTTP.
    pub fn change_keys(&mut self) {
        let tls = self.wire.stream.tls().expect("it speaks TLS");
        tls.refresh_traffic_keys().unwrap();
        self.ended |= self.wire.stream.flush().is_err();
    }

    /// Takes all that comes. Whether its end was announced, as TLS has it.
    pub fn is_told_the_end(&mut self) -> bool {
        self.ended = true;
        let mut scrap = [0; 4096];
        loop {
            match self.wire.stream.read(&mut scrap) {
                Ok(0) => return true,
                Ok(_) => (),
                Err(_) => return false,
            }
        }
    }

    /// Ends the connection without a word of TLS about it.
    pub fn cut(&mut self) {
        let _ = self.wire.stream.shutdown(Shutdown::Write);
        self.ended = true;
    }

    /// Ends the connection with a reset.
    pub fn reset(&mut self) {
        let _ = SockRef::from(&*self.wire.stream).set_linger(Some(Duration::ZERO));
        self.ended = true;
    }
}

/// The script of [`super::Backend::patterned`].
pub fn serve_pattern(size: u64) -> impl Fn(&mut Conn) + Send + Sync + 'static {
    move |conn| {
        let seen = conn.request();
        if seen.target() == "/down" {
            conn.raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"));
            conn.pattern(size);
        } else {
            conn.reply(200, &[], format!("{} {}", seen.length, seen.is_pattern));
        }
    }
}
