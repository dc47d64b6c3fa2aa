//! The keys of a `[[route]]` that are about more than matching and forwarding, and the files they name.
//!
//! Reads and checks types only, like all of the TOML form.

use std::path::Path;

use crate::config::file::{
    ActionsFile, AnswerFile, ContentFile, FieldsFile, MaintenanceFile, RedirectFile, Written,
};
use crate::config::read_bytes;
use crate::config::reader::Table;
use crate::config::report::At;

/// Largest file that is sent as an answer: all of it stays in memory.
const LARGEST_PAGE: u64 = 1024 * 1024;

/// Content types by the ending of a file's name.
const ENDINGS: [(&str, &str); 10] = [
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("xml", "application/xml"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("ico", "image/x-icon"),
];

pub(super) fn read(route: &Table<'_>) -> ActionsFile {
    let redirect = redirect(route);
    let answer = route
        .table("answer", "route.answer")
        .map(|table| answer(&table));
    let headers = route.table("headers", "route.headers");
    let headers = headers.as_ref();
    let is_written = |key| route.item(key).is_some();
    ActionsFile {
        broken: is_written("redirect") && redirect.is_none()
            || is_written("answer") && answer.is_none(),
        redirect,
        answer,
        maintenance: maintenance(route),
        add_prefix: route.string("add_prefix"),
        rewrite: route.string("rewrite"),
        request: headers
            .and_then(|table| table.table("request", "route.headers.request"))
            .map(|table| fields(&table))
            .unwrap_or_default(),
        response: headers
            .and_then(|table| table.table("response", "route.headers.response"))
            .map(|table| fields(&table))
            .unwrap_or_default(),
    }
}

fn redirect(route: &Table<'_>) -> Option<RedirectFile> {
    let item = route.item("redirect")?;
    if item.is_string() {
        route.document.report.problem_hint(
            item.place,
            "`redirect` must be a table, not a string",
            "write `redirect = { to = \"https://{host}{path}{query}\" }`",
        );
        return None;
    }
    let table = item.table("`redirect`", "route.redirect")?;
    let to = table.string("to");
    Some(RedirectFile {
        place: table.place,
        broken: table.item("to").is_some() && to.is_none(),
        to,
        status: table.integer("status"),
    })
}

fn answer(table: &Table<'_>) -> AnswerFile {
    AnswerFile {
        place: table.place,
        status: table.integer("status"),
        content: content(table),
        content_type: table.string("content_type"),
    }
}

fn content(table: &Table<'_>) -> Written<ContentFile> {
    if let (Some(_), Some(file)) = (table.item("body"), table.item("body_file")) {
        let message = format!(
            "`body` and `body_file` {} exclude each other",
            table.title()
        );
        let report = table.document.report;
        report.problem_hint(file.place, message, "keep one of them");
        return None;
    }
    if table.item("body_file").is_some() {
        return file(table, "body_file");
    }
    let body = table.string("body")?;
    let content = ContentFile {
        content_type: None,
        body: body.value.into_bytes(),
    };
    Some(At::new(content, body.place))
}

/// The file that `key` names; a relative path starts at the directory of the configuration.
fn file(table: &Table<'_>, key: &str) -> Written<ContentFile> {
    let name = table.string(key)?;
    match read_bytes(&table.document.directory.join(&name.value), LARGEST_PAGE) {
        Ok(body) => {
            let content = ContentFile {
                content_type: by_ending(&name.value),
                body,
            };
            Some(At::new(content, name.place))
        }
        Err(why) => {
            let message = format!("`{key}` \"{}\" {why}", name.value);
            let hint = "a relative path starts at the directory of this file";
            table
                .document
                .report
                .problem_hint(name.place, message, hint);
            None
        }
    }
}

fn by_ending(name: &str) -> Option<&'static str> {
    let ending = Path::new(name).extension()?.to_str()?;
    ENDINGS
        .iter()
        .find(|(known, _)| ending.eq_ignore_ascii_case(known))
        .map(|(_, content_type)| *content_type)
}

/// `true`, `false` or a table.
fn maintenance(route: &Table<'_>) -> Option<MaintenanceFile> {
    let item = route.item("maintenance")?;
    if item.is_table() {
        let table = item.table("`maintenance`", "route.maintenance")?;
        return Some(MaintenanceFile {
            enabled: table.boolean("enabled"),
            retry_after: table.duration("retry_after"),
            except: table.strings("except"),
            page: file(&table, "page"),
        });
    }
    let enabled = match item.is_boolean() {
        true => item.boolean("`maintenance`"),
        false => item.wrong("`maintenance`", "true, false or a table"),
    };
    Some(MaintenanceFile {
        enabled: Some(enabled?),
        ..MaintenanceFile::default()
    })
}

fn fields(table: &Table<'_>) -> FieldsFile {
    FieldsFile {
        place: table.place,
        set: values(table, "set"),
        add: values(table, "add"),
        remove: table.strings("remove"),
    }
}

fn values(table: &Table<'_>, key: &str) -> Vec<(String, At<String>)> {
    let pairs = table
        .item(key)
        .and_then(|item| Table::pairs(&item, &format!("`{key}`")));
    let pairs = pairs.into_iter().flatten();
    pairs
        .filter_map(|(name, item)| {
            let value = item.string(&format!("the value of `{}`", name.escape_debug()))?;
            Some((name, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::by_ending;

    #[test]
    fn endings() {
        assert_eq!(by_ending("a/b.HTML"), Some("text/html; charset=utf-8"));
        assert_eq!(by_ending("a.json"), Some("application/json"));
        assert_eq!(by_ending("a.tar"), None);
        assert_eq!(by_ending("html"), None);
    }
}
