//! Answer the client: pass a backend's answer on as it comes, or write tollgate's own.
//!
//! Framing is the engine's. Whatever goes wrong between the first and the last byte cuts the answer; nothing here can turn
//! half a body into a clean end.

mod browser;
mod error_page;
mod headers;

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::time::Instant;

use crate::exchange::{Exchange, ResponseWriter};
use crate::message::head::{Answer, BodyLength, ResponseHead};

pub use browser::{answer_preflight, protect, share};
pub use error_page::{Page, refusal};
pub use headers::{change, decorate};

/// Bytes copied at a time. Large enough that a fast backend costs few system calls, small enough for many workers.
const COPY_BUFFER: usize = 64 * 1024;

thread_local! {
    /// One copy buffer per thread: worker stacks are small.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How an answer ended.
#[derive(Debug)]
pub struct End {
    /// Body bytes that were written.
    pub bytes: u64,
    /// When the head was out.
    pub first_byte: Option<Instant>,
    /// Who broke it off, if anyone.
    pub result: Result<(), Break>,
}

/// An answer that did not reach its end.
#[derive(Debug)]
pub enum Break {
    /// The client is gone.
    Client(io::Error),
    /// The backend's body broke off.
    Backend(io::Error),
}

/// Sends `answer`, each piece as soon as it is there.
pub fn send(exchange: Box<dyn Exchange>, answer: Answer) -> End {
    let Answer {
        head,
        length,
        mut body,
        is_body_ready,
    } = answer;
    let started = exchange.start(&head, length).and_then(|mut writer| {
        // The writer may keep the head for the first piece. When that is still to come, the client must not wait for it.
        if !is_body_ready {
            writer.flush()?;
        }
        Ok(writer)
    });
    let mut writer = match started {
        Ok(writer) => writer,
        Err(error) => {
            return End {
                bytes: 0,
                first_byte: None,
                result: Err(Break::Client(error)),
            };
        }
    };
    let first_byte = Some(Instant::now());
    let (bytes, copied) = copy(&mut *body, &mut *writer);
    let result = copied.and_then(|()| writer.finish().map_err(Break::Client));
    End {
        bytes,
        first_byte,
        result,
    }
}

/// Sends a small answer of our own.
pub fn send_own(exchange: Box<dyn Exchange>, head: &ResponseHead, body: &[u8]) -> End {
    let broken = |error| End {
        bytes: 0,
        first_byte: None,
        result: Err(Break::Client(error)),
    };
    let is_bodiless = head.is_bodiless(&exchange.head().method);
    let mut writer = match exchange.start(head, BodyLength::Known(body.len() as u64)) {
        Ok(writer) => writer,
        Err(error) => return broken(error),
    };
    let first_byte = Some(Instant::now());
    let body = if is_bodiless { &[] } else { body };
    match writer.write_all(body).and_then(|()| writer.finish()) {
        Ok(()) => End {
            bytes: body.len() as u64,
            first_byte,
            result: Ok(()),
        },
        Err(error) => broken(error),
    }
}

fn copy(body: &mut dyn Read, writer: &mut dyn ResponseWriter) -> (u64, Result<(), Break>) {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.is_empty() {
            // Memory that comes zeroed takes no room before it is used; filling it would.
            *buffer = vec![0; COPY_BUFFER];
        }
        let mut bytes = 0;
        loop {
            let count = match body.read(buffer) {
                Ok(0) => return (bytes, Ok(())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return (bytes, Err(Break::Backend(error))),
            };
            let piece = buffer.get(..count).unwrap_or_default();
            if let Err(error) = writer.write_all(piece).and_then(|()| writer.flush()) {
                return (bytes, Err(Break::Client(error)));
            }
            bytes += count as u64;
        }
    })
}

#[cfg(test)]
mod tests;
