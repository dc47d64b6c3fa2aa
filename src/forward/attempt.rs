//! One try at one backend: runs ureq and says what came of it.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::http::uri::PathAndQuery;
use ureq::http::{Request, Response, StatusCode, Uri, header};
use ureq::{Agent, Body, BodyReader, Error, SendBody};

use crate::error::Cause;
use crate::exchange::BodyFault;
use crate::message::framing::Framing;
use crate::message::head::{Answer, BodyLength};
use crate::upstream::lease::Lease;

use super::body::{RequestBody, Upload};
use super::call::{Call, Manner};
use super::connector::{BackendConnector, NoResolver};
use super::response::{MAX_RESPONSE_HEAD, RawHead};
use super::{BackendConduit, Outbound};

/// ureq, set up to change nothing. One per thread: a shared one costs a lock per request.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    uri: Uri,
}

/// An attempt that was answered.
pub(super) struct Answered {
    pub(super) answer: Answer,
    pub(super) upgraded: Option<BackendConduit>,
    pub(super) is_reused: bool,
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) fault: Fault,
    pub(super) is_reused: bool,
    pub(super) sent: u64,
    pub(super) received: u64,
    /// More about it, for the log.
    pub(super) reason: Option<String>,
}

/// Whose fault it is.
#[derive(Debug)]
pub(super) enum Fault {
    /// The client's, while its body was read.
    Client(BodyFault),
    /// The backend's, the network's, or (`Internal`) our own.
    Backend(Cause),
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

impl Client {
    /// A client without timeouts, redirects, environment proxies, cookies or headers of its own: our transport keeps the
    /// clock, and what is sent is the caller's.
    pub fn new() -> Client {
        let config = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .allow_non_standard_methods(true)
            .user_agent("")
            .accept("")
            .accept_encoding("")
            .max_response_header_size(MAX_RESPONSE_HEAD)
            .timeout_await_100(None)
            .build();
        let agent = Agent::with_parts(config, BackendConnector, NoResolver);
        Client {
            agent,
            uri: placeholder(),
        }
    }
}

/// ureq needs an absolute URI; where the request really goes is the connector's business.
fn placeholder() -> Uri {
    let mut parts = ureq::http::uri::Parts::default();
    parts.scheme = Some(ureq::http::uri::Scheme::HTTP);
    parts.authority = Some(ureq::http::uri::Authority::from_static("backend"));
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).unwrap_or_default()
}

/// An attempt that has not begun. `is_fresh`: over a new connection.
pub(super) fn call(
    outbound: &Outbound,
    body: &RequestBody<'_>,
    lease: &Lease,
    is_fresh: bool,
) -> Arc<Call> {
    let manner = Manner::of(outbound);
    let manner = Manner {
        is_fresh: manner.is_fresh || is_fresh,
        is_body_at_hand: body.is_at_hand(),
        ..manner
    };
    Call::new(lease, outbound, manner)
}

/// Runs one attempt.
pub(super) fn run(
    client: &Client,
    outbound: &Outbound,
    body: &mut RequestBody<'_>,
    call: &Arc<Call>,
) -> Result<Answered, Failed> {
    match ask(client, outbound, body, call) {
        Ok(response) => answer(response, outbound, call),
        Err(error) => Err(failed(call, classify(&error, call))),
    }
}

fn ask(
    client: &Client,
    outbound: &Outbound,
    body: &mut RequestBody<'_>,
    call: &Arc<Call>,
) -> Result<Response<Body>, Error> {
    let mut request = Request::builder()
        .method(outbound.method())
        .uri(client.uri.clone());
    // ureq frames by these; over the wire goes the head of the call, which says the same.
    request = match outbound.framing() {
        Framing::None => request,
        Framing::Length(length) => request.header(header::CONTENT_LENGTH, length),
        Framing::Chunked => request.header(header::TRANSFER_ENCODING, "chunked"),
    };
    if !outbound.framing().has_body() {
        let request = request.body(SendBody::none())?;
        return call.scope(|| client.agent.run(request));
    }
    let mut upload = Upload::new(body, call);
    let request = request.body(SendBody::from_reader(&mut upload))?;
    call.scope(|| client.agent.run(request))
}

fn answer(
    response: Response<Body>,
    outbound: &Outbound,
    call: &Arc<Call>,
) -> Result<Answered, Failed> {
    let head = call.facts.head.lock().take();
    if head.as_ref().is_some_and(|head| is_farewell(head, call)) {
        return Err(failed_after(call, Fault::Backend(Cause::BackendClosed), 0));
    }
    let is_chunked = head.as_ref().is_some_and(RawHead::is_chunked);
    let acceptable = head.and_then(|head| {
        head.into_answer(outbound.method(), outbound.is_upgrade())
            .ok()
    });
    let Some((head, length)) = acceptable else {
        return Err(failed(call, Fault::Backend(Cause::BadResponse)));
    };
    let has_end = matches!(length, BodyLength::Empty | BodyLength::Known(0));
    let is_switch = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let body = Box::new(Download {
        reader: response.into_body().into_reader(),
        call: Arc::clone(call),
        is_chunked,
    });
    let answer = Answer {
        head,
        length,
        body,
        is_body_ready: has_end || call.facts.is_body_ready.is_set(),
    };
    let upgraded = if is_switch {
        Some(take_conduit(call)?)
    } else {
        None
    };
    Ok(Answered {
        answer,
        upgraded,
        is_reused: call.facts.is_reused.is_set(),
    })
}

/// Whether this is no answer but the end of an idle connection, which crossed the request on its way (RFC 9110 section
/// 15.5.9): then the request goes out again.
fn is_farewell(head: &RawHead, call: &Call) -> bool {
    head.status() == StatusCode::REQUEST_TIMEOUT
        && head.closes()
        && call.manner.tolerates_stale
        && call.facts.is_reused.is_set()
}

/// The connection behind a 101, which ureq has let go of: it knows no body there.
fn take_conduit(call: &Call) -> Result<BackendConduit, Failed> {
    let conduit = call.facts.conduit.lock().take();
    conduit
        .filter(|conduit| conduit.stream.socket().set_nonblocking(true).is_ok())
        .ok_or_else(|| failed(call, Fault::Backend(Cause::Internal)))
}

/// The body of an answer. ureq takes a chunked body for complete when the connection ends right after the last chunk's
/// size; its final line is missing then, so for us it is cut.
struct Download {
    reader: BodyReader<'static>,
    call: Arc<Call>,
    is_chunked: bool,
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let is_over = || {
            self.call
                .deadline()
                .is_some_and(|deadline| deadline <= Instant::now())
        };
        let count = self.reader.read(buffer).map_err(|error| {
            // `timeouts.total` may be over because the client reads slowly: that must not count against the backend.
            if is_over() {
                io::ErrorKind::TimedOut.into()
            } else {
                error
            }
        })?;
        if count == 0 && self.is_chunked && self.call.facts.is_ended.is_set() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(count)
    }
}

fn failed(call: &Call, fault: Fault) -> Failed {
    failed_after(call, fault, call.facts.received.get())
}

/// A failure after `received` bytes of an answer.
fn failed_after(call: &Call, fault: Fault, received: u64) -> Failed {
    let facts = &call.facts;
    let is_reused = facts.is_reused.is_set();
    if is_reused
        && received == 0
        && matches!(
            fault,
            Fault::Backend(Cause::BackendClosed | Cause::BackendTls)
        )
    {
        let idle = Duration::from_millis(facts.idle_millis.get());
        call.backend.idle.note_stale(idle);
    }
    Failed {
        fault,
        is_reused,
        sent: facts.sent.get(),
        received,
        reason: facts.reason.lock().take(),
    }
}

/// The client's fault first, then what the transport saw, then what ureq says.
fn classify(error: &Error, call: &Call) -> Fault {
    if let Error::Io(inner) = error
        && let Some(fault) = BodyFault::of(inner)
    {
        return Fault::Client(fault);
    }
    if let Some(cause) = call.failure() {
        return Fault::Backend(cause);
    }
    Fault::Backend(match error {
        Error::Io(_) => Cause::BackendClosed,
        // Before a byte came back, ureq can only have disliked the request: our doing, not the backend's.
        Error::Protocol(_) if call.facts.received.get() == 0 => Cause::Internal,
        Error::Protocol(_) | Error::LargeResponseHeader(..) => Cause::BadResponse,
        Error::Timeout(_) => Cause::BackendSlow,
        other => {
            log::error!("ureq failed in a way that should not be possible: {other}");
            Cause::Internal
        }
    })
}
