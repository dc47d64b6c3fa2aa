//! `[[upstream]]`: its name, and the numbers of health and timeouts.
//!
//! Its backends are checked in [`super::backend`], how it spreads requests over them in [`super::balance`].

use std::time::Duration;

use super::status::parse_status;
use super::{
    SHORTEST, backend, balance, check_name, check_unique, discovery, duration, given, number,
    path_fault, upstream_tls,
};
use crate::config::file::{ConfigFile, HealthFile, UpstreamFile};
use crate::config::model::{Health, Server, Upstream, UpstreamTimeouts};
use crate::config::report::{Place, Report};

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
    let (mut seen, mut cookies) = (Vec::new(), Vec::new());
    let upstreams = file.upstreams.iter();
    upstreams
        .map(|written| {
            let upstream = check_upstream(written, server, &mut seen, report);
            check_cookie(written, &upstream, &mut cookies, report);
            upstream
        })
        .collect()
}

/// Two upstreams with the same cookie would overwrite each other's, and no client would stick to anything.
fn check_cookie(
    file: &UpstreamFile,
    upstream: &Upstream,
    seen: &mut Vec<(String, Place)>,
    report: &Report,
) {
    let Some(sticky) = &upstream.sticky else {
        return;
    };
    let written = file
        .sticky
        .as_ref()
        .and_then(|sticky| sticky.cookie.as_ref());
    let place = written.map_or(file.place, |written| written.place);
    if !sticky.cookie.is_empty() {
        check_unique(report, seen, "sticky cookie", &sticky.cookie, place);
    }
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
    let backends = backend::check_backends(file, &server.listen, report);
    let discovery = discovery::check_discovery(file, report);
    let number = discovery::number_known(&backends, &discovery);
    let seconds = Duration::from_secs;
    let timeouts = &file.timeouts;
    Upstream {
        name: file
            .name
            .as_ref()
            .map(|name| name.value.clone())
            .unwrap_or_default(),
        balance: balance::check_balance(file, report),
        slow_start: given(&file.slow_start, Duration::ZERO),
        max_wait: given(&file.max_wait, seconds(1)),
        sticky: file
            .sticky
            .as_ref()
            .map(|sticky| balance::check_sticky(sticky, file, report)),
        health: check_health(&file.health, report),
        ejection: balance::check_ejection(&file.ejection, report),
        retry: balance::check_retry(&file.retry, number, report),
        tls: upstream_tls::check_tls(file, &backends, report),
        backends,
        discovery,
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
