//! `rate_limit`, `rate_limits` and the limits of what is under way at the same time, in the TOML form.

use crate::config::file::{RateLimitFile, RouteLimitsFile};
use crate::config::reader::{Item, Table};

/// Reads those of one `[[route]]`.
pub(super) fn route(table: &Table<'_>) -> RouteLimitsFile {
    RouteLimitsFile {
        rates: rates(table, "route.rate_limit"),
        max_concurrent: table.integer("max_concurrent"),
        max_concurrent_per_client: table.integer("max_concurrent_per_client"),
    }
}

/// `rate_limit`, which is one table, and `rate_limits`, which is a list of them; `name` is what each of them is.
pub(super) fn rates(table: &Table<'_>, name: &'static str) -> Vec<RateLimitFile> {
    let mut limits = Vec::new();
    if let Some(item) = table.item("rate_limit") {
        if item.items().is_some() {
            let hint = "write several as `rate_limits = [{ … }, { … }]`";
            let message = "`rate_limit` must be one table, not a list";
            let report = table.document.report;
            report.problem_hint(item.place, message, hint);
        } else {
            limits.extend(item.table("`rate_limit`", name));
        }
    }
    if let Some(item) = table.item("rate_limits").filter(Item::is_table) {
        let hint = "write `rate_limits = [{ … }, { … }]`, or `rate_limit` for one";
        let message = "`rate_limits` must be a list of tables, not a table";
        let report = table.document.report;
        report.problem_hint(item.place, message, hint);
    } else {
        limits.extend(table.tables("rate_limits", name));
    }
    limits.iter().map(rate).collect()
}

fn rate(table: &Table<'_>) -> RateLimitFile {
    let rate = table.string("rate");
    RateLimitFile {
        place: table.place,
        name: table.string("name"),
        by: table.string("by"),
        broken: table.item("rate").is_some() && rate.is_none(),
        rate,
        burst: table.integer("burst"),
        clients: table.integer("clients"),
        dry_run: table.boolean("dry_run"),
    }
}
