//! Which route: hosts, prefixes, stripping, and services by name.

use crate::support::{Backend, Engine, Proxy, Response, on_each_engine};

on_each_engine!(
    hosts_pick_the_route,
    the_longest_prefix_wins,
    a_prefix_ends_at_a_slash,
    a_stripped_prefix_leaves_a_slash,
    a_path_cannot_be_spelt_around_a_rule,
    services_by_name,
);

fn ask(proxy: &Proxy, host: &str, target: &str) -> Response {
    proxy
        .client()
        .ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

fn hosts_pick_the_route(engine: Engine) {
    let [exact, wild, rest] = ["exact", "wild", "rest"].map(Backend::fixed);
    let routes = "[[route]]\nmatch = { host = \"*.example.com\" }\nupstream = \"wild\"\n\
                  [[route]]\nmatch = { host = \"api.example.com\" }\nupstream = \"exact\"\n\
                  [[route]]\nupstream = \"web\"";
    let setup = Proxy::to(engine, [&rest]).upstream("exact", [exact.address()]);
    let proxy = setup
        .upstream("wild", [wild.address()])
        .more(routes)
        .start();
    for (host, to) in [
        ("api.example.com", "exact"),
        ("API.Example.COM", "exact"),
        ("api.example.com:8080", "exact"),
        ("www.example.com", "wild"),
        ("a.b.Example.com:1", "wild"),
        ("example.com", "rest"),
        ("badexample.com", "rest"),
        ("127.0.0.1", "rest"),
        ("[::1]:80", "rest"),
    ] {
        assert_eq!(ask(&proxy, host, "/").text(), to, "{host}");
    }
    let absolute = "GET http://api.example.com/x HTTP/1.1\r\nHost: other.test\r\n\r\n";
    assert_eq!(proxy.client().ask(absolute).text(), "exact");
}

fn the_longest_prefix_wins(engine: Engine) {
    let [short, long, rest] = ["short", "long", "rest"].map(Backend::fixed);
    let routes = "[[route]]\nmatch = { path = \"/\" }\nupstream = \"web\"\n\
                  [[route]]\nmatch = { path = \"/a/\" }\nupstream = \"short\"\n\
                  [[route]]\nmatch = { path = \"/a/b/\" }\nupstream = \"long\"";
    let setup = Proxy::to(engine, [&rest]).upstream("short", [short.address()]);
    let proxy = setup
        .upstream("long", [long.address()])
        .more(routes)
        .start();
    for (target, to) in [
        ("/", "rest"),
        ("/b/a/", "rest"),
        ("/a/", "short"),
        ("/a/c?x=/a/b/", "short"),
        ("/a/b/", "long"),
        ("/a/b/c/d", "long"),
        ("/A/", "rest"),
    ] {
        assert_eq!(proxy.get(target).text(), to, "{target}");
    }
}

fn a_prefix_ends_at_a_slash(engine: Engine) {
    let backend = Backend::fixed("in");
    let route = "[[route]]\nmatch = { path = \"/api\" }\nupstream = \"web\"";
    let proxy = Proxy::to(engine, [&backend]).more(route).start();
    for target in ["/api", "/api/", "/api/x", "/api?x"] {
        assert_eq!(proxy.get(target).text(), "in", "{target}");
    }
    for target in ["/", "/apis", "/ap", "/x/api"] {
        proxy.get(target).refused(404, "no_route");
    }
}

fn a_stripped_prefix_leaves_a_slash(engine: Engine) {
    let backend = Backend::start(|conn| {
        let target = conn.request().target().to_owned();
        conn.reply(200, &[], target);
    });
    let route =
        "[[route]]\nmatch = { path = \"/api\" }\nupstream = \"web\"\nstrip_prefix = \"/api\"";
    let proxy = Proxy::to(engine, [&backend]).more(route).start();
    for (target, arrives) in [
        ("/api/users?x=1", "/users?x=1"),
        ("/api", "/"),
        ("/api/", "/"),
        ("/api?q", "/?q"),
        ("/api/api/x", "/api/x"),
        // What is rewritten begins with the normal form: it cannot lead elsewhere.
        ("/api/%2e/./b//c", "/b//c"),
        ("/api//evil", "/evil"),
        ("/api/b/../%2e%2e/api/c", "/c"),
        ("/api/a%2Fb%20", "/a%2Fb%20"),
    ] {
        assert_eq!(proxy.get(target).text(), arrives, "{target}");
    }
}

/// However a path is spelt, the rules for it hold; what is forwarded is what was judged.
fn a_path_cannot_be_spelt_around_a_rule(engine: Engine) {
    let backend = Backend::start(|conn| {
        let target = conn.request().target().to_owned();
        conn.reply(200, &[], target);
    });
    let routes = "[[route]]\nname = \"open\"\nupstream = \"web\"\n\
        [[route]]\nname = \"closed\"\nmatch = { path = \"/admin\" }\nanswer = { status = 403, body = \"no\" }\n\
        [[route]]\nname = \"exact\"\nmatch = { path_exact = \"/login\" }\nanswer = { status = 404, body = \"nor here\" }";
    let proxy = Proxy::to(engine, [&backend]).more(routes).start();
    for target in [
        "/admin",
        "/admin/",
        "/admin/x",
        "//admin/x",
        "/./admin/x",
        "/x/../admin/x",
        "/%61dmin/x",
        "/x/%2e%2E/admin",
        "/admin%2e/../admin",
        "/../admin",
        "/admin/../admin",
        "/x/..//admin?y",
    ] {
        let answer = proxy.get(target);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (403, "no"),
            "{target}"
        );
    }
    for target in [
        "/login",
        "/./login",
        "//login",
        "/l%6Fgin",
        "/x/../login?y=/../z",
    ] {
        assert_eq!(proxy.get(target).status, 404, "{target}");
    }
    for (target, arrives) in [
        ("/adminx", "/adminx"),
        ("/admin/../x", "/x"),
        ("/a/./b/%2e//c%20", "/a/b//c%20"),
        ("/admi%6e/../x", "/x"),
        ("/x%2Fadmin", "/x%2Fadmin"),
    ] {
        assert_eq!(proxy.get(target).text(), arrives);
    }
    for target in ["/admin%2Fx", "/%2561dmin", "/admin;x", "/login%3F"] {
        let refused = proxy.client().get(target);
        refused.refused(400, "bad_request");
    }
    assert_eq!(backend.count(), 5);
}

fn services_by_name(engine: Engine) {
    let [books, films] = ["books", "films"].map(Backend::fixed);
    let route = "[[route]]\nmatch = { path = \"/items/{service}\" }\nservices = { books = \"web\", films = \"films\" }";
    let setup = Proxy::to(engine, [&books]).upstream("films", [films.address()]);
    let proxy = setup.more(route).start();
    assert_eq!(proxy.get("/items/books").text(), "books");
    assert_eq!(proxy.get("/items/films/1?x").text(), "films");
    let unknown = proxy.get("/items/unknown");
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["message"], "Service 'unknown' not found");
    proxy.get("/items/").refused(404, "no_route");
    proxy.get("/other").refused(404, "no_route");
}
