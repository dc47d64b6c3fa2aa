//! `tollgate check`: reads the configuration, tells what is wrong or what it amounts to, and starts nothing.

use crate::config::model::{Config, HostMatch, PathMatch, Route, RouteTo, Segment};
use crate::config::{self, Loaded};

use super::notice::say;
use super::{Exit, Where, report};

pub(super) fn run(place: &Where) -> Exit {
    match config::load(&place.request()) {
        Err(problems) => report(&problems),
        Ok(Loaded { config, warnings }) => {
            for warning in &warnings {
                say(&format!("warning: {warning}"));
            }
            println(&summary(&config));
            Exit::Clean
        }
    }
}

/// The result goes to standard output, so that it can be piped; a closed pipe is nobody's problem.
fn println(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn summary(config: &Config) -> String {
    let mut text = format!("{} is good\n", config.origin);
    for address in &config.server.listen {
        text.push_str(&format!("  listen   http://{address}\n"));
    }
    if let Some(admin) = &config.admin {
        let token = if admin.token.is_some() {
            "with a token"
        } else {
            "open"
        };
        text.push_str(&format!("  admin    http://{} ({token})\n", admin.listen));
    }
    for route in &config.routes {
        text.push_str(&format!("  route    {}\n", describe(route, config)));
    }
    for upstream in &config.upstreams {
        text.push_str(&format!("  upstream {}\n", upstream.name));
        for backend in &upstream.backends {
            let is_v6 = backend.host.contains(':');
            let host = if is_v6 {
                format!("[{}]", backend.host)
            } else {
                backend.host.clone()
            };
            let (id, port, weight) = (&backend.id, backend.port, backend.weight);
            text.push_str(&format!(
                "    {id}: http://{host}:{port}, weight {weight}\n"
            ));
        }
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
    };
    format!("{}: {host}, {path} -> {to}", route.name)
}
