//! `[admin]`: where it listens, and that it is not open to everyone by accident.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::address;
use crate::config::file::{AdminFile, ServerFile};
use crate::config::model::{Address, Admin, Engine, Server};
use crate::config::report::Report;

const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);

/// Shorter ones can be guessed.
const SHORTEST_TOKEN: usize = 16;

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
    let listen = admin_address(file, report);
    if let Some(ip) = listen.ip().filter(|ip| !address::is_loopback(*ip)) {
        if file.token.is_none() && !file.token_broken {
            report.problem_hint(
                place,
                format!("the admin listener on {ip} would be open to everyone who can connect"),
                "set `token` or `token_file` in [admin], or listen on 127.0.0.1 or on a unix socket",
            );
        }
        if server.engine == Engine::TinyHttp && !server.trusted_network {
            report.problem_hint(
                place,
                format!("the admin listener must not be on {ip}: its engine is not safe for clients that you do not trust"),
                format!("listen on 127.0.0.1:{}, or write `trusted_network = true` in [server] when only trusted clients can connect", ip.port()),
            );
        }
    }
    let token = file.token.as_ref();
    if let Some(token) = token.filter(|token| token.value.bytes().len() < SHORTEST_TOKEN) {
        let message = format!(
            "the admin token is shorter than {SHORTEST_TOKEN} characters: it can be guessed"
        );
        let hint = "`openssl rand -hex 24` makes a good one";
        report.warning_unseen(token.place, message, hint);
    }
    let mut others = server.listen.iter().map(|other| &other.address);
    if let Some(other) = others.find(|other| address::collide(other, &listen)) {
        let by = match &server_file.listen {
            Some(written) => format!("`listen` in [server], {}", report.name(written.place)),
            None => "the default of `listen` in [server]".to_owned(),
        };
        let message = format!("the admin listener on {listen} collides with {other} ({by})");
        let hint = match listen {
            Address::Ip(_) => "give the admin listener its own port",
            Address::Unix(_) => "give the admin listener its own path",
        };
        report.problem_hint(place, message, hint);
    }
    Admin {
        listen,
        token: file.token.as_ref().map(|token| token.value.clone()),
    }
}

fn admin_address(file: &AdminFile, report: &Report) -> Address {
    let Some(text) = &file.listen else {
        return Address::Ip(DEFAULT_ADMIN);
    };
    address::parse_listen(&text.value).unwrap_or_else(|(message, hint)| {
        report.problem_hint(text.place, message, hint);
        Address::Ip(DEFAULT_ADMIN)
    })
}
