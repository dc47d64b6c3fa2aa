//! Which pages of other sites may read the answers of a route (CORS).

use crate::support::websocket::{self, TEXT};
use crate::support::wire::Head;
use crate::support::{Backend, Client, Engine, Proxy, Response, on_each_engine, on_reactor};

on_each_engine!(
    only_listed_pages_may_read,
    every_page_may_read,
    lookalikes_are_other_sites,
    refusals_can_be_read_too,
    what_varies_is_said_once,
    a_reload_changes_who_may_read,
);
on_reactor!(a_websocket_is_for_listed_pages);

pub(crate) const APP: &str = "https://app.example.com";
pub(crate) const ROUTE: &str = r#"
[[route]]
upstream = "web"
[route.cors]
origins = ["https://app.example.com", "https://*.example.org", "http://localhost:3000"]
methods = ["GET", "PUT", "DELETE"]
headers = ["Content-Type", "Authorization"]
expose = ["X-Request-ID", "X-Total"]
credentials = true
max_age = "5m"
"#;

pub(crate) fn ask(
    client: &mut Client,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
) -> Response {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: api.example.com\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    client.ask(text + "\r\n")
}

pub(crate) fn preflight(
    client: &mut Client,
    origin: &str,
    method: &str,
    headers: &str,
) -> Response {
    let mut fields = vec![
        ("Origin", origin),
        ("Access-Control-Request-Method", method),
    ];
    if !headers.is_empty() {
        fields.push(("Access-Control-Request-Headers", headers));
    }
    ask(client, "OPTIONS", "/x", &fields)
}

/// Name and value of all that is said about CORS.
pub(crate) fn said(head: &Head) -> Vec<(String, String)> {
    let fields = head.fields.iter();
    let fields = fields.map(|(name, value)| {
        let value = String::from_utf8_lossy(value).into_owned();
        (name.to_ascii_lowercase(), value)
    });
    fields
        .filter(|(name, _)| name.starts_with("access-control-"))
        .collect()
}

pub(crate) fn pair(name: &str, value: &str) -> (String, String) {
    (format!("access-control-{name}"), value.to_owned())
}

fn only_listed_pages_may_read(engine: Engine) {
    let backend = Backend::start(|conn| {
        let theirs = [
            ("Access-Control-Allow-Origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("Access-Control-Allow-Private-Network", "true"),
        ];
        conn.reply(200, &theirs, "backend");
    });
    let proxy = Proxy::to(engine, [&backend]).more(ROUTE).start();
    let mut client = proxy.client();
    for origin in [
        APP,
        "https://a.example.org",
        "https://a.b.example.org",
        "http://localhost:3000",
    ] {
        let answer = ask(&mut client, "GET", "/x", &[("Origin", origin)]);
        let expected = [
            pair("allow-origin", origin),
            pair("allow-credentials", "true"),
            pair("expose-headers", "X-Request-ID, X-Total"),
        ];
        assert_eq!(said(&answer), expected);
        assert_eq!(answer.get("vary").as_deref(), Some("Origin"));
    }
    // Others are served; their pages do not get to see it. What is no browser is served as ever.
    for origin in [&[("Origin", "https://evil.com")][..], &[]] {
        let answer = ask(&mut client, "GET", "/x", origin);
        assert_eq!((answer.status, answer.text().as_str()), (200, "backend"));
        assert_eq!(said(&answer), []);
        assert_eq!(answer.get("vary").as_deref(), Some("Origin"));
    }
    // A value that would fit, twice.
    let twice = [("Origin", APP), ("Origin", APP)];
    assert_eq!(said(&ask(&mut client, "GET", "/x", &twice)), []);
}

fn every_page_may_read(engine: Engine) {
    let backend = Backend::fixed("backend");
    let route = "[[route]]\nupstream = \"web\"\ncors = { origins = [\"*\"], headers = [\"*\"], methods = [\"*\"] }";
    let proxy = Proxy::to(engine, [&backend]).more(route).start();
    let mut client = proxy.client();
    for origin in [&[("Origin", APP)][..], &[("Origin", "null")], &[]] {
        let answer = ask(&mut client, "GET", "/x", origin);
        assert_eq!(said(&answer), [pair("allow-origin", "*")]);
        assert_eq!(answer.get("vary"), None);
    }
    let granted = preflight(&mut client, "null", "PATCH", "x-any, content-type");
    let star = |name| granted.get(&format!("access-control-allow-{name}"));
    assert_eq!(granted.status, 204);
    assert!(
        ["origin", "methods", "headers"]
            .iter()
            .all(|name| star(name).as_deref() == Some("*"))
    );
    let refused = preflight(&mut client, APP, "GET", "authorization");
    refused.refused(403, "cors_refused");
}

fn lookalikes_are_other_sites(engine: Engine) {
    let backend = Backend::fixed("backend");
    let proxy = Proxy::to(engine, [&backend]).more(ROUTE).start();
    let mut client = proxy.client();
    for origin in [
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.com",
        "https://evil-app.example.com",
        "https://appxexample.com",
        "https://example.com",
        "https://example.org",
        "https://evil-example.org",
        "https://evilexample.org",
        "https://a.example.org.evil.com",
        "https://a.example.org:8443",
        "https://.example.org",
        "https://evil.com/.example.org",
        "https://evil.com?.example.org",
        "https://evil.com@a.example.org",
        "https://a.example.org@evil.com",
        "https://app.example.com/",
        "https://app.example.com, https://evil.com",
        "http://localhost",
        "http://localhost:30000",
        "null",
        "*",
    ] {
        let answer = ask(&mut client, "GET", "/x", &[("Origin", origin)]);
        assert_eq!(
            (answer.status, said(&answer)),
            (200, Vec::new()),
            "{origin}"
        );
        preflight(&mut client, origin, "PUT", "").refused(403, "cors_refused");
    }
    let upper = "https://APP.EXAMPLE.COM";
    let answer = ask(&mut client, "GET", "/x", &[("Origin", upper)]);
    assert_eq!(said(&answer)[0], pair("allow-origin", upper));
}

fn refusals_can_be_read_too(engine: Engine) {
    let (_reserved, nobody) = crate::support::backend::reserve();
    let proxy = Proxy::to(engine, [])
        .and(nobody)
        .web("retry.attempts = 0")
        .more(ROUTE);
    let proxy = proxy.server("limits.body = \"10B\"").start();
    let mut client = proxy.client();
    let gone = ask(&mut client, "GET", "/x", &[("Origin", APP)]);
    let gone = gone.refused(502, "connect_refused");
    let large = format!(
        "PUT /x HTTP/1.1\r\nHost: a\r\nOrigin: {APP}\r\nContent-Length: 11\r\n\r\n01234567890"
    );
    let large = client.ask(large).refused(413, "body_too_big");
    for refusal in [gone, large] {
        assert_eq!(
            refusal.get("access-control-allow-origin").as_deref(),
            Some(APP)
        );
        assert_eq!(refusal.get("vary").as_deref(), Some("Origin"));
    }
}

fn what_varies_is_said_once(engine: Engine) {
    let backend = Backend::start(|conn| {
        let target = conn.head_target();
        let fields: &[(&str, &str)] = match target.as_str() {
            "/two" => &[("Vary", "Accept-Encoding"), ("vary", "Accept")],
            "/origin" => &[("Vary", "Accept, origin")],
            "/star" => &[("Vary", "*")],
            _ => &[],
        };
        conn.reply(200, fields, "x");
    });
    let proxy = Proxy::to(engine, [&backend]).more(ROUTE).start();
    let mut client = proxy.client();
    for (target, expected) in [
        ("/two", "Accept-Encoding, Accept, Origin"),
        ("/origin", "Accept, origin"),
        ("/star", "*"),
        ("/none", "Origin"),
    ] {
        let answer = ask(&mut client, "GET", target, &[("Origin", APP)]);
        assert_eq!(answer.get("vary").as_deref(), Some(expected), "{target}");
        assert_eq!(answer.all("vary").len(), 1, "{target}");
    }
}

fn a_reload_changes_who_may_read(engine: Engine) {
    let backend = Backend::fixed("backend");
    let setup = Proxy::to(engine, [&backend]);
    let route = |origin: &str| {
        setup.clone().more(&format!(
            "[[route]]\nname = \"r\"\nupstream = \"web\"\ncors = {{ origins = [\"{origin}\"] }}"
        ))
    };
    let proxy = route(APP).start();
    let mut client = proxy.client();
    let mut reads = |origin: &str| {
        let answer = ask(&mut client, "GET", "/", &[("Origin", origin)]);
        !said(&answer).is_empty()
    };
    assert!(reads(APP) && !reads("https://new.example.com"));
    let changes = proxy.reload(&route("https://new.example.com")).unwrap();
    let change =
        "route r: cors.origins: [\"https://app.example.com\"] → [\"https://new.example.com\"]";
    assert_eq!(changes, [change]);
    assert!(!reads(APP) && reads("https://new.example.com"));
}

fn a_websocket_is_for_listed_pages(engine: Engine) {
    let backend = Backend::start(websocket::echo);
    let more = "[server.security_headers]\nhsts = false\n".to_owned() + ROUTE;
    let proxy = Proxy::to(engine, [&backend]).more(&more).start();
    let shake = |origin: &str| {
        let request = websocket::handshake("/ws");
        let origin = format!("\r\nOrigin: {origin}\r\n\r\n");
        request.trim_end().to_owned() + &origin
    };
    for origin in ["https://evil.com", "null", "https://test.evil.com"] {
        let refused = proxy.client().ask(shake(origin));
        refused.refused(403, "cors_refused");
    }
    assert_eq!(backend.count(), 0);
    // Listed; a page of the host itself; no browser.
    let none = websocket::handshake("/ws");
    for request in [shake(APP), shake("http://test"), none] {
        let mut client = proxy.client();
        let head = client.send(request).read_switch();
        assert_eq!(head.line[1], "101");
        let told = [head.get("vary"), head.get("x-frame-options")];
        assert_eq!((said(&head), told), (Vec::new(), [None, None]));
        websocket::assert_echo(&mut client, TEXT, b"hello");
    }
}
