//! Routes that are guarded for some methods only, beside others that take the rest to the same place and ask nobody who it is.
//!
//! It may be meant so. Who may only read without credentials says so with `match.method`, and gets no warning.

use std::collections::HashMap;

use http::Method;

use crate::config::file::RouteFile;
use crate::config::model::{Route, RouteTo};
use crate::config::report::Report;

/// Warns of such routes; `written`: what `routes` came from, in the same order.
pub(super) fn warn(routes: &[Route], written: &[RouteFile], report: &Report) {
    let is_partly_guarded =
        |route: &Route| route.auth.is_some() && !route.conditions.methods.is_empty();
    if !routes.iter().any(is_partly_guarded) {
        return;
    }
    let mut open: HashMap<String, Vec<&Route>> = HashMap::new();
    for route in routes.iter().filter(|route| is_open(route)) {
        open.entry(place(route)).or_default().push(route);
    }
    for (route, written) in routes.iter().zip(written) {
        let beside = open
            .get(&place(route))
            .filter(|_| is_partly_guarded(route))
            .and_then(|open| open.iter().find(|other| shares_upstream(route, other)));
        if let Some(other) = beside {
            let methods: Vec<&str> = route
                .conditions
                .methods
                .iter()
                .map(Method::as_str)
                .collect();
            let message = format!(
                "`auth` is asked for with {} only: other methods get to the same upstream by route `{}`, which asks nobody",
                methods.join(", "),
                other.name
            );
            let hint = "leave `method` out here, or name in the other route's `match` the methods that all may use";
            report.warning(written.place, message, hint);
        }
    }
}

/// What both have to match.
fn place(route: &Route) -> String {
    format!("{:?} {:?}", route.host, route.path)
}

/// Whether everybody may come, and do more than read.
fn is_open(route: &Route) -> bool {
    let methods = &route.conditions.methods;
    let changes = methods.is_empty() || !methods.iter().all(Method::is_safe);
    let is_for_some = !route.conditions.client_ip.is_empty() || route.access.lists.is_some();
    route.auth.is_none() && changes && !is_for_some
}

fn shares_upstream(one: &Route, other: &Route) -> bool {
    let others = upstreams(&other.to);
    upstreams(&one.to).iter().any(|one| others.contains(one))
}

fn upstreams(to: &RouteTo) -> Vec<usize> {
    match to {
        RouteTo::Upstream(upstream) => vec![*upstream],
        RouteTo::Services { table, .. } => table.iter().map(|(_, upstream)| *upstream).collect(),
        RouteTo::Split(split) => split.sides.iter().map(|side| side.upstream).collect(),
        RouteTo::Redirect(_) | RouteTo::Answer(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load_str;

    fn warnings(first: &str, second: &str) -> Vec<String> {
        let text = format!(
            "[[upstream]]\nname = \"web\"\nbackends = [\"http://127.0.0.1:1\"]\n\
             [[upstream]]\nname = \"other\"\nbackends = [\"http://127.0.0.1:2\"]\n\
             [[route]]\nname = \"in\"\n{first}\nauth.bearer.tokens.a = \"sha256:{}\"\n\
             [[route]]\nname = \"open\"\n{second}\n",
            "0".repeat(64)
        );
        let loaded = load_str("t.toml", &text).map_err(|problems| problems.to_string());
        let warnings = loaded.unwrap().warnings;
        warnings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_guarded_for_some_methods_is_told() {
        let post = "match = { path = \"/a\", method = \"POST\" }\nupstream = \"web\"";
        for (second, is_told) in [
            ("match = { path = \"/a\" }\nupstream = \"web\"", true),
            (
                "match = { path = \"/a\", method = [\"GET\", \"PUT\"] }\nupstream = \"web\"",
                true,
            ),
            (
                "match = { path = \"/a\", method = [\"GET\", \"HEAD\"] }\nupstream = \"web\"",
                false,
            ),
            (
                "match = { path = \"/a\" }\nallow = [\"10.0.0.0/8\"]\nupstream = \"web\"",
                false,
            ),
            ("match = { path = \"/b\" }\nupstream = \"web\"", false),
            ("match = { path = \"/a\" }\nupstream = \"other\"", false),
        ] {
            let found = warnings(post, second);
            let told = "with POST only: other methods get to the same upstream by route `open`";
            assert_eq!(found.len(), usize::from(is_told), "{second}: {found:?}");
            assert!(found.iter().all(|one| one.contains(told)), "{found:?}");
        }
        let every = post.replace(", method = \"POST\"", "");
        let other = "match = { path = \"/a\", method = \"PUT\" }\nupstream = \"web\"";
        assert!(warnings(&every, other).is_empty());
    }
}
