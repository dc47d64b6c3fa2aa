//! Rate limits and limits of what is under way at the same time: bounds, defaults, and rates that mean something.

use std::sync::Arc;
use std::time::Duration;

use super::{check_name, check_unique, given, number};
use crate::config::file::{RateLimitFile, RouteFile, RouteLimitsFile, Written};
use crate::config::model::{Concurrency, RateKey, RateLimit};
use crate::config::report::{At, Report};
use crate::message::fields::is_token;

const FORMS: &str = "write \"client_ip\", \"api_key\", \"header:NAME\" or \"route\"";
const RATE_FORMS: &str = "write it as in \"100/s\", \"600/m\", \"1000/h\" or \"5000/d\"";

/// Faster ones could not be told apart by the nanosecond.
const MOST_REQUESTS: u32 = 1_000_000;
const MOST_BURST: u32 = 1_000_000;
/// Who has used up a burst has to live to see it come back.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
const CLIENTS: u32 = 65_536;
/// 64 MiB of memory.
const MOST_CLIENTS: u32 = 1 << 22;
const MOST_CONCURRENT: u32 = 1_000_000;

/// Whom a list of limits is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// One route.
    Route,
    /// Everything; counts by `client_ip`.
    Server,
}

/// Checks the rate limits of one route, or of the server.
pub(super) fn check_rates(
    files: &[RateLimitFile],
    scope: Scope,
    report: &Report,
) -> Vec<RateLimit> {
    let mut names = Vec::new();
    let mut limits = Vec::new();
    for file in files {
        let by = match (&file.by, scope) {
            (Some(by), _) => check_key(by, report),
            (None, _) => Some(RateKey::ClientIp),
        };
        let rate = check_rate(file, report);
        let clients = check_clients(file, by.as_ref(), report);
        let (Some(by), Some((requests, period))) = (by, rate) else {
            continue;
        };
        let Some(name) = check_limit_name(file, &by, scope, &mut names, report) else {
            continue;
        };
        let limit = RateLimit {
            name,
            by,
            requests,
            period,
            burst: check_burst(file, requests, period, report),
            clients,
            dry_run: given(&file.dry_run, false),
        };
        if limit.interval() * limit.burst > LONGEST {
            let message = format!(
                "at {limit}, a burst of {} would take more than 366 days to come back",
                limit.burst
            );
            let place = file.burst.as_ref().map_or(file.place, |burst| burst.place);
            report.problem_hint(place, message, "write a smaller `burst`");
        }
        limits.push(limit);
    }
    limits
}

/// Reports limits that count by who it is, on a route that does not ask for that.
pub(super) fn check_identity(file: &RouteFile, report: &Report) {
    if file.auth.is_some() {
        return;
    }
    let by = file.limits.rates.iter().filter_map(|rate| rate.by.as_ref());
    for by in by.filter(|by| by.value == "api_key") {
        let message = "a limit by \"api_key\" needs to know who it is, and this route does not ask";
        let hint = "add `auth` to the route, or count by \"client_ip\"";
        report.problem_hint(by.place, message, hint);
    }
}

/// Checks how many requests of a route may be under way.
pub(super) fn check_concurrency(file: &RouteLimitsFile, report: &Report) -> Concurrency {
    let most = |written: &Written<i64>, name: &str| {
        let least_and_most = (1, MOST_CONCURRENT);
        written.as_ref()?;
        usize::try_from(number(
            report,
            written,
            name,
            least_and_most,
            MOST_CONCURRENT,
        ))
        .ok()
    };
    Concurrency {
        most: most(&file.max_concurrent, "max_concurrent"),
        most_per_client: most(&file.max_concurrent_per_client, "max_concurrent_per_client"),
    }
}

fn check_key(written: &At<String>, report: &Report) -> Option<RateKey> {
    let key = parse_key(&written.value);
    if key.is_none() {
        let message = format!("`by` \"{}\" is not a key of a rate limit", written.value);
        report.problem_hint(written.place, message, FORMS);
    }
    key
}

fn parse_key(text: &str) -> Option<RateKey> {
    match text.split_once(':') {
        None if text == "client_ip" => Some(RateKey::ClientIp),
        None if text == "api_key" => Some(RateKey::ApiKey),
        None if text == "route" => Some(RateKey::Route),
        Some(("header", name)) if is_token(name.as_bytes()) => {
            Some(RateKey::Header(name.to_owned()))
        }
        _ => None,
    }
}

/// Requests and period.
fn check_rate(file: &RateLimitFile, report: &Report) -> Option<(u32, Duration)> {
    let Some(rate) = &file.rate else {
        if !file.broken {
            let message = "this rate limit does not say how often";
            report.problem_hint(file.place, message, "add `rate = \"100/s\"`");
        }
        return None;
    };
    match parse_rate(&rate.value) {
        Ok(rate) => Some(rate),
        Err(fault) => {
            let message = format!("`rate` \"{}\" {fault}", rate.value);
            report.problem_hint(rate.place, message, RATE_FORMS);
            None
        }
    }
}

fn parse_rate(text: &str) -> Result<(u32, Duration), String> {
    let Some((requests, unit)) = text.split_once('/') else {
        return Err("is not a rate".to_owned());
    };
    let seconds = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err("has no unit that is known".to_owned()),
    };
    let requests = requests.trim();
    let is_number = !requests.is_empty() && requests.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err("does not begin with a whole number".to_owned());
    }
    match requests.parse() {
        Ok(requests @ 1..=MOST_REQUESTS) => Ok((requests, Duration::from_secs(seconds))),
        _ => Err(format!("must be from 1 to {MOST_REQUESTS} requests")),
    }
}

fn check_burst(file: &RateLimitFile, requests: u32, period: Duration, report: &Report) -> u32 {
    let seconds = u32::try_from(period.as_secs()).unwrap_or(u32::MAX);
    let one_second = requests.div_ceil(seconds.max(1)).max(1);
    number(report, &file.burst, "burst", (1, MOST_BURST), one_second)
}

fn check_clients(file: &RateLimitFile, by: Option<&RateKey>, report: &Report) -> usize {
    if let (Some(written), Some(RateKey::Route)) = (&file.clients, by) {
        let message =
            "`clients` has no effect on a limit that counts all requests of the route together";
        report.problem_hint(written.place, message, "leave it out");
    }
    let clients = number(
        report,
        &file.clients,
        "clients",
        (64, MOST_CLIENTS),
        CLIENTS,
    );
    usize::try_from(clients).unwrap_or(usize::MAX)
}

/// The name of a limit; none: there is a problem with it.
fn check_limit_name(
    file: &RateLimitFile,
    by: &RateKey,
    scope: Scope,
    names: &mut Vec<(String, crate::config::report::Place)>,
    report: &Report,
) -> Option<Arc<str>> {
    let what = "rate limit name";
    let (name, place) = match &file.name {
        Some(written) if !check_name(report, what, written) => return None,
        Some(written) => (written.value.clone(), written.place),
        None if scope == Scope::Server => ("server".to_owned(), file.place),
        None => (by.to_string(), file.place),
    };
    check_unique(report, names, what, &name, place).then(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let second = Duration::from_secs(1);
        for (text, requests, period) in [
            ("100/s", 100, second),
            ("1/h", 1, second * 3600),
            (" 600 / m ", 600, second * 60),
            ("1000000/s", 1_000_000, second),
            ("5/d", 5, second * 86_400),
        ] {
            assert_eq!(parse_rate(text), Ok((requests, period)), "{text}");
        }
        for text in [
            "",
            "100",
            "/s",
            "100/",
            "100/x",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "1000001/s",
            "99999999999999999999/s",
            "1/s/s",
            "s/1",
            "1/S",
        ] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_what_is_shown() {
        for good in ["client_ip", "api_key", "route", "header:X-Tenant"] {
            let shown = parse_key(good).map(|key| key.to_string());
            assert_eq!(shown.as_deref(), Some(good));
        }
        for bad in [
            "",
            "ip",
            "header",
            "header:",
            "header:a b",
            "cookie:a",
            "path",
        ] {
            assert_eq!(parse_key(bad), None, "{bad}");
        }
    }
}
