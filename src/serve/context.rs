//! What is known and noted about one exchange on its way, and the one access line at its end.
//!
//! The line is written when the context is dropped: whatever path an exchange takes, also out of a panic, it is recorded
//! once.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::Method;

use crate::admit::auth::Identity;
use crate::clock::unix_millis;
use crate::config::model::{Change, HeaderChanges, Values};
use crate::drain::{Drain, FlightGuard, Label};
use crate::error::Cause;
use crate::exchange::{Exchange, Peer};
use crate::forward::Attempts;
use crate::logging::access::{self, AccessRecord};
use crate::message::fields::Fields;
use crate::message::forwarded::{Client, Hop};
use crate::message::head::RequestHead;
use crate::message::query;
use crate::respond::{self, Break, End};

use super::browser::Browser;
use super::gate::Passport;
use super::snapshot::Snapshot;

/// Longest part of a target in a drain message.
const LABEL_TARGET: usize = 100;

/// One exchange's notes.
pub(super) struct Context {
    pub(super) request_id: String,
    pub(super) client: Client,
    pub(super) close: bool,
    pub(super) route: Option<Arc<str>>,
    /// What the route changes in heads.
    pub(super) headers: Option<Arc<HeaderChanges>>,
    /// Who was let in.
    pub(super) identity: Option<Arc<Identity>>,
    /// Instead of the query that came.
    pub(super) own_query: Option<String>,
    /// What answers say to browsers.
    pub(super) browser: Browser,
    /// What it got at the gates; it counts as under way until this is dropped.
    pub(super) passport: Passport,
    pub(super) upstream: Option<Arc<str>>,
    pub(super) backend: Option<Arc<str>>,
    pub(super) attempts: Attempts,
    pub(super) queued: Duration,
    pub(super) bytes_in: u64,
    peer: Peer,
    request: Arc<Request>,
    started: Instant,
    flight: Option<FlightGuard>,
    outcome: Outcome,
    writes_access: bool,
}

/// Kept because the exchange is gone when the line is written.
struct Request {
    method: Method,
    /// The target, without what is secret in it, and behind it the host.
    words: String,
    target_length: usize,
    user_agent: Option<Vec<u8>>,
    client: IpAddr,
}

impl Request {
    /// What the access line needs, if one `is_recorded`; else what a drain message needs.
    fn of(head: &RequestHead, client: IpAddr, snapshot: &Snapshot) -> Request {
        let is_recorded = snapshot.config.log.access;
        let (target, host) = (head.target.as_str(), head.host());
        let target = &*query::covered(target, &snapshot.secret_parameters);
        let mut words = String::with_capacity(target.len() + host.len());
        words.push_str(target);
        words.push_str(host);
        let user_agent = head.fields.get("user-agent").filter(|_| is_recorded);
        Request {
            method: head.method.clone(),
            words,
            target_length: target.len(),
            user_agent: user_agent.map(<[u8]>::to_vec),
            client,
        }
    }

    fn target(&self) -> &str {
        self.words.get(..self.target_length).unwrap_or_default()
    }

    fn host(&self) -> &str {
        self.words.get(self.target_length..).unwrap_or_default()
    }
}

/// What people see when it is cut.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A precision is the number of characters that are shown.
        let target = self.target();
        write!(
            f,
            "{} {target:.LABEL_TARGET$} from {}",
            self.method, self.client
        )
    }
}

struct Outcome {
    status: u16,
    cause: Option<Cause>,
    bytes_out: u64,
    first_byte: Option<Duration>,
}

impl Context {
    pub(super) fn new(exchange: &dyn Exchange, snapshot: &Snapshot) -> Context {
        let (head, peer) = (exchange.head(), exchange.peer());
        let mut client = Client::identify(
            peer.ip(),
            &head.fields,
            &snapshot.config.server.trusted_proxies,
        );
        client.listener = peer.listener;
        client.has_tls = peer.tls.is_some();
        Context {
            request: Arc::new(Request::of(head, client.ip, snapshot)),
            request_id: client.request_id.clone().unwrap_or_else(new_request_id),
            client,
            close: false,
            route: None,
            headers: None,
            identity: None,
            own_query: None,
            browser: Browser::of_server(&snapshot.config),
            passport: Passport::default(),
            upstream: None,
            backend: None,
            attempts: Attempts::new(),
            queued: Duration::ZERO,
            bytes_in: 0,
            peer: peer.clone(),
            started: Instant::now(),
            flight: None,
            // Until something better is known: that is what a panic leaves behind.
            outcome: Outcome {
                status: Cause::Internal.status(),
                cause: Some(Cause::Internal),
                bytes_out: 0,
                first_byte: None,
            },
            writes_access: snapshot.config.log.access,
        }
    }

    /// Counts the exchange as in flight until the context is dropped.
    pub(super) fn enter(&mut self, drain: &Drain) {
        let label: Label = Arc::clone(&self.request) as Label;
        self.flight = Some(drain.enter(label, self.started));
    }

    /// When the exchange was taken.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// How long it has been here.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn hop(&self) -> Hop<'_> {
        Hop {
            peer: self.peer.ip(),
            client: &self.client,
            local_port: self.peer.local.port(),
            request_id: &self.request_id,
        }
    }

    /// The query for backends.
    pub(super) fn query<'a>(&'a self, request: &'a RequestHead) -> &'a str {
        let own = self.own_query.as_deref();
        own.unwrap_or_else(|| request.target.query())
    }

    /// What the route changes in heads, with what is known by now.
    pub(super) fn change<'a>(&'a self, request: &'a RequestHead) -> Option<Change<'a>> {
        let name = |name: &'a Option<Arc<str>>| name.as_deref().unwrap_or_default();
        let identity = self.identity.as_deref();
        Some(Change {
            changes: self.headers.as_deref()?,
            values: Values {
                request_id: &self.request_id,
                route: name(&self.route),
                upstream: name(&self.upstream),
                backend: name(&self.backend),
                query: self.query(request),
                user: identity.map_or("", |identity| &identity.name),
                claims: identity.map_or(&[], |identity| &identity.claims),
                ..Values::of(request, &self.client)
            },
        })
    }

    /// Adds to an answer what every answer gets, `X-Backend-Server` when there is something to show, what browsers are told, and
    /// what the route wants.
    pub(super) fn decorate(&self, request: &RequestHead, fields: &mut Fields, shown: Option<&str>) {
        self.browser.protect(request, &self.client, fields);
        self.decorate_switch(request, fields, shown);
        self.browser.share(request, fields);
    }

    /// The same for an answer that ends HTTP on its connection: what is for documents is not for that.
    pub(super) fn decorate_switch(
        &self,
        request: &RequestHead,
        fields: &mut Fields,
        shown: Option<&str>,
    ) {
        respond::decorate(fields, &self.request_id, shown);
        self.passport.show(fields);
        if let Some(change) = self.change(request) {
            respond::change(fields, &change);
        }
    }

    /// Does not count it any more: it is answered by us, soon.
    pub(super) fn leave(&mut self) {
        self.flight = None;
    }

    /// Notes how the exchange ended. `cause`: why the answer is ours; a break wins over it.
    pub(super) fn finish(&mut self, status: u16, cause: Option<Cause>, end: &End) {
        self.outcome = Outcome {
            status,
            cause,
            bytes_out: end.bytes,
            first_byte: end
                .first_byte
                .map(|at| at.saturating_duration_since(self.started)),
        };
        match end.result {
            Ok(()) => (),
            Err(Break::Client(_)) => self.abandoned(),
            Err(Break::Backend(_)) => self.outcome.cause = Some(Cause::ResponseCut),
        }
    }

    /// Notes that nobody is there any more to get an answer.
    pub(super) fn abandoned(&mut self) {
        self.outcome.status = Cause::ClientGone.status();
        self.outcome.cause = Some(Cause::ClientGone);
    }

    fn log_attempts(&self) {
        let id = &self.request_id;
        for (number, attempt) in (1..).zip(&self.attempts) {
            if attempt.is_overtaken {
                log::debug!(
                    "attempt {number} at backend {} was not waited for any longer after {} ms: a hedge, another one answered first (id={id})",
                    attempt.backend,
                    attempt.duration.as_millis()
                );
            }
            let Some(cause) = attempt.cause.filter(|_| !attempt.is_clients_fault) else {
                continue;
            };
            let again = if number < self.attempts.len() {
                ", tried again"
            } else {
                ""
            };
            let reason = attempt.reason.as_deref();
            let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
            let connection = if attempt.is_reused { "idle" } else { "new" };
            log::warn!(
                "attempt {number} at backend {} failed after {} ms over {connection} connection: {cause}{reason}{again} (id={id})",
                attempt.backend,
                attempt.duration.as_millis(),
            );
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.log_attempts();
        if !self.writes_access {
            return;
        }
        access::record(&AccessRecord {
            request_id: &self.request_id,
            client_ip: self.client.ip,
            method: self.request.method.as_str(),
            host: self.request.host(),
            target: self.request.target(),
            status: self.outcome.status,
            cause: self.outcome.cause.map(Cause::code),
            bytes_in: self.bytes_in,
            bytes_out: self.outcome.bytes_out,
            route: self.route.as_deref(),
            upstream: self.upstream.as_deref(),
            backend: self.backend.as_deref(),
            attempts: u32::try_from(self.attempts.len()).unwrap_or(u32::MAX),
            duration: self.started.elapsed(),
            first_byte: self.outcome.first_byte,
            queued: self.queued,
            user_agent: self.request.user_agent.as_deref(),
            tls: self.peer.tls.as_deref().map(|tls| tls.version),
            user: self.identity.as_deref().map(|identity| &*identity.name),
        });
    }
}

/// 26 characters: 48 bits of time, so that ids sort by it, and 80 random bits, in Crockford's base 32.
fn new_request_id() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let time = u128::from(unix_millis(SystemTime::now()) & 0xffff_ffff_ffff);
    let random = rand::random::<u128>() & ((1 << 80) - 1);
    let number = (time << 80) | random;
    let mut id = String::with_capacity(26);
    for place in (0..26).rev() {
        let digit = usize::try_from((number >> (place * 5)) & 31).unwrap_or_default();
        id.extend(ALPHABET.get(digit).copied().map(char::from));
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_sorted_by_time_and_harmless() {
        let first = new_request_id();
        let second = new_request_id();
        assert_eq!(first.len(), 26);
        assert_ne!(first, second);
        assert_eq!(first[..6], second[..6]);
        assert!(first.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}
