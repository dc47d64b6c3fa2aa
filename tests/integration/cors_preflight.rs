//! What browsers ask before a page of another site may use a route (CORS preflights): answered here, by the right route.

use crate::cors::{APP, ROUTE, ask, pair, preflight, said};
use crate::support::{Backend, Engine, Proxy, Response, on_each_engine};

on_each_engine!(
    a_preflight_never_reaches_the_backend,
    a_preflight_finds_the_route_of_its_method,
    routes_without_cors_leave_it_to_the_backend,
    rules_are_for_what_a_preflight_is_about,
);

fn a_preflight_never_reaches_the_backend(engine: Engine) {
    let backend = Backend::fixed("backend");
    let proxy = Proxy::to(engine, [&backend]).more(ROUTE).start();
    let mut client = proxy.client();
    let granted = preflight(&mut client, APP, "PUT", "content-type,authorization");
    assert_eq!((granted.status, granted.body.len()), (204, 0));
    let expected = [
        pair("allow-origin", APP),
        pair("allow-credentials", "true"),
        pair("expose-headers", "X-Request-ID, X-Total"),
        pair("allow-methods", "GET, PUT, DELETE"),
        pair("allow-headers", "Content-Type, Authorization"),
        pair("max-age", "300"),
    ];
    assert_eq!(said(&granted), expected);
    assert_eq!(
        granted.get("vary").as_deref(),
        Some("Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
    );
    for (origin, method, headers) in [
        ("https://evil.com", "PUT", ""),
        ("null", "PUT", ""),
        (APP, "POST", ""),
        (APP, "put", ""),
        (APP, "PUT", "x-other"),
        (APP, "PUT", "content-type, x-other"),
    ] {
        let refused = preflight(&mut client, origin, method, headers);
        let refused = refused.refused(403, "cors_refused");
        // The page may learn why, if it is one of those that may read anything here.
        let allowed = refused.get("access-control-allow-origin");
        assert_eq!(allowed.as_deref(), (origin == APP).then_some(APP));
        assert_eq!(refused.get("access-control-allow-methods"), None);
        assert_eq!(refused.get("access-control-allow-headers"), None);
        assert_eq!(refused.get("vary").as_deref(), Some("Origin"));
    }
    assert_eq!(backend.count(), 0);
    // On the same connection, and as curl asks for it: that is none.
    assert_eq!(ask(&mut client, "OPTIONS", "/x", &[]).text(), "backend");
}

fn a_preflight_finds_the_route_of_its_method(engine: Engine) {
    let backend = Backend::fixed("backend");
    let routes = r#"
        [[route]]
        name = "read"
        match = { path = "/x", method = ["GET", "HEAD"] }
        upstream = "web"
        cors = { origins = ["*"] }
        [[route]]
        name = "write"
        match = { path = "/x", method = ["PUT", "DELETE"] }
        upstream = "web"
        cors = { origins = ["https://app.example.com"], headers = ["X-Key"] }
        maintenance = true
    "#;
    let proxy = Proxy::to(engine, [&backend]).more(routes).start();
    let mut client = proxy.client();
    let methods = |response: &Response| response.get("access-control-allow-methods");
    let read = preflight(&mut client, "https://any.site", "GET", "content-type");
    assert_eq!(
        (read.status, methods(&read).as_deref()),
        (204, Some("GET, HEAD"))
    );
    assert_eq!(
        preflight(&mut client, "https://any.site", "PUT", "").status,
        403
    );
    // Nothing that comes later is asked: the page can read that it is closed.
    let write = preflight(&mut client, APP, "PUT", "x-key");
    assert_eq!(
        (write.status, methods(&write).as_deref()),
        (204, Some("DELETE, PUT"))
    );
    let closed = ask(
        &mut client,
        "PUT",
        "/x",
        &[("Origin", APP), ("Content-Length", "0")],
    );
    let closed = closed.refused(503, "maintenance");
    assert_eq!(
        closed.get("access-control-allow-origin").as_deref(),
        Some(APP)
    );
    let other = preflight(&mut client, APP, "PATCH", "");
    let other = other.refused(405, "method");
    assert_eq!(
        other.get("allow").as_deref(),
        Some("DELETE, GET, HEAD, PUT")
    );
    assert_eq!(backend.count(), 0);
}

fn routes_without_cors_leave_it_to_the_backend(engine: Engine) {
    let backend = Backend::start(|conn| {
        conn.reply(
            200,
            &[("Access-Control-Allow-Origin", "https://its.own")],
            "backend",
        );
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let answer = preflight(&mut proxy.client(), APP, "PUT", "");
    assert_eq!((answer.status, answer.text().as_str()), (200, "backend"));
    assert_eq!(said(&answer), [pair("allow-origin", "https://its.own")]);
    assert_eq!(answer.get("vary"), None);
}

fn rules_are_for_what_a_preflight_is_about(engine: Engine) {
    let backend = Backend::fixed("backend");
    let routes = r#"
        [[route]]
        match = { path = "/x" }
        upstream = "web"
        allow_if = { header = { X-Key = "1" } }
        cors = { origins = ["https://app.example.com"], headers = ["X-Key"] }
        [[route]]
        match = { path = "/own" }
        upstream = "web"
    "#;
    let proxy = Proxy::to(engine, [&backend]).more(routes);
    let proxy = proxy.server("methods = [\"GET\", \"POST\"]").start();
    let mut client = proxy.client();
    assert_eq!(preflight(&mut client, APP, "GET", "x-key").status, 204);
    let bare = ask(&mut client, "GET", "/x", &[("Origin", APP)]);
    let bare = bare.refused(403, "forbidden");
    assert_eq!(
        bare.get("access-control-allow-origin").as_deref(),
        Some(APP)
    );
    let keyed = ask(&mut client, "GET", "/x", &[("Origin", APP), ("X-Key", "1")]);
    assert_eq!(keyed.text(), "backend");
    // OPTIONS is none of the methods of this server: it gets no further than where a preflight is answered.
    preflight(&mut client, APP, "PUT", "").refused(405, "method");
    let asked = [("Origin", APP), ("Access-Control-Request-Method", "GET")];
    ask(&mut client, "OPTIONS", "/own", &asked).refused(405, "method");
    ask(&mut client, "OPTIONS", "/x", &[]).refused(405, "method");
    assert_eq!(backend.count(), 1);
}
