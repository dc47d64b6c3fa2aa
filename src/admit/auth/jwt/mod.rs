//! `jwt`: signed tokens (RFC 7519), as bearer tokens, in a field of their own, or in a cookie.
//!
//! Keys and signatures are the business of [`crate::jose`]; here it is which token came, whether its claims hold, and what of
//! them goes on to the backend. Tokens under public keys are verified on a thread of their own when they come first; HMACs, and
//! tokens that were good before, are verified at once.

mod carry;
mod claims;
mod fault;
mod seen;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::model::Jwt;
use crate::error::Cause;
use crate::jose::{self, Algorithm};

use super::super::Refusal;
use super::{Asking, Authorization, Denied, Effort, Identity, Look, Scheme, authorization};
use fault::Fault;
use seen::Seen;

const NAME: &str = "jwt";
// What clients are told (RFC 6750 section 3). Nobody can learn here which keys there are.
const UNTIMELY: &str = "The token has expired or is not valid yet";
const INVALID: &str = "The token is not valid";
const INSUFFICIENT: &str = "The token does not allow this";

/// What else takes `Authorization: Bearer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// Nothing: all that comes there has to be a signed token.
    Nothing,
    /// `bearer`: it gets what has not the form of one.
    Bearer,
}

/// The scheme.
#[derive(Debug)]
pub(super) struct Tokens {
    settings: Jwt,
    beside: Beside,
    realm: String,
    /// All keys are for HMAC, which costs less than a thread.
    is_quick: bool,
    seen: Seen,
}

/// Where a token may have come.
enum Came<'a> {
    No,
    As(&'a [u8]),
    /// There is more than one, or it has not the form of one.
    Badly,
}

impl Tokens {
    pub(super) fn new(settings: &Jwt, beside: Beside, realm: &str) -> Tokens {
        let mut keys = settings.keys.set.keys.iter();
        Tokens {
            is_quick: keys.all(|key| key.algorithm() == Algorithm::Hs256),
            settings: settings.clone(),
            beside,
            realm: realm.to_owned(),
            seen: Seen::new(),
        }
    }

    /// The token of a request, from the field or the cookie. Which of two would be meant is anybody's guess.
    fn find<'a>(&self, asking: Asking<'a>) -> Came<'a> {
        let name = self.settings.header.as_str();
        let in_field = if name.eq_ignore_ascii_case("authorization") {
            self.bearer(asking)
        } else {
            only(asking.head.fields.all(name).map(without_scheme))
        };
        let cookie = self.settings.cookie.as_ref();
        let in_cookie = cookie.map(|cookie| only(asking.head.cookies(cookie)));
        match (in_field, in_cookie) {
            (Came::No, Some(came)) => came,
            (came, None | Some(Came::No)) => came,
            _ => Came::Badly,
        }
    }

    fn bearer<'a>(&self, asking: Asking<'a>) -> Came<'a> {
        match authorization(asking.head, "Bearer") {
            Authorization::Absent => Came::No,
            Authorization::Is(token) if has_form(token) => Came::As(token),
            _ if self.beside == Beside::Bearer => Came::No,
            Authorization::Is(_) | Authorization::Ambiguous => Came::Badly,
        }
    }

    /// The whole check.
    fn check(&self, token: &[u8], now: Duration) -> Result<Arc<Identity>, Fault> {
        if let Some(identity) = self.seen.find(token, now) {
            return Ok(identity);
        }
        let rules = &self.settings;
        let claims = jose::verify(token, &rules.keys.set)?;
        let until = claims::judge(&claims, rules, now)?;
        let mut identity = Identity::new(NAME, carry::subject(&claims)?.into());
        identity.claims = carry::values(&claims, rules)?;
        let identity = Arc::new(identity);
        if let Some(until) = until {
            self.seen.keep(token, until, &identity);
        }
        Ok(identity)
    }

    /// 403: the token is good, but does not allow this (RFC 6750 section 3.1).
    fn forbidden(&self) -> Refusal {
        let realm = &self.realm;
        let challenge = format!(
            "Bearer realm=\"{realm}\", error=\"insufficient_scope\", error_description=\"{INSUFFICIENT}\""
        );
        let mut refusal = Refusal::with(Cause::Forbidden, INSUFFICIENT);
        refusal.fields.push(("WWW-Authenticate".into(), challenge));
        refusal
    }
}

impl Scheme for Tokens {
    fn name(&self) -> &'static str {
        NAME
    }

    fn look(&self, asking: Asking<'_>) -> Look {
        let token = match self.find(asking) {
            Came::No => return Look::Absent,
            Came::Badly => return Look::Bad(super::Fault::Malformed),
            Came::As(token) => token,
        };
        let now = now();
        if !self.is_quick {
            let known = self.seen.find(token, now);
            return known.map_or(Look::Later(Effort::Signature), Look::Known);
        }
        match self.check(token, now) {
            Ok(identity) => Look::Known(identity),
            // A look cannot say 403.
            Err(Fault::Lacks) => Look::Later(Effort::Signature),
            Err(fault) => Look::Bad(told(fault)),
        }
    }

    fn judge(&self, asking: Asking<'_>) -> Result<Arc<Identity>, Denied> {
        let Came::As(token) = self.find(asking) else {
            return Err(Denied::Fault(super::Fault::Malformed));
        };
        self.check(token, now()).map_err(|fault| match fault {
            Fault::Lacks => Denied::Refusal(self.forbidden()),
            fault => Denied::Fault(told(fault)),
        })
    }

    /// RFC 6750 section 3. Beside `bearer`, that has said it already where there is nothing to add.
    fn challenge(&self, realm: &str, fault: Option<super::Fault>) -> Option<String> {
        let description = match fault {
            None | Some(super::Fault::Missing) if self.beside == Beside::Bearer => return None,
            None | Some(super::Fault::Missing) => return Some(format!("Bearer realm=\"{realm}\"")),
            Some(super::Fault::Expired) => UNTIMELY,
            Some(super::Fault::Malformed | super::Fault::Wrong) => INVALID,
        };
        Some(format!(
            "Bearer realm=\"{realm}\", error=\"invalid_token\", error_description=\"{description}\""
        ))
    }
}

/// In the words of all schemes; the exact ones are for the log.
fn told(fault: Fault) -> super::Fault {
    log::debug!("a signed token is refused: {}", fault.reason());
    match fault {
        Fault::Expired | Fault::NotYet => super::Fault::Expired,
        Fault::Flawed(jose::Flaw::Malformed(_)) => super::Fault::Malformed,
        _ => super::Fault::Wrong,
    }
}

fn now() -> Duration {
    // Before 1970 no token is good.
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// Whether it is to be judged as a signed token: three parts with dots between them.
fn has_form(token: &[u8]) -> bool {
    token.iter().filter(|byte| **byte == b'.').count() == 2
}

/// In a field of its own a token may come with or without the name of the scheme.
fn without_scheme(value: &[u8]) -> &[u8] {
    match value.split_at_checked(7) {
        Some((name, token)) if name.eq_ignore_ascii_case(b"Bearer ") => token.trim_ascii(),
        _ => value,
    }
}

fn only<'a>(mut all: impl Iterator<Item = &'a [u8]>) -> Came<'a> {
    match (all.next(), all.next()) {
        (None, _) => Came::No,
        (Some(token), None) if has_form(token) => Came::As(token),
        _ => Came::Badly,
    }
}
