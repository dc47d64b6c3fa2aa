//! The order of precedence and every kind of condition.

use std::borrow::Cow;
use std::net::IpAddr;

use super::*;
use crate::config::model::{Concurrency, Conditions, NamedValue, RouteAccess, Segment, ValueMatch};
use crate::message::fields::Fields;
use crate::message::framing::Framing;
use crate::message::head::{RequestHead, Version};
use crate::message::target::Target;

fn route(name: &str, host: HostMatch, path: PathMatch) -> Route {
    Route {
        name: name.into(),
        host,
        path,
        conditions: Conditions::default(),
        to: RouteTo::Upstream(0),
        mirror: None,
        strip_prefix: None,
        add_prefix: None,
        rewrite: None,
        access: RouteAccess::default(),
        maintenance: None,
        headers: None,
        cors: None,
        security_headers: None,
        auth: None,
        rate_limits: Vec::new(),
        concurrency: Concurrency::default(),
        max_body: None,
        upgrade: true,
    }
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.into())
}

fn head(method: Method, target: &str, fields: &[(&str, &str)]) -> RequestHead {
    let mut list = Fields::new();
    for (name, value) in fields {
        list.append(name, value);
    }
    RequestHead {
        method,
        target: Target::parse(target).unwrap(),
        version: Version::Http11,
        fields: list,
        framing: Framing::None,
    }
}

fn client() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

/// The name of the route that is found, or the methods for which there would be one.
fn ask(table: &RouteTable, head: &RequestHead, client: IpAddr) -> Result<String, Vec<Method>> {
    let request = Request::new(head, client);
    let found = table.find(&request, |_, _| ());
    found
        .map(|found| found.route.name.to_string())
        .map_err(|not_found| not_found.methods)
}

fn find(table: &RouteTable, host: &str, path: &str) -> Option<String> {
    let head = head(Method::GET, path, &[("Host", host)]);
    ask(table, &head, client()).ok()
}

fn exactly(name: &str, value: &str) -> NamedValue {
    NamedValue {
        name: name.into(),
        value: ValueMatch::Exact(value.into()),
    }
}

fn present(name: &str) -> NamedValue {
    let value = ValueMatch::Wildcard {
        start: String::new(),
        middle: Vec::new(),
        end: String::new(),
    };
    NamedValue {
        name: name.into(),
        value,
    }
}

/// A route for every host and path.
fn with(name: &str, conditions: Conditions) -> Route {
    Route {
        conditions,
        ..route(name, HostMatch::Any, prefix("/"))
    }
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
        assert_eq!(
            find(&table, host, path).as_deref(),
            Some(expected),
            "{host} {path}"
        );
    }
}

#[test]
fn no_match_is_no_route_and_every_try_is_told() {
    let table = RouteTable::new(&[
        route("host", HostMatch::Exact("a".into()), prefix("/")),
        route("path", HostMatch::Any, prefix("/only")),
    ]);
    let mut tried = Vec::new();
    let head = head(Method::GET, "/x", &[("Host", "b")]);
    let request = Request::new(&head, client());
    let found = table.find(&request, |route, miss| {
        tried.push((route.name.clone(), miss.cloned().map(Miss::into_owned)));
    });
    assert!(found.unwrap_err().methods.is_empty());
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
    let assert_to = |path, expected| {
        let head = head(Method::GET, path, &[]);
        let request = Request::new(&head, client());
        let found = table.find(&request, |_, _| ());
        assert_eq!(found.ok().map(|found| found.to), expected, "{path}");
    };
    assert_to("/items/books", Some(Destination::Upstream(3)));
    assert_to("/items/books/7", Some(Destination::Upstream(3)));
    let unknown = Destination::UnknownService("unknown");
    assert_to("/items/unknown", Some(unknown));
    assert_to("/items/", None);
    assert_to("/items", None);
    assert_to("/else/books", None);
}

#[test]
fn an_exact_path_wins_and_is_exact() {
    let exact = |path: &str| PathMatch::Exact(path.into());
    let table = RouteTable::new(&[
        route("long", HostMatch::Any, prefix("/login/now")),
        route("short", HostMatch::Any, prefix("/login")),
        route("exact", HostMatch::Any, exact("/login")),
        route("host", HostMatch::Exact("h".into()), prefix("/")),
        with("rest", Conditions::default()),
    ]);
    for (host, path, expected) in [
        ("a", "/login", "exact"),
        ("a", "/login?x=1", "exact"),
        ("a", "/login/", "short"),
        ("a", "/login/now", "long"),
        ("a", "/Login", "rest"),
        // A host weighs more than any path.
        ("h", "/login", "host"),
    ] {
        let found = find(&table, host, path);
        assert_eq!(found.as_deref(), Some(expected), "{host} {path}");
    }
}

#[test]
fn more_conditions_win_then_the_order_written() {
    let beta = || Conditions {
        headers: vec![exactly("x-beta", "1")],
        ..Conditions::default()
    };
    let beta_get = Conditions {
        methods: vec![Method::GET, Method::HEAD],
        ..beta()
    };
    let table = RouteTable::new(&[
        with("rest", Conditions::default()),
        with("beta", beta()),
        with("other-beta", beta()),
        with("beta-get", beta_get),
        Route {
            path: prefix("/deep"),
            ..with("deep", Conditions::default())
        },
    ]);
    let ask = |method, target, fields: &[(&str, &str)]| {
        ask(&table, &head(method, target, fields), client()).unwrap()
    };
    let fields = [("X-BETA", "1")];
    assert_eq!(ask(Method::GET, "/", &fields), "beta-get");
    assert_eq!(ask(Method::POST, "/", &fields), "beta");
    assert_eq!(ask(Method::GET, "/", &[]), "rest");
    // A longer path weighs more than any number of conditions.
    assert_eq!(ask(Method::GET, "/deep", &fields), "deep");
}

/// Asks a table of one route with these conditions; gives what failed.
fn miss(conditions: Conditions, head: &RequestHead, client: IpAddr) -> Option<Miss<'static>> {
    let table = RouteTable::new(&[with("only", conditions)]);
    let mut missed = None;
    let _ = table.find(&Request::new(head, client), |_, miss| {
        missed = miss.cloned().map(Miss::into_owned);
    });
    missed
}

#[test]
fn headers() {
    let beta = exactly("x-beta", "1");
    let misses = |fields: &[(&str, &str)], wanted: &NamedValue| {
        let conditions = Conditions {
            headers: vec![wanted.clone()],
            ..Conditions::default()
        };
        miss(conditions, &head(Method::GET, "/", fields), client())
    };
    let missed = |wanted: &NamedValue| Some(Miss::Header(Cow::Owned(wanted.clone())));
    assert_eq!(misses(&[("X-Beta", "1")], &beta), None);
    assert_eq!(misses(&[("x-beta", "0"), ("X-BETA", "1")], &beta), None);
    for other in ["0", "", "11", "1, 2"] {
        assert_eq!(
            misses(&[("X-Beta", other)], &beta),
            missed(&beta),
            "{other}"
        );
    }
    assert_eq!(misses(&[], &beta), missed(&beta));
    let any = present("x-beta");
    assert_eq!(misses(&[("X-Beta", "")], &any), None);
    assert_eq!(misses(&[("X-Alpha", "1")], &any), missed(&any));
}

#[test]
fn queries_are_compared_decoded() {
    let misses = |target: &str, wanted: NamedValue| {
        let conditions = Conditions {
            query: vec![wanted],
            ..Conditions::default()
        };
        miss(conditions, &head(Method::GET, target, &[]), client()).is_some()
    };
    let version = || NamedValue {
        name: "version".into(),
        value: ValueMatch::Wildcard {
            start: "2".into(),
            middle: Vec::new(),
            end: String::new(),
        },
    };
    for good in [
        "/?version=2",
        "/?a&version=2.1&b",
        "/?version=1&version=2",
        "/?%76ersion=%32.0",
        "http://h?version=2",
    ] {
        assert!(!misses(good, version()), "{good}");
    }
    for bad in [
        "/",
        "/version=2",
        "/?Version=2",
        "/?version=12",
        "/?xversion=2",
    ] {
        assert!(misses(bad, version()), "{bad}");
    }
    assert!(!misses("/?q=a%20b%26c", exactly("q", "a b&c")));
    assert!(!misses("/?flag", present("flag")) && !misses("/?flag=", exactly("flag", "")));
}

#[test]
fn cookies() {
    let misses = |line: &str, wanted: NamedValue| {
        let conditions = Conditions {
            cookies: vec![wanted],
            ..Conditions::default()
        };
        let head = head(Method::GET, "/", &[("Cookie", line)]);
        miss(conditions, &head, client()).is_some()
    };
    let side = || exactly("side", "b");
    assert!(!misses("side=b", side()) && !misses("a=1; side=b;c=2", side()));
    assert!(!misses("side=a; side=b", side()));
    for bad in ["", "side", "side=a", "Side=b", "xside=b", "side=\"b\""] {
        assert!(misses(bad, side()), "{bad}");
    }
    assert!(!misses("side=", present("side")) && misses("x=side", present("side")));
}

#[test]
fn client_addresses() {
    let is_let_in = |networks: &[&str], client: &str| {
        let networks = networks.iter().map(|network| network.parse().unwrap());
        let conditions = Conditions {
            client_ip: networks.collect(),
            ..Conditions::default()
        };
        let head = head(Method::GET, "/", &[]);
        miss(conditions, &head, client.parse().unwrap()).is_none()
    };
    let networks = ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"];
    for good in ["10.1.2.3", "192.0.2.7", "fd12::1", "::ffff:10.9.9.9"] {
        assert!(is_let_in(&networks, good), "{good}");
    }
    for bad in ["11.0.0.1", "192.0.2.8", "fe80::1", "::1"] {
        assert!(!is_let_in(&networks, bad), "{bad}");
    }
    assert!(is_let_in(&[], "::1"));
}

#[test]
fn a_method_is_told_only_where_nothing_else_is_missing() {
    let methods = |methods: &[Method], path: &str| Route {
        path: prefix(path),
        ..with(
            "some",
            Conditions {
                methods: methods.to_vec(),
                ..Conditions::default()
            },
        )
    };
    let with_header = with(
        "header",
        Conditions {
            methods: vec![Method::DELETE],
            headers: vec![exactly("x-admin", "1")],
            ..Conditions::default()
        },
    );
    let table = RouteTable::new(&[
        methods(&[Method::PUT, Method::POST], "/"),
        methods(&[Method::GET, Method::POST], "/a"),
        methods(&[Method::PATCH], "/b"),
        with_header,
    ]);
    let ask = |method, target| ask(&table, &head(method, target, &[]), client());
    assert!(ask(Method::GET, "/a").is_ok() && ask(Method::PUT, "/a").is_ok());
    let allowed = vec![Method::GET, Method::POST, Method::PUT];
    assert_eq!(ask(Method::DELETE, "/a"), Err(allowed));
    assert_eq!(ask(Method::GET, "/"), Err(vec![Method::POST, Method::PUT]));
    // HEAD is a method of its own.
    assert!(ask(Method::HEAD, "/a").is_err());
}
