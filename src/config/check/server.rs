//! `[server]` and `[log]`: bounds and defaults.
//!
//! Knows nothing of upstreams and routes.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use log::LevelFilter;

use super::address::{parse_network, warn_of_host_bits};
use super::engine::{check_engine, reactor_only};
use super::https::check_redirect_https;
use super::limits::{check_limits, check_timeouts};
use super::listen::check_listen;
use super::rates::{Scope, check_rates};
use super::security_headers;
use super::tls::check_server_tls;
use super::{SHORTEST, access, count, duration, given, path_fault};
use crate::config::file::{LogFile, ServerFile};
use crate::config::model::{Engine, HealthKind, HealthPath, Log, Server};
use crate::config::report::Report;
use crate::config::suggest;

/// The path whose answer lists the backends; every other health path tells of the process only.
const BACKENDS_PATH: &str = "/_health";

const MIB: u64 = 1 << 20;

/// Checks `[server]`.
pub(super) fn check_server(file: &ServerFile, report: &Report) -> Server {
    let engine = check_engine(file, report);
    let trusted_network = given(&file.trusted_network, false);
    let trusted_proxies = check_trusted_proxies(file, report);
    let seconds = Duration::from_secs;
    let listen = check_listen(file, engine, trusted_network, &trusted_proxies, report);
    Server {
        access: access::check_server(file, &listen, report),
        tls: check_server_tls(file, &listen, engine, report),
        security_headers: security_headers::check_server(file.security_headers.as_ref(), report),
        redirect_https: check_redirect_https(file, &listen, &trusted_proxies, report),
        listen,
        engine,
        listener_threads: check_listener_threads(file, engine, report),
        reuse_port: check_reuse_port(file, engine, report),
        trusted_network,
        workers: count(report, &file.workers, "workers", (1, 4096), 256),
        queue: count(report, &file.queue, "queue", (0, 1_000_000), 8192),
        queue_timeout: duration(
            report,
            &file.queue_timeout,
            "queue_timeout",
            SHORTEST,
            seconds(5),
        ),
        drain_timeout: duration(
            report,
            &file.drain_timeout,
            "drain_timeout",
            SHORTEST,
            seconds(9),
        ),
        drain_delay: given(&file.drain_delay, Duration::ZERO),
        state_file: check_state_file(file, report),
        watch_config: given(&file.watch_config, false),
        trusted_proxies,
        health_paths: check_health_paths(file, report),
        backend_header: given(&file.backend_header, false),
        rate_limits: check_rates(&file.rates, Scope::Server, report),
        limits: check_limits(&file.limits, engine, report),
        timeouts: check_timeouts(&file.timeouts, engine, report),
    }
}

fn check_listener_threads(file: &ServerFile, engine: Engine, report: &Report) -> usize {
    let written = &file.listener_threads;
    let threads = count(report, written, "listener_threads", (1, 64), 1);
    if let Some(written) = written.as_ref().filter(|written| written.value != 1) {
        let message = "`listener_threads` belongs to the reactor engine";
        reactor_only(report, engine, written.place, message);
    }
    threads
}

fn check_reuse_port(file: &ServerFile, engine: Engine, report: &Report) -> bool {
    if let Some(written) = file.reuse_port.as_ref().filter(|written| written.value) {
        let message = "`reuse_port` belongs to the reactor engine";
        reactor_only(report, engine, written.place, message);
    }
    given(&file.reuse_port, false)
}

fn check_state_file(file: &ServerFile, report: &Report) -> Option<PathBuf> {
    let path = file.state_file.as_ref()?;
    if path.value.is_empty() {
        return None;
    }
    if path.value.ends_with('/') {
        let message = format!("`state_file` \"{}\" is not the name of a file", path.value);
        report.problem_hint(
            path.place,
            message,
            "write it as in \"/var/lib/tollgate/state.json\"",
        );
        return None;
    }
    Some(PathBuf::from(&path.value))
}

fn check_trusted_proxies(file: &ServerFile, report: &Report) -> Vec<IpNet> {
    let written = file.trusted_proxies.as_ref();
    let mut networks = Vec::new();
    for entry in written.into_iter().flat_map(|written| &written.value) {
        match parse_network(&entry.value) {
            Ok(network) => {
                if network.prefix_len() == 0 {
                    let message = format!("\"{}\" trusts everybody", entry.value);
                    let hint = "every client can say then that it is another one; name the proxies";
                    report.warning(entry.place, message, hint);
                }
                warn_of_host_bits(entry, network, report);
                networks.push(network);
            }
            Err((message, hint)) => report.problem_hint(entry.place, message, hint),
        }
    }
    networks
}

fn check_health_paths(file: &ServerFile, report: &Report) -> Vec<HealthPath> {
    let written = file.health_paths.as_ref();
    let mut paths: Vec<HealthPath> = Vec::new();
    for entry in written.into_iter().flat_map(|written| &written.value) {
        if let Some(fault) = path_fault(&entry.value) {
            let message = format!("health path \"{}\" {fault}", entry.value);
            report.problem_hint(entry.place, message, "write it as in \"/health\"");
        } else if paths.iter().any(|other| other.path == entry.value) {
            let message = format!("health path \"{}\" is listed twice", entry.value);
            report.problem_hint(entry.place, message, "keep it once");
        } else {
            paths.push(HealthPath {
                path: entry.value.clone(),
                kind: if entry.value == BACKENDS_PATH {
                    HealthKind::Backends
                } else {
                    HealthKind::Process
                },
            });
        }
    }
    paths
}

/// Checks `[log]`.
pub(super) fn check_log(file: &LogFile, report: &Report) -> Log {
    let path = file.file.as_ref().filter(|path| {
        if path.value.is_empty() {
            report.problem_hint(
                path.place,
                "`file` is empty",
                "leave it out for no log file",
            );
        }
        !path.value.is_empty()
    });
    Log {
        level: check_level(file, report),
        stderr: given(&file.stderr, true),
        file: path.map(|path| PathBuf::from(&path.value)),
        rotate_size: given(&file.rotate_size, 10 * MIB),
        rotate_age: given(&file.rotate_age, Duration::ZERO),
        keep: count(report, &file.keep, "keep", (0, 1000), 5),
        access: given(&file.access, true),
    }
}

fn check_level(file: &LogFile, report: &Report) -> LevelFilter {
    let Some(level) = &file.level else {
        return LevelFilter::Info;
    };
    match level.value.to_ascii_lowercase().as_str() {
        "off" => LevelFilter::Off,
        "error" => LevelFilter::Error,
        "warn" | "warning" => LevelFilter::Warn,
        "info" => LevelFilter::Info,
        "debug" => LevelFilter::Debug,
        _ => {
            let levels = ["off", "error", "warn", "info", "debug"];
            let hint = suggest::hint(&level.value, "the levels are", levels);
            report.problem_hint(
                level.place,
                format!("unknown log level \"{}\"", level.value),
                hint,
            );
            LevelFilter::Info
        }
    }
}
