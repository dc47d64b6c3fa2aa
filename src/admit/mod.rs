//! May the request come in: the checks that need nothing but its head. A refusal is a decision, not an error.
//!
//! Syntax and framing have been judged by the listener; who may come is in [`access`], who it is in [`auth`], how often
//! and how many in [`rate`] and [`crowd`], what a route asks in [`gate`].

pub mod access;
pub mod auth;
pub mod cors;
pub mod crowd;
pub mod gate;
pub mod rate;

use std::borrow::Cow;

use http::Method;

use crate::config::model::Limits;
use crate::error::Cause;
use crate::message::head::RequestHead;

/// Longest method. Registered ones have up to 17 bytes.
const MAX_METHOD: usize = 64;

/// A rule said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which kind of no; gives status and code.
    pub cause: Cause,
    /// For the person who reads the answer; empty: the cause's own sentence.
    pub message: String,
    /// With [`Cause::Method`]: those that are allowed; empty: those that are allowed anywhere.
    pub allow: Vec<Method>,
    /// Header fields of the answer beside the usual ones, such as challenges.
    pub fields: Vec<(Cow<'static, str>, String)>,
}

impl Refusal {
    /// A refusal with the cause's own sentence.
    pub fn new(cause: Cause) -> Refusal {
        Refusal::with(cause, String::new())
    }

    /// A refusal that says more.
    pub fn with(cause: Cause, message: impl Into<String>) -> Refusal {
        Refusal {
            cause,
            message: message.into(),
            allow: Vec::new(),
            fields: Vec::new(),
        }
    }
}

/// The refusal of a method for which there is no route, with those for which there is one.
pub fn no_such_method(allow: Vec<Method>) -> Refusal {
    Refusal {
        allow,
        ..Refusal::new(Cause::Method)
    }
}

/// Checks what holds for every request.
///
/// # Errors
/// The first check that failed.
pub fn check(limits: &Limits, head: &RequestHead) -> Result<(), Refusal> {
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(Refusal::with(
            Cause::Method,
            format!("{} is not available through this proxy.", head.method),
        ));
    }
    if head.method.as_str().len() > MAX_METHOD {
        return Err(Refusal::with(Cause::BadRequest, "No method is that long."));
    }
    let is_asterisk_wrong = head.target.is_asterisk() && head.method != Method::OPTIONS;
    if is_asterisk_wrong {
        return Err(Refusal::with(
            Cause::BadRequest,
            "\"*\" is a request-target for OPTIONS only.",
        ));
    }
    let target = head.target.as_str().len();
    if target > limits.target {
        let message = format!(
            "The request-target has {target} bytes, the limit is {} (server.limits.target).",
            limits.target
        );
        return Err(Refusal::with(Cause::TargetTooLong, message));
    }
    let (size, count) = (head.fields.size() + target, head.fields.len());
    if size as u64 > limits.head {
        let message = format!(
            "The request head is larger than {} bytes (server.limits.head).",
            limits.head
        );
        return Err(Refusal::with(Cause::HeadTooBig, message));
    }
    if count > limits.headers {
        let message = format!(
            "The request has {count} header fields, the limit is {} (server.limits.headers).",
            limits.headers
        );
        return Err(Refusal::with(Cause::HeadTooBig, message));
    }
    Ok(())
}

/// Checks the announced body length against `limit`; what comes without a length is counted while it streams.
///
/// # Errors
/// [`Cause::BodyTooBig`].
pub fn check_body(head: &RequestHead, limit: u64) -> Result<(), Refusal> {
    match head.framing.length() {
        Some(length) if length > limit => Err(body_too_big(limit)),
        _ => Ok(()),
    }
}

/// The refusal of a body over `limit`.
pub fn body_too_big(limit: u64) -> Refusal {
    let message = format!(
        "The request body is larger than {limit} bytes (server.limits.body or the route's max_body)."
    );
    Refusal::with(Cause::BodyTooBig, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::fields::Fields;
    use crate::message::framing::Framing;
    use crate::message::head::Version;
    use crate::message::target::Target;

    const LIMITS: Limits = Limits {
        head: 1000,
        headers: 3,
        target: 20,
        body: 10,
        connections: 1,
        connections_per_client: 1,
        requests_per_connection: 0,
        tunnels: 1,
        requests_per_client: None,
    };

    fn head(method: Method, target: &str, fields: usize, framing: Framing) -> RequestHead {
        let mut list = Fields::new();
        for _ in 0..fields {
            list.append("a", "b");
        }
        RequestHead {
            method,
            target: Target::parse(target).unwrap(),
            version: Version::Http11,
            fields: list,
            framing,
        }
    }

    #[test]
    fn every_limit_has_its_cause() {
        let cause = |head: RequestHead| check(&LIMITS, &head).err().map(|refusal| refusal.cause);
        assert_eq!(cause(head(Method::GET, "/", 3, Framing::None)), None);
        assert_eq!(
            cause(head(Method::CONNECT, "/", 0, Framing::None)),
            Some(Cause::Method)
        );
        assert_eq!(
            cause(head(Method::GET, "*", 0, Framing::None)),
            Some(Cause::BadRequest)
        );
        assert_eq!(cause(head(Method::OPTIONS, "*", 0, Framing::None)), None);
        assert_eq!(
            cause(head(Method::GET, &"/".repeat(21), 0, Framing::None)),
            Some(Cause::TargetTooLong)
        );
        assert_eq!(
            cause(head(Method::GET, "/", 4, Framing::None)),
            Some(Cause::HeadTooBig)
        );
        let mut big = head(Method::GET, "/", 0, Framing::None);
        big.fields.append("a", "b".repeat(1000));
        assert_eq!(cause(big), Some(Cause::HeadTooBig));
    }

    #[test]
    fn announced_bodies_are_judged_before_a_byte_is_read() {
        let refused = |framing| check_body(&head(Method::POST, "/", 0, framing), 10).is_err();
        assert!(!refused(Framing::Length(10)));
        assert!(refused(Framing::Length(11)));
        assert!(!refused(Framing::Chunked));
    }
}
