//! `jwt` and `forward` of `[route.auth]` in the TOML form, and the files of keys that are named there.

use std::path::PathBuf;

use super::upstream_tls;
use crate::config::file::{ForwardAuthFile, JwtFile, KeysFile};
use crate::config::key_files::{self, Found};
use crate::config::model::{ClaimValue, KeyFormat};
use crate::config::reader::{Item, Table};
use crate::config::report::{At, Place};
use crate::config::secret::fingerprint;
use crate::config::secret_source;
use crate::jose::{Key, KeySet};

/// The ways to say where the keys are.
const SOURCES: [&str; 4] = ["jwks", "key", "secret", "secret_file"];

pub(super) fn read(table: &Table<'_>) -> JwtFile {
    let require = table.item("require");
    let require = require.and_then(|item| Table::pairs(&item, "`require`"));
    let headers = table.item("headers");
    let headers = headers.and_then(|item| Table::pairs(&item, "`headers`"));
    JwtFile {
        place: table.place,
        keys: keys(table),
        algorithms: table.strings("algorithms"),
        issuer: table.strings("issuer"),
        audience: table.strings("audience"),
        leeway: table.duration("leeway"),
        require_expiry: table.boolean("require_expiry"),
        require: require
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(claim, item)| {
                let values = values(&claim, &item)?;
                Some((At::new(claim, item.place), values))
            })
            .collect(),
        headers: headers
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(name, item)| {
                let claim = item.string(&format!("the claim for `{name}`"))?;
                Some((name, claim))
            })
            .collect(),
        header: table.string("header"),
        cookie: table.string("cookie"),
    }
}

pub(super) fn read_forward(table: &Table<'_>) -> ForwardAuthFile {
    ForwardAuthFile {
        place: table.place,
        url: table.string("url"),
        timeout: table.duration("timeout"),
        request_headers: table.strings("request_headers"),
        response_headers: table.strings("response_headers"),
        user_header: table.string("user_header"),
        tls: upstream_tls::read(table, "route.auth.forward.tls"),
    }
}

/// What a claim may be: one value, or a list of them.
fn values(claim: &str, item: &Item<'_>) -> Option<Vec<ClaimValue>> {
    let what = format!("the value of `{claim}`");
    let one = |item: &Item<'_>| {
        if item.is_string() {
            item.string(&what).map(|text| ClaimValue::Text(text.value))
        } else if item.is_boolean() {
            item.boolean(&what).map(|at| ClaimValue::Bool(at.value))
        } else if item.is_integer() {
            item.integer(&what).map(|at| ClaimValue::Integer(at.value))
        } else {
            item.wrong(&what, "a string, a whole number, true or false")
        }
    };
    match item.items() {
        Some(items) => items.iter().map(one).collect(),
        None => one(item).map(|value| vec![value]),
    }
}

/// The keys of the one source that is named. None: it is reported why there are none.
fn keys(table: &Table<'_>) -> Option<KeysFile> {
    let report = table.document.report;
    let named = SOURCES
        .into_iter()
        .filter_map(|key| Some((key, table.item(key)?)));
    let named: Vec<(&str, Item<'_>)> = named.collect();
    let (source, place) = match &*named {
        [(source, item)] => (*source, item.place),
        [] => {
            let hint = "add `jwks`, `key` (a PEM file), `secret` or `secret_file`";
            report.problem_hint(table.place, "`jwt` has no key", hint);
            return None;
        }
        [(first, _), (second, item), ..] => {
            let message = format!("`{first}` and `{second}` of `jwt` exclude each other");
            report.problem_unseen(item.place, message, "keep one of them");
            return None;
        }
    };
    match source {
        "jwks" => {
            let name = table.string("jwks")?;
            files(table, place, KeyFormat::Jwks, source, &[name])
        }
        "key" => {
            let names = table.strings("key")?.value;
            files(table, place, KeyFormat::Pem, source, &names)
        }
        _ => secret(table, source, place),
    }
}

/// The keys of all these files together.
fn files(
    table: &Table<'_>,
    place: Place,
    format: KeyFormat,
    source: &str,
    names: &[At<String>],
) -> Option<KeysFile> {
    let report = table.document.report;
    if names.is_empty() {
        report.problem_hint(place, format!("`{source}` is empty"), "name a file");
        return None;
    }
    let directory = table.document.directory;
    let files = names.iter().map(|name| directory.join(&name.value));
    let files: Vec<PathBuf> = files.collect();
    let Found { set, fingerprint } = key_files::read(format, &files, names, source, report)?;
    Some(KeysFile {
        place,
        files,
        format,
        set,
        fingerprint,
    })
}

fn secret(table: &Table<'_>, source: &str, place: Place) -> Option<KeysFile> {
    let report = table.document.report;
    let secret = secret_source::find(table, "secret", "secret_file", "").ok()??;
    let is_written_out = table
        .item("secret")
        .is_some_and(|item| !item.has_variable());
    if is_written_out {
        let message = "the secret of `jwt` is written out in the configuration";
        let hint = "use `secret_file`, or take it from `${VARIABLE}`";
        report.warning_unseen(place, message, hint);
    }
    let key = Key::hmac(secret.value.bytes()).map_err(|bad| {
        let hint = "`openssl rand -hex 32` makes a good one";
        report.problem_unseen(place, format!("`{source}` cannot be used: {bad}"), hint);
    });
    let file = table
        .string("secret_file")
        .filter(|_| source == "secret_file");
    let file = file.map(|name| table.document.directory.join(name.value));
    let files: Vec<PathBuf> = file.into_iter().collect();
    let text = std::str::from_utf8(secret.value.bytes()).unwrap_or_default();
    Some(KeysFile {
        place,
        files,
        format: KeyFormat::Secret,
        set: KeySet::from(key.ok()?),
        fingerprint: fingerprint(text),
    })
}
