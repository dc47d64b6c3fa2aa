//! What the configuration comes to with what discovery has found. Who has it take effect is [`super::registry`].

use std::collections::BTreeMap;

use crate::config::model::{Backend, Config};
use crate::discovery::{Found, Glance, Source, Watched, merge};

/// What was found, by upstream.
pub(super) type AllFound = BTreeMap<String, Found>;

/// Says which backends of a file are left out.
pub(super) fn warn_of_shadowed(upstream: &str, configured: &Config, of_file: &[Backend]) {
    let upstreams = configured.upstreams.iter();
    let fixed = upstreams
        .filter(|one| one.name == upstream)
        .flat_map(|one| &one.backends);
    for backend in fixed {
        let id = &backend.id;
        if of_file.iter().any(|one| one.id == *id) {
            log::warn!(
                "upstream {upstream}: backend {id} is configured already: the one found is left out"
            );
        }
    }
}

/// Forgets what was found for upstreams and backends that are not there any more.
pub(super) fn prune(configured: &Config, found: &mut AllFound) {
    found.retain(|name, found| {
        let upstreams = &configured.upstreams;
        let Some(upstream) = upstreams.iter().find(|one| one.name == *name) else {
            return false;
        };
        let of_file: Vec<String> = found
            .get(&Source::File)
            .into_iter()
            .flatten()
            .map(|one| one.id.clone())
            .collect();
        found.retain(|source, _| match source {
            Source::File => upstream.discovery.file.is_some(),
            Source::Dns { backend } => {
                let mut fixed = upstream.backends.iter();
                fixed.any(|one| one.id == *backend) || of_file.contains(backend)
            }
        });
        !found.is_empty()
    });
}

/// `configured` with what was found.
pub(super) fn effective(configured: &Config, found: &AllFound) -> Config {
    let mut config = configured.clone();
    for upstream in &mut config.upstreams {
        if let Some(found) = found.get(&upstream.name) {
            upstream.backends = merge(&upstream.backends, found);
        }
    }
    config
}

/// `config` with the backends of its files as they are now, and what is odd or wrong with these. Looks up no names.
pub fn with_files(config: &Config) -> (Config, Vec<String>) {
    let own = &config.server.listen;
    let mut words = Vec::new();
    let mut found = AllFound::new();
    for upstream in &config.upstreams {
        let Some(file) = &upstream.discovery.file else {
            continue;
        };
        match Watched::new(file.clone()).look(own) {
            Glance::Same => (),
            Glance::Trouble(lines) => words.extend(lines),
            Glance::Backends(backends, warnings) => {
                words.extend(warnings);
                let of_upstream = Found::from([(Source::File, backends)]);
                found.insert(upstream.name.clone(), of_upstream);
            }
        }
    }
    (effective(config, &found), words)
}
