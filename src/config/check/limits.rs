//! `[server.limits]` and `[server.timeouts]`: bounds and defaults of what one client, and all together, may take.
//!
//! Limits of a single route or upstream are checked with those.

use std::time::Duration;

use super::engine::needs_reactor;
use super::{SHORTEST, count, duration, given, number, size};
use crate::config::file::{ClientTimeoutsFile, LimitsFile};
use crate::config::model::{ClientTimeouts, Engine, Limits};
use crate::config::report::Report;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// More requests than this on one connection are as good as no limit.
const MOST_REQUESTS: u32 = 1_000_000_000;

/// Checks `[server.limits]`.
pub(super) fn check_limits(file: &LimitsFile, engine: Engine, report: &Report) -> Limits {
    for (key, written) in [
        ("connections", &file.connections),
        ("connections_per_client", &file.connections_per_client),
        ("requests_per_connection", &file.requests_per_connection),
        ("tunnels", &file.tunnels),
    ] {
        let what = format!("`{key}` in [server.limits]");
        needs_reactor(report, engine, &what, written);
    }
    let target = size(report, &file.target, "target", (64, MIB), 8 * KIB);
    Limits {
        head: size(report, &file.head, "head", (KIB, 16 * MIB), 32 * KIB),
        headers: count(report, &file.headers, "headers", (1, 10_000), 100),
        target: usize::try_from(target).unwrap_or(usize::MAX),
        body: given(&file.body, 64 * MIB),
        connections: count(
            report,
            &file.connections,
            "connections",
            (1, 1_000_000),
            10_000,
        ),
        connections_per_client: count(
            report,
            &file.connections_per_client,
            "connections_per_client",
            (1, 1_000_000),
            1000,
        ),
        requests_per_connection: u64::from(number(
            report,
            &file.requests_per_connection,
            "requests_per_connection",
            (0, MOST_REQUESTS),
            10_000,
        )),
        tunnels: count(report, &file.tunnels, "tunnels", (0, 100_000), 1024),
        requests_per_client: check_requests_per_client(file, report),
    }
}

/// 0: no limit.
fn check_requests_per_client(file: &LimitsFile, report: &Report) -> Option<usize> {
    let written = &file.requests_per_client;
    let most = count(report, written, "requests_per_client", (0, 1_000_000), 0);
    Some(most).filter(|most| *most > 0)
}

/// Checks `[server.timeouts]`.
pub(super) fn check_timeouts(
    file: &ClientTimeoutsFile,
    engine: Engine,
    report: &Report,
) -> ClientTimeouts {
    for (key, written) in [
        ("handshake", &file.handshake),
        ("head", &file.head),
        ("keep_alive", &file.keep_alive),
        ("tunnel_idle", &file.tunnel_idle),
    ] {
        let what = format!("`{key}` in [server.timeouts]");
        needs_reactor(report, engine, &what, written);
    }
    let what = "`min_rate` in [server.timeouts]";
    needs_reactor(report, engine, what, &file.min_rate);
    let time = |written, name, seconds| {
        let default = Duration::from_secs(seconds);
        duration(report, written, name, SHORTEST, default)
    };
    ClientTimeouts {
        handshake: time(&file.handshake, "handshake", 10),
        head: time(&file.head, "head", 10),
        body_idle: time(&file.body_idle, "body_idle", 30),
        keep_alive: time(&file.keep_alive, "keep_alive", 75),
        write_idle: time(&file.write_idle, "write_idle", 30),
        min_rate: size(report, &file.min_rate, "min_rate", (0, GIB), KIB),
        tunnel_idle: time(&file.tunnel_idle, "tunnel_idle", 3600),
    }
}
