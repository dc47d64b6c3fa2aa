//! The order of precedence and every kind of condition.

use super::*;
use crate::config::model::Segment;

fn route(name: &str, host: HostMatch, path: PathMatch) -> Route {
    Route {
        name: name.into(),
        host,
        path,
        to: RouteTo::Upstream(0),
        strip_prefix: None,
        max_body: None,
        upgrade: true,
    }
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.into())
}

fn find<'a>(table: &'a RouteTable, host: &str, path: &'a str) -> Option<&'a str> {
    table
        .find(host, path, |_, _| ())
        .map(|found| &*found.route.name)
}

#[test]
fn exact_host_then_suffix_then_any_and_the_longest_path() {
    let table = RouteTable::new(&[
        route("any", HostMatch::Any, prefix("/")),
        route("any-api", HostMatch::Any, prefix("/api")),
        route(
            "suffix",
            HostMatch::Suffix(".example.com".into()),
            prefix("/"),
        ),
        route(
            "deep",
            HostMatch::Suffix(".a.example.com".into()),
            prefix("/"),
        ),
        route(
            "exact",
            HostMatch::Exact("x.example.com".into()),
            prefix("/"),
        ),
        route(
            "exact-api",
            HostMatch::Exact("x.example.com".into()),
            prefix("/api/"),
        ),
    ]);
    for (host, path, expected) in [
        ("other", "/", "any"),
        ("other", "/api", "any-api"),
        ("other", "/apix", "any"),
        ("other", "/api/x", "any-api"),
        ("y.example.com:8080", "/api", "suffix"),
        ("b.a.example.com", "/", "deep"),
        ("X.Example.COM", "/", "exact"),
        ("x.example.com.", "/api/v1", "exact-api"),
        ("x.example.com", "/api", "exact"),
        ("example.com", "/", "any"),
        ("", "/", "any"),
    ] {
        assert_eq!(find(&table, host, path), Some(expected), "{host} {path}");
    }
}

#[test]
fn no_match_is_no_route_and_every_try_is_told() {
    let table = RouteTable::new(&[
        route("host", HostMatch::Exact("a".into()), prefix("/")),
        route("path", HostMatch::Any, prefix("/only")),
    ]);
    let mut tried = Vec::new();
    assert!(
        table
            .find("b", "/x", |route, miss| tried
                .push((route.name.clone(), miss)))
            .is_none()
    );
    assert_eq!(
        tried,
        [
            ("host".into(), Some(Miss::Host)),
            ("path".into(), Some(Miss::Path))
        ]
    );
}

#[test]
fn a_parameter_picks_the_upstream() {
    let mut items = route(
        "items",
        HostMatch::Any,
        PathMatch::Pattern(vec![
            Segment::Literal("items".into()),
            Segment::Parameter("service".into()),
        ]),
    );
    items.to = RouteTo::Services {
        parameter: "service".into(),
        table: vec![("books".into(), 3)],
    };
    let table = RouteTable::new(&[items]);
    let to = |path| table.find("h", path, |_, _| ()).map(|found| found.to);
    assert_eq!(to("/items/books"), Some(Destination::Upstream(3)));
    assert_eq!(to("/items/books/7"), Some(Destination::Upstream(3)));
    assert_eq!(
        to("/items/unknown"),
        Some(Destination::UnknownService("unknown"))
    );
    assert_eq!(to("/items/"), None);
    assert_eq!(to("/items"), None);
    assert_eq!(to("/else/books"), None);
}

#[test]
fn stripping_keeps_a_slash() {
    assert_eq!(strip_prefix("/api/v1", "/api"), "/v1");
    assert_eq!(strip_prefix("/api", "/api"), "/");
    assert_eq!(strip_prefix("/api/v1", "/api/"), "/v1");
    assert_eq!(strip_prefix("/other", "/api"), "/other");
}
