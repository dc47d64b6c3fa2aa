//! `security_headers` of the server and of routes: values that browsers understand, and what a route takes over from the server.

use std::sync::Arc;

use super::given;
use crate::config::file::{SecurityHeadersFile, TextOrOff};
use crate::config::model::{FrameOptions, Hsts, SecurityHeaders};
use crate::config::report::{At, Report};
use crate::config::suggest;
use crate::config::units;
use crate::message::fields::is_value;

const REFERRER_POLICY: &str = "strict-origin-when-cross-origin";
/// Referrer Policy, section 3.
const REFERRER_POLICIES: [&str; 8] = [
    "no-referrer",
    "no-referrer-when-downgrade",
    "same-origin",
    "origin",
    "strict-origin",
    "origin-when-cross-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
];
const YEAR: u64 = 365 * 24 * 60 * 60;
/// Longest time to keep to https, in seconds.
const LONGEST: u64 = 10 * YEAR;

/// Of `[server]`. None: off.
pub(super) fn check_server(
    file: Option<&SecurityHeadersFile>,
    report: &Report,
) -> Option<Arc<SecurityHeaders>> {
    let file = file.filter(|file| file.is_on)?;
    Some(Arc::new(check(file, defaults(), report)))
}

/// Of a `[[route]]`; what it does not say is as the server has it. None: all is as the server has it.
pub(super) fn check_route(
    file: Option<&SecurityHeadersFile>,
    server: Option<&SecurityHeaders>,
    report: &Report,
) -> Option<Arc<SecurityHeaders>> {
    let file = file?;
    if !file.is_on {
        return Some(Arc::new(SecurityHeaders::off()));
    }
    let base = server.cloned().unwrap_or_else(defaults);
    Some(Arc::new(check(file, base, report)))
}

/// What goes well with ordinary applications.
fn defaults() -> SecurityHeaders {
    let frame_options = FrameOptions::SameOrigin;
    SecurityHeaders {
        nosniff: true,
        frame_options: Some(frame_options),
        referrer_policy: Some(REFERRER_POLICY.to_owned()),
        content_security_policy: Some(frame_options.frame_ancestors().to_owned()),
        permissions_policy: None,
        hsts: Some(Hsts {
            max_age: YEAR,
            include_subdomains: false,
            preload: false,
        }),
    }
}

fn check(file: &SecurityHeadersFile, base: SecurityHeaders, report: &Report) -> SecurityHeaders {
    let ancestors =
        |options: Option<FrameOptions>| options.map(|options| options.frame_ancestors().to_owned());
    // The policy that was not written says what the frame options say.
    let is_derived = base.content_security_policy == ancestors(base.frame_options);
    let frame_options = match &file.frame_options {
        None => base.frame_options,
        Some(written) => check_frame_options(written, report),
    };
    let policy = match is_derived {
        true => ancestors(frame_options),
        false => base.content_security_policy,
    };
    let text = |written, key, base| check_text(written, key, base, report);
    SecurityHeaders {
        nosniff: given(&file.nosniff, base.nosniff),
        frame_options,
        referrer_policy: check_referrer_policy(file, base.referrer_policy, report),
        content_security_policy: text(
            &file.content_security_policy,
            "content_security_policy",
            policy,
        ),
        permissions_policy: text(
            &file.permissions_policy,
            "permissions_policy",
            base.permissions_policy,
        ),
        hsts: check_hsts(file, base.hsts, report),
    }
}

fn check_frame_options(written: &At<Option<String>>, report: &Report) -> Option<FrameOptions> {
    let text = written.value.as_deref()?;
    match text.to_ascii_uppercase().as_str() {
        "DENY" => Some(FrameOptions::Deny),
        "SAMEORIGIN" => Some(FrameOptions::SameOrigin),
        _ => {
            let message = format!("`frame_options` cannot be \"{text}\"");
            let hint = "write \"DENY\", \"SAMEORIGIN\" or false; other sites can be named by `frame-ancestors` in \
                `content_security_policy`";
            report.problem_hint(written.place, message, hint);
            None
        }
    }
}

fn check_text(
    written: &TextOrOff,
    key: &str,
    base: Option<String>,
    report: &Report,
) -> Option<String> {
    let Some(written) = written else {
        return base;
    };
    let text = written.value.as_deref()?;
    if text.trim().is_empty() || !is_value(text.as_bytes()) {
        let message = format!("`{key}` is not the value of a header field");
        report.problem_hint(
            written.place,
            message,
            "one line of text, or false for none",
        );
        return None;
    }
    Some(text.trim().to_owned())
}

fn check_referrer_policy(
    file: &SecurityHeadersFile,
    base: Option<String>,
    report: &Report,
) -> Option<String> {
    let policy = check_text(&file.referrer_policy, "referrer_policy", base, report)?;
    let mut members = policy.split(',').map(str::trim);
    let unknown = members.find(|member| !REFERRER_POLICIES.contains(member));
    if let (Some(member), Some(written)) = (unknown, &file.referrer_policy) {
        let message = format!("\"{member}\" is no referrer policy");
        let hint = suggest::hint(member, "there are", REFERRER_POLICIES);
        report.problem_hint(written.place, message, hint);
    }
    Some(policy)
}

fn check_hsts(file: &SecurityHeadersFile, base: Option<Hsts>, report: &Report) -> Option<Hsts> {
    let max_age = match &file.hsts {
        None => base.map(|base| base.max_age),
        Some(written) => check_max_age(written, report),
    };
    let is_lost = file.hsts.is_some() && max_age.is_none();
    let keys = [
        (&file.include_subdomains, "include_subdomains"),
        (&file.preload, "preload"),
    ];
    for (written, key) in keys {
        let written = written.as_ref().filter(|written| written.value);
        if let (Some(written), true) = (written, max_age.is_none()) {
            let message = format!("`{key}` says something about `hsts`, which is off");
            let hint = "write `hsts = \"1y\"`, or leave it out";
            // What is off by mistake is a problem already.
            if !is_lost || file.hsts.as_ref().is_some_and(|hsts| hsts.value.is_none()) {
                report.problem_hint(written.place, message, hint);
            }
        }
    }
    let hsts = Hsts {
        max_age: max_age?,
        include_subdomains: given(
            &file.include_subdomains,
            base.is_some_and(|base| base.include_subdomains),
        ),
        preload: given(&file.preload, base.is_some_and(|base| base.preload)),
    };
    let place = [&file.preload, &file.include_subdomains].into_iter();
    let mut place = place.filter_map(|written| written.as_ref().map(|at| at.place));
    let place = place
        .next()
        .or_else(|| file.hsts.as_ref().map(|at| at.place));
    if let Some(place) = place
        && hsts.preload
        && (hsts.max_age < YEAR || !hsts.include_subdomains)
    {
        let message = "`preload` needs `hsts` of at least \"1y\" and `include_subdomains = true`";
        let hint =
            "that is what the lists ask for; it is hard to undo, so leave it out when in doubt";
        report.problem_hint(place, message, hint);
    }
    Some(hsts)
}

/// Seconds. Years can be written, which no other duration takes.
fn check_max_age(written: &At<Option<String>>, report: &Report) -> Option<u64> {
    let text = written.value.as_deref()?;
    let years = text.trim().strip_suffix('y');
    let years = years.and_then(|years| years.trim_end().parse::<u64>().ok());
    let seconds = match years {
        Some(years) => Some(years.saturating_mul(YEAR)),
        None => units::parse_duration(text).ok().map(|time| time.as_secs()),
    };
    if seconds.is_none_or(|seconds| seconds > LONGEST) {
        let message = format!("`hsts` cannot be \"{text}\"");
        let hint = "a time of up to ten years, as in \"1y\" or \"30d\"; \"0s\" has browsers forget it; false for none";
        report.problem_hint(written.place, message, hint);
        return None;
    }
    seconds
}
