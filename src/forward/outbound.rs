//! The request as a backend gets it: a new head, the incoming one stays as it came.
//!
//! Always HTTP/1.1, with our own framing and forwarding fields. `Connection` is sent for an upgrade only: else the connection
//! is ours, and what the client says about its own does not travel on.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use crate::config::model::Change;
use crate::message::forwarded::{self, Hop};
use crate::message::framing::Framing;
use crate::message::head::RequestHead;

use super::changes;

/// Bytes of a head that the fields of [`forwarded::OWNED`] and the framing take, and a bit.
const ADDED: usize = 512;

/// A request toward a backend, but for the host of a request that named none.
#[derive(Debug, Clone)]
pub struct Outbound {
    method: Method,
    framing: Framing,
    is_idempotent: bool,
    is_upgrade: bool,
    /// As it goes over the wire; without `Host` when `host_at` is given.
    head: Arc<Vec<u8>>,
    /// Where the backend's name has to go.
    host_at: Option<usize>,
    /// One attempt may take no longer, whatever the upstream's `total` says.
    limit: Option<Duration>,
}

impl Outbound {
    /// The request that `head` asks for, with `path` and `query` in place of its own. With `upgrade`, a request that
    /// [`RequestHead::asks_for_upgrade`] does so toward the backend too, over a connection of its own. `change`: what the
    /// route does to its fields.
    pub fn prepare(
        head: &RequestHead,
        (path, query): (&str, &str),
        hop: Hop<'_>,
        upgrade: bool,
        change: Option<&Change<'_>>,
    ) -> Outbound {
        let framing = framing(head);
        let is_upgrade = upgrade && head.asks_for_upgrade();
        let mut out = Vec::with_capacity(
            head.target.as_str().len() + head.fields.size() + path.len() + ADDED,
        );
        for part in [head.method.as_str(), " ", path, query, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        let host_at = write_host(head, change, &mut out);
        for (name, value) in head.fields.end_to_end() {
            let is_ours = name.eq_ignore_ascii_case("host") || forwarded::is_owned(name);
            if !is_ours && !changes::drops(change, name) {
                let value = changes::without_cookie(change, name, value);
                if let Some(value) = value {
                    write_field(&mut out, name, &value);
                }
            }
        }
        if is_upgrade {
            write_field(&mut out, "Connection", b"Upgrade");
            let protocols: Vec<&[u8]> = head.upgrades().collect();
            write_field(&mut out, "Upgrade", &protocols.join(b", ".as_slice()));
        }
        let ours = out.len();
        forwarded::write_fields(head, hop, &mut out);
        changes::write(change, ours, &mut out);
        match framing {
            Framing::None => (),
            Framing::Length(length) => {
                // Writing to memory cannot fail.
                let _ = write!(out, "Content-Length: {length}\r\n");
            }
            Framing::Chunked => write_field(&mut out, "Transfer-Encoding", b"chunked"),
        }
        out.extend_from_slice(b"\r\n");
        Outbound {
            method: head.method.clone(),
            framing,
            is_idempotent: head.is_idempotent(),
            is_upgrade,
            head: Arc::new(out),
            host_at,
            limit: None,
        }
    }

    /// The same, but no attempt takes longer than `limit`, even where the upstream allows more.
    #[must_use]
    pub fn bounded(self, limit: Duration) -> Outbound {
        Outbound {
            limit: Some(limit),
            ..self
        }
    }

    /// How long one attempt may take, of an upstream that allows `total`.
    pub(super) fn total(&self, total: Option<Duration>) -> Option<Duration> {
        match (self.limit, total) {
            (Some(limit), Some(total)) => Some(limit.min(total)),
            (limit, total) => limit.or(total),
        }
    }

    /// The bytes of the head. `authority` stands in for a missing host.
    pub(super) fn head(&self, authority: &str) -> Arc<Vec<u8>> {
        let Some((before, after)) = self.host_at.and_then(|at| self.head.split_at_checked(at))
        else {
            return Arc::clone(&self.head);
        };
        let mut head = Vec::with_capacity(self.head.len() + authority.len() + 16);
        head.extend_from_slice(before);
        write_field(&mut head, "Host", authority.as_bytes());
        head.extend_from_slice(after);
        Arc::new(head)
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// How the body is delimited toward the backend.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether it may be repeated.
    pub fn is_idempotent(&self) -> bool {
        self.is_idempotent
    }

    /// Whether it changes nothing, so that doing it twice at the same time does no harm either (RFC 9110 section 9.2.1).
    pub fn is_safe(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// Whether it asks for another protocol, so that a 101 is an answer.
    pub fn is_upgrade(&self) -> bool {
        self.is_upgrade
    }
}

/// Writes the Host; where there is none, says where the backend's name has to go.
fn write_host(head: &RequestHead, change: Option<&Change<'_>>, out: &mut Vec<u8>) -> Option<usize> {
    if let Some(host) = changes::host(change) {
        write_field(out, "Host", &host);
        return None;
    }
    match head.host() {
        "" => Some(out.len()),
        host => {
            write_field(out, "Host", host.as_bytes());
            None
        }
    }
}

/// Writes one line of a head.
pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// The incoming framing; but methods that mean something with a body say so when there is none (RFC 9110 section 8.6).
fn framing(head: &RequestHead) -> Framing {
    let expects_body = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
    match head.framing {
        Framing::None if expects_body => Framing::Length(0),
        framing => framing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::fields::Fields;
    use crate::message::forwarded::Client;
    use crate::message::head::Version;
    use crate::message::target::Target;

    fn render(method: Method, target: &str, list: &[(&str, &str)], framing: Framing) -> String {
        let outbound = prepare(method, target, list, framing, false);
        String::from_utf8(outbound.head("backend:1").to_vec()).unwrap()
    }

    fn prepare(
        method: Method,
        target: &str,
        list: &[(&str, &str)],
        framing: Framing,
        upgrade: bool,
    ) -> Outbound {
        let mut fields = Fields::new();
        for (name, value) in list {
            fields.append(name, value);
        }
        let head = RequestHead {
            method,
            target: Target::parse(target).unwrap(),
            version: Version::Http11,
            fields,
            framing,
        };
        let peer = "192.0.2.1".parse().unwrap();
        let client = Client::identify(peer, &head.fields, &[]);
        let hop = Hop {
            peer,
            client: &client,
            local_port: 80,
            request_id: "id",
        };
        let path = head.target.path().to_owned();
        Outbound::prepare(&head, (&path, head.target.query()), hop, upgrade, None)
    }

    #[test]
    fn the_head_is_ours_the_rest_theirs() {
        let head = render(
            Method::GET,
            "/a//%2e?x=\"`",
            &[
                ("Host", "h"),
                ("X-Two", "2"),
                ("x-one", "1"),
                ("Connection", "x-one, keep-alive"),
                ("Keep-Alive", "5"),
                ("TE", "trailers"),
                ("Expect", "100-continue"),
                ("Proxy", "evil"),
                ("X-Forwarded-For", "6.6.6.6"),
                ("X_Forwarded_For", "6.6.6.6"),
            ],
            Framing::None,
        );
        let expected = "GET /a//%2e?x=\"` HTTP/1.1\r\nHost: h\r\nX-Two: 2\r\nX-Forwarded-For: 192.0.2.1\r\n\
             X-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nX-Forwarded-Port: 80\r\nX-Real-IP: 192.0.2.1\r\n\
             Forwarded: for=192.0.2.1;host=\"h\";proto=http\r\nVia: 1.1 tollgate\r\nX-Request-ID: id\r\n\r\n";
        assert_eq!(head, expected);
    }

    #[test]
    fn the_shorter_limit_counts() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let free = prepare(Method::GET, "/", &[], Framing::None, false);
        assert_eq!(
            (free.total(None), free.total(seconds(5))),
            (None, seconds(5))
        );
        let bounded = free.bounded(Duration::from_secs(30));
        for (total, expected) in [(None, 30), (seconds(5), 5), (seconds(60), 30)] {
            assert_eq!(bounded.total(total), seconds(expected));
        }
    }

    #[test]
    fn bodies_are_framed_anew() {
        assert!(
            render(Method::POST, "/", &[], Framing::None).contains("\r\nContent-Length: 0\r\n")
        );
        assert!(
            render(Method::GET, "/", &[], Framing::Length(3)).contains("\r\nContent-Length: 3\r\n")
        );
        assert!(
            render(Method::PUT, "/", &[], Framing::Chunked)
                .contains("\r\nTransfer-Encoding: chunked\r\n")
        );
        assert!(!render(Method::DELETE, "/", &[], Framing::None).contains("Content-Length"));
    }

    #[test]
    fn a_request_without_host_gets_the_backends() {
        assert!(render(Method::GET, "/", &[], Framing::None).contains("\r\nHost: backend:1\r\n"));
        assert!(
            render(
                Method::GET,
                "http://abs:8/p",
                &[("Host", "x")],
                Framing::None
            )
            .contains("\r\nHost: abs:8\r\n")
        );
    }

    #[test]
    fn an_upgrade_is_passed_on_where_it_is_allowed_and_asked_for() {
        let websocket = [
            ("Host", "h"),
            ("Connection", "keep-alive, upgrade, x-hop"),
            ("X-Hop", "1"),
            ("Upgrade", "h2c, WebSocket"),
            ("upgrade", "chat/2"),
            ("Sec-WebSocket-Key", "k"),
        ];
        let text = |outbound: &Outbound| String::from_utf8(outbound.head("b").to_vec()).unwrap();
        let allowed = prepare(Method::GET, "/", &websocket, Framing::None, true);
        let head = text(&allowed);
        assert!(allowed.is_upgrade());
        assert!(
            head.starts_with(
                "GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: k\r\nConnection: Upgrade\r\nUpgrade: WebSocket, chat/2\r\n"
            ),
            "{head}"
        );
        let with_body = prepare(Method::GET, "/", &websocket, Framing::Length(3), true);
        let not_allowed = prepare(Method::GET, "/", &websocket, Framing::None, false);
        for plain in [with_body, not_allowed] {
            assert!(!plain.is_upgrade());
            let head = text(&plain).to_lowercase();
            assert!(
                !head.contains("upgrade") && !head.contains("x-hop"),
                "{head}"
            );
        }
    }
}
