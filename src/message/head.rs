//! Request and response heads.

use std::io::Read;

use http::{Method, StatusCode};

use super::fields::Fields;
use super::framing::Framing;
use super::target::Target;

pub use super::framing::Version;

/// Names in `Upgrade` that are never passed on; see [`RequestHead::upgrades`].
const HIDES_REQUESTS: [&[u8]; 4] = [b"h2c", b"h2", b"http", b"tls"];

/// A request head whose syntax and framing have been judged.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// Any token.
    pub method: Method,
    /// What the request line asked for.
    pub target: Target,
    /// The client's version.
    pub version: Version,
    /// As they came.
    pub fields: Fields,
    /// How the body is delimited.
    pub framing: Framing,
}

impl RequestHead {
    /// Stands in for a head that could not be read, so that its refusal is logged and answered like any other.
    pub fn unknown() -> RequestHead {
        RequestHead {
            // A token that no method is called by.
            method: Method::from_bytes(b"-").unwrap_or_default(),
            target: Target::unknown(),
            version: Version::Http11,
            fields: Fields::new(),
            framing: Framing::None,
        }
    }

    /// The host that is asked for, with port if any: the authority of an absolute-form target (RFC 9112 section 3.2.2),
    /// else the `Host` field; empty when there is neither.
    pub fn host(&self) -> &str {
        self.target
            .authority()
            .or_else(|| self.fields.get_str("host"))
            .unwrap_or_default()
    }

    /// The value of the first cookie of this name (RFC 6265 section 5.4).
    pub fn cookie(&self, name: &str) -> Option<&[u8]> {
        self.cookies(name).next()
    }

    /// The values of all cookies of this name.
    pub fn cookies<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let pairs = self
            .fields
            .all("cookie")
            .flat_map(|line| line.split(|byte| *byte == b';'));
        pairs.map(<[u8]>::trim_ascii).filter_map(move |pair| {
            let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(value)
        })
    }

    /// The origin of the page that sent it (RFC 6454 section 7), if there is one value and no more.
    pub fn origin(&self) -> Option<&str> {
        let mut origins = self.fields.all("origin");
        let origin = origins.next().filter(|_| origins.next().is_none())?;
        std::str::from_utf8(origin).ok()
    }

    /// The method that a browser asks about, where this is a CORS preflight (Fetch standard section 3.3.2).
    pub fn asked_method(&self) -> Option<&str> {
        if self.method != Method::OPTIONS || !self.fields.contains("origin") {
            return None;
        }
        self.fields.get_str("access-control-request-method")
    }

    /// Whether repeating the request does no more than doing it once (RFC 9110 section 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(
            self.method,
            Method::GET
                | Method::HEAD
                | Method::PUT
                | Method::DELETE
                | Method::OPTIONS
                | Method::TRACE
        )
    }

    /// Whether the client asks to go on with another protocol on this connection (RFC 9110 section 7.8), in a way that can be
    /// passed on: in HTTP/1.1 and without a body.
    pub fn asks_for_upgrade(&self) -> bool {
        self.version == Version::Http11
            && !self.framing.has_body()
            && self.fields.has_member("connection", "upgrade")
            && self.upgrades().next().is_some()
    }

    /// The protocols that the client would like to go on with. Without other versions of HTTP and without TLS: requests would
    /// then pass through the proxy unseen, with none of its rules applied.
    pub fn upgrades(&self) -> impl Iterator<Item = &[u8]> {
        self.fields.members("upgrade").filter(|protocol| {
            let name = protocol.split(|byte| *byte == b'/').next();
            !HIDES_REQUESTS
                .iter()
                .any(|hides| name.is_some_and(|name| name.eq_ignore_ascii_case(hides)))
        })
    }

    /// Whether the client wants the connection to end after this exchange.
    pub fn wants_close(&self) -> bool {
        self.fields.has_member("connection", "close")
            || (self.version == Version::Http10
                && !self.fields.has_member("connection", "keep-alive"))
    }
}

/// A response head, to be written by an engine with its own framing and `Connection`.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// 200 to 999.
    pub status: StatusCode,
    /// As the backend wrote it; empty: the standard phrase.
    pub reason: String,
    /// Without framing and hop-by-hop fields.
    pub fields: Fields,
    /// The length a HEAD or 304 answer announces without having a body.
    pub announced: Option<u64>,
    /// Ends the connection after this answer.
    pub close: bool,
}

impl ResponseHead {
    /// A head with this status and no fields.
    pub fn new(status: StatusCode) -> ResponseHead {
        ResponseHead {
            status,
            reason: String::new(),
            fields: Fields::new(),
            announced: None,
            close: false,
        }
    }

    /// What to write after the status code.
    pub fn reason(&self) -> &str {
        if self.reason.is_empty() {
            self.status.canonical_reason().unwrap_or_default()
        } else {
            &self.reason
        }
    }

    /// Whether an answer with this status to `method` has no body, whatever its fields say (RFC 9112 section 6.3).
    pub fn is_bodiless(&self, method: &Method) -> bool {
        *method == Method::HEAD || matches!(self.status.as_u16(), 100..=199 | 204 | 304)
    }
}

/// How the body of an answer is delimited. The engine picks the framing for the client's HTTP version and sends no
/// body where there cannot be one (HEAD, 204, 304), whatever it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// No body.
    Empty,
    /// This many bytes.
    Known(u64),
    /// Until the end: chunked for HTTP/1.1, by closing for HTTP/1.0.
    Unknown,
}

/// A whole answer: from a backend now, from a cache later; whoever sends it cannot tell.
pub struct Answer {
    /// Without framing and hop-by-hop fields.
    pub head: ResponseHead,
    /// How the body is delimited.
    pub length: BodyLength,
    /// Yields the body; an error means that it broke off.
    pub body: Box<dyn Read + Send>,
    /// The begin of the body, or its end, came together with the head: the first read does not block, so that head and first
    /// piece can go out together.
    pub is_body_ready: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrades_are_asked_for_in_one_way_only() {
        let asks = |version, framing, list: &[(&str, &str)]| {
            let mut head = RequestHead::unknown();
            (head.version, head.framing) = (version, framing);
            for (name, value) in list {
                head.fields.append(name, value);
            }
            head.asks_for_upgrade()
        };
        let good = [
            ("Connection", "keep-alive, Upgrade"),
            ("Upgrade", "websocket"),
        ];
        assert!(asks(Version::Http11, Framing::None, &good));
        assert!(asks(Version::Http11, Framing::Length(0), &good));
        assert!(!asks(Version::Http10, Framing::None, &good));
        assert!(!asks(Version::Http11, Framing::Length(1), &good));
        assert!(!asks(Version::Http11, Framing::Chunked, &good));
        for bad in [
            [("Connection", "keep-alive"), ("Upgrade", "websocket")],
            [("Connection", "upgrade"), ("Upgrade", "")],
            [
                ("Connection", "upgrade"),
                ("Upgrade", "h2c, TLS/1.0, HTTP/2.0"),
            ],
        ] {
            assert!(!asks(Version::Http11, Framing::None, &bad), "{bad:?}");
        }
        let mixed = [("Connection", "upgrade"), ("Upgrade", "h2c, websocket")];
        assert!(asks(Version::Http11, Framing::None, &mixed));
    }

    #[test]
    fn bodiless_answers() {
        let head = |code| ResponseHead::new(StatusCode::from_u16(code).unwrap());
        assert!(head(204).is_bodiless(&Method::GET));
        assert!(head(304).is_bodiless(&Method::GET));
        assert!(head(200).is_bodiless(&Method::HEAD));
        assert!(!head(200).is_bodiless(&Method::GET));
    }

    #[test]
    fn the_reason_of_the_backend_wins() {
        let mut head = ResponseHead::new(StatusCode::OK);
        assert_eq!(head.reason(), "OK");
        head.reason = "Fine".into();
        assert_eq!(head.reason(), "Fine");
    }
}
