//! `[upstream.tls]` and tables like it in TOML, with the files that it names.
//!
//! Does not look into the files: see [`super::super::check`].

use crate::config::file::{PemFile, UpstreamTlsFile, Written};
use crate::config::read_bytes;
use crate::config::reader::Table;
use crate::config::report::At;

/// The authorities of a whole system are about 250 KB.
const LARGEST_PEM: u64 = 4 * 1024 * 1024;

/// The `tls` of `owner`, which is the table `name`.
pub(super) fn read(owner: &Table<'_>, name: &'static str) -> Option<UpstreamTlsFile> {
    let table = owner.table("tls", name)?;
    Some(UpstreamTlsFile {
        place: table.place,
        ca: file(&table, "ca"),
        verify: table.string("verify"),
        server_name: table.string("server_name"),
        cert: file(&table, "cert"),
        key: file(&table, "key"),
    })
}

/// The file that `key` names; a relative path starts at the directory of the configuration.
fn file(table: &Table<'_>, key: &str) -> Written<PemFile> {
    let name = table.string(key)?;
    let document = table.document;
    let path = document.directory.join(&name.value);
    let bytes = read_bytes(&path, LARGEST_PEM).inspect_err(|why| {
        let message = format!("`{key}` \"{}\" {why}", name.value);
        let hint = "a relative path starts at the directory of this file";
        document.report.problem_hint(name.place, message, hint);
    });
    let file = PemFile {
        bytes: bytes.ok(),
        path,
        name: name.value,
    };
    Some(At::new(file, name.place))
}
