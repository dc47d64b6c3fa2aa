//! Rules of a route: whether a request is like what must, or must not, come to it.
//!
//! They are compared like conditions, but for one thing: who is refused for what a request has must not get around it by another
//! spelling. So a header is also found under a name that a backend may take for the same (`X_Debug` for `X-Debug`), a cookie also
//! with blanks around its name, in quotes and percent-encoded, and a query with more parameters than are looked at counts as one
//! that has what is looked for.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::config::model::{Conditions, NamedValue, RequestRules};
use crate::message::forwarded::is_same_variable;
use crate::message::head::RequestHead;

use super::matcher::{conditions_hold, is_within};
use super::request::Request;
use super::value::is_like;

/// Why a request may not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// None of `allow_if` holds.
    NotAllowed,
    /// This entry of `deny_if`, counted from 0, holds.
    Denied(usize),
}

/// Whether `request` keeps to `rules`.
///
/// # Errors
/// The rule that it breaks.
pub fn check_rules(rules: &RequestRules, request: &Request<'_>) -> Result<(), Broken> {
    let mut denied = rules.deny_if.iter();
    if let Some(at) = denied.position(|rule| may_hold(rule, request)) {
        return Err(Broken::Denied(at));
    }
    let mut allowed = rules.allow_if.iter();
    if rules.allow_if.is_empty() || allowed.any(|rule| conditions_hold(rule, request)) {
        Ok(())
    } else {
        Err(Broken::NotAllowed)
    }
}

/// Whether all conditions hold, or whether a backend may think so.
fn may_hold(rule: &Conditions, request: &Request<'_>) -> bool {
    let head = request.head();
    let has_header = |wanted: &NamedValue| {
        let mut fields = head.fields.iter();
        fields.any(|(name, value)| {
            is_same_variable(name, &wanted.name) && is_like(&wanted.value, value)
        })
    };
    let has_cookie = |wanted: &NamedValue| may_have_cookie(head, wanted);
    let has_parameter =
        |wanted: &NamedValue| request.has_parameter(wanted) || request.has_more_parameters();
    (rule.methods.is_empty() || rule.methods.contains(&head.method))
        && is_within(&rule.client_ip, request.client_ip())
        && rule.headers.iter().all(has_header)
        && rule.query.iter().all(has_parameter)
        && rule.cookies.iter().all(has_cookie)
}

/// Whether there is a cookie that some program takes for the one that is meant.
fn may_have_cookie(head: &RequestHead, wanted: &NamedValue) -> bool {
    let lines = head.fields.all("cookie");
    let mut pairs = lines.flat_map(|line| line.split(|byte| *byte == b';'));
    pairs.any(|pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        if name != wanted.name.as_bytes() {
            return false;
        }
        let value = parts.next().unwrap_or_default();
        let quoted = value.strip_prefix(b"\"");
        let bare = quoted.and_then(|inner| inner.strip_suffix(b"\""));
        let bare = bare.unwrap_or(value);
        let decoded = Cow::from(percent_decode(bare));
        let readings = [value, bare, &decoded];
        readings
            .iter()
            .any(|reading| is_like(&wanted.value, reading))
    })
}
