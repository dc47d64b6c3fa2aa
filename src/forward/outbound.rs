//! The request as a backend gets it: a new head, the incoming one stays as it came.
//!
//! Always HTTP/1.1, with our own framing and forwarding fields. `Connection` is never sent: the connection is ours.

use http::Method;

use crate::message::fields::Fields;
use crate::message::forwarded::{self, Hop, OWNED};
use crate::message::framing::Framing;
use crate::message::head::RequestHead;

/// A request toward a backend, but for the host of a request that named none.
#[derive(Debug)]
pub struct Outbound {
    method: Method,
    framing: Framing,
    is_idempotent: bool,
    line: String,
    host: Option<String>,
    fields: Fields,
}

impl Outbound {
    /// The request that `head` asks for, with `path` in place of its path.
    pub fn prepare(head: &RequestHead, path: &str, hop: Hop<'_>) -> Outbound {
        let mut fields = Fields::new();
        for (name, value) in head.fields.end_to_end() {
            let is_ours = name.eq_ignore_ascii_case("host")
                || OWNED.iter().any(|own| is_same_variable(name, own));
            if !is_ours {
                fields.append(name, value);
            }
        }
        forwarded::write_fields(head, hop, &mut fields);
        match framing(head) {
            Framing::None => (),
            Framing::Length(length) => fields.append("Content-Length", length.to_string()),
            Framing::Chunked => fields.append("Transfer-Encoding", "chunked"),
        }
        let host = Some(head.host())
            .filter(|host| !host.is_empty())
            .map(str::to_owned);
        Outbound {
            method: head.method.clone(),
            framing: framing(head),
            is_idempotent: head.is_idempotent(),
            line: format!("{} {path}{} HTTP/1.1\r\n", head.method, head.target.query()),
            host,
            fields,
        }
    }

    /// The bytes of the head. `authority` stands in for a missing host.
    pub(super) fn render(&self, authority: &str) -> Vec<u8> {
        let host = self.host.as_deref().unwrap_or(authority);
        let mut bytes = Vec::with_capacity(self.line.len() + host.len() + self.fields.size() + 16);
        bytes.extend_from_slice(self.line.as_bytes());
        bytes.extend_from_slice(b"Host: ");
        bytes.extend_from_slice(host.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        for (name, value) in self.fields.iter() {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
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
}

/// Whether a CGI-like backend would take both names for the same variable: it turns `-` into `_`.
fn is_same_variable(name: &str, own: &str) -> bool {
    let fold = |byte: u8| {
        if byte == b'_' {
            b'-'
        } else {
            byte.to_ascii_lowercase()
        }
    };
    name.bytes().map(fold).eq(own.bytes().map(fold))
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
    use crate::message::forwarded::Client;
    use crate::message::head::Version;
    use crate::message::target::Target;

    fn render(method: Method, target: &str, list: &[(&str, &str)], framing: Framing) -> String {
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
        let bytes = Outbound::prepare(&head, &path, hop).render("backend:1");
        String::from_utf8(bytes).unwrap()
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
}
