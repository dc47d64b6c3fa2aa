//! What becomes of the path of a request once its route is known: the path that a backend is asked for, the place that a client is
//! sent to.

use std::borrow::Cow;

use crate::config::model::{
    PathMatch, Redirect, Route, Segment, Spelling, Template, Values, Variable,
};
use crate::message::forwarded::Client;
use crate::message::path::{self, Path, behind, segments};
use crate::message::query;

use super::request::Request;

/// The path a backend is asked for, without query. Whatever the route makes of it begins with the normal form, starts with one `/`
/// and has no dot segments: it cannot lead out of where the route puts it.
pub fn backend_path<'a>(
    route: &Route,
    request: &'a Request<'_>,
    client: &Client,
    spelling: Spelling,
) -> Cow<'a, str> {
    let path = request.path();
    if let Some(template) = &route.rewrite {
        let rendered = render(
            template,
            route,
            request,
            path.normal(),
            client,
            Template::path,
        );
        return Path::new(&rendered).normal().to_owned().into();
    }
    if route.strip_prefix.is_none() && route.add_prefix.is_none() {
        return match spelling {
            Spelling::AsSent => path.sent().into(),
            Spelling::Normal | Spelling::Strict => path.normal().into(),
        };
    }
    let rest = match &route.strip_prefix {
        Some(prefix) => behind(path.normal(), segments(prefix).count()),
        None => path.normal(),
    };
    let rest = rest.trim_start_matches('/');
    match &route.add_prefix {
        Some(prefix) if is_all_of(route, path.normal()) => prefix.clone().into(),
        Some(prefix) => format!("{prefix}/{rest}").into(),
        None => format!("/{rest}").into(),
    }
}

/// Whether nothing is left of `path` when the prefix of `route` is taken away, not even a `/`.
fn is_all_of(route: &Route, path: &str) -> bool {
    let prefix = route.strip_prefix.as_deref();
    prefix.is_some_and(|prefix| behind(path, segments(prefix).count()).is_empty())
}

/// Where `redirect` sends the client. `None`: the template asks for the host, and the request names none.
pub fn location(
    redirect: &Redirect,
    route: &Route,
    request: &Request<'_>,
    client: &Client,
) -> Option<String> {
    let head = request.head();
    if redirect.to.uses(&Variable::Host) && head.host().is_empty() {
        return None;
    }
    Some(render(
        &redirect.to,
        route,
        request,
        Values::of(head, client).path,
        client,
        Template::location,
    ))
}

fn render(
    template: &Template,
    route: &Route,
    request: &Request<'_>,
    path: &str,
    client: &Client,
    render: impl FnOnce(&Template, &Values<'_>) -> String,
) -> String {
    let head = request.head();
    let query = match route.kept_parameter() {
        Some(name) => query::without(head.target.query(), name),
        None => head.target.query().into(),
    };
    let normal = request.path().normal();
    let values = Values {
        query: &query,
        route: &route.name,
        path,
        rest: rest(&route.path, normal),
        parameters: &parameters(&route.path, normal),
        ..Values::of(head, client)
    };
    render(template, &values)
}

/// What follows the matched prefix or pattern: nothing, or something that starts with one `/`.
fn rest<'a>(condition: &PathMatch, path: &'a str) -> &'a str {
    let matched = match condition {
        PathMatch::Exact(_) => return "",
        PathMatch::Prefix(prefix) => segments(prefix).count(),
        PathMatch::Pattern(segments) => segments.len(),
    };
    let rest = behind(path, matched);
    let extra = rest.len() - rest.trim_start_matches('/').len();
    rest.get(extra.saturating_sub(1)..).unwrap_or_default()
}

/// The parameters of a pattern with their values.
fn parameters<'a>(condition: &'a PathMatch, path: &'a str) -> Vec<(&'a str, &'a str)> {
    let PathMatch::Pattern(segments) = condition else {
        return Vec::new();
    };
    let pairs = segments.iter().zip(path::segments(path));
    pairs
        .filter_map(|(segment, value)| match segment {
            Segment::Parameter(name) => Some((name.as_str(), value)),
            Segment::Literal(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_str;
    use crate::config::model::RouteTo;
    use crate::message::head::RequestHead;
    use crate::message::target::Target;

    /// The only route of this configuration.
    fn route(lines: &str) -> Route {
        let text = format!(
            "[[upstream]]\nname = \"web\"\nbackends = [\"http://127.0.0.1:1\"]\n[[route]]\n{lines}\n"
        );
        let config = load_str("t.toml", &text).map_err(|problems| problems.to_string());
        config.unwrap().config.routes.remove(0)
    }

    fn asked(target: &str) -> (RequestHead, Client) {
        let mut head = RequestHead::unknown();
        head.target = Target::parse(target).unwrap();
        head.fields.append("Host", "a.example:81");
        let client = Client::identify("192.0.2.1".parse().unwrap(), &head.fields, &[]);
        (head, client)
    }

    fn rewritten(lines: &str, target: &str) -> String {
        let (head, client) = asked(target);
        let route = route(&format!("upstream = \"web\"\n{lines}"));
        let request = Request::new(&head, client.ip);
        backend_path(&route, &request, &client, Spelling::Normal).into_owned()
    }

    fn sent_to(lines: &str, target: &str) -> String {
        let (head, client) = asked(target);
        let route = route(lines);
        let RouteTo::Redirect(redirect) = &route.to else {
            panic!("no redirect: {route:?}")
        };
        let request = Request::new(&head, client.ip);
        location(redirect, &route, &request, &client).unwrap()
    }

    #[test]
    fn prefixes_go_and_come() {
        let strip = "match = { path = \"/api\" }\nstrip_prefix = \"/api\"";
        let both = format!("{strip}\nadd_prefix = \"/v2/\"");
        let add = "add_prefix = \"/v2\"";
        for (lines, target, expected) in [
            (strip, "/api/v1?q", "/v1"),
            (strip, "/api", "/"),
            (strip, "/api/", "/"),
            (&both, "/api/v1?q", "/v2/v1"),
            (&both, "/api", "/v2"),
            (&both, "/api/", "/v2/"),
            (add, "/", "/v2/"),
            (add, "/a//b%2f", "/v2/a//b%2f"),
            (strip, "/api//evil", "/evil"),
            (strip, "//api///x//y", "/x//y"),
            (strip, "/%61pi/x", "/x"),
            (&both, "/api//x//y", "/v2/x//y"),
            ("", "//a/%2e", "/a/"),
            ("", "/a//b", "/a//b"),
        ] {
            assert_eq!(rewritten(lines, target), expected, "{lines} {target}");
        }
        let slash = "match = { path = \"/api/\" }\nstrip_prefix = \"/api/\"";
        assert_eq!(rewritten(slash, "/api/v1"), "/v1");
    }

    #[test]
    fn a_template_is_the_whole_path() {
        let people = "match = { path = \"/users/{id}/{what}\" }\nrewrite = \"/people/{id}{rest}\"";
        let root = "match = { path = \"/old/\" }\nrewrite = \"/{rest}\"";
        let dotted = "rewrite = \"/a/..{path}\"";
        let nested = "rewrite = \"/all{path}\"";
        for (lines, target, expected) in [
            (people, "/users/%41%2f/x/y//z?q={", "/people/A%2f/y//z"),
            (people, "/users//1//x//y", "/people/1/y"),
            (dotted, "/x", "/x"),
            (nested, "/x/../../y", "/all/y"),
            (nested, "//x", "/all/x"),
            (people, "/users/1/x", "/people/1"),
            (people, "/users/1/x/", "/people/1/"),
            (people, "/users/a\"|b/x", "/people/a\"|b"),
            (root, "/old/", "/"),
            (root, "/old//evil/x", "/evil/x"),
            (nested, "/x/y", "/all/x/y"),
            (nested, "http://a.example", "/all/"),
        ] {
            assert_eq!(rewritten(lines, target), expected, "{lines} {target}");
        }
    }

    #[test]
    fn locations() {
        let secure = "redirect = { to = \"https://{host}{path}{query}\" }";
        let moved =
            "match = { path = \"/old\" }\nredirect = { to = \"https://new.example{rest}\" }";
        let user =
            "match = { path = \"/u/{id}\" }\nredirect = { to = \"/people/{id}{rest}{query}\" }";
        for (lines, target, expected) in [
            (secure, "/a?b=c", "https://a.example/a?b=c"),
            (secure, "//evil.example", "https://a.example//evil.example"),
            (secure, "*", "https://a.example/"),
            (secure, "http://b.example:8080/x", "https://b.example/x"),
            (moved, "/old", "https://new.example"),
            (
                moved,
                "/old/@evil.example",
                "https://new.example/@evil.example",
            ),
            (user, "/u/1/x?y", "/people/1/x?y"),
            (user, "/u/\\1", "/people/%5C1"),
        ] {
            assert_eq!(sent_to(lines, target), expected, "{lines} {target}");
        }
    }

    #[test]
    fn without_a_host_nobody_is_sent_to_it() {
        let route = route("redirect = { to = \"https://{host}/\" }");
        let RouteTo::Redirect(redirect) = &route.to else {
            panic!("no redirect")
        };
        let head = RequestHead::unknown();
        let client = Client::identify("192.0.2.1".parse().unwrap(), &head.fields, &[]);
        let request = Request::new(&head, client.ip);
        assert_eq!(location(redirect, &route, &request, &client), None);
    }
}
