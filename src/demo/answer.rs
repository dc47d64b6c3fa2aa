//! Answers with framing of our own: tiny_http's `respond` buffers streams and hides failures behind a clean end.
//!
//! It does not decide what is answered (see [`super::handlers`]), and it expects the request body to have been read.

use std::io::{self, Write};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde_json::Value;
use tiny_http::{HTTPVersion, Method, Request};

/// Length of the pattern of [`Content::Pattern`]: a prime, so that pieces put together wrongly show.
const PATTERN: u8 = 251;

/// Repetitions of the pattern in one write: about 64 KiB.
const REPETITIONS: usize = 256;

/// What to answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status code, 200 to 599.
    pub(super) status: u16,
    /// The body.
    pub(super) content: Content,
    /// Tell the client to close the connection.
    pub(super) close: bool,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Content {
    /// A JSON document.
    Json(Value),
    /// That many bytes; byte i is `i % 251`.
    Pattern(u64),
    /// Server-sent events.
    Events(Events),
}

/// A stream of server-sent events.
#[derive(Debug)]
pub(super) struct Events {
    /// Who sends them.
    pub(super) backend: String,
    /// How many.
    pub(super) count: u64,
    /// Time between two of them.
    pub(super) interval: Duration,
}

/// What an answer must know of its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    is_head: bool,
    is_old: bool,
    close: bool,
}

impl Terms {
    /// As this request demands.
    pub(super) fn of(request: &Request) -> Terms {
        let closes = request.headers().iter().any(|header| {
            header.field.equiv("Connection") && header.value.as_str().eq_ignore_ascii_case("close")
        });
        Terms {
            is_head: *request.method() == Method::Head,
            is_old: *request.http_version() < HTTPVersion(1, 1),
            close: closes,
        }
    }
}

impl Answer {
    /// A JSON answer.
    pub(super) fn json(status: u16, value: Value) -> Answer {
        Answer {
            status,
            content: Content::Json(value),
            close: false,
        }
    }

    /// `{"error": text}`.
    pub(super) fn error(status: u16, text: &str) -> Answer {
        Answer::json(status, serde_json::json!({ "error": text }))
    }

    /// Writes it. Event streams end early, but cleanly, when `stopped` is disconnected.
    ///
    /// # Errors
    /// The client is gone or takes nothing.
    pub(super) fn write(
        &self,
        out: &mut dyn Write,
        terms: Terms,
        stopped: &Receiver<()>,
    ) -> io::Result<()> {
        let is_bodiless = matches!(self.status, 204 | 304);
        match &self.content {
            Content::Json(value) => {
                let body = format!("{value}\n").into_bytes();
                let framing = format!("Content-Length: {}\r\n", body.len());
                let framing = if is_bodiless { "" } else { &framing };
                let mut bytes = self.head("application/json", framing, terms);
                if !terms.is_head && !is_bodiless {
                    bytes.extend_from_slice(&body);
                }
                out.write_all(&bytes)?;
            }
            Content::Pattern(length) => {
                let framing = format!("Content-Length: {length}\r\n");
                out.write_all(&self.head("application/octet-stream", &framing, terms))?;
                if !terms.is_head {
                    write_pattern(out, *length)?;
                }
            }
            Content::Events(events) => {
                let framing = match terms.is_old {
                    true => "",
                    false => "Transfer-Encoding: chunked\r\n",
                };
                let framing = format!("Cache-Control: no-store\r\n{framing}");
                out.write_all(&self.head("text/event-stream", &framing, terms))?;
                if !terms.is_head {
                    events.write(out, terms, stopped)?;
                }
            }
        }
        out.flush()
    }

    fn head(&self, media_type: &str, framing: &str, terms: Terms) -> Vec<u8> {
        let reason = http::StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Demo");
        let connection = match self.close || terms.close {
            true => "Connection: close\r\n",
            false => "",
        };
        format!(
            "HTTP/1.1 {} {reason}\r\nServer: tollgate-demo\r\nContent-Type: {media_type}\r\n{framing}{connection}\r\n",
            self.status
        )
        .into_bytes()
    }
}

fn write_pattern(out: &mut dyn Write, length: u64) -> io::Result<()> {
    // Whole repetitions, so that each write starts where the pattern does.
    let piece: Vec<u8> = (0..PATTERN).collect::<Vec<u8>>().repeat(REPETITIONS);
    let mut left = length;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        out.write_all(piece.get(..count).unwrap_or(&piece))?;
        left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
    }
    Ok(())
}

impl Events {
    /// One chunk per event, each flushed: nothing may sit in a buffer until the next one comes.
    fn write(&self, out: &mut dyn Write, terms: Terms, stopped: &Receiver<()>) -> io::Result<()> {
        out.flush()?;
        for number in 1..=self.count {
            if number > 1 && wait(self.interval, stopped).is_err() {
                break;
            }
            let data = serde_json::json!({ "backend": self.backend, "event": number });
            let event = format!("id: {number}\ndata: {data}\n\n");
            match terms.is_old {
                true => out.write_all(event.as_bytes())?,
                false => write!(out, "{:x}\r\n{event}\r\n", event.len())?,
            }
            out.flush()?;
        }
        match terms.is_old {
            true => Ok(()),
            false => out.write_all(b"0\r\n\r\n"),
        }
    }
}

/// The backend was stopped while waiting.
#[derive(Debug)]
pub(super) struct Stopped;

/// Lets this much time pass.
///
/// # Errors
/// At once when the backend is stopped.
pub(super) fn wait(time: Duration, stopped: &Receiver<()>) -> Result<(), Stopped> {
    match stopped.recv_timeout(time) {
        Err(RecvTimeoutError::Disconnected) => Err(Stopped),
        Ok(()) | Err(RecvTimeoutError::Timeout) => Ok(()),
    }
}
