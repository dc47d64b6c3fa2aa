//! `[[route]]` in the TOML form.

use super::{access, action, auth, browser, limits};
use crate::config::file::{ConditionsFile, MirrorFile, Pairs, RouteFile, SideFile, Written};
use crate::config::reader::{Item, Table};
use crate::config::report::At;

/// Reads one `[[route]]`.
pub(super) fn read(table: &Table<'_>) -> RouteFile {
    let matching = table.table("match", "route.match");
    let (conditions, are_conditions_broken) = matching.as_ref().map(conditions).unwrap_or_default();
    let text = |key| matching.as_ref().and_then(|table| table.string(key));
    let (host, path, path_exact) = (text("host"), text("path"), text("path_exact"));
    let upstream = table.string("upstream");
    let services = pairs(table, "services", "the upstream of service");
    let split = split(table);
    let actions = action::read(table);
    let is_asked = |table: Option<&Table<'_>>, key| table.is_some_and(|t| t.item(key).is_some());
    let is_lost = |key, is_read: bool| is_asked(Some(table), key) && !is_read;
    let is_lost_within = |key, is_read: bool| is_asked(matching.as_ref(), key) && !is_read;
    let broken = is_lost("match", matching.is_some())
        || is_lost_within("host", host.is_some())
        || is_lost_within("path", path.is_some())
        || is_lost_within("path_exact", path_exact.is_some())
        || are_conditions_broken
        || is_lost("upstream", upstream.is_some())
        || is_lost("services", services.is_some())
        || is_lost("split", split.is_some())
        || actions.broken;
    RouteFile {
        place: table.place,
        name: table.string("name"),
        host,
        path,
        path_exact,
        conditions,
        upstream,
        services,
        split,
        split_key: table.string("split_key"),
        split_override: table.string("split_override"),
        mirror: mirror(table),
        strip_prefix: table.string("strip_prefix"),
        lists: access::lists(table),
        rules: access::rules(table),
        paths: table.string("paths"),
        max_body: table.size("max_body"),
        upgrade: table.boolean("upgrade"),
        cors: browser::cors(table),
        security_headers: browser::security_headers(table, "route.security_headers"),
        actions,
        auth: auth::read(table),
        limits: limits::route(table),
        broken,
    }
}

/// The conditions, and whether one of them is a problem that is already reported.
pub(super) fn conditions(table: &Table<'_>) -> (ConditionsFile, bool) {
    let file = ConditionsFile {
        method: table.strings("method"),
        header: values(table, "header", "the value of header"),
        query: values(table, "query", "the value of parameter"),
        cookie: values(table, "cookie", "the value of cookie"),
        client_ip: table.strings("client_ip"),
    };
    let is_lost = |key, is_read: bool| table.item(key).is_some() && !is_read;
    let is_broken = is_lost("method", file.method.is_some())
        || is_lost("header", file.header.is_some())
        || is_lost("query", file.query.is_some())
        || is_lost("cookie", file.cookie.is_some())
        || is_lost("client_ip", file.client_ip.is_some());
    (file, is_broken)
}

/// A table whose keys are names that the user chose; `what` a value is called in front of its name.
fn pairs(table: &Table<'_>, key: &str, what: &str) -> Pairs {
    let item = table.item(key)?;
    let pairs = Table::pairs(&item, &format!("`{key}`"))?;
    let pairs = pairs.into_iter().filter_map(|(name, item)| {
        let value = item.string(&format!("{what} `{name}`"))?;
        Some((name, value))
    });
    Some(At::new(pairs.collect(), item.place))
}

/// The same, but nothing at all when one of the values is of another type.
fn values(table: &Table<'_>, key: &str, what: &str) -> Pairs {
    let read = pairs(table, key, what)?;
    let written = Table::pairs(&table.item(key)?, key)?;
    (read.value.len() == written.len()).then_some(read)
}

fn split(table: &Table<'_>) -> Written<Vec<SideFile>> {
    let item = table.item("split")?;
    let Some(entries) = item.items() else {
        return item.wrong("`split`", "a list of tables");
    };
    let sides = entries.iter().map(side);
    Some(At::new(sides.collect(), item.place))
}

fn side(item: &Item<'_>) -> SideFile {
    let table = item.table("every entry of `split`", "route.split");
    let upstream = table.as_ref().and_then(|table| table.string("upstream"));
    let is_written = table.as_ref().is_none_or(|t| t.item("upstream").is_some());
    SideFile {
        place: item.place,
        weight: table.as_ref().and_then(|table| table.integer("weight")),
        broken: is_written && upstream.is_none(),
        upstream,
    }
}

fn mirror(table: &Table<'_>) -> Option<MirrorFile> {
    let table = table.table("mirror", "route.mirror")?;
    let upstream = table.string("upstream");
    Some(MirrorFile {
        place: table.place,
        percent: table.integer("percent"),
        broken: table.item("upstream").is_some() && upstream.is_none(),
        upstream,
    })
}
