//! `tollgate check`: reads the configuration, tells what is wrong or what it amounts to, and starts nothing.

use std::time::SystemTime;

use ipnet::IpNet;

use crate::config::model::{
    Address, Admin, Backend, Certificates, Conditions, Config, Engine, HostMatch, Listen,
    ListenTls, PathMatch, Resolve, Route, RouteTo, Segment, ServerTls, Upstream,
};
use crate::config::{self, Loaded};

use crate::app;
use crate::tls::Fault;
use crate::tls::server::Terminator;

use super::notice::{print, say};
use super::{Exit, Where, report};

pub(super) fn run(place: &Where) -> Exit {
    match config::load(&place.request()) {
        Err(problems) => report(&problems),
        Ok(Loaded {
            config, warnings, ..
        }) => {
            for warning in &warnings {
                say(&format!("warning: {warning}"));
            }
            let (config, words) = app::with_files(&config);
            for word in words {
                say(&format!("warning: {word}"));
            }
            let terminator = config.server.tls.as_ref().map(described_tls);
            let tls = match terminator.transpose() {
                Ok(lines) => lines.unwrap_or_default(),
                Err(fault) => {
                    say(&format!("[server.tls]: {fault}"));
                    return Exit::BadConfig;
                }
            };
            let untrusted = app::without_authorities(&config);
            if !untrusted.is_empty() {
                untrusted.iter().for_each(|fault| say(fault));
                return Exit::BadConfig;
            }
            print(&summary(&config, &tls));
            Exit::Clean
        }
    }
}

fn summary(config: &Config, tls: &[String]) -> String {
    let mut text = format!("{} is good\n", config.origin);
    for listen in &config.server.listen {
        let listen = describe_listen(listen, config.server.engine);
        text.push_str(&format!("  listen   {listen}\n"));
    }
    for line in tls {
        text.push_str(&format!("  tls      {line}\n"));
    }
    if let Some(admin) = &config.admin {
        let address = admin.listen.url(ListenTls::Plain);
        text.push_str(&format!("  admin    {address}, {}\n", open_to(admin)));
    }
    for route in &config.routes {
        text.push_str(&format!("  route    {}\n", describe(route, config)));
    }
    for upstream in &config.upstreams {
        text.push_str(&format!("  upstream {}\n", describe_upstream(upstream)));
        for backend in &upstream.backends {
            let tls = upstream.tls.describe(&backend.at);
            let tls = tls.map(|tls| format!(", {tls}")).unwrap_or_default();
            text.push_str(&format!("    {}{tls}\n", describe_backend(backend)));
        }
        if let Some(file) = &upstream.discovery.file {
            let path = file.path.display();
            text.push_str(&format!("    and those in {path}, which is watched\n"));
        }
    }
    text
}

/// How many days a certificate is still valid; below 0, one day more than it has been expired for.
fn left(days: i64) -> String {
    match days {
        -1 => "expired less than a day ago".to_owned(),
        -2 => "expired 1 day ago".to_owned(),
        ..=-3 => format!("expired {} days ago", days.unsigned_abs() - 1),
        1 => "1 day left".to_owned(),
        _ => format!("{days} days left"),
    }
}

/// The certificates as they are in their files, and what is odd about them.
fn described_tls(settings: &ServerTls) -> Result<Vec<String>, Fault> {
    if matches!(settings.certificates, Certificates::SelfSigned { .. }) {
        let line = "a self-signed certificate, made at the start";
        // Its authorities may still be wrong.
        Terminator::open(settings)?;
        return Ok(vec![line.to_owned()]);
    }
    let terminator = Terminator::open(settings)?;
    let now = SystemTime::now();
    let mut lines = Vec::new();
    for shown in terminator.certificates() {
        let file = shown.file.as_ref().map(|file| file.display().to_string());
        let file = file.unwrap_or_default();
        let names = shown.names.join(", ");
        let left = left(shown.validity.days_left(now));
        let until = shown.validity.until_text();
        lines.push(format!("{file}: {names}, {left} (until {until})"));
        if let Some(warning) = shown.warning(now) {
            say(&format!("warning: {file} {warning}"));
        }
        if let Some(oddity) = &shown.oddity {
            say(&format!("warning: {oddity}"));
        }
    }
    if let Some(clients) = terminator.clients() {
        let (file, mode) = (clients.file.display(), clients.mode.as_str());
        let count = clients.authorities;
        lines.push(format!(
            "client certificates {mode}, from {count} authorities in {file}"
        ));
    }
    Ok(lines)
}

/// Who may use the admin side.
fn open_to(admin: &Admin) -> &'static str {
    match (&admin.token, &admin.listen) {
        (None, Address::Unix(_)) => "open to the user that runs tollgate",
        (Some(_), Address::Unix(_)) => "for the user that runs tollgate, with the token",
        (None, Address::Ip(_)) => "open to everybody on this machine, as there is no token",
        (Some(_), Address::Ip(address)) if address.ip().is_loopback() => {
            "for everybody on this machine who has the token"
        }
        (Some(_), Address::Ip(_)) => {
            "for everybody who has the token, which other machines send without TLS"
        }
    }
}

fn describe_listen(listen: &Listen, engine: Engine) -> String {
    let mut text = listen.address.url(listen.tls);
    if listen.proxy_protocol {
        text.push_str(", PROXY protocol from trusted proxies");
    }
    if engine == Engine::TinyHttp {
        text.push_str(" (tiny_http engine)");
    }
    let is_beyond = listen.address.ip().is_some_and(|ip| !ip.ip().is_loopback());
    if is_beyond && listen.tls == ListenTls::Plain {
        text.push_str(", open to other machines without TLS");
    }
    text
}

fn describe_upstream(upstream: &Upstream) -> String {
    let mut text = format!("{}, {}", upstream.name, upstream.balance);
    if let Some(sticky) = &upstream.sticky {
        text.push_str(&format!(", sticky by cookie {}", sticky.cookie));
    }
    text
}

/// The id is left out where it would only repeat the address.
fn describe_backend(backend: &Backend) -> String {
    let (id, at, weight) = (&backend.id, backend.at.to_string(), backend.weight);
    let mut text = if *id == at {
        format!("{at}, weight {weight}")
    } else {
        format!("{id}: {at}, weight {weight}")
    };
    if backend.resolve == Resolve::All {
        text.push_str(", one for each of its addresses");
    }
    if backend.is_backup {
        text.push_str(", backup");
    }
    if backend.max_connections < usize::MAX {
        text.push_str(&format!(
            ", at most {} requests at a time",
            backend.max_connections
        ));
    }
    text
}

fn describe(route: &Route, config: &Config) -> String {
    let host = match &route.host {
        HostMatch::Any => "any host".to_owned(),
        HostMatch::Exact(host) => host.clone(),
        HostMatch::Suffix(suffix) => format!("*{suffix}"),
    };
    let path = match &route.path {
        PathMatch::Exact(path) => format!("{path} only"),
        PathMatch::Prefix(prefix) => prefix.clone(),
        PathMatch::Pattern(segments) => segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(text) => format!("/{text}"),
                Segment::Parameter(name) => format!("/{{{name}}}"),
            })
            .collect(),
    };
    let name = |index: &usize| {
        config
            .upstreams
            .get(*index)
            .map_or("?", |upstream| upstream.name.as_str())
    };
    let to = match &route.to {
        RouteTo::Upstream(index) => name(index).to_owned(),
        RouteTo::Services { table, .. } => {
            let list: Vec<String> = table
                .iter()
                .map(|(service, index)| format!("{service} => {}", name(index)))
                .collect();
            list.join(", ")
        }
        RouteTo::Redirect(redirect) => {
            format!("redirect {} to {}", redirect.status.as_u16(), redirect.to)
        }
        RouteTo::Answer(answer) => format!(
            "answer {} with {} bytes",
            answer.status.as_u16(),
            answer.content.body.len()
        ),
        RouteTo::Split(split) => {
            let sides = split.sides.iter();
            let list: Vec<String> = sides
                .map(|side| format!("{} ({})", name(&side.upstream), side.weight))
                .collect();
            format!("{} by {}", list.join(", "), split.key)
        }
    };
    let conditions = describe_conditions(&route.conditions);
    let mirror = route.mirror.map_or_else(String::new, |mirror| {
        let upstream = name(&mirror.upstream);
        format!(", {} % copied to {upstream}", mirror.percent)
    });
    let maintenance = match route.maintenance {
        Some(_) => " (in maintenance)",
        None => "",
    };
    let name = &route.name;
    format!("{name}: {host}, {path}{conditions} -> {to}{mirror}{maintenance}")
}

/// Each with a comma in front.
fn describe_conditions(conditions: &Conditions) -> String {
    let mut text = String::new();
    let methods: Vec<&str> = conditions
        .methods
        .iter()
        .map(http::Method::as_str)
        .collect();
    if !methods.is_empty() {
        text.push_str(&format!(", {}", methods.join(" or ")));
    }
    // The values of these may be as good as passwords.
    for value in &conditions.headers {
        text.push_str(&format!(", header {}", value.without_value()));
    }
    for value in &conditions.query {
        text.push_str(&format!(", query {value}"));
    }
    for value in &conditions.cookies {
        text.push_str(&format!(", cookie {}", value.without_value()));
    }
    let network = |network: &IpNet| match network.prefix_len() == network.max_prefix_len() {
        true => network.addr().to_string(),
        false => network.to_string(),
    };
    let networks: Vec<String> = conditions.client_ip.iter().map(network).collect();
    if !networks.is_empty() {
        text.push_str(&format!(", from {}", networks.join(" or ")));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn days_are_never_negative() {
        for (days, text) in [
            (2, "2 days left"),
            (1, "1 day left"),
            (0, "0 days left"),
            (-1, "expired less than a day ago"),
            (-2, "expired 1 day ago"),
            (-9, "expired 8 days ago"),
        ] {
            assert_eq!(super::left(days), text);
        }
    }

    #[test]
    fn every_form_of_address_reads_well() {
        let text = "[server]\nlisten = [\":8080\", { address = \"[::]:8081\", proxy_protocol = true }, \"unix:/run/t.sock\"]\n\
            trusted_proxies = [\"10.0.0.7\"]\n[admin]\n[[upstream]]\nname = \"web\"\n\
            backends = [\"http://[::1]:9001\", \"unix:/run/a.sock\", { id = \"b\", url = \"unix:/run/b.sock\", weight = 2 }]\n";
        let config = config::load_str("t.toml", text).unwrap().config;
        assert_eq!(
            summary(&config, &[]),
            "t.toml is good\n\
             \x20 listen   http://127.0.0.1:8080\n\
             \x20 listen   http://[::]:8081, PROXY protocol from trusted proxies, open to other machines without TLS\n\
             \x20 listen   unix:/run/t.sock\n\
             \x20 admin    http://127.0.0.1:9180, open to everybody on this machine, as there is no token\n\
             \x20 route    default: any host, / -> web\n\
             \x20 upstream web, round_robin\n\
             \x20   [::1]:9001: http://[::1]:9001, weight 1\n\
             \x20   unix:/run/a.sock, weight 1\n\
             \x20   b: unix:/run/b.sock, weight 2\n"
        );
        let tiny = "[server]\nengine = \"tiny_http\"\n[[upstream]]\nname = \"web\"\nbackends = [\"http://web\"]\n";
        let config = config::load_str("t.toml", tiny).unwrap().config;
        let listen = "  listen   http://127.0.0.1:8080 (tiny_http engine)\n";
        assert!(summary(&config, &[]).contains(listen));
    }

    #[test]
    fn values_of_header_fields_and_cookies_are_not_shown() {
        let text = "[[upstream]]\nname = \"web\"\nbackends = [\"http://web\"]\n[[route]]\nname = \"r\"\nupstream = \"web\"\n\
            match = { header = { X-Key = \"hunter2\", X-Any = \"*\" }, cookie = { pass = \"hunter2\" }, query = { v = \"2*\" } }\n";
        let config = config::load_str("t.toml", text).unwrap().config;
        let route = "  route    r: any host, /, header x-any = \"*\", header x-key = …, query v = \"2*\", cookie pass = … -> web\n";
        let summary = summary(&config, &[]);
        assert!(summary.contains(route), "{summary}");
    }
}
