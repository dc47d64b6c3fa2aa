//! tiny_http's request as a judged head. tiny_http parses leniently; nothing it let through is believed here.

use http::Method;
use tiny_http::{HTTPVersion, Request};

use crate::message::fields::Fields;
use crate::message::framing::{self, Framing};
use crate::message::head::{RequestHead, Version};
use crate::message::target::Target;

/// Why a request is answered with 400 and its connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bad(pub(super) &'static str);

/// Bodies up to this are read together with the head (tiny_http's `new_request`).
const BUFFERED: u64 = 1024;

/// Judges a request. Without `can_see_ends` a chunked body that breaks off cannot be told from a whole one.
pub(super) fn head(request: &Request, can_see_ends: bool) -> Result<RequestHead, Bad> {
    let version = match request.http_version() {
        HTTPVersion(1, 1) => Version::Http11,
        HTTPVersion(1, 0) => Version::Http10,
        _ => return Err(Bad("only HTTP/1.0 and HTTP/1.1 are spoken here")),
    };
    let method = Method::from_bytes(request.method().as_str().as_bytes())
        .map_err(|_| Bad("the method is not a token"))?;
    // Judged by `admit`: CONNECT has a target form of its own, and the answer to it is 405, not 400.
    let target = if method == Method::CONNECT {
        "/"
    } else {
        request.url()
    };
    let target = Target::parse(target).map_err(|error| Bad(error.describe()))?;
    let mut fields = Fields::new();
    for header in request.headers() {
        fields.append(header.field.as_str().as_str(), header.value.as_str());
    }
    let framing = framing::judge(version, &fields).map_err(|error| Bad(error.describe()))?;
    // With this member tiny_http hands out the bare stream: lengths we can count, chunks it would not decode.
    if framing == Framing::Chunked && is_handed_over(&fields) {
        return Err(Bad(
            "a chunked body together with an upgrade is not possible here",
        ));
    }
    if framing == Framing::Chunked && !can_see_ends {
        return Err(Bad(
            "chunked bodies cannot be taken on this system; send Content-Length",
        ));
    }
    Ok(RequestHead {
        method,
        target,
        version,
        fields,
        framing,
    })
}

/// Whether tiny_http took the request for an upgrade: it looks at the first Connection field, for a substring.
fn is_handed_over(fields: &Fields) -> bool {
    fields
        .get_str("connection")
        .is_some_and(|value| value.to_ascii_lowercase().contains("upgrade"))
}

/// Whether tiny_http has read the whole body into memory, so that reading it waits for nobody.
pub(super) fn is_buffered(head: &RequestHead) -> bool {
    head.framing
        .length()
        .is_some_and(|length| length <= BUFFERED)
        && !head.fields.contains("expect")
        && !is_handed_over(&head.fields)
}

/// Whether tiny_http will close the connection by itself after this request (its `ClientConnection::next`).
pub(super) fn closes_itself(head: &RequestHead) -> bool {
    let connection = head
        .fields
        .get_str("connection")
        .map(str::to_ascii_lowercase);
    match connection {
        Some(value) if value.contains("close") || value.contains("upgrade") => true,
        Some(value) => head.version == Version::Http10 && !value.contains("keep-alive"),
        None => head.version == Version::Http10,
    }
}
