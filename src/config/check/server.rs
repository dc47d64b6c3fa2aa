//! `[server]`, `[admin]` and `[log]`: bounds, defaults, and addresses that must not be open to everyone by accident.
//!
//! Knows nothing of upstreams and routes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use log::LevelFilter;

use super::{SHORTEST, address, duration, given, number, path_fault, size};
use crate::config::file::{AdminFile, LimitsFile, LogFile, ServerFile};
use crate::config::model::{
    Admin, ClientTimeouts, Engine, HealthKind, HealthPath, Limits, Log, Server,
};
use crate::config::report::Report;
use crate::config::suggest;

/// The path whose answer lists the backends; every other health path tells of the process only.
const BACKENDS_PATH: &str = "/_health";

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Checks `[server]`.
pub(super) fn check_server(file: &ServerFile, report: &Report) -> Server {
    check_engine(file, report);
    let trusted_network = given(&file.trusted_network, false);
    let seconds = Duration::from_secs;
    Server {
        listen: check_listen(file, trusted_network, report),
        engine: Engine::TinyHttp,
        trusted_network,
        workers: count(report, &file.workers, "workers", (1, 4096), 256),
        queue: count(report, &file.queue, "queue", (0, 1_000_000), 1024),
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
        trusted_proxies: check_trusted_proxies(file, report),
        health_paths: check_health_paths(file, report),
        backend_header: given(&file.backend_header, false),
        limits: check_limits(&file.limits, report),
        timeouts: ClientTimeouts {
            body_idle: duration(report, &file.body_idle, "body_idle", SHORTEST, seconds(30)),
            write_idle: duration(
                report,
                &file.write_idle,
                "write_idle",
                SHORTEST,
                seconds(30),
            ),
        },
    }
}

fn count(
    report: &Report,
    written: &Option<crate::config::report::At<i64>>,
    name: &str,
    bounds: (u32, u32),
    default: u32,
) -> usize {
    usize::try_from(number(report, written, name, bounds, default)).unwrap_or(usize::MAX)
}

fn check_engine(file: &ServerFile, report: &Report) {
    let Some(engine) = &file.engine else {
        return;
    };
    match engine.value.as_str() {
        "tiny_http" => {}
        "reactor" => report.problem_hint(
            engine.place,
            "engine \"reactor\" is not available in this version yet",
            "write \"tiny_http\" or leave `engine` out",
        ),
        other => {
            let hint = suggest::hint(other, "the engines are", ["tiny_http"]);
            report.problem_hint(engine.place, format!("unknown engine \"{other}\""), hint);
        }
    }
}

fn check_listen(file: &ServerFile, trusted_network: bool, report: &Report) -> Vec<SocketAddr> {
    let Some(written) = &file.listen else {
        return vec![DEFAULT_LISTEN];
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for entry in &written.value {
        let address = match address::parse_listen(&entry.value) {
            Ok(address) => address,
            Err((message, hint)) => {
                report.problem_hint(entry.place, message, hint);
                continue;
            }
        };
        if !trusted_network && !address::is_loopback(address) {
            report.problem_hint(
                entry.place,
                format!("the tiny_http engine must not listen on {address}: it is not safe for clients that you do not trust"),
                format!("listen on 127.0.0.1:{}, or write `trusted_network = true` in [server] when only trusted clients can connect", address.port()),
            );
        }
        if let Some(other) = addresses
            .iter()
            .find(|other| address::collide(**other, address))
        {
            let message = format!("cannot listen on both {other} and {address}");
            report.problem_hint(entry.place, message, "keep one of them, or change a port");
        }
        addresses.push(address);
    }
    addresses
}

fn check_trusted_proxies(file: &ServerFile, report: &Report) -> Vec<IpNet> {
    let written = file.trusted_proxies.as_ref();
    let mut networks = Vec::new();
    for entry in written.into_iter().flat_map(|written| &written.value) {
        let network = entry.value.parse::<IpNet>().ok();
        let address = || entry.value.parse::<IpAddr>().ok().map(IpNet::from);
        match network.or_else(address) {
            Some(network) => networks.push(network.trunc()),
            None => report.problem_hint(
                entry.place,
                format!("\"{}\" is not a network or an address", entry.value),
                "write it as in \"10.0.0.0/8\", \"192.168.1.7\" or \"fd00::/8\"",
            ),
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

fn check_limits(file: &LimitsFile, report: &Report) -> Limits {
    let target = size(report, &file.target, "target", (64, MIB), 8 * KIB);
    Limits {
        head: size(report, &file.head, "head", (KIB, 16 * MIB), 32 * KIB),
        headers: count(report, &file.headers, "headers", (1, 10_000), 100),
        target: usize::try_from(target).unwrap_or(usize::MAX),
        body: given(&file.body, 64 * MIB),
    }
}

/// Checks `[admin]`.
pub(super) fn check_admin(
    file: &AdminFile,
    server_file: &ServerFile,
    server: &Server,
    report: &Report,
) -> Admin {
    let place = file
        .listen
        .as_ref()
        .map_or(file.place, |listen| listen.place);
    let parsed = file
        .listen
        .as_ref()
        .map(|text| address::parse_listen(&text.value));
    let listen = match parsed {
        Some(Ok(listen)) => listen,
        Some(Err((message, hint))) => {
            report.problem_hint(place, message, hint);
            DEFAULT_ADMIN
        }
        None => DEFAULT_ADMIN,
    };
    if !address::is_loopback(listen) {
        if file.token.is_none() && !file.token_broken {
            report.problem_hint(
                place,
                format!("the admin listener on {listen} would be open to everyone who can connect"),
                "set `token` or `token_file` in [admin], or listen on 127.0.0.1",
            );
        }
        if !server.trusted_network {
            report.problem_hint(
                place,
                format!("the admin listener must not be on {listen}: its engine is not safe for clients that you do not trust"),
                format!("listen on 127.0.0.1:{}, or write `trusted_network = true` in [server] when only trusted clients can connect", listen.port()),
            );
        }
    }
    if let Some(other) = server
        .listen
        .iter()
        .find(|other| address::collide(**other, listen))
    {
        let by = match &server_file.listen {
            Some(written) => format!("`listen` in [server], {}", report.name(written.place)),
            None => "the default of `listen` in [server]".to_owned(),
        };
        let message = format!("the admin listener on {listen} collides with {other} ({by})");
        report.problem_hint(place, message, "give the admin listener its own port");
    }
    Admin {
        listen,
        token: file.token.as_ref().map(|token| token.value.clone()),
    }
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
