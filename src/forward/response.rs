//! The backend's response head as it came, judged and turned into an answer's head.
//!
//! ureq loses the reason phrase, the spelling and the order; it gets a short head, with what it needs to find the end of the
//! body. What it would have to guess about that is refused here. Pure.

use std::mem::MaybeUninit;
use std::time::Duration;

use http::{Method, StatusCode};
use httparse::{Header, Status};

use crate::message::fields::{Fields, is_hop_by_hop};
use crate::message::framing::parse_length;
use crate::message::head::{BodyLength, ResponseHead};

/// Largest response head, in bytes.
pub(super) const MAX_RESPONSE_HEAD: usize = 64 * 1024;
/// Most fields in a response head.
const MAX_FIELDS: usize = 128;
/// The fields that ureq gets, as they came.
const FRAMING: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// A response head.
#[derive(Debug)]
pub(super) struct RawHead {
    status: StatusCode,
    /// Empty when it is the standard phrase.
    reason: String,
    is_http10: bool,
    /// What travels on. With 101, `Upgrade` is among them.
    fields: Fields,
    /// Those of [`FRAMING`].
    framing: Fields,
    keep_alive: Option<Duration>,
}

/// Why a response head is not passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unacceptable;

impl RawHead {
    /// Parses the head that `bytes` begin with, and says how long it is. `Ok(None)`: it is not whole.
    ///
    /// # Errors
    /// When it is no response head, or has too many fields.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(RawHead, usize)>, Unacceptable> {
        let mut slots = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut response, bytes, &mut slots)
            .map_err(|_| Unacceptable)?;
        let Status::Complete(length) = parsed else {
            return Ok(None);
        };
        let status = response
            .code
            .and_then(|code| StatusCode::from_u16(code).ok())
            .ok_or(Unacceptable)?;
        let reason = response
            .reason
            .filter(|reason| status.canonical_reason() != Some(reason))
            .unwrap_or_default();
        let mut head = RawHead {
            status,
            reason: reason.to_owned(),
            is_http10: response.version == Some(0),
            fields: Fields::with_capacity(response.headers.len(), length),
            framing: Fields::with_capacity(FRAMING.len(), 128),
            keep_alive: None,
        };
        head.sort(response.headers);
        Ok(Some((head, length)))
    }

    /// Which fields travel on, and which say something about the connection.
    fn sort(&mut self, headers: &[Header<'_>]) {
        let is_switch = self.status == StatusCode::SWITCHING_PROTOCOLS;
        for header in headers {
            let is = |name| header.name.eq_ignore_ascii_case(name);
            let travels =
                || !is_hop_by_hop(header.name) && !is_named_by_connection(header.name, headers);
            if FRAMING.iter().any(|name| is(name)) {
                self.framing.append(header.name, header.value);
            } else if is("keep-alive") {
                self.keep_alive = self.keep_alive.or_else(|| keep_alive(header.value));
            } else if is_switch && is("upgrade") || travels() {
                self.fields.append(header.name, header.value);
            }
        }
    }

    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// 1xx, but 101.
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// Whether a transfer coding is announced; [`RawHead::into_answer`] accepts one only.
    pub(super) fn is_chunked(&self) -> bool {
        self.framing.contains("transfer-encoding")
    }

    /// Whether the backend says that it closes the connection.
    pub(super) fn closes(&self) -> bool {
        self.framing
            .members("connection")
            .any(|member| member.eq_ignore_ascii_case(b"close"))
    }

    /// How long the backend says that it keeps the connection (`Keep-Alive: timeout=N`).
    pub(super) fn keep_alive(&self) -> Option<Duration> {
        self.keep_alive
    }

    /// Whether `rest`, which came with the head, is enough of a body that reading it does not block.
    pub(super) fn is_begun_by(&self, rest: &[u8]) -> bool {
        if !self.is_chunked() {
            return !rest.is_empty();
        }
        let Some(line) = rest.iter().position(|byte| *byte == b'\n') else {
            return false;
        };
        if rest.first() == Some(&b'0') {
            rest.ends_with(b"\r\n\r\n")
        } else {
            rest.len() > line + 1
        }
    }

    /// Whether no more than `missing` bytes of a body are still to come behind `rest`, as far as can be told.
    pub(super) fn is_ended_by(&self, rest: &[u8], missing: u64) -> bool {
        if self.is_chunked() {
            return rest.ends_with(b"0\r\n\r\n");
        }
        let length = self.framing.get("content-length").and_then(parse_length);
        let is_bodiless = matches!(self.status.as_u16(), 204 | 304);
        is_bodiless || length.is_some_and(|length| length <= missing + rest.len() as u64)
    }

    /// Writes what ureq has to know: the status, and what decides about the end of the body and of the connection.
    pub(super) fn write_short(&self, out: &mut Vec<u8>) {
        let version: &[u8] = if self.is_http10 {
            b"HTTP/1.0 "
        } else {
            b"HTTP/1.1 "
        };
        out.extend_from_slice(version);
        out.extend_from_slice(self.status.as_str().as_bytes());
        out.extend_from_slice(b" \r\n");
        // There is no body after 101, whatever it says.
        let fields = Some(&self.framing).filter(|_| self.status != StatusCode::SWITCHING_PROTOCOLS);
        for (name, value) in fields.into_iter().flat_map(Fields::iter) {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The head and length of the answer to a request with `method`. The fields of a 101 have the backend's `Upgrade` but no
    /// `Connection`: that is for the one who writes the head.
    ///
    /// # Errors
    /// For what would have to be guessed: a 101 that was not requested (`is_upgrade`) or does not say to what, a transfer
    /// coding other than one `chunked`, one in HTTP/1.0.
    pub(super) fn into_answer(
        self,
        method: &Method,
        is_upgrade: bool,
    ) -> Result<(ResponseHead, BodyLength), Unacceptable> {
        let is_switch = self.status == StatusCode::SWITCHING_PROTOCOLS;
        let may_switch = is_upgrade && !self.is_http10 && self.fields.contains("upgrade");
        if is_switch && !may_switch {
            return Err(Unacceptable);
        }
        let mut codings = self.framing.members("transfer-encoding");
        let is_chunked = match (codings.next(), codings.next()) {
            (None, _) => false,
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") && !self.is_http10 => {
                true
            }
            _ => return Err(Unacceptable),
        };
        let length = self
            .framing
            .get("content-length")
            .and_then(parse_length)
            .filter(|_| !is_chunked);
        let mut head = ResponseHead::new(self.status);
        head.reason = self.reason;
        head.fields = self.fields;
        if head.is_bodiless(method) {
            // 204 and 101 must not announce a length (RFC 9110 section 8.6); HEAD and 304 tell that of the other answer.
            let may_announce = !is_switch && self.status != StatusCode::NO_CONTENT;
            head.announced = length.filter(|_| may_announce);
            return Ok((head, BodyLength::Empty));
        }
        Ok((head, length.map_or(BodyLength::Unknown, BodyLength::Known)))
    }
}

/// `timeout=N` among the members of a `Keep-Alive` field.
fn keep_alive(value: &[u8]) -> Option<Duration> {
    value.split(|byte| *byte == b',').find_map(|member| {
        let seconds = member.trim_ascii().strip_prefix(b"timeout=")?;
        parse_length(seconds).map(Duration::from_secs)
    })
}

fn is_named_by_connection(name: &str, headers: &[Header<'_>]) -> bool {
    headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("connection"))
        .flat_map(|header| header.value.split(|byte| *byte == b','))
        .any(|member| member.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> RawHead {
        let text = head.replace('\n', "\r\n");
        let (head, length) = RawHead::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(length, text.len());
        head
    }

    fn answer(head: &str, method: &Method) -> Result<(ResponseHead, BodyLength), Unacceptable> {
        parse(head).into_answer(method, false)
    }

    #[test]
    fn reason_order_and_spelling_stay() {
        let (head, length) =
            answer("HTTP/1.1 299 Fine\nX-B: 1\nx-a: 2\nConnection: close, x-c\nX-C: 3\nContent-Length: 5\n\n", &Method::GET)
                .unwrap();
        assert_eq!(head.reason(), "Fine");
        let names: Vec<&str> = head.fields.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["X-B", "x-a"]);
        assert_eq!(length, BodyLength::Known(5));
    }

    #[test]
    fn lengths() {
        let length = |head: &str, method| {
            answer(head, method).map(|(head, length)| (length, head.announced))
        };
        assert_eq!(
            length("HTTP/1.1 200 OK\n\n", &Method::GET),
            Ok((BodyLength::Unknown, None))
        );
        assert_eq!(
            length(
                "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Length: 5\n\n",
                &Method::GET
            ),
            Ok((BodyLength::Unknown, None))
        );
        assert_eq!(
            length("HTTP/1.1 200 OK\nContent-Length: 5\n\n", &Method::HEAD),
            Ok((BodyLength::Empty, Some(5)))
        );
        assert_eq!(
            length("HTTP/1.1 204 No\nContent-Length: 5\n\n", &Method::GET),
            Ok((BodyLength::Empty, None))
        );
        assert_eq!(
            length("HTTP/1.1 304 Not\nContent-Length: 5\n\n", &Method::GET),
            Ok((BodyLength::Empty, Some(5)))
        );
    }

    #[test]
    fn what_would_be_guessing_is_refused() {
        for head in [
            "HTTP/1.1 101 Switching\nUpgrade: x\n\n",
            "HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n",
            "HTTP/1.1 200 OK\nTransfer-Encoding: gzip\n\n",
            "HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n",
        ] {
            assert_eq!(
                answer(head, &Method::GET).err(),
                Some(Unacceptable),
                "{head}"
            );
        }
    }

    #[test]
    fn keep_alive_is_read() {
        let timeout = |head: &str| parse(head).keep_alive();
        assert_eq!(
            timeout("HTTP/1.1 200 OK\nKeep-Alive: max=9, timeout=5\n\n"),
            Some(Duration::from_secs(5))
        );
        assert_eq!(timeout("HTTP/1.1 200 OK\nKeep-Alive: max=9\n\n"), None);
    }

    #[test]
    fn half_a_head_is_waited_for_and_nonsense_is_not() {
        assert!(
            RawHead::parse(b"HTTP/1.1 200 OK\r\nA: b\r\n")
                .unwrap()
                .is_none()
        );
        for nonsense in [
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 099 No\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA b\r\n\r\n",
        ] {
            assert!(RawHead::parse(nonsense.as_bytes()).is_err(), "{nonsense}");
        }
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "A: b\r\n".repeat(MAX_FIELDS + 1)
        );
        assert!(RawHead::parse(many.as_bytes()).is_err());
    }

    #[test]
    fn ureq_gets_what_frames_the_body_and_nothing_else() {
        let mut short = Vec::new();
        parse("HTTP/1.0 299 Fine\nX: 1\ncontent-LENGTH: 5\nConnection: keep-alive\nContent-Length: 6\n\n")
            .write_short(&mut short);
        assert_eq!(
            String::from_utf8(short).unwrap(),
            "HTTP/1.0 299 \r\ncontent-LENGTH: 5\r\nConnection: keep-alive\r\nContent-Length: 6\r\n\r\n"
        );
        let mut short = Vec::new();
        parse("HTTP/1.1 101 Go\nContent-Length: 5\nUpgrade: x\n\n").write_short(&mut short);
        assert_eq!(short, b"HTTP/1.1 101 \r\n\r\n");
    }

    #[test]
    fn a_requested_switch_keeps_what_the_backend_says() {
        let text = "HTTP/1.1 101 Switching Protocols\nConnection: upgrade, x-hop\nX-Hop: 1\nUpgrade: websocket\n\
             Content-Length: 9\nSec-WebSocket-Accept: abc=\nSec-WebSocket-Protocol: chat\n\n";
        let (head, length) = parse(text).into_answer(&Method::GET, true).unwrap();
        let fields: Vec<&str> = head.fields.iter().map(|(name, _)| name).collect();
        assert_eq!(
            fields,
            ["Upgrade", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol"]
        );
        assert_eq!((length, head.announced), (BodyLength::Empty, None));
        let silent = parse("HTTP/1.1 101 Switching Protocols\n\n");
        assert_eq!(
            silent.into_answer(&Method::GET, true).err(),
            Some(Unacceptable)
        );
    }

    #[test]
    fn a_body_is_begun_when_reading_it_does_not_block() {
        let plain = parse("HTTP/1.1 200 OK\nContent-Length: 5\n\n");
        assert!(!plain.is_begun_by(b"") && plain.is_begun_by(b"h"));
        let chunked = parse("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n");
        for (rest, is_begun) in [
            ("", false),
            ("5", false),
            ("5\r\n", false),
            ("5\r\nh", true),
            ("0\r\n", false),
            ("0\r\n\r\n", true),
        ] {
            assert_eq!(chunked.is_begun_by(rest.as_bytes()), is_begun, "{rest:?}");
        }
    }
}
