//! `[server.tls]` in TOML, and `tls` in an entry of `listen`.
//!
//! Does not check meaning, and opens no file: see [`super::super::check`].

use std::path::PathBuf;

use crate::config::file::{CertificateFile, ClientAuthFile, ListenTlsFile, ServerTlsFile, Written};
use crate::config::reader::{Item, Table};
use crate::config::report::At;

/// `tls` of a listener.
pub(super) fn listen_tls(table: &Table<'_>) -> Written<ListenTlsFile> {
    let item = table.item("tls")?;
    if item.is_string() {
        let word = item.string("`tls`")?;
        let tls = match word.value.as_str() {
            // What a variable may come to.
            "true" => ListenTlsFile::Switch(true),
            "false" => ListenTlsFile::Switch(false),
            word => ListenTlsFile::Word(word.to_owned()),
        };
        return Some(At::new(tls, word.place));
    }
    if !item.is_boolean() {
        return item.wrong("`tls`", "true, false or \"self-signed\"");
    }
    let switch = item.boolean("`tls`")?;
    Some(At::new(ListenTlsFile::Switch(switch.value), switch.place))
}

/// `[server.tls]`.
pub(super) fn server_tls(server: &Table<'_>) -> Option<ServerTlsFile> {
    let item = server.item("tls")?;
    let Some(table) = item.table("`tls`", "server.tls") else {
        return Some(ServerTlsFile {
            place: item.place,
            broken: true,
            ..ServerTlsFile::default()
        });
    };
    let certificates = table.item("certificates").map(|item| {
        let entries = item.items().unwrap_or_else(|| vec![item]);
        At::new(entries.iter().map(certificate).collect(), item.place)
    });
    let (cert, key) = (path(&table, "cert"), path(&table, "key"));
    let is_lost =
        |written: &Written<PathBuf>, name| table.item(name).is_some() && written.is_none();
    Some(ServerTlsFile {
        place: table.place,
        broken: is_lost(&cert, "cert") || is_lost(&key, "key"),
        cert,
        key,
        certificates,
        min_version: table.string("min_version"),
        client_auth: client_auth(&table),
    })
}

fn certificate(item: &Item<'_>) -> CertificateFile {
    let Some(table) = item.table("every entry of `certificates`", "server.tls.certificates") else {
        return CertificateFile {
            place: item.place,
            broken: true,
            ..CertificateFile::default()
        };
    };
    let (cert, key) = (path(&table, "cert"), path(&table, "key"));
    let is_lost =
        |written: &Written<PathBuf>, name| table.item(name).is_some() && written.is_none();
    CertificateFile {
        place: item.place,
        broken: is_lost(&cert, "cert") || is_lost(&key, "key"),
        cert,
        key,
    }
}

fn client_auth(tls: &Table<'_>) -> Option<ClientAuthFile> {
    let table = tls.table("client_auth", "server.tls.client_auth")?;
    let ca = path(&table, "ca");
    Some(ClientAuthFile {
        place: table.place,
        broken: table.item("ca").is_some() && ca.is_none(),
        ca,
        mode: table.string("mode"),
        header: table.string("header"),
    })
}

/// A path that starts at the configuration file where it is relative.
fn path(table: &Table<'_>, key: &str) -> Written<PathBuf> {
    let written = table.string(key)?;
    let path = match written.value.as_str() {
        "" => PathBuf::new(),
        path => table.document.directory.join(path),
    };
    Some(At::new(path, written.place))
}
