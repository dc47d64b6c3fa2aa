//! `[[upstream]]`: names, backends, and the numbers of health, ejection, retry and timeouts.
//!
//! Does not resolve host names: a backend that does not exist is found by its probes.

use std::time::Duration;

use super::status::parse_status;
use super::{SHORTEST, address, check_name, check_unique, duration, given, number, path_fault};
use crate::config::file::{
    BackendFile, ConfigFile, EjectionFile, HealthFile, RetryFile, UpstreamFile,
};
use crate::config::model::{
    Backend, Ejection, Health, Retry, Server, Strategy, Upstream, UpstreamTimeouts,
};
use crate::config::report::{Place, Report};
use crate::config::suggest;

/// More would hide for minutes that every backend is down.
const MOST_ATTEMPTS: u32 = 100;

/// Checks every `[[upstream]]`.
pub(super) fn check_upstreams(
    file: &ConfigFile,
    server: &Server,
    report: &Report,
) -> Vec<Upstream> {
    if file.upstreams.is_empty() && !file.upstreams_broken {
        report.problem_hint(
            file.place,
            "there is no backend to send requests to",
            "add [[upstream]] with `name = \"web\"` and `backends = [\"http://127.0.0.1:9001\"]`",
        );
    }
    let mut seen = Vec::new();
    let upstreams = file.upstreams.iter();
    upstreams
        .map(|upstream| check_upstream(upstream, server, &mut seen, report))
        .collect()
}

fn check_upstream(
    file: &UpstreamFile,
    server: &Server,
    seen: &mut Vec<(String, Place)>,
    report: &Report,
) -> Upstream {
    match &file.name {
        Some(name) if check_name(report, "upstream name", name) => {
            check_unique(report, seen, "upstream name", &name.value, name.place);
        }
        Some(_) => {}
        None => report.problem_hint(
            file.place,
            "this upstream has no name",
            "add `name = \"web\"`; routes, logs and metrics call it by that",
        ),
    }
    let backends = check_backends(file, server, report);
    let seconds = Duration::from_secs;
    let timeouts = &file.timeouts;
    Upstream {
        name: file
            .name
            .as_ref()
            .map(|name| name.value.clone())
            .unwrap_or_default(),
        balance: check_balance(file, report),
        health: check_health(&file.health, report),
        ejection: check_ejection(&file.ejection, report),
        retry: check_retry(&file.retry, backends.len(), report),
        backends,
        timeouts: UpstreamTimeouts {
            connect: duration(report, &timeouts.connect, "connect", SHORTEST, seconds(1)),
            response: duration(
                report,
                &timeouts.response,
                "response",
                SHORTEST,
                seconds(30),
            ),
            idle: duration(report, &timeouts.idle, "idle", SHORTEST, seconds(60)),
            total: Some(given(&timeouts.total, Duration::ZERO)).filter(|total| !total.is_zero()),
        },
    }
}

fn check_balance(file: &UpstreamFile, report: &Report) -> Strategy {
    let Some(balance) = &file.balance else {
        return Strategy::RoundRobin;
    };
    match balance.value.as_str() {
        "round_robin" => return Strategy::RoundRobin,
        "random" => return Strategy::Random,
        "least_connections" => return Strategy::LeastConnections,
        "p2c" => return Strategy::TwoChoices,
        later @ ("fastest" | "hash") => report.problem_hint(
            balance.place,
            format!("balance \"{later}\" is not available in this version"),
            "use \"round_robin\", \"random\", \"least_connections\" or \"p2c\"",
        ),
        other => {
            let names = ["round_robin", "random", "least_connections", "p2c"];
            let hint = suggest::hint(other, "the strategies are", names);
            report.problem_hint(balance.place, format!("unknown balance \"{other}\""), hint);
        }
    }
    Strategy::RoundRobin
}

fn check_backends(file: &UpstreamFile, server: &Server, report: &Report) -> Vec<Backend> {
    let hint = "add `backends = [\"http://127.0.0.1:9001\"]`";
    match &file.backends {
        None => report.problem_hint(file.place, "this upstream has no backends", hint),
        Some(backends) if backends.value.is_empty() => {
            report.problem_hint(backends.place, "`backends` is empty", hint);
        }
        Some(_) => {}
    }
    let mut seen = Vec::new();
    let entries = file.backends.iter().flat_map(|backends| &backends.value);
    entries
        .filter_map(|entry| check_backend(entry, server, &mut seen, report))
        .collect()
}

fn check_backend(
    file: &BackendFile,
    server: &Server,
    seen: &mut Vec<(String, Place)>,
    report: &Report,
) -> Option<Backend> {
    let weight = number(report, &file.weight, "weight", (1, 1000), 1);
    let Some(url) = &file.url else {
        if !file.broken {
            let hint = "add `url = \"http://host:port\"`";
            report.problem_hint(file.place, "this backend has no `url`", hint);
        }
        return None;
    };
    let at = match address::parse_backend(&url.value) {
        Ok(at) => at,
        Err((message, hint)) => {
            report.problem_hint(url.place, message, hint);
            return None;
        }
    };
    let default_id = address::backend_id(&at);
    let mut own = server.listen.iter().map(|own| &own.address);
    if let Some(own) = own.find(|own| address::reaches(&at, own)) {
        report.warning(
            url.place,
            format!("backend {default_id} is this proxy itself, which listens on {own}"),
            "a request would go round until every worker is busy; give one of them another address",
        );
    }
    let (id, place) = match &file.id {
        Some(id) => {
            if !check_name(report, "backend id", id) {
                return None;
            }
            (id.value.clone(), id.place)
        }
        None => (default_id, url.place),
    };
    if !check_unique(report, seen, "backend id", &id, place) {
        return None;
    }
    Some(Backend { id, at, weight })
}

fn check_health(file: &HealthFile, report: &Report) -> Health {
    let seconds = Duration::from_secs;
    let interval = duration(report, &file.interval, "interval", SHORTEST, seconds(2));
    let timeout = duration(report, &file.timeout, "timeout", SHORTEST, seconds(1));
    if let Some(written) = file.timeout.as_ref().or(file.interval.as_ref())
        && interval < timeout
    {
        report.warning(
            written.place,
            "the health `interval` is shorter than the `timeout`: a slow backend is probed late",
            "make `timeout` the shorter one",
        );
    }
    let path = file.path.as_ref().filter(|path| {
        // A probe may carry a query.
        let (bare, _) = path.value.split_once('?').unwrap_or((&path.value, ""));
        let fault = path_fault(bare).or_else(|| {
            let visible = path.value.chars().all(|c| c.is_ascii_graphic() && c != '#');
            (!visible).then_some("holds characters that no request has (write them as %XX)")
        });
        if let Some(fault) = fault {
            let message = format!("health path \"{}\" {fault}", path.value);
            report.problem_hint(path.place, message, "write it as in \"/health\"");
        }
        fault.is_none()
    });
    let longest = interval.max(seconds(30));
    if let Some(written) = &file.max_interval
        && written.value < interval
    {
        report.problem_hint(
            written.place,
            "`max_interval` must not be shorter than `interval`",
            "the interval doubles up to `max_interval`; make it at least as long",
        );
    }
    Health {
        enabled: given(&file.enabled, true),
        path: path.map(|path| path.value.clone()),
        interval,
        timeout,
        fall: number(report, &file.fall, "fall", (1, 1000), 3),
        rise: number(report, &file.rise, "rise", (1, 1000), 2),
        expect_status: check_expect_status(file, report),
        expect_body: check_expect_body(file, report),
        max_interval: given(&file.max_interval, longest),
    }
}

/// Without a path there is no answer to look at.
fn needs_path(file: &HealthFile, place: Place, key: &str, report: &Report) {
    if file.path.is_none() {
        report.problem_hint(
            place,
            format!("`{key}` needs a `path`: without one a probe only connects"),
            "add `path = \"/health\"` to [upstream.health]",
        );
    }
}

fn check_expect_status(file: &HealthFile, report: &Report) -> Vec<(u16, u16)> {
    let Some(written) = &file.expect_status else {
        return vec![(200, 399)];
    };
    needs_path(file, written.place, "expect_status", report);
    let form = "write `200`, \"2xx\", \"200-399\" or a list of those";
    if written.value.is_empty() {
        let message = "`expect_status` has no usable entry";
        report.problem_hint(written.place, message, form);
    }
    let mut ranges = Vec::new();
    for entry in &written.value {
        match parse_status(&entry.value) {
            Some(range) => ranges.push(range),
            None => {
                let message = format!(
                    "\"{}\" is not a status code or a range of them",
                    entry.value
                );
                report.problem_hint(entry.place, message, form);
            }
        }
    }
    ranges
}

fn check_expect_body(file: &HealthFile, report: &Report) -> Option<String> {
    let text = file.expect_body.as_ref()?;
    needs_path(file, text.place, "expect_body", report);
    if text.value.is_empty() {
        report.problem_hint(text.place, "`expect_body` is empty", "leave it out");
    }
    Some(text.value.clone())
}

fn check_ejection(file: &EjectionFile, report: &Report) -> Ejection {
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
    }
}

fn check_retry(file: &RetryFile, backends: usize, report: &Report) -> Retry {
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
    }
}
