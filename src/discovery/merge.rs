//! Who is in an upstream: what is configured, and what was found. Pure.

use std::collections::{BTreeMap, HashSet};

use crate::config::model::{Backend, Resolve};

use super::Source;

/// What was found for one upstream.
pub type Found = BTreeMap<Source, Vec<Backend>>;

/// The backends of an upstream: those configured, then those of the file, where an id that is taken is left out. A backend
/// that stands for all addresses of its name is replaced by what was found for it. Of that only the addresses count:
/// everything else is taken from the backend itself, which may have been configured anew.
pub fn merge(configured: &[Backend], found: &Found) -> Vec<Backend> {
    let of_file = found.get(&Source::File).into_iter().flatten();
    let mut ids = HashSet::new();
    let mut merged = Vec::new();
    for backend in configured.iter().chain(of_file) {
        if !ids.insert(backend.id.clone()) {
            continue;
        }
        let members = expand(backend, found);
        if members.is_empty() {
            merged.push(backend.clone());
        } else {
            merged.extend(members);
        }
    }
    // An id may look like one that was made here.
    let mut ids = HashSet::new();
    merged.retain(|backend| ids.insert(backend.id.clone()));
    merged
}

/// Empty: nothing was found for it, or there is nothing to find.
fn expand(template: &Backend, found: &Found) -> Vec<Backend> {
    if template.resolve != Resolve::All {
        return Vec::new();
    }
    let source = Source::Dns {
        backend: template.id.clone(),
    };
    let found = found.get(&source).into_iter().flatten();
    // What was found for another name, before the configuration changed, is of no use.
    let found = found.filter(|backend| backend.at == template.at);
    let members = found.filter_map(|backend| match &backend.resolve {
        Resolve::At { address, .. } => Some(template.at_address(*address)),
        Resolve::One | Resolve::All => None,
    });
    members.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::BackendAddress;

    fn backend(id: &str, host: &str) -> Backend {
        let host = host.into();
        Backend::new(id, BackendAddress::Tcp { host, port: 80 })
    }

    fn all(id: &str, host: &str) -> Backend {
        Backend {
            resolve: Resolve::All,
            ..backend(id, host)
        }
    }

    fn ids(backends: &[Backend]) -> Vec<&str> {
        backends.iter().map(|backend| backend.id.as_str()).collect()
    }

    fn addresses(template: &Backend, last: &[u8]) -> (Source, Vec<Backend>) {
        let at = |last: &u8| template.at_address([10, 0, 0, *last].into());
        let backend = template.id.clone();
        (Source::Dns { backend }, last.iter().map(at).collect())
    }

    #[test]
    fn nothing_found_changes_nothing() {
        let configured = [backend("a", "a"), all("b", "b")];
        assert_eq!(merge(&configured, &Found::new()), configured);
        assert_eq!(merge(&[], &Found::new()), []);
    }

    #[test]
    fn a_stand_in_gives_way_to_what_it_stands_for() {
        let old = all("b", "b");
        let found = Found::from([addresses(&old, &[1, 2])]);
        let configured = [
            backend("a", "a"),
            Backend {
                weight: 7,
                is_backup: true,
                max_connections: 3,
                ..old
            },
            backend("c", "c"),
        ];
        let merged = merge(&configured, &found);
        assert_eq!(ids(&merged), ["a", "b@10.0.0.1", "b@10.0.0.2", "c"]);
        for one in &merged[1..3] {
            assert_eq!(
                (one.weight, one.is_backup, one.max_connections),
                (7, true, 3)
            );
            assert_eq!(one.at, configured[1].at);
        }
        // It is looked up no more, or under another name.
        assert_eq!(ids(&merge(&[backend("b", "b")], &found)), ["b"]);
        assert_eq!(ids(&merge(&[all("b", "other")], &found)), ["b"]);
    }

    #[test]
    fn the_file_adds_and_never_replaces() {
        let wide = all("w", "w");
        let (dns, at) = addresses(&wide, &[9]);
        let found = Found::from([
            (
                Source::File,
                vec![backend("a", "x"), backend("f", "f"), wide],
            ),
            (dns, at),
        ]);
        let merged = merge(&[backend("a", "a"), backend("w@10.0.0.9", "z")], &found);
        assert_eq!(ids(&merged), ["a", "w@10.0.0.9", "f"]);
        assert_eq!(merged[0].at, backend("a", "a").at);
        assert_eq!(ids(&merge(&[], &found)), ["a", "f", "w@10.0.0.9"]);
    }
}
