//! Fields in which backends are told who was let in: what clients send under these names stays here on every route, also on
//! those that do not ask who it is. Else whoever comes by such a route could be anybody to a backend behind both.

use std::sync::Arc;

use crate::config::model::{FieldChanges, Piece, Route, RouteTo, Template, Variable};
use crate::message::forwarded::is_same_variable;

/// In these clients say who they are, and backends may ask that themselves: they prove what they say.
const CREDENTIALS: [&str; 2] = ["authorization", "cookie"];

/// Has every route keep what the others tell about who was let in.
pub(super) fn protect(routes: &mut [Route]) {
    let mut names: Vec<String> = Vec::new();
    for changes in routes.iter().filter_map(|route| route.headers.as_deref()) {
        for name in told(&changes.request) {
            let is = |other: &str| is_same_variable(name, other);
            if !CREDENTIALS.into_iter().any(is) && !names.iter().any(|other| is(other)) {
                names.push(name.to_owned());
            }
        }
    }
    if names.is_empty() {
        return;
    }
    let asks_backend =
        |route: &&mut Route| !matches!(route.to, RouteTo::Redirect(_) | RouteTo::Answer(_));
    for route in routes.iter_mut().filter(asks_backend) {
        let mut changes = route.headers.as_deref().cloned().unwrap_or_default();
        let request = &mut changes.request;
        let is_kept = |name: &&String| {
            let mut replaced = request.replaced();
            !replaced.any(|other| is_same_variable(name, other))
        };
        let missing: Vec<String> = names.iter().filter(is_kept).cloned().collect();
        if !missing.is_empty() {
            request.remove.extend(missing);
            route.headers = Some(Arc::new(changes));
        }
    }
}

/// Names of the fields whose value depends on who was let in.
fn told(changes: &FieldChanges) -> impl Iterator<Item = &str> {
    let fields = changes.set.iter().chain(&changes.add);
    fields
        .filter(|(_, value)| tells(value))
        .map(|(name, _)| name.as_str())
}

fn tells(value: &Template) -> bool {
    let mut pieces = value.pieces().iter();
    pieces.any(|piece| matches!(piece, Piece::Variable(Variable::User | Variable::Claim(_))))
}

#[cfg(test)]
mod tests {
    use crate::config::load_str;

    /// What each of these routes keeps from its backends.
    fn kept(routes: &str) -> Vec<Vec<String>> {
        let text =
            format!("[[upstream]]\nname = \"web\"\nbackends = [\"http://127.0.0.1:1\"]\n{routes}");
        let config = load_str("t.toml", &text).map_err(|problems| problems.to_string());
        let routes = config.unwrap().config.routes.into_iter();
        let removed = routes.map(|route| match route.headers.as_deref() {
            Some(changes) => changes.request.remove.clone(),
            None => Vec::new(),
        });
        removed.collect()
    }

    #[test]
    fn what_one_route_tells_no_client_says_on_another() {
        let guarded = "[[route]]\nmatch = { path = \"/in\" }\nupstream = \"web\"\n\
            headers.request.set = { X-Team = \"{claim:team}\", X-Ip = \"{client_ip}\" }\n\
            [route.auth]\nuser_header = \"X-User\"\nforward = { url = \"http://127.0.0.1:2/\", response_headers = [\"Authorization\", \"X-Role\"] }\n";
        let open = "[[route]]\nmatch = { path = \"/open\" }\nupstream = \"web\"\n";
        let own = "[[route]]\nmatch = { path = \"/own\" }\nanswer = { status = 204 }\n";
        let sets = "[[route]]\nmatch = { path = \"/sets\" }\nupstream = \"web\"\n\
            headers.request = { set = { X_User = \"{header:X-User}\" }, add = { X-Role = \"none\" }, remove = [\"x-team\"] }\n";
        let kept = kept(&format!("{guarded}{open}{own}{sets}"));
        let none: [&str; 0] = [];
        assert_eq!(kept[0], none);
        assert_eq!(kept[1], ["X-Team", "X-User", "X-Role"]);
        assert_eq!(kept[2], none);
        assert_eq!(kept[3], ["x-team", "X-Role"]);
    }

    #[test]
    fn without_auth_nothing_is_kept() {
        assert_eq!(kept(""), [Vec::<String>::new()]);
    }
}
