//! What a demo backend answers: one function per endpoint, chosen by path.
//!
//! It does not write to sockets (see [`super::answer`]) and it has no limits of its own but those named here.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use serde_json::{Map, Value, json};
use tiny_http::{Method, Request};

use super::answer::{Answer, Content, Events, Terms, wait};
use super::body::{self, Body, BodyError};
use super::books::{self, Books};
use super::nudge::{self, Newcomers};

/// Longest delay of `/slow`, and longest time between two events, in milliseconds.
const LONGEST_MILLIS: u64 = 60_000;

/// Most bytes of `/bytes`.
const MOST_BYTES: u64 = 1 << 30;

/// Most events of `/sse`: an hour at the usual pace.
const MOST_EVENTS: u64 = 3600;

/// One demo backend's identity and memory.
pub(super) struct Backend {
    name: String,
    port: u16,
    books: Books,
    flaky: AtomicU64,
    newcomers: Newcomers,
    stopped: Receiver<()>,
}

impl Backend {
    /// A backend that stops when `stopped` is disconnected.
    pub(super) fn new(name: String, port: u16, stopped: Receiver<()>) -> Backend {
        Backend {
            name,
            port,
            books: Books::default(),
            flaky: AtomicU64::new(0),
            newcomers: Newcomers::new(),
            stopped,
        }
    }

    /// Whether it has been told to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Reads the body and answers.
    pub(super) fn serve(&self, request: Request) {
        self.newcomers.note(request.remote_addr());
        self.reply(request, |request, body| self.answer(request, body));
    }

    /// Keeps tiny_http from forgetting connections until the backend is stopped.
    pub(super) fn nudge(&self, address: SocketAddr) {
        nudge::run(address, &self.newcomers, &self.stopped);
    }

    /// Says that nobody is here any more.
    pub(super) fn refuse_late(&self, request: Request) {
        self.reply(request, |_, _| Answer {
            close: true,
            ..Answer::error(503, "stopped")
        });
    }

    fn reply(&self, mut request: Request, answer: impl FnOnce(&Request, &Body) -> Answer) {
        let terms = Terms::of(&request);
        match body::read(&mut request, books::LONGEST_BODY) {
            Ok(body) => {
                let answer = answer(&request, &body);
                // A client that left is none of our business.
                let _ = answer.write(&mut *request.into_writer(), terms, &self.stopped);
            }
            Err(BodyError::TooLarge) => {
                let refusal = Answer {
                    close: true,
                    ..Answer::error(413, "body too big")
                };
                let mut bytes = Vec::new();
                let _ = refusal.write(&mut bytes, terms, &self.stopped);
                body::refuse(request, &bytes);
            }
            Err(BodyError::Cut) => drop(request),
        }
    }

    fn answer(&self, request: &Request, body: &Body) -> Answer {
        let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
        if let Some(service) = books::service_of(path) {
            return self.books(service, request, body);
        }
        match path {
            "/health" => Answer::json(200, json!({ "status": "ok" })),
            "/slow" => self.slow(query, request, body),
            "/bytes" => bytes(query),
            "/status" => self.status(query, request, body),
            "/sse" => self.events(query),
            "/flaky" => self.flaky(query, request, body),
            _ => self.echo(200, request, body),
        }
    }

    fn slow(&self, query: &str, request: &Request, body: &Body) -> Answer {
        let Some(millis) = number(query, "ms", 1000) else {
            return bad_number();
        };
        // A stop only makes it quicker.
        let _ = wait(
            Duration::from_millis(millis.min(LONGEST_MILLIS)),
            &self.stopped,
        );
        self.echo(200, request, body)
    }

    fn status(&self, query: &str, request: &Request, body: &Body) -> Answer {
        let code = number(query, "code", 200)
            .filter(|code| (200..=599).contains(code))
            .and_then(|code| u16::try_from(code).ok());
        match code {
            Some(code) => self.echo(code, request, body),
            None => bad_number(),
        }
    }

    fn events(&self, query: &str) -> Answer {
        let (Some(count), Some(millis)) = (
            number(query, "events", MOST_EVENTS),
            number(query, "ms", 1000),
        ) else {
            return bad_number();
        };
        Answer {
            status: 200,
            content: Content::Events(Events {
                backend: self.name.clone(),
                count: count.min(MOST_EVENTS),
                interval: Duration::from_millis(millis.min(LONGEST_MILLIS)),
            }),
            close: false,
        }
    }

    fn flaky(&self, query: &str, request: &Request, body: &Body) -> Answer {
        let (Some(every), Some(code @ (500 | 503))) =
            (number(query, "every", 2), number(query, "code", 500))
        else {
            return bad_number();
        };
        let turn = self.flaky.fetch_add(1, Ordering::Relaxed) + 1;
        // Every 0th request is none.
        if turn.checked_rem(every) == Some(0) {
            Answer::error(if code == 503 { 503 } else { 500 }, "flaky")
        } else {
            self.echo(200, request, body)
        }
    }

    fn books(&self, service: &str, request: &Request, body: &Body) -> Answer {
        let (status, value) = match request.method() {
            Method::Get | Method::Head => self.books.list(service),
            Method::Post => self.books.add(service, &body.start),
            _ => (405, json!({ "error": "method not allowed" })),
        };
        Answer::json(status, value)
    }

    /// What arrived, as it arrived.
    fn echo(&self, status: u16, request: &Request, body: &Body) -> Answer {
        let value = json!({
            "backend": self.name,
            "port": self.port,
            "method": request.method().as_str(),
            "path": request.url(),
            "headers": headers(request),
            "body_length": body.length,
        });
        Answer::json(status, value)
    }
}

fn bytes(query: &str) -> Answer {
    match number(query, "n", 1024) {
        Some(length) if length <= MOST_BYTES => Answer {
            status: 200,
            content: Content::Pattern(length),
            close: false,
        },
        _ => bad_number(),
    }
}

fn bad_number() -> Answer {
    Answer::error(400, "bad request")
}

/// The value of this key; `missing` if there is none; nothing if it is no number.
fn number(query: &str, key: &str, missing: u64) -> Option<u64> {
    let found = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == key);
    match found {
        Some((_, value)) => value.parse().ok(),
        None => Some(missing),
    }
}

/// Lower-case name → value, or an array of values when the field came more than once.
fn headers(request: &Request) -> Map<String, Value> {
    let mut map: Map<String, Value> = Map::new();
    for header in request.headers() {
        let name = header.field.as_str().as_str().to_ascii_lowercase();
        let value = Value::from(header.value.as_str());
        match map.get_mut(&name) {
            None => {
                map.insert(name, value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(single) => {
                let first = single.take();
                *single = Value::Array(vec![first, value]);
            }
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_from_the_query() {
        assert_eq!(number("ms=5&n=7", "n", 1), Some(7));
        assert_eq!(number("ms=5", "n", 1), Some(1));
        assert_eq!(number("", "n", 1), Some(1));
        for bad in ["n=", "n=x", "n=-1", "n=1.5", "n=99999999999999999999"] {
            assert_eq!(number(bad, "n", 1), None, "{bad}");
        }
    }
}
