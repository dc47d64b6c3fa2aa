//! Who may come, in the TOML form: lists of addresses, and rules.

use super::route::conditions;
use crate::config::file::{ListsFile, RuleFile, RulesFile, Written};
use crate::config::reader::Table;
use crate::config::report::At;

/// `allow` and `deny` of a route or of an entry of `listen`.
pub(super) fn lists(table: &Table<'_>) -> ListsFile {
    ListsFile {
        allow: table.strings("allow"),
        deny: table.strings("deny"),
    }
}

/// `allow_if` and `deny_if` of a route.
pub(super) fn rules(table: &Table<'_>) -> RulesFile {
    RulesFile {
        allow_if: rule_list(table, "allow_if", "route.allow_if"),
        deny_if: rule_list(table, "deny_if", "route.deny_if"),
    }
}

/// A table of conditions, or a list of those.
fn rule_list(table: &Table<'_>, key: &str, name: &'static str) -> Written<Vec<RuleFile>> {
    let item = table.item(key)?;
    let entries = item.items().unwrap_or_else(|| vec![item]);
    let what = match item.is_table() {
        true => format!("`{key}`"),
        false => format!("every entry of `{key}`"),
    };
    let rules = entries.iter().map(|entry| {
        let read = entry.table(&what, name).map(|table| conditions(&table));
        let (conditions, broken) = read.unwrap_or_else(|| (Default::default(), true));
        RuleFile {
            place: entry.place,
            conditions,
            broken,
        }
    });
    Some(At::new(rules.collect(), item.place))
}
