//! What browsers are told about answers, and the way to https.

use std::fs;

use crate::support::curl::curl;
use crate::support::program::{CURL, skip_without};
use crate::support::{
    Backend, Client, Engine, Process, Proxy, Response, on_each_engine, on_reactor,
};

on_reactor!(what_comes_over_tls_is_at_its_place);
on_each_engine!(
    every_answer_says_it,
    a_backend_that_says_it_is_not_contradicted,
    routes_say_something_else,
    hsts_is_for_tls_only,
    our_own_page_keeps_its_style,
    who_comes_without_tls_is_sent_to_it,
    some_come_without_tls_all_the_same,
    curl_is_sent_on,
);

/// Whoever connects may say that it speaks TLS with its client.
const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\"]";

const ALL: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "SAMEORIGIN"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("content-security-policy", "frame-ancestors 'self'"),
];

fn ask(client: &mut Client, target: &str, fields: &str) -> Response {
    client.ask(format!(
        "GET {target} HTTP/1.1\r\nHost: a.test:81\r\n{fields}\r\n"
    ))
}

fn over_tls(client: &mut Client, target: &str) -> Response {
    ask(client, target, "X-Forwarded-Proto: https\r\n")
}

fn hsts(response: &Response) -> Option<String> {
    response.get("strict-transport-security")
}

fn every_answer_says_it(engine: Engine) {
    let backend = Backend::fixed("backend");
    let routes = r#"
        [[route]]
        match = { path = "/moved" }
        redirect = { to = "/x" }
        [[route]]
        match = { path = "/fixed" }
        answer = { body = "fixed" }
        [[route]]
        match = { path = "/closed" }
        upstream = "web"
        maintenance = true
        [[route]]
        match = { path = "/get", method = "PUT" }
        upstream = "web"
        [[route]]
        match = { path = "/app" }
        upstream = "web"
    "#;
    let proxy = Proxy::to(engine, [&backend])
        .server("security_headers = true\nhealth_paths = [\"/health\"]")
        .server(TRUSTED)
        .more(routes)
        .start();
    let mut client = proxy.client();
    for (target, status) in [
        ("/app", 200),
        ("/moved", 308),
        ("/fixed", 200),
        ("/closed", 503),
        ("/get", 405),
        ("/none", 404),
        ("/health", 200),
    ] {
        let answer = over_tls(&mut client, target);
        assert_eq!(answer.status, status, "{target}");
        for (name, value) in ALL {
            let said = answer.get(name);
            assert_eq!(said.as_deref(), Some(value), "{target} {name}");
        }
        assert_eq!(
            hsts(&answer).as_deref(),
            Some("max-age=31536000"),
            "{target}"
        );
        assert_eq!(answer.get("permissions-policy"), None);
    }
    // Also where there was no request that could be understood.
    let bad = proxy.client().ask("GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
    assert_eq!(bad.status, 400);
    if engine == Engine::Reactor {
        assert_eq!(bad.get("x-frame-options").as_deref(), Some("SAMEORIGIN"));
    }
}

fn a_backend_that_says_it_is_not_contradicted(engine: Engine) {
    let backend = Backend::start(|conn| {
        let theirs = [
            ("x-frame-options", "DENY"),
            ("Content-Security-Policy", "default-src 'self'"),
            ("Content-Security-Policy", "img-src *"),
            ("Strict-Transport-Security", "max-age=1; preload"),
        ];
        conn.reply(200, &theirs, "backend");
    });
    let proxy = Proxy::to(engine, [&backend])
        .server("security_headers = true")
        .server(TRUSTED)
        .more("[[route]]\nupstream = \"web\"\nheaders.response.set = { Referrer-Policy = \"origin\" }")
        .start();
    let mut client = proxy.client();
    let answer = over_tls(&mut client, "/");
    assert_eq!(answer.all("x-frame-options"), ["DENY"]);
    let policies = ["default-src 'self'", "img-src *"];
    assert_eq!(answer.all("content-security-policy"), policies);
    assert_eq!(answer.all("x-content-type-options"), ["nosniff"]);
    assert_eq!(hsts(&answer).as_deref(), Some("max-age=1; preload"));
    // What the route itself changes comes last.
    assert_eq!(answer.all("referrer-policy"), ["origin"]);
    // Over plain http nobody says it (RFC 6797 section 7.2).
    assert_eq!(hsts(&ask(&mut client, "/", "")), None);
}

fn routes_say_something_else(engine: Engine) {
    let backend = Backend::fixed("backend");
    let routes = r#"
        [[route]]
        match = { path = "/off" }
        upstream = "web"
        security_headers = false
        [[route]]
        match = { path = "/own" }
        upstream = "web"
        [route.security_headers]
        frame_options = "DENY"
        hsts = "30d"
        include_subdomains = true
        [[route]]
        match = { path = "/server" }
        upstream = "web"
    "#;
    let server =
        "security_headers = { referrer_policy = false, permissions_policy = \"camera=()\" }";
    let setup = Proxy::to(engine, [&backend]).server(TRUSTED).more(routes);
    let proxy = setup.clone().server(server).start();
    let mut client = proxy.client();
    let mut said = |target: &str| {
        let answer = over_tls(&mut client, target);
        [
            "x-content-type-options",
            "x-frame-options",
            "referrer-policy",
            "content-security-policy",
            "permissions-policy",
            "strict-transport-security",
        ]
        .map(|name| answer.get(name).unwrap_or_default())
    };
    assert_eq!(said("/off"), [""; 6]);
    let own = ["nosniff", "DENY", "", "frame-ancestors 'none'", "camera=()"];
    let own_hsts = "max-age=2592000; includeSubDomains";
    assert_eq!(
        said("/own"),
        [own[0], own[1], own[2], own[3], own[4], own_hsts]
    );
    let of_server = [
        "nosniff",
        "SAMEORIGIN",
        "",
        "frame-ancestors 'self'",
        "camera=()",
        "max-age=31536000",
    ];
    assert_eq!(said("/server"), of_server);
    // A reload has it take effect, without a restart.
    let changes = proxy.reload(&setup).unwrap();
    assert_eq!(changes.len(), 3, "{changes:?}");
    assert!(
        !changes.iter().any(|change| change.contains("restart")),
        "{changes:?}"
    );
    assert_eq!(said("/server"), [""; 6]);
    assert_eq!(said("/own")[1], "DENY");
}

fn hsts_is_for_tls_only(engine: Engine) {
    let backend = Backend::fixed("backend");
    let setup = Proxy::to(engine, [&backend]).server("security_headers = true");
    // Nobody is trusted: whatever it says, it came without TLS.
    let proxy = setup.clone().start();
    assert_eq!(hsts(&over_tls(&mut proxy.client(), "/")), None);
    let proxy = setup.server(TRUSTED).start();
    let mut client = proxy.client();
    assert!(hsts(&over_tls(&mut client, "/")).is_some());
    assert_eq!(hsts(&ask(&mut client, "/", "")), None);
    assert_eq!(
        hsts(&ask(&mut client, "/", "X-Forwarded-Proto: http\r\n")),
        None
    );
}

fn our_own_page_keeps_its_style(engine: Engine) {
    let backend = Backend::fixed("backend");
    let text = Proxy::to(engine, [&backend])
        .server("security_headers = { content_security_policy = \"default-src 'self'\" }")
        .more("[[route]]\nmatch = { path = \"/closed\" }\nupstream = \"web\"\nmaintenance = { page = \"closed.html\" }")
        .more("[[route]]\nmatch = { path = \"/app\" }\nupstream = \"web\"")
        .text();
    let start = Process::config(&text);
    fs::write(start.directory().join("closed.html"), "<p>Back soon.").unwrap();
    let process = start.start();
    let mut client = Client::connect(process.traffic());
    let mut policy = |target: &str, accept: &str| {
        let answer = ask(&mut client, target, &format!("Accept: {accept}\r\n"));
        let policies = answer.all("content-security-policy");
        assert_eq!(policies.len(), 1, "{target}");
        policies[0].clone()
    };
    let ours = policy("/none", "text/html");
    assert!(
        ours.starts_with("default-src 'none'; style-src 'sha256-"),
        "{ours}"
    );
    for (target, accept) in [
        ("/none", "*/*"),
        ("/app", "text/html"),
        ("/closed", "text/html"),
    ] {
        assert_eq!(policy(target, accept), "default-src 'self'", "{target}");
    }
}

fn who_comes_without_tls_is_sent_to_it(engine: Engine) {
    let backend = Backend::fixed("backend");
    let proxy = Proxy::to(engine, [&backend])
        .server("redirect_https = true\nsecurity_headers = true")
        .server(TRUSTED)
        .start();
    let mut client = proxy.client();
    for (target, location) in [
        ("/", "https://a.test/"),
        ("/x/y?z=1&q=%20", "https://a.test/x/y?z=1&q=%20"),
        ("//evil.test/x", "https://a.test//evil.test/x"),
        ("/@evil.test", "https://a.test/@evil.test"),
        ("http://b.test:99/x", "https://b.test/x"),
    ] {
        let answer = ask(&mut client, target, "");
        assert_eq!(answer.status, 308, "{target}");
        assert_eq!(answer.get("location").as_deref(), Some(location));
        assert_eq!(answer.get("x-frame-options").as_deref(), Some("SAMEORIGIN"));
        assert_eq!(hsts(&answer), None);
    }
    let posted = client.ask("POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(posted.status, 308);
    assert_eq!(backend.count(), 0);
    let old = proxy.client().ask("GET /x HTTP/1.0\r\n\r\n");
    assert_eq!(old.status, 400);
    let mut client = proxy.client();
    let https = over_tls(&mut client, "/x");
    assert_eq!((https.status, https.text().as_str()), (200, "backend"));
    // Nobody is believed who is not trusted.
    let other = Proxy::to(engine, [&backend])
        .server("redirect_https = 8443\ntrusted_proxies = [\"10.0.0.1\"]")
        .start();
    let answer = over_tls(&mut other.client(), "/x");
    let location = answer.get("location");
    assert_eq!(
        (answer.status, location.as_deref()),
        (308, Some("https://a.test:8443/x"))
    );
}

fn some_come_without_tls_all_the_same(engine: Engine) {
    let backend = Backend::fixed("backend");
    let setup = Proxy::to(engine, [&backend])
        .server("health_paths = [\"/health\"]")
        .server(TRUSTED);
    let proxy = setup.clone().server("redirect_https = true").start();
    let status = |proxy: &Proxy, target| ask(&mut proxy.client(), target, "").status;
    assert_eq!(status(&proxy, "/.well-known/acme-challenge/token"), 200);
    assert_eq!(status(&proxy, "/health"), 200);
    for elsewhere in [
        "/.well-known/acme-challenge",
        "/.well-known/other",
        "/.well-known/acme-challenge/../../secret",
        "/.well-known/acme-challenge/%2e%2e/%2e%2e/secret",
        "/healthy",
    ] {
        assert_eq!(status(&proxy, elsewhere), 308, "{elsewhere}");
    }
    let changes = proxy.reload(
        &setup
            .clone()
            .server("redirect_https = { except = [\"/plain\"] }"),
    );
    assert_eq!(changes.unwrap().len(), 1);
    assert_eq!(status(&proxy, "/plain/x"), 200);
    assert_eq!(status(&proxy, "/.well-known/acme-challenge/token"), 308);
    proxy.reload(&setup).unwrap();
    assert_eq!(status(&proxy, "/x"), 200);
}

/// One proxy without TLS that sends on, and one that passes for the place with TLS.
fn curl_is_sent_on(engine: Engine) {
    skip_without!(CURL);
    let backend = Backend::echo();
    let proxy = Proxy::to(engine, [&backend])
        .server("redirect_https = true")
        .server(TRUSTED)
        .start();
    let url = format!("http://{}/x?y=1", proxy.traffic());
    let sent = curl(&["--data", "body", &url]).response;
    let expected = format!("https://{}/x?y=1", proxy.traffic().ip());
    assert_eq!(sent.get("location").as_deref(), Some(expected.as_str()));
    let https = ["-H", "X-Forwarded-Proto: https", "--data", "body", &url];
    assert_eq!(curl(&https).response.text(), "body");
}

fn what_comes_over_tls_is_at_its_place(engine: Engine) {
    skip_without!(CURL);
    let backend = Backend::start(|conn| {
        let seen = conn.request();
        conn.reply(200, &[], seen.get("x-forwarded-proto").unwrap_or_default());
    });
    let proxy = Proxy::to(engine, [&backend])
        .listen("[\"127.0.0.1:0\", { address = \"127.0.0.1:0\", tls = \"self-signed\" }]")
        .server("security_headers = true\nredirect_https = 8443")
        .start();
    let address = |at: usize| proxy.addresses()[at].ip().unwrap();
    let plain = curl(&[&format!("http://{}/x", address(0))]).response;
    assert_eq!((plain.status, hsts(&plain)), (308, None));
    assert_eq!(
        plain.get("location").as_deref(),
        Some("https://127.0.0.1:8443/x")
    );
    let secure = curl(&["--insecure", &format!("https://{}/x", address(1))]).response;
    assert_eq!((secure.status, secure.text().as_str()), (200, "https"));
    assert_eq!(hsts(&secure).as_deref(), Some("max-age=31536000"));
}
