//! Bytes to a request head: httparse for the syntax, [`crate::message::framing`] for the rules.
//!
//! Stricter than httparse where leniency lets two servers read one request differently: line ends are CRLF only. Pure.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use http::Method;
use memchr::memchr;

use crate::config::model::Limits;
use crate::error::Cause;
use crate::exchange::HeadFault;
use crate::message::fields::Fields;
use crate::message::framing::{self, Framing};
use crate::message::head::{RequestHead, Version};
use crate::message::target::{Target, TargetError};

/// Slots on the stack; requests with more fields take theirs from the heap.
const FEW: usize = 64;
/// Bytes of a request line beside its target: the longest method, blanks and version.
const LINE_ROOM: usize = 64 + 16;
/// Empty lines before a request that are skipped (RFC 9112 section 2.2 asks for at least one).
const MAX_BLANK_LINES: usize = 4;

/// What the bytes are.
#[derive(Debug)]
pub(super) enum Parsed {
    /// Not a whole head yet.
    Incomplete,
    /// A good head of `length` bytes, skipped lines included.
    Head {
        head: Box<RequestHead>,
        length: usize,
    },
    /// No good head; `head` is what could be read of it.
    Bad {
        head: Box<RequestHead>,
        fault: HeadFault,
    },
}

/// Reads the head at the begin of `input`. `scanned` remembers between calls how much of the same input was looked at.
pub(super) fn request(input: &[u8], scanned: &mut usize, limits: &Limits) -> Parsed {
    let blank = match blank_lines(input) {
        Ok(blank) => blank,
        Err(fault) => return bad(fault),
    };
    let body = input.get(blank..).unwrap_or_default();
    match end_of_head(body, scanned) {
        End::At(length) if length as u64 > limits.head => bad(too_big(body, limits)),
        End::At(length) => {
            *scanned = 0;
            let head = body.get(..length).unwrap_or_default();
            match judge(head, limits) {
                Ok(head) => Parsed::Head {
                    head,
                    length: blank + length,
                },
                Err(refused) => {
                    let (head, fault) = *refused;
                    let head = Box::new(head);
                    Parsed::Bad { head, fault }
                }
            }
        }
        End::BareLineFeed => bad(malformed("a line of the head does not end in CRLF")),
        End::Open if body.len() as u64 > limits.head || is_line_too_long(body, limits) => {
            bad(too_big(body, limits))
        }
        End::Open => Parsed::Incomplete,
    }
}

enum End {
    At(usize),
    Open,
    BareLineFeed,
}

/// Bytes of the empty lines at the begin.
fn blank_lines(input: &[u8]) -> Result<usize, HeadFault> {
    let count = input.chunks_exact(2).take_while(|pair| *pair == b"\r\n");
    match count.take(MAX_BLANK_LINES + 1).count() {
        count if count > MAX_BLANK_LINES => {
            Err(malformed("too many empty lines before the request"))
        }
        count => Ok(2 * count),
    }
}

fn end_of_head(input: &[u8], scanned: &mut usize) -> End {
    let mut from = (*scanned).min(input.len());
    while let Some(found) = memchr(b'\n', input.get(from..).unwrap_or_default()) {
        let at = from + found;
        let before = |back: usize| at.checked_sub(back).and_then(|place| input.get(place));
        if before(1) != Some(&b'\r') {
            return End::BareLineFeed;
        }
        if before(2) == Some(&b'\n') {
            return End::At(at + 1);
        }
        from = at + 1;
    }
    *scanned = input.len();
    End::Open
}

fn is_line_too_long(body: &[u8], limits: &Limits) -> bool {
    let longest = limits.target + LINE_ROOM;
    body.len() > longest && !body.iter().take(longest).any(|byte| *byte == b'\n')
}

fn too_big(body: &[u8], limits: &Limits) -> HeadFault {
    let is_method_open = !body.iter().take(LINE_ROOM).any(|byte| *byte == b' ');
    if is_method_open {
        return malformed("no method is that long");
    }
    if is_line_too_long(body, limits) {
        return HeadFault {
            cause: Cause::TargetTooLong,
            message: format!(
                "The request-target has more than {} bytes (server.limits.target).",
                limits.target
            )
            .into(),
        };
    }
    HeadFault {
        cause: Cause::HeadTooBig,
        message: format!(
            "The request head is larger than {} bytes (server.limits.head).",
            limits.head
        )
        .into(),
    }
}

fn malformed(message: impl Into<Cow<'static, str>>) -> HeadFault {
    HeadFault {
        cause: Cause::BadRequest,
        message: message.into(),
    }
}

fn bad(fault: HeadFault) -> Parsed {
    Parsed::Bad {
        head: Box::new(RequestHead::unknown()),
        fault,
    }
}

type Judged = Result<Box<RequestHead>, Box<(RequestHead, HeadFault)>>;

fn judge(bytes: &[u8], limits: &Limits) -> Judged {
    let mut request = httparse::Request::new(&mut []);
    let mut few = [const { MaybeUninit::uninit() }; FEW];
    let mut many;
    // One more than allowed, so that `admit` can tell by how much a request is over the limit where that is cheap.
    let slots = if bytes.iter().filter(|byte| **byte == b'\n').count() <= FEW {
        few.as_mut_slice()
    } else {
        many = vec![MaybeUninit::uninit(); limits.headers + 1];
        many.as_mut_slice()
    };
    let parsed = httparse::ParserConfig::default().parse_request_with_uninit_headers(
        &mut request,
        bytes,
        slots,
    );
    match parsed {
        Ok(httparse::Status::Complete(_)) => understand(&request),
        Ok(httparse::Status::Partial) => Err(Box::new((
            RequestHead::unknown(),
            malformed("the request line is empty"),
        ))),
        Err(error) => Err(Box::new((
            RequestHead::unknown(),
            fault_of(error, bytes, limits),
        ))),
    }
}

fn fault_of(error: httparse::Error, bytes: &[u8], limits: &Limits) -> HeadFault {
    use httparse::Error;
    match error {
        Error::TooManyHeaders => HeadFault {
            cause: Cause::HeadTooBig,
            message: format!(
                "The request has more than {} header fields (server.limits.headers).",
                limits.headers
            )
            .into(),
        },
        Error::Version => version_fault(bytes),
        Error::Token => malformed("the method or the request-target is malformed"),
        Error::HeaderName => malformed("a header field name is malformed, or a line is folded"),
        Error::HeaderValue => {
            malformed("a header field value has a control character or a bare line end")
        }
        Error::NewLine => malformed("a line of the head does not end in CRLF"),
        Error::Status => malformed("the request line is malformed"),
    }
}

/// Another version, if it is one at all.
fn version_fault(bytes: &[u8]) -> HeadFault {
    let line = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let numbers = version.strip_prefix(b"HTTP/").unwrap_or_default();
    let is_version = matches!(numbers, [b'0'..=b'9'] | [b'0'..=b'9', b'.', b'0'..=b'9']);
    // More words than three, and it is not the version that is wrong.
    if !is_version || line.iter().filter(|byte| **byte == b' ').count() != 2 {
        return malformed("the request line does not end in an HTTP version");
    }
    let cause = Cause::Version;
    let message = if bytes.starts_with(b"PRI * HTTP/2.0\r\n") {
        "This is an HTTP/2 connection preface, but only HTTP/1.1 and HTTP/1.0 are spoken here."
            .into()
    } else {
        Cow::Borrowed("")
    };
    HeadFault { cause, message }
}

fn understand(request: &httparse::Request<'_, '_>) -> Judged {
    let version = if request.version == Some(0) {
        Version::Http10
    } else {
        Version::Http11
    };
    let size = request
        .headers
        .iter()
        .map(|field| field.name.len() + field.value.len());
    let mut fields = Fields::with_capacity(request.headers.len() + 4, size.sum());
    for field in request.headers.iter() {
        fields.append(field.name, field.value);
    }
    let method = Method::from_bytes(request.method.unwrap_or_default().as_bytes());
    let path = request.path.unwrap_or_default();
    // Judged by `admit`: CONNECT has a target form of its own, and the answer to it is 405, not 400.
    let target = match &method {
        Ok(Method::CONNECT) => Target::parse("/"),
        _ => Target::parse(path),
    };
    let framing = framing::judge(version, &fields);
    let fault = fault_in(method.is_err(), target.as_ref().err(), framing.err());
    let head = RequestHead {
        method: method.unwrap_or_default(),
        target: target.unwrap_or_else(|_| Target::unknown()),
        version,
        fields,
        framing: framing.unwrap_or(Framing::None),
    };
    match fault {
        None => Ok(Box::new(head)),
        Some(fault) => Err(Box::new((head, fault))),
    }
}

fn fault_in(
    is_method_bad: bool,
    target: Option<&TargetError>,
    framing: Option<framing::FramingError>,
) -> Option<HeadFault> {
    if is_method_bad {
        return Some(malformed("the method is not a token"));
    }
    let target = target.map(|error| error.describe());
    let reason = target.or(framing.map(framing::FramingError::describe))?;
    Some(malformed(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_str;

    fn limits(lines: &str) -> Limits {
        let text = format!(
            "[server.limits]\n{lines}\n[[upstream]]\nname = \"a\"\nbackends = [\"http://127.0.0.1:1\"]"
        );
        load_str("test", &text).unwrap().config.server.limits
    }

    fn read(input: &[u8]) -> Parsed {
        request(input, &mut 0, &limits(""))
    }

    #[track_caller]
    fn fault(input: impl AsRef<[u8]>, limits: &Limits) -> (Cause, String) {
        match request(input.as_ref(), &mut 0, limits) {
            Parsed::Bad { fault, .. } => (fault.cause, fault.message.into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_head_ends_where_its_body_begins() {
        let input = b"\r\nPOST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nX-Name: caf\xe9\r\n\r\nabcGET";
        let Parsed::Head { head, length } = read(input) else {
            panic!("no head");
        };
        assert_eq!(&input[length..], b"abcGET");
        assert_eq!(
            (head.method.as_str(), head.target.as_str()),
            ("POST", "/a?b")
        );
        assert_eq!(
            (head.version, head.framing),
            (Version::Http11, Framing::Length(3))
        );
        assert_eq!(head.fields.get("x-name"), Some(b"caf\xe9".as_slice()));
    }

    #[test]
    fn however_it_is_cut_it_is_the_same_head() {
        let input = b"GET / HTTP/1.0\r\nHost: x\r\nAccept: y\r\n\r\n";
        let mut scanned = 0;
        for end in 0..input.len() {
            let found = request(&input[..end], &mut scanned, &limits(""));
            assert!(matches!(found, Parsed::Incomplete), "{end}: {found:?}");
        }
        let found = request(input, &mut scanned, &limits(""));
        assert!(matches!(found, Parsed::Head { length, .. } if length == input.len()));
    }

    #[test]
    fn what_servers_could_read_differently_is_malformed() {
        let limits = limits("");
        for input in [
            "GET / HTTP/1.1\nHost: x\n\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\n\r\n",
            "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / \r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1 more\r\nHost: x\r\n\r\n",
            "G(T / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
            "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        ] {
            assert_eq!(fault(input, &limits).0, Cause::BadRequest, "{input:?}");
        }
    }

    #[test]
    fn another_version_is_told_from_nonsense() {
        let limits = limits("");
        for version in ["HTTP/2.0", "HTTP/3", "HTTP/0.9"] {
            let input = format!("GET / {version}\r\nHost: x\r\n\r\n");
            assert_eq!(fault(input, &limits).0, Cause::Version, "{version}");
        }
        let (cause, message) = fault("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &limits);
        assert_eq!(cause, Cause::Version);
        assert!(message.contains("preface"), "{message}");
        let nonsense = "GET / HTTP/x.y\r\nHost: x\r\n\r\n";
        assert_eq!(fault(nonsense, &limits).0, Cause::BadRequest);
    }

    #[test]
    fn each_limit_has_its_cause_before_the_head_is_whole() {
        let limits = limits("target = \"100B\"\nhead = \"1KiB\"\nheaders = 3");
        let long = "x".repeat(1100);
        let target = format!("GET /{long}");
        assert_eq!(fault(target, &limits).0, Cause::TargetTooLong);
        let field = format!("GET / HTTP/1.1\r\nA: {long}");
        assert_eq!(fault(field, &limits).0, Cause::HeadTooBig);
        assert_eq!(fault(&long, &limits).0, Cause::BadRequest);
        let many = "A: b\r\n".repeat(70);
        let many = format!("GET / HTTP/1.1\r\n{many}\r\n");
        let (cause, message) = fault(many, &limits);
        assert_eq!(cause, Cause::HeadTooBig);
        assert!(message.contains("server.limits.headers"), "{message}");
    }
}
