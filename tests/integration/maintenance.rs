//! Routes that are closed for maintenance, and who gets through.

use std::fs;

use crate::support::{Backend, Client, Engine, Process, Proxy, on_each_engine};

on_each_engine!(
    maintenance_closes_a_route,
    some_clients_get_through_maintenance,
    maintenance_has_a_page,
);

fn maintenance_closes_a_route(engine: Engine) {
    let backend = Backend::fixed("backend");
    let routes = "[[route]]\nmatch = { path = \"/shop\" }\nupstream = \"web\"\nmaintenance = true\n\
        [[route]]\nmatch = { path = \"/back\" }\nupstream = \"web\"\nmaintenance = { enabled = false, retry_after = \"5m\" }\n\
        [[route]]\nmatch = { path = \"/moved\" }\nredirect = { to = \"/x\" }\nmaintenance = { retry_after = \"90s\" }";
    let proxy = Proxy::to(engine, [&backend]).more(routes).start();
    let mut client = proxy.client();
    let closed = client.get("/shop/cart").refused(503, "maintenance");
    assert_eq!(closed.get("retry-after").as_deref(), Some("60"));
    assert_eq!(
        closed.get("proxy-status").as_deref(),
        Some("tollgate; error=destination_unavailable; details=\"maintenance\"")
    );
    let html = client.ask("GET /shop HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n");
    assert_eq!(html.status, 503);
    let content_type = html.get("content-type");
    assert_eq!(content_type.as_deref(), Some("text/html; charset=utf-8"));
    assert!(html.text().contains("maintenance"));
    let moved = client.get("/moved").refused(503, "maintenance");
    assert_eq!(moved.get("retry-after").as_deref(), Some("90"));
    let head = client
        .send("HEAD /shop HTTP/1.1\r\nHost: a\r\n\r\n")
        .read_bodiless();
    assert_eq!(head.status, 503);
    assert_eq!(backend.count(), 0);
    assert_eq!(client.get("/back").text(), "backend");
}

fn some_clients_get_through_maintenance(engine: Engine) {
    let backend = Backend::fixed("backend");
    let route = "[[route]]\nupstream = \"web\"\nmaintenance = { except = [\"10.0.0.0/8\", \"2001:db8::/32\"] }";
    let setup = Proxy::to(engine, [&backend]).more(route);
    let proxy = setup
        .clone()
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .start();
    let from = |proxy: &Proxy, client: &str| {
        proxy.client().ask(format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n"
        ))
    };
    for inside in ["10.1.2.3", "2001:db8::7", "6.6.6.6, 10.1.2.3"] {
        assert_eq!(from(&proxy, inside).text(), "backend", "{inside}");
    }
    for outside in ["11.0.0.1", "2001:db9::7", "10.1.2.3, 6.6.6.6"] {
        from(&proxy, outside).refused(503, "maintenance");
    }
    // Nobody gets in by saying so.
    from(&setup.start(), "10.1.2.3").refused(503, "maintenance");
}

/// As users have it: the page lies beside the configuration.
fn maintenance_has_a_page(engine: Engine) {
    let backend = Backend::fixed("backend");
    let text = Proxy::to(engine, [&backend])
        .more("[[route]]\nupstream = \"web\"\nmaintenance = { page = \"closed.html\", retry_after = \"1h\" }")
        .text();
    let start = Process::config(&text);
    fs::write(start.directory().join("closed.html"), "<p>Back soon.").unwrap();
    let process = start.start();
    let address = process.traffic();
    let mut client = Client::connect(address);
    for _ in 0..2 {
        let closed = client.ask("GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n");
        assert_eq!(
            (closed.status, closed.text().as_str()),
            (503, "<p>Back soon.")
        );
        assert_eq!(closed.get("retry-after").as_deref(), Some("3600"));
        let content_type = closed.get("content-type");
        assert_eq!(content_type.as_deref(), Some("text/html; charset=utf-8"));
        assert!(closed.get("proxy-status").unwrap().contains("maintenance"));
    }
}
