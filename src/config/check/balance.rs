//! How an upstream spreads its requests: strategy, stickiness, ejection, retries.

use std::time::Duration;

use super::key::check_key;
use super::{SHORTEST, duration, given, number};
use crate::config::file::{EjectionFile, RetryFile, StickyFile, UpstreamFile};
use crate::config::model::{Ejection, Retry, Sticky, Strategy};
use crate::config::report::Report;
use crate::config::suggest;
use crate::message::fields::is_token;

/// More would hide for minutes that every backend is down.
const MOST_ATTEMPTS: u32 = 100;

/// Bytes of a secret below which it could be guessed.
const SHORTEST_SECRET: usize = 16;

const HASH: &str = "hash";

/// Checks `balance` and `hash_key`.
pub(super) fn check_balance(file: &UpstreamFile, report: &Report) -> Strategy {
    let balance = file.balance.as_ref();
    if let Some(key) = &file.hash_key
        && balance.is_none_or(|balance| balance.value != HASH)
    {
        let message = "`hash_key` is of no use without `balance = \"hash\"`";
        report.problem_hint(key.place, message, "add that, or leave `hash_key` out");
    }
    let Some(balance) = balance else {
        return Strategy::RoundRobin;
    };
    let written = balance.value.as_str();
    if written == HASH {
        return Strategy::Hash(check_key(file.hash_key.as_ref(), "hash_key", report));
    }
    let names = Strategy::KEYLESS.map(|strategy| strategy.to_string());
    let mut known = names.iter().zip(Strategy::KEYLESS);
    if let Some((_, strategy)) = known.find(|(name, _)| *name == written) {
        return strategy;
    }
    let all = names.iter().map(String::as_str).chain([HASH]);
    let hint = suggest::hint(written, "the strategies are", all);
    report.problem_hint(
        balance.place,
        format!("unknown balance \"{written}\""),
        hint,
    );
    Strategy::RoundRobin
}

/// Checks `[upstream.sticky]`.
pub(super) fn check_sticky(file: &StickyFile, upstream: &UpstreamFile, report: &Report) -> Sticky {
    let name = upstream.name.as_ref().map_or("", |name| &name.value);
    let cookie = match &file.cookie {
        Some(cookie) if is_token(cookie.value.as_bytes()) => cookie.value.clone(),
        Some(cookie) => {
            let message = format!("\"{}\" cannot be the name of a cookie", cookie.value);
            let hint = "letters, digits, `_`, `-` and `.` will do";
            report.problem_hint(cookie.place, message, hint);
            String::new()
        }
        None => {
            let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
            format!("tollgate_{}", name.chars().map(fits).collect::<String>())
        }
    };
    if let Some(secret) = &file.secret
        && secret.value.bytes().len() < SHORTEST_SECRET
    {
        let message =
            format!("the secret of [upstream.sticky] is shorter than {SHORTEST_SECRET} bytes");
        report.problem_hint(
            secret.place,
            message,
            "make one with `openssl rand -hex 32`",
        );
    }
    Sticky {
        cookie,
        secret: file.secret.as_ref().map(|secret| secret.value.clone()),
        max_age: given(&file.max_age, Duration::ZERO),
        is_secure: given(&file.secure, false),
    }
}

/// Checks `[upstream.ejection]`.
pub(super) fn check_ejection(file: &EjectionFile, report: &Report) -> Ejection {
    let seconds = Duration::from_secs;
    let cooldown = duration(report, &file.cooldown, "cooldown", SHORTEST, seconds(10));
    if let Some(longest) = &file.max_cooldown
        && longest.value < cooldown
    {
        report.problem_hint(
            longest.place,
            "`max_cooldown` must not be shorter than `cooldown`",
            "the cooldown doubles up to `max_cooldown`; make it at least as long",
        );
    }
    Ejection {
        failures: number(report, &file.failures, "failures", (0, 1_000_000), 3),
        window: duration(report, &file.window, "window", SHORTEST, seconds(10)),
        cooldown,
        max_cooldown: given(&file.max_cooldown, cooldown.max(seconds(60))),
        error_percent: number(report, &file.error_percent, "error_percent", (0, 100), 0),
        min_requests: number(
            report,
            &file.min_requests,
            "min_requests",
            (1, 1_000_000),
            20,
        ),
        slow_factor: check_slow_factor(file, report),
        slow_floor: given(&file.slow_floor, Duration::from_millis(100)),
    }
}

/// A factor of one would eject the slower half, again and again.
fn check_slow_factor(file: &EjectionFile, report: &Report) -> u32 {
    let factor = number(report, &file.slow_factor, "slow_factor", (0, 1000), 0);
    if let Some(written) = file.slow_factor.as_ref().filter(|_| factor == 1) {
        report.problem_hint(
            written.place,
            "`slow_factor` 1 would eject every backend that is slower than the middle one",
            "write 2 or more, or 0 for never",
        );
    }
    factor
}

/// Checks `[upstream.retry]`.
pub(super) fn check_retry(file: &RetryFile, backends: usize, report: &Report) -> Retry {
    let attempts = number(report, &file.attempts, "attempts", (0, MOST_ATTEMPTS), 2);
    if let Some(written) = &file.attempts
        && attempts > 0
        && backends > 0
        && usize::try_from(attempts).is_ok_and(|attempts| attempts >= backends)
    {
        let servers = if backends == 1 { "backend" } else { "backends" };
        report.warning(
            written.place,
            format!("{attempts} retries need {} backends, and there are {backends}", u64::from(attempts) + 1)
                .replace("are 1", "is 1"),
            format!("a retry goes to a backend not yet tried; with {backends} {servers} at most {} can happen", backends - 1),
        );
    }
    Retry {
        attempts,
        slow: given(&file.slow, false),
        budget_percent: number(report, &file.budget_percent, "budget_percent", (0, 100), 20),
        budget_floor: number(
            report,
            &file.budget_floor,
            "budget_floor",
            (0, 1_000_000),
            3,
        ),
        hedge: given(&file.hedge, false),
    }
}
