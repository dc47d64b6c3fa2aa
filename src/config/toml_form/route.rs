//! `[[route]]` in the TOML form.

use crate::config::file::{RouteFile, Written};
use crate::config::reader::Table;
use crate::config::report::At;

/// Reads one `[[route]]`.
pub(super) fn read(table: &Table<'_>) -> RouteFile {
    let matching = table.table("match", "route.match");
    let host = matching.as_ref().and_then(|table| table.string("host"));
    let path = matching.as_ref().and_then(|table| table.string("path"));
    let upstream = table.string("upstream");
    let services = services(table);
    let asked = |table: Option<&Table<'_>>, key: &str| table.is_some_and(|t| t.item(key).is_some());
    let broken = (table.item("match").is_some() && matching.is_none())
        || (asked(matching.as_ref(), "host") && host.is_none())
        || (asked(matching.as_ref(), "path") && path.is_none())
        || (asked(Some(table), "upstream") && upstream.is_none())
        || (asked(Some(table), "services") && services.is_none())
        || asked(Some(table), "split");
    RouteFile {
        place: table.place,
        name: table.string("name"),
        host,
        path,
        upstream,
        services,
        strip_prefix: table.string("strip_prefix"),
        max_body: table.size("max_body"),
        upgrade: table.boolean("upgrade"),
        broken,
    }
}

fn services(table: &Table<'_>) -> Written<Vec<(String, At<String>)>> {
    let item = table.item("services")?;
    let pairs = Table::pairs(&item, "`services`")?;
    let services = pairs.into_iter().filter_map(|(service, item)| {
        let upstream = item.string(&format!("the upstream of service `{service}`"))?;
        Some((service, upstream))
    });
    Some(At::new(services.collect(), item.place))
}
