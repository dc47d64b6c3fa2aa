//! `listen` in `[server]`: every entry with its address, and which entries no engine or no system would take.
//!
//! Only text and addresses are looked at: whether a port is free, or a path can be written, is seen when it is bound.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::engine::reactor_only;
use super::tls::check_listen_tls;
use super::{address, given};
use crate::config::file::{ListenFile, ServerFile};
use crate::config::model::{Address, Engine, Listen, ListenTls};
use crate::config::report::Report;

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Checks `listen`.
pub(super) fn check_listen(
    file: &ServerFile,
    engine: Engine,
    trusted_network: bool,
    trusted_proxies: &[IpNet],
    report: &Report,
) -> Vec<Listen> {
    let Some(written) = &file.listen else {
        return vec![Listen {
            address: Address::Ip(DEFAULT_LISTEN),
            proxy_protocol: false,
            tls: ListenTls::Plain,
            is_private: false,
        }];
    };
    let mut listens: Vec<Listen> = Vec::new();
    for entry in &written.value {
        let proxy_protocol = check_proxy_protocol(entry, file, engine, report);
        let tls = check_listen_tls(entry, engine, report);
        let Some(address) = check_address(entry, engine, trusted_network, report) else {
            continue;
        };
        if proxy_protocol {
            check_unix_is_trusted(entry, &address, trusted_proxies, report);
        }
        let mut others = listens.iter().map(|listen| &listen.address);
        if let Some(other) = others.find(|other| address::collide(other, &address)) {
            let message = format!("cannot listen on both {other} and {address}");
            let hint = match address {
                Address::Ip(_) => "keep one of them, or change a port",
                Address::Unix(_) => "keep one of them, or change a path",
            };
            report.problem_hint(entry.place, message, hint);
        }
        listens.push(Listen {
            address,
            proxy_protocol,
            tls,
            is_private: false,
        });
    }
    listens
}

fn check_address(
    entry: &ListenFile,
    engine: Engine,
    trusted_network: bool,
    report: &Report,
) -> Option<Address> {
    let Some(text) = &entry.address else {
        if !entry.broken {
            let message = "this entry of `listen` has no `address`";
            let hint = "add `address = \"127.0.0.1:8080\"`";
            report.problem_hint(entry.place, message, hint);
        }
        return None;
    };
    let address = match address::parse_listen(&text.value) {
        Ok(address) => address,
        Err((message, hint)) => {
            report.problem_hint(text.place, message, hint);
            return None;
        }
    };
    match &address {
        Address::Ip(ip) => {
            if engine == Engine::TinyHttp && !trusted_network && !address::is_loopback(*ip) {
                report.problem_hint(
                    text.place,
                    format!("the tiny_http engine must not listen on {ip}: it is not safe for clients that you do not trust"),
                    format!("listen on 127.0.0.1:{}, or write `trusted_network = true` in [server] when only trusted clients can connect", ip.port()),
                );
            }
        }
        Address::Unix(_) => {
            let message = "listening on a unix socket needs the reactor engine";
            reactor_only(report, engine, text.place, message);
        }
    }
    Some(address)
}

fn check_proxy_protocol(
    entry: &ListenFile,
    file: &ServerFile,
    engine: Engine,
    report: &Report,
) -> bool {
    let is_on = given(&entry.proxy_protocol, false);
    if let (Some(written), true) = (&entry.proxy_protocol, is_on) {
        let message = "`proxy_protocol` needs the reactor engine";
        reactor_only(report, engine, written.place, message);
        // Entries that are wrong count too: they are problems of their own.
        if file
            .trusted_proxies
            .as_ref()
            .is_none_or(|trusted| trusted.value.is_empty())
        {
            report.problem_hint(
                written.place,
                "`proxy_protocol` needs `trusted_proxies`: only those may send its header, and there are none",
                "list the proxies in [server], as in `trusted_proxies = [\"10.0.0.7\"]`, or remove `proxy_protocol`",
            );
        }
    }
    is_on
}

/// Whoever may send a PROXY protocol header over a Unix socket must be trusted under the address that it has there.
fn check_unix_is_trusted(
    entry: &ListenFile,
    address: &Address,
    trusted_proxies: &[IpNet],
    report: &Report,
) {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let is_trusted = trusted_proxies.iter().any(|net| net.contains(&loopback));
    // Without any trusted proxy there is a problem already.
    if matches!(address, Address::Ip(_)) || is_trusted || trusted_proxies.is_empty() {
        return;
    }
    if let Some(written) = &entry.proxy_protocol {
        report.problem_hint(
            written.place,
            "whoever comes over a Unix socket has the address 127.0.0.1, which `trusted_proxies` does not name",
            "add \"127.0.0.1\" to `trusted_proxies`, or remove `proxy_protocol`",
        );
    }
}
