//! Whether the claims of a token that is known to be signed hold here and now (RFC 7519 section 4.1).
//!
//! Knows nothing of signatures and requests. The time is a parameter.

use std::time::Duration;

use crate::config::model::{ClaimValue, Expiry, Jwt, RequiredClaim};
use crate::jose::json::{Json, Members};

use super::fault::Fault;

/// Times later than the year 9999 are mistakes: milliseconds, for one.
const LATEST: u64 = 253_402_300_799;

/// Judges `claims` at `now`, the time since 1970. Tells until when they hold.
///
/// # Errors
/// The first thing that does not hold.
pub(super) fn judge(
    claims: &Members,
    rules: &Jwt,
    now: Duration,
) -> Result<Option<Duration>, Fault> {
    let until = times(claims, rules, now)?;
    issuer(claims, rules)?;
    audience(claims, rules)?;
    let is_text = |claim| claims.get(claim).is_none_or(|value| value.text().is_some());
    if !is_text("sub") {
        return Err(Fault::Absurd("its sub is no text"));
    }
    if rules.require.iter().all(|wanted| has(claims, wanted)) {
        Ok(until)
    } else {
        Err(Fault::Lacks)
    }
}

fn times(claims: &Members, rules: &Jwt, now: Duration) -> Result<Option<Duration>, Fault> {
    let leeway = rules.leeway;
    let expires = date(claims, "exp", "its exp is no time")?;
    let until = expires.map(|expires| expires.saturating_add(leeway));
    match until {
        Some(until) if now >= until => return Err(Fault::Expired),
        None if rules.expiry == Expiry::Required => {
            return Err(Fault::Missing("it never expires (no exp)"));
        }
        _ => (),
    }
    let begins = date(claims, "nbf", "its nbf is no time")?;
    let issued = date(claims, "iat", "its iat is no time")?;
    let is_later = |time: Option<Duration>| time.is_some_and(|time| time > now + leeway);
    if is_later(begins) || is_later(issued) {
        return Err(Fault::NotYet);
    }
    Ok(until)
}

/// A NumericDate: seconds since 1970, with or without a fraction.
fn date(claims: &Members, name: &str, absurd: &'static str) -> Result<Option<Duration>, Fault> {
    let number = match claims.get(name) {
        None => return Ok(None),
        Some(Json::Number(number)) => number,
        Some(_) => return Err(Fault::Absurd(absurd)),
    };
    let whole = number.as_u64().map(Duration::from_secs);
    let fraction = || Duration::try_from_secs_f64(number.as_f64()?).ok();
    match whole.or_else(fraction) {
        Some(time) if time <= Duration::from_secs(LATEST) => Ok(Some(time)),
        _ => Err(Fault::Absurd(absurd)),
    }
}

fn issuer(claims: &Members, rules: &Jwt) -> Result<(), Fault> {
    if rules.issuers.is_empty() {
        return Ok(());
    }
    let issuer = claims.get("iss").and_then(Json::text);
    let is_known = issuer.is_some_and(|issuer| rules.issuers.iter().any(|known| known == issuer));
    if is_known { Ok(()) } else { Err(Fault::Issuer) }
}

/// A token that says for whom it is, is for nobody else (RFC 7519 section 4.1.3): also where no audience is configured.
fn audience(claims: &Members, rules: &Jwt) -> Result<(), Fault> {
    let Some(wanted) = &rules.audiences else {
        return Ok(());
    };
    let is_ours = |value: &Json| {
        let name = value.text();
        name.is_some_and(|name| wanted.iter().any(|known| known == name))
    };
    let is_for_us = match claims.get("aud") {
        None => wanted.is_empty(),
        Some(Json::List(names)) => names.iter().any(is_ours),
        Some(name) => is_ours(name),
    };
    if is_for_us {
        Ok(())
    } else {
        Err(Fault::Audience)
    }
}

/// The claim of this name, or at this JSON pointer (RFC 6901) if it starts with `/`.
pub(super) fn find<'a>(claims: &'a Members, name: &str) -> Option<&'a Json> {
    let Some(pointer) = name.strip_prefix('/') else {
        return claims.get(name);
    };
    let mut steps = pointer
        .split('/')
        .map(|step| step.replace("~1", "/").replace("~0", "~"));
    let first = claims.get(&steps.next()?)?;
    steps.try_fold(first, |value, step| match value {
        Json::Object(members) => members.get(&step),
        _ => None,
    })
}

/// Whether a claim has one of the values that are wanted, or a list with one of them in it.
fn has(claims: &Members, wanted: &RequiredClaim) -> bool {
    let is_wanted = |value: &Json| wanted.values.iter().any(|wanted| is(value, wanted));
    match find(claims, &wanted.claim) {
        Some(Json::List(values)) => values.iter().any(is_wanted),
        // Words with blanks between them (RFC 8693 section 4.2).
        Some(Json::Text(scopes)) if matches!(&*wanted.claim, "scope" | "scp") => {
            scopes.split(' ').any(|scope| {
                wanted
                    .values
                    .iter()
                    .any(|wanted| *wanted == ClaimValue::Text(scope.into()))
            })
        }
        Some(value) => is_wanted(value),
        None => false,
    }
}

fn is(value: &Json, wanted: &ClaimValue) -> bool {
    match (value, wanted) {
        (Json::Text(text), ClaimValue::Text(wanted)) => text == wanted,
        (Json::Bool(value), ClaimValue::Bool(wanted)) => value == wanted,
        (Json::Number(number), ClaimValue::Integer(wanted)) => number.as_i64() == Some(*wanted),
        _ => false,
    }
}
