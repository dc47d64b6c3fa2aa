//! The backend's response head as it came, judged and turned into an answer's head.
//!
//! ureq parses it too, for the framing; but it loses the reason phrase, the spelling and the order. Pure.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::message::fields::Fields;
use crate::message::framing::parse_length;
use crate::message::head::{BodyLength, ResponseHead};

/// ureq's own bound; a head with more has failed before it gets here.
const MAX_FIELDS: usize = 128;

/// A response head.
#[derive(Debug)]
pub(super) struct RawHead {
    status: StatusCode,
    reason: String,
    is_http10: bool,
    fields: Fields,
}

/// Why a response head is not passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unacceptable;

impl RawHead {
    /// Parses the bytes of one head.
    pub(super) fn parse(bytes: &[u8]) -> Option<RawHead> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut slots);
        response.parse(bytes).ok()?;
        let mut fields = Fields::new();
        for field in response.headers.iter() {
            fields.append(field.name, field.value);
        }
        Some(RawHead {
            status: StatusCode::from_u16(response.code?).ok()?,
            reason: response.reason.unwrap_or_default().to_owned(),
            is_http10: response.version == Some(0),
            fields,
        })
    }

    /// 1xx, but 101.
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// Whether a transfer coding is announced; [`RawHead::into_answer`] accepts one only.
    pub(super) fn is_chunked(&self) -> bool {
        self.fields.contains("transfer-encoding")
    }

    /// How long the backend says that it keeps the connection (`Keep-Alive: timeout=N`).
    pub(super) fn keep_alive(&self) -> Option<Duration> {
        self.fields.members("keep-alive").find_map(|member| {
            let seconds = member.strip_prefix(b"timeout=")?;
            parse_length(seconds).map(Duration::from_secs)
        })
    }

    /// The head and length of the answer to a request with `method`.
    ///
    /// # Errors
    /// For what would have to be guessed: an unrequested 101, a transfer coding other than one `chunked`, one in HTTP/1.0.
    pub(super) fn into_answer(
        self,
        method: &Method,
    ) -> Result<(ResponseHead, BodyLength), Unacceptable> {
        if self.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Unacceptable);
        }
        let codings: Vec<&[u8]> = self.fields.members("transfer-encoding").collect();
        let is_chunked = match codings.as_slice() {
            [] => false,
            [coding] if coding.eq_ignore_ascii_case(b"chunked") && !self.is_http10 => true,
            _ => return Err(Unacceptable),
        };
        let length = self
            .fields
            .get("content-length")
            .and_then(parse_length)
            .filter(|_| !is_chunked);
        let mut head = ResponseHead::new(self.status);
        head.reason = self.reason;
        for (name, value) in self.fields.end_to_end() {
            head.fields.append(name, value);
        }
        if head.is_bodiless(method) {
            // 204 must not announce a length (RFC 9110 section 8.6); HEAD and 304 tell that of the other answer.
            head.announced = length.filter(|_| self.status != StatusCode::NO_CONTENT);
            return Ok((head, BodyLength::Empty));
        }
        Ok((head, length.map_or(BodyLength::Unknown, BodyLength::Known)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(head: &str, method: &Method) -> Result<(ResponseHead, BodyLength), Unacceptable> {
        RawHead::parse(head.replace('\n', "\r\n").as_bytes())
            .unwrap()
            .into_answer(method)
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
        let parse = |head: &str| {
            RawHead::parse(head.replace('\n', "\r\n").as_bytes())
                .unwrap()
                .keep_alive()
        };
        assert_eq!(
            parse("HTTP/1.1 200 OK\nKeep-Alive: timeout=5, max=9\n\n"),
            Some(Duration::from_secs(5))
        );
        assert_eq!(parse("HTTP/1.1 200 OK\nKeep-Alive: max=9\n\n"), None);
    }
}
