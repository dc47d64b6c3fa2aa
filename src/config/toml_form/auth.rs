//! `[route.auth]` in the TOML form, and the files of credentials that it names.

use super::jwt;
use crate::config::credentials;
use crate::config::file::{
    ApiKeysFile, AuthFile, BasicFile, BearerFile, CredentialFile, CredentialsFile, Origin,
};
use crate::config::reader::Table;
use crate::config::secret::Secret;

/// Reads the `auth` of a route.
pub(super) fn read(route: &Table<'_>) -> Option<AuthFile> {
    route.item("auth")?;
    let Some(table) = route.table("auth", "route.auth") else {
        return Some(AuthFile {
            broken: true,
            ..AuthFile::default()
        });
    };
    let api_keys = table.table("api_keys", "route.auth.api_keys");
    let bearer = table.table("bearer", "route.auth.bearer");
    let basic = table.table("basic", "route.auth.basic");
    Some(AuthFile {
        place: table.place,
        realm: table.string("realm"),
        strip_credentials: table.boolean("strip_credentials"),
        user_header: table.string("user_header"),
        broken: false,
        api_keys: api_keys.map(|table| {
            let (entries, file, broken) = read_both(&table, "keys", "the key of");
            ApiKeysFile {
                place: table.place,
                header: table.string("header"),
                query: table.string("query"),
                keys: entries,
                file,
                broken,
            }
        }),
        jwt: table
            .table("jwt", "route.auth.jwt")
            .map(|table| jwt::read(&table)),
        forward: table
            .table("forward", "route.auth.forward")
            .map(|table| jwt::read_forward(&table)),
        bearer: bearer.map(|table| {
            let (entries, file, broken) = read_both(&table, "tokens", "the token of");
            BearerFile {
                place: table.place,
                tokens: entries,
                file,
                broken,
            }
        }),
        basic: basic.map(|table| {
            let (entries, file, broken) = read_both(&table, "users", "the password hash of");
            BasicFile {
                place: table.place,
                users: entries,
                file,
                broken,
            }
        }),
    })
}

/// What is under `key`, what is in `file`, and whether a part of these is a problem, which is reported.
fn read_both(
    table: &Table<'_>,
    key: &str,
    what: &str,
) -> (Vec<CredentialFile>, Option<CredentialsFile>, bool) {
    let (entries, is_short) = credentials(table, key, what);
    let file = file(table);
    let is_unread = file.is_none() && table.item("file").is_some();
    (entries, file, is_short || is_unread)
}

/// A table of names that the user chose, with a secret each; and whether some cannot be read.
fn credentials(table: &Table<'_>, key: &str, what: &str) -> (Vec<CredentialFile>, bool) {
    let Some(item) = table.item(key) else {
        return (Vec::new(), false);
    };
    let Some(pairs) = Table::pairs(&item, &format!("`{key}`")) else {
        return (Vec::new(), true);
    };
    let count = pairs.len();
    let pairs = pairs.into_iter();
    let entries = pairs.filter_map(|(name, item)| {
        let value = item.string(&format!("{what} `{name}`"))?;
        let origin = if item.has_variable() {
            Origin::Environment(value.place)
        } else {
            Origin::Configuration(value.place)
        };
        Some(CredentialFile {
            name,
            value: Secret::new(&value.value),
            origin,
        })
    });
    let entries: Vec<CredentialFile> = entries.collect();
    let is_short = entries.len() < count;
    (entries, is_short)
}

fn file(table: &Table<'_>) -> Option<CredentialsFile> {
    let name = table.string("file")?;
    let path = table.document.directory.join(&name.value);
    let entries = credentials::read(&path, &name.value, name.place, table.document.report)?;
    Some(CredentialsFile { path, entries })
}
