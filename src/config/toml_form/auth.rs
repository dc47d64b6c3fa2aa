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
        api_keys: api_keys.map(|table| ApiKeysFile {
            place: table.place,
            header: table.string("header"),
            query: table.string("query"),
            keys: credentials(&table, "keys", "the key of"),
            file: file(&table),
        }),
        jwt: table
            .table("jwt", "route.auth.jwt")
            .map(|table| jwt::read(&table)),
        forward: table
            .table("forward", "route.auth.forward")
            .map(|table| jwt::read_forward(&table)),
        bearer: bearer.map(|table| BearerFile {
            place: table.place,
            tokens: credentials(&table, "tokens", "the token of"),
            file: file(&table),
        }),
        basic: basic.map(|table| BasicFile {
            place: table.place,
            users: credentials(&table, "users", "the password hash of"),
            file: file(&table),
        }),
    })
}

/// A table of names that the user chose, with a secret each.
fn credentials(table: &Table<'_>, key: &str, what: &str) -> Vec<CredentialFile> {
    let pairs = table
        .item(key)
        .and_then(|item| Table::pairs(&item, &format!("`{key}`")));
    let pairs = pairs.unwrap_or_default().into_iter();
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
    entries.collect()
}

fn file(table: &Table<'_>) -> Option<CredentialsFile> {
    let name = table.string("file")?;
    let path = table.document.directory.join(&name.value);
    let entries = credentials::read(&path, &name.value, name.place, table.document.report)?;
    Some(CredentialsFile { path, entries })
}
