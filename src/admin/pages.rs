//! Which page a request asks for, and who may have it.

use std::io::Read;
use std::net::IpAddr;
use std::time::Instant;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::drain::Phase;
use crate::exchange::Exchange;
use crate::message::head::{RequestHead, ResponseHead};
use crate::message::target::canonical_host;
use crate::upstream::report;

use super::control::Reload;
use super::{Admin, LONGEST_BODY};

const PAGES: &[&str] = &[
    "/livez",
    "/readyz",
    "/healthz",
    "/_proxy/health",
    "/_proxy/health_check",
    "/_proxy/status",
    "/_proxy/upstreams",
    "/_proxy/upstreams/{name}",
    "/_proxy/upstreams/{name}/backends/{id}",
    "/_proxy/reload",
];

/// Bytes of a token that nobody finds by trying, however fast.
const UNGUESSABLE: usize = 16;

/// Status and body of an answer.
pub(super) type Page = (StatusCode, Value);

/// What is said where there is nothing but a message.
pub(super) fn message(status: StatusCode, text: impl Into<String>) -> Page {
    let text: String = text.into();
    (
        status,
        json!({ "message": text, "status": status.as_u16() }),
    )
}

/// The answer to a method that a page does not know.
pub(super) fn method(head: &mut ResponseHead, allowed: &'static str) -> Page {
    head.fields.append("Allow", allowed);
    let text = format!("Only {allowed} can be used here.");
    message(StatusCode::METHOD_NOT_ALLOWED, text)
}

impl Admin {
    /// The page that is asked for.
    pub(super) fn page(&self, exchange: &mut dyn Exchange, head: &mut ResponseHead) -> Page {
        let request = exchange.head();
        let path = request.target.path();
        let is_reading = matches!(request.method, Method::GET | Method::HEAD);
        let open = match path {
            "/livez" => Some((StatusCode::OK, json!({ "status": "ok" }))),
            "/readyz" | "/healthz" => Some(self.readiness()),
            "/_proxy/health" | "/_proxy/health_check" => Some(self.backends()),
            _ => None,
        };
        if let Some(open) = open {
            return if is_reading {
                open
            } else {
                method(head, "GET, HEAD")
            };
        }
        let is_known = path == "/_proxy/status"
            || path == "/_proxy/reload"
            || path == "/_proxy/upstreams"
            || path.starts_with("/_proxy/upstreams/");
        if !is_known {
            let body = json!({ "message": "No such page.", "status": 404, "pages": PAGES });
            return (StatusCode::NOT_FOUND, body);
        }
        if let Err(page) = self.authorize(request, exchange.peer().ip(), head) {
            return page;
        }
        if !is_reading && is_from_a_web_page(request) {
            return message(
                StatusCode::FORBIDDEN,
                "Changes are not taken from web pages.",
            );
        }
        let is_reached_by_name = self.settings.listen.ip().is_some() && !is_by_address(request);
        if self.settings.token.is_none() && is_reached_by_name {
            let text = "Without an admin token, an IP address or `localhost` is needed as host.";
            return message(StatusCode::FORBIDDEN, text);
        }
        match path {
            "/_proxy/status" if is_reading => (StatusCode::OK, self.view.render(Instant::now())),
            "/_proxy/status" => method(head, "GET, HEAD"),
            "/_proxy/reload" if request.method == Method::POST => self.reload(request),
            "/_proxy/reload" => method(head, "POST"),
            _ => self.upstreams(exchange, head),
        }
    }

    /// Ready: not shutting down, and at least one backend is usable.
    fn readiness(&self) -> Page {
        if self.view.drain.phase() > Phase::Serving {
            let body = json!({ "status": "draining" });
            return (StatusCode::SERVICE_UNAVAILABLE, body);
        }
        let (now, upstreams) = (Instant::now(), self.view.fleet.upstreams());
        if upstreams.iter().any(|upstream| upstream.can_serve(now)) {
            (StatusCode::OK, json!({ "status": "ok" }))
        } else {
            let body = json!({ "status": "no_backend" });
            (StatusCode::SERVICE_UNAVAILABLE, body)
        }
    }

    fn backends(&self) -> Page {
        let (is_healthy, body) = report::backends(&self.view.fleet.upstreams(), Instant::now());
        let status = if is_healthy {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        (status, body)
    }

    fn reload(&self, request: &RequestHead) -> Page {
        let how = match request.target.query() {
            "" => Reload::Apply,
            "?ask" => Reload::Ask,
            _ => return message(StatusCode::BAD_REQUEST, "The only query here is `?ask`."),
        };
        match self.control.reload(how) {
            Ok(changes) => (
                StatusCode::OK,
                json!({ "reloaded": how == Reload::Apply, "changes": changes }),
            ),
            Err(problems) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                json!({
                    "message": "The configuration is bad; nothing has changed.",
                    "status": 422,
                    "problems": problems,
                }),
            ),
        }
    }

    /// Whether the token is right, if there is one; to be wrong about it is possible so often only. Who names none is not wrong. A
    /// token that is too long for that to matter is taken at any time: else whoever shares an address with its owner, as all
    /// programs of a machine do, could lock the owner out.
    fn authorize(
        &self,
        request: &RequestHead,
        from: IpAddr,
        head: &mut ResponseHead,
    ) -> Result<(), Page> {
        let Some(token) = &self.settings.token else {
            return Ok(());
        };
        let credentials = request.fields.get("authorization");
        let given = credentials.and_then(|credentials| credentials.split_at_checked(7));
        let is_right = || {
            given.is_some_and(|(scheme, given)| {
                scheme.eq_ignore_ascii_case(b"bearer ") && token.matches(given.trim_ascii())
            })
        };
        if token.bytes().len() >= UNGUESSABLE && is_right() {
            return Ok(());
        }
        let now = Instant::now();
        if let (Some(pause), true) = (self.guesses.pause(from, now), credentials.is_some()) {
            let seconds = pause.as_secs() + 1;
            head.fields.append("Retry-After", seconds.to_string());
            let text = "Too many wrong tokens from this address.";
            return Err(message(StatusCode::TOO_MANY_REQUESTS, text));
        }
        if is_right() {
            return Ok(());
        }
        if credentials.is_some() {
            log::warn!("admin: a wrong token from {from}");
            self.guesses.note(from, now);
        }
        head.fields
            .append("WWW-Authenticate", "Bearer realm=\"tollgate\"");
        Err(message(StatusCode::UNAUTHORIZED, "Not authenticated"))
    }
}

/// Whether a browser sent it, for whatever page.
fn is_from_a_web_page(request: &RequestHead) -> bool {
    request.fields.contains("origin") || request.fields.contains("sec-fetch-site")
}

/// Whether its host is an address or `localhost`. A name could be anybody's that points here (DNS rebinding), and its pages
/// could read what is answered.
fn is_by_address(request: &RequestHead) -> bool {
    let host = canonical_host(request.host());
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok()
}

/// The whole body of a request, which is here already; empty when it cannot be had.
pub(super) fn body(exchange: &mut dyn Exchange) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = exchange.body().take(LONGEST_BODY).read_to_end(&mut bytes);
    bytes
}
