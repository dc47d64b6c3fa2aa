//! What is about browsers in the TOML form: `[route.cors]`, `security_headers`, `redirect_https`.
//!
//! Reads and checks types only, like all of the TOML form.

use crate::config::file::{CorsFile, RedirectHttpsFile, SecurityHeadersFile, TextOrOff};
use crate::config::reader::Table;
use crate::config::report::At;

/// `[route.cors]`.
pub(super) fn cors(route: &Table<'_>) -> Option<CorsFile> {
    let table = route.table("cors", "route.cors")?;
    let origins = table.strings("origins");
    Some(CorsFile {
        place: table.place,
        broken: table.item("origins").is_some() && origins.is_none(),
        origins,
        methods: table.strings("methods"),
        headers: table.strings("headers"),
        expose: table.strings("expose"),
        credentials: table.boolean("credentials"),
        max_age: table.duration("max_age"),
    })
}

/// True, false or a table, which is called `name`.
pub(super) fn security_headers(
    owner: &Table<'_>,
    name: &'static str,
) -> Option<SecurityHeadersFile> {
    let item = owner.item("security_headers")?;
    if !item.is_table() {
        if !item.is_boolean() {
            return item.wrong("`security_headers`", "true, false or a table");
        }
        return Some(SecurityHeadersFile {
            is_on: item.boolean("`security_headers`")?.value,
            ..SecurityHeadersFile::default()
        });
    }
    let table = item.table("`security_headers`", name)?;
    Some(SecurityHeadersFile {
        is_on: true,
        nosniff: table.boolean("nosniff"),
        frame_options: text_or_off(&table, "frame_options"),
        referrer_policy: text_or_off(&table, "referrer_policy"),
        content_security_policy: text_or_off(&table, "content_security_policy"),
        permissions_policy: text_or_off(&table, "permissions_policy"),
        hsts: text_or_off(&table, "hsts"),
        include_subdomains: table.boolean("include_subdomains"),
        preload: table.boolean("preload"),
    })
}

fn text_or_off(table: &Table<'_>, key: &str) -> TextOrOff {
    let item = table.item(key)?;
    let what = format!("`{key}`");
    if item.is_string() {
        let text = item.string(&what)?;
        return Some(At::new(Some(text.value), text.place));
    }
    if !item.is_boolean() {
        return item.wrong(&what, "a string or false");
    }
    let switch = item.boolean(&what)?;
    if switch.value {
        let message = format!("{what} must be a string or false");
        let hint = "leave it out for its default";
        table
            .document
            .report
            .problem_hint(switch.place, message, hint);
        return None;
    }
    Some(At::new(None, switch.place))
}

/// True, false, a port or a table.
pub(super) fn redirect_https(server: &Table<'_>) -> Option<RedirectHttpsFile> {
    let item = server.item("redirect_https")?;
    let what = "`redirect_https`";
    let file = RedirectHttpsFile {
        place: item.place,
        is_on: true,
        ..RedirectHttpsFile::default()
    };
    if item.is_table() {
        let table = item.table(what, "server.redirect_https")?;
        return Some(RedirectHttpsFile {
            port: table.integer("port"),
            except: table.strings("except"),
            ..file
        });
    }
    if item.is_integer() {
        return Some(RedirectHttpsFile {
            port: item.integer(what),
            ..file
        });
    }
    if !item.is_boolean() {
        return item.wrong(what, "true, false, a port or a table");
    }
    Some(RedirectHttpsFile {
        is_on: item.boolean(what)?.value,
        ..file
    })
}
