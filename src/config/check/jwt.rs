//! `jwt` of `[route.auth]`: which tokens are good, and what of them backends see.

use std::time::Duration;

use super::{given, headers};
use crate::config::file::{JwtFile, KeysFile, Written};
use crate::config::model::{ClaimHeader, Expiry, Jwt, JwtKeys, RequiredClaim};
use crate::config::report::{At, Report};
use crate::config::suggest;
use crate::jose::Algorithm;
use crate::message::fields::is_token;
use crate::message::forwarded::is_same_variable;

const LEEWAY: Duration = Duration::from_secs(60);
/// Clocks that differ more are a fault, and a token should not live on for long.
const LONGEST_LEEWAY: Duration = Duration::from_secs(600);
const FIELD: &str = "Authorization";
/// Most entries of one list.
const MOST: usize = 32;

/// None: it is reported what is wrong.
pub(super) fn check_jwt(file: &JwtFile, report: &Report) -> Option<Jwt> {
    let algorithms = check_algorithms(&file.algorithms, report);
    check_lengths(file, report);
    let keys = file.keys.as_ref();
    let keys = keys.and_then(|keys| check_keys(keys, &algorithms, report));
    let jwt = Jwt {
        keys: keys.unwrap_or_default(),
        issuers: texts(&file.issuer, "issuer", report),
        audiences: check_audiences(&file.audience, report),
        leeway: check_leeway(&file.leeway, report),
        expiry: if given(&file.require_expiry, true) {
            Expiry::Required
        } else {
            Expiry::Optional
        },
        require: file
            .require
            .iter()
            .filter_map(|entry| required(entry, report))
            .collect(),
        headers: check_headers(file, report),
        header: check_field(&file.header, report),
        cookie: check_cookie(&file.cookie, report),
    };
    (!jwt.keys.set.keys.is_empty()).then_some(jwt)
}

fn check_lengths(file: &JwtFile, report: &Report) {
    for (key, count) in [
        ("require", file.require.len()),
        ("headers", file.headers.len()),
    ] {
        if count > MOST {
            let message = format!("`{key}` has {count} entries, the limit is {MOST}");
            report.problem(file.place, message);
        }
    }
}

/// Those that are named; all, when none is.
fn check_algorithms(written: &Written<Vec<At<String>>>, report: &Report) -> Vec<Algorithm> {
    let Some(names) = written else {
        return Algorithm::ALL.into();
    };
    let algorithm = |name: &At<String>| {
        let found = Algorithm::of(&name.value);
        if found.is_none() {
            let names = Algorithm::ALL.iter().map(|one| one.name());
            let message = format!(
                "\"{}\" is no algorithm for tokens here",
                name.value.escape_debug()
            );
            let hint = suggest::hint(&name.value, "the algorithms are", names);
            report.problem_hint(name.place, message, hint);
        }
        found
    };
    if names.value.is_empty() {
        let hint = "leave it out, or name one";
        report.problem_hint(
            names.place,
            "`algorithms` is empty: nobody would get in",
            hint,
        );
    }
    names.value.iter().filter_map(algorithm).collect()
}

fn check_keys(file: &KeysFile, algorithms: &[Algorithm], report: &Report) -> Option<JwtKeys> {
    let (files, set) = (file.files.clone(), file.set.clone());
    let keys = JwtKeys::new(files, file.format, algorithms, set, file.fingerprint);
    if keys.set.keys.is_empty() {
        let mut there: Vec<&str> = file
            .set
            .keys
            .iter()
            .map(|key| key.algorithm().name())
            .collect();
        there.dedup();
        let message = format!(
            "no key is for one of `algorithms`, but for {}",
            there.join(", ")
        );
        let hint =
            "the algorithm of a token is that of the key; leave `algorithms` out, or name that";
        report.problem_unseen(file.place, message, hint);
        return None;
    }
    Some(keys)
}

fn texts(written: &Written<Vec<At<String>>>, key: &str, report: &Report) -> Vec<String> {
    let Some(list) = written else {
        return Vec::new();
    };
    if list.value.is_empty() || list.value.iter().any(|text| text.value.is_empty()) {
        report.problem_hint(
            list.place,
            format!("`{key}` is empty"),
            "leave it out, or name one",
        );
    }
    list.value.iter().map(|text| text.value.clone()).collect()
}

/// `"*"`: it does not matter for whom a token is.
fn check_audiences(written: &Written<Vec<At<String>>>, report: &Report) -> Option<Vec<String>> {
    let audiences = texts(written, "audience", report);
    (audiences != ["*"]).then_some(audiences)
}

fn check_leeway(written: &Written<Duration>, report: &Report) -> Duration {
    if let Some(leeway) = written
        && leeway.value > LONGEST_LEEWAY
    {
        let message = "`leeway` must be at most 10m";
        let hint =
            "it is for clocks that differ; tokens that live longer are made so by their issuer";
        report.problem_hint(leeway.place, message, hint);
    }
    written.as_ref().map_or(LEEWAY, |leeway| leeway.value)
}

fn required(
    (claim, values): &(At<String>, Vec<crate::config::model::ClaimValue>),
    report: &Report,
) -> Option<RequiredClaim> {
    if claim.value.is_empty() || values.is_empty() {
        let hint = "write it as in `require = { role = \"admin\" }`";
        report.problem_hint(
            claim.place,
            "a required claim has no name or no value",
            hint,
        );
        return None;
    }
    Some(RequiredClaim {
        claim: claim.value.clone(),
        values: values.clone(),
    })
}

fn check_headers(file: &JwtFile, report: &Report) -> Vec<ClaimHeader> {
    let mut headers: Vec<ClaimHeader> = Vec::new();
    for (name, claim) in &file.headers {
        if claim.value.is_empty() {
            report.problem_hint(
                claim.place,
                format!("`{name}` has no claim"),
                "name one, such as \"sub\"",
            );
        }
        if headers
            .iter()
            .any(|other| is_same_variable(&other.name, name))
        {
            let message = format!("`headers` has `{}` twice", name.escape_debug());
            report.problem_hint(claim.place, message, "keep one of them");
        }
        if headers::may_be_set(name, claim.place, report) {
            headers.push(ClaimHeader {
                name: name.clone(),
                claim: claim.value.clone(),
            });
        }
    }
    headers
}

fn check_field(header: &Written<String>, report: &Report) -> String {
    let Some(header) = header else {
        return FIELD.to_owned();
    };
    if !super::auth::may_carry(&header.value) && !header.value.eq_ignore_ascii_case(FIELD) {
        let message = format!("`{}` cannot carry a token", header.value.escape_debug());
        let hint = "use \"Authorization\", or a field of its own, such as \"X-Token\"";
        report.problem_hint(header.place, message, hint);
    }
    header.value.clone()
}

fn check_cookie(cookie: &Written<String>, report: &Report) -> Option<String> {
    let cookie = cookie.as_ref()?;
    if !is_token(cookie.value.as_bytes()) || cookie.value.len() > 256 {
        let message = format!(
            "\"{}\" cannot be the name of a cookie",
            cookie.value.escape_debug()
        );
        report.problem_hint(cookie.place, message, "use letters, digits, `-` and `_`");
    }
    Some(cookie.value.clone())
}
