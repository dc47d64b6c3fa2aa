//! Backends in TOML: those of an upstream, those of a watched file, and where that file is.
//!
//! Does not check meaning or fill in defaults: see [`super::check`].

use super::file::{BackendFile, DiscoveryFile, Written};
use super::reader::{Item, Table};
use super::report::At;

/// `[upstream.discovery]`.
pub(crate) fn discovery(upstream: &Table<'_>) -> DiscoveryFile {
    let Some(table) = upstream.table("discovery", "upstream.discovery") else {
        return DiscoveryFile::default();
    };
    let file = table.string("file").map(|file| {
        let path = match file.value.as_str() {
            "" => "".into(),
            path => table.document.directory.join(path),
        };
        At::new(path, file.place)
    });
    DiscoveryFile {
        dns_interval: table.duration("dns_interval"),
        file,
        file_interval: table.duration("file_interval"),
    }
}

/// The list under `backends`; one entry may stand alone.
pub(crate) fn backends(table: &Table<'_>) -> Written<Vec<BackendFile>> {
    let item = table.item("backends")?;
    let entries = item.items().unwrap_or_else(|| vec![item]);
    let backends = entries.iter().map(backend).collect();
    Some(At::new(backends, item.place))
}

fn backend(item: &Item<'_>) -> BackendFile {
    let mut backend = BackendFile {
        place: item.place,
        ..BackendFile::default()
    };
    if item.is_table() {
        if let Some(table) = item.table("a backend", "upstream.backends") {
            backend.id = table.string("id");
            backend.url = table.string("url");
            backend.resolve = table.string("resolve");
            backend.weight = table.integer("weight");
            backend.backup = table.boolean("backup");
            backend.max_connections = table.integer("max_connections");
            backend.broken = table.item("url").is_some() && backend.url.is_none();
        }
    } else {
        backend.url = match item.is_string() {
            true => item.string("a backend"),
            false => item.wrong("a backend", "a URL or a table"),
        };
        backend.broken = backend.url.is_none();
    }
    backend
}
