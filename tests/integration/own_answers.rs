//! What a route answers without a backend: redirects, fixed answers; and that the connection is fit for use after it.

use std::fs;

use crate::support::dial;
use crate::support::{
    Backend, Client, Engine, Proxy, Received, Response, eventually, on_each_engine,
};

on_each_engine!(
    clients_are_sent_elsewhere,
    no_request_chooses_another_host,
    a_redirect_to_the_same_host_needs_to_know_it,
    a_fixed_answer_is_always_the_same,
    an_answer_comes_from_a_file,
    bodies_that_nobody_wants_do_no_harm,
    pipelined_requests_are_answered_in_order,
    slow_readers_of_a_large_answer_hold_up_nobody_else,
);

const REDIRECTS: &str = r#"
[[route]]
match = { host = "old.test" }
redirect = { to = "https://new.test{path}{query}" }
[[route]]
match = { path = "/secure" }
redirect = { to = "https://{host}{path}{query}", status = 301 }
[[route]]
match = { path = "/moved" }
redirect = { to = "/here{rest}{query}", status = 302 }
[[route]]
match = { path = "/users/{id}" }
redirect = { to = "https://people.test/{id}{rest}", status = 303 }
[[route]]
match = { path = "/bare" }
redirect = { to = "{rest}", status = 307 }
[[route]]
upstream = "web"
"#;

fn ask(client: &mut Client, host: &str, target: &str) -> Response {
    client.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

fn clients_are_sent_elsewhere(engine: Engine) {
    let backend = Backend::fixed("backend");
    let proxy = Proxy::to(engine, [&backend]).more(REDIRECTS).start();
    // All on one connection: nothing is left over behind an answer.
    let mut client = proxy.client();
    for (host, target, status, location) in [
        ("old.test", "/a/b?c=d", 308, "https://new.test/a/b?c=d"),
        ("old.test:81", "/", 308, "https://new.test/"),
        ("a.test:8080", "/secure", 301, "https://a.test/secure"),
        ("a.test", "/secure/x?y", 301, "https://a.test/secure/x?y"),
        ("a.test", "/moved", 302, "/here"),
        ("a.test", "/moved/x?y", 302, "/here/x?y"),
        ("a.test", "/users/%41/x", 303, "https://people.test/A/x"),
        ("a.test", "/bare", 307, "/"),
        ("a.test", "/bare/x", 307, "/x"),
    ] {
        let answer = ask(&mut client, host, target);
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.get("location").as_deref(), Some(location));
        assert_eq!(answer.get("content-length").as_deref(), Some("0"));
        assert!(answer.get("x-request-id").is_some());
        assert_eq!(answer.get("x-backend-server"), None);
    }
    assert_eq!(backend.count(), 0);
    assert_eq!(ask(&mut client, "a.test", "/other").text(), "backend");
}

fn no_request_chooses_another_host(engine: Engine) {
    let backend = Backend::fixed("backend");
    let setup = Proxy::to(engine, [&backend]).server("paths = \"as_sent\"");
    let proxy = setup.more(REDIRECTS).start();
    for (host, target, location) in [
        ("old.test", "//evil.test/x", "https://new.test//evil.test/x"),
        ("old.test", "/@evil.test", "https://new.test/@evil.test"),
        ("a.test", "/bare//evil.test", "/evil.test"),
        ("a.test", "/bare///evil.test", "/evil.test"),
        ("a.test", "/bare/\\evil.test", "/%5Cevil.test"),
        ("a.test", "/bare/%5cevil.test", "/%5cevil.test"),
        ("a.test", "/moved/\"<a>", "/here/%22%3Ca%3E"),
        (
            "a.test",
            "/moved/%0d%0aX-Evil:%201",
            "/here/%0d%0aX-Evil:%201",
        ),
        ("a.test", "/moved?%0d%0a", "/here?%0d%0a"),
        ("a.test", "/users/..%2f..", "https://people.test/..%2f.."),
        ("a.test", "/users/\\x", "https://people.test/%5Cx"),
        ("a.test", "/users/@evil", "https://people.test/@evil"),
    ] {
        let answer = ask(&mut proxy.client(), host, target);
        assert_eq!(
            answer.get("location").as_deref(),
            Some(location),
            "{target}"
        );
        assert_eq!(answer.get("x-evil"), None);
    }
    let absolute = "GET http://b.test/secure/x HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let answer = proxy.client().ask(absolute);
    let location = answer.get("location");
    assert_eq!(location.as_deref(), Some("https://b.test/secure/x"));
    // What could split a head is refused before any route sees it.
    for bad in [
        "GET /moved/\rX-Evil: 1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /moved/\nX-Evil: 1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /moved/\0 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /secure HTTP/1.1\r\nHost: a.test/@evil\r\n\r\n",
        "GET /secure HTTP/1.1\r\nHost: a.test\rX-Evil: 1\r\n\r\n",
    ] {
        let mut client = proxy.client();
        client.send(bad).half_close();
        let answered = String::from_utf8_lossy(&client.drain()).to_ascii_lowercase();
        assert!(!answered.contains("\nx-evil"), "{bad:?}: {answered}");
        assert!(!answered.contains("location:"), "{bad:?}: {answered}");
    }
}

fn a_redirect_to_the_same_host_needs_to_know_it(engine: Engine) {
    let backend = Backend::fixed("backend");
    let proxy = Proxy::to(engine, [&backend]).more(REDIRECTS).start();
    let unknown = proxy.client().ask("GET /secure HTTP/1.0\r\n\r\n");
    unknown.refused(400, "bad_request");
    let moved = proxy.client().ask("GET /moved/x HTTP/1.0\r\n\r\n");
    assert_eq!(moved.get("location").as_deref(), Some("/here/x"));
}

const ANSWERS: &str = r#"
[[route]]
match = { path = "/robots.txt" }
answer = { body = "User-agent: *\nDisallow: /\n" }
[[route]]
match = { path = "/gone" }
answer = { status = 410, body = "{\"gone\": true}", content_type = "application/json" }
[[route]]
match = { path = "/empty" }
answer = { status = 204 }
[[route]]
match = { path = "/ok" }
answer = {}
[[route]]
upstream = "web"
"#;

fn a_fixed_answer_is_always_the_same(engine: Engine) {
    let backend = Backend::fixed("backend");
    let proxy = Proxy::to(engine, [&backend]).more(ANSWERS).start();
    let mut client = proxy.client();
    for _ in 0..3 {
        let robots = client.get("/robots.txt");
        assert_eq!(robots.status, 200);
        assert_eq!(robots.text(), "User-agent: *\nDisallow: /\n");
        let content_type = robots.get("content-type");
        assert_eq!(content_type.as_deref(), Some("text/plain; charset=utf-8"));
        let head = client.send("HEAD /robots.txt HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = head.read_bodiless();
        assert_eq!(head.get("content-length").as_deref(), Some("26"));
        let gone = client.get("/gone/for/good?x");
        assert_eq!(
            (gone.status, gone.json()["gone"].as_bool()),
            (410, Some(true))
        );
        assert_eq!(
            gone.get("content-type").as_deref(),
            Some("application/json")
        );
        let empty = client.get("/empty");
        assert_eq!((empty.status, empty.get("content-length")), (204, None));
        assert_eq!(empty.get("content-type"), None);
        let ok = client.ask("DELETE /ok HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((ok.status, ok.text().as_str()), (200, ""));
    }
    assert_eq!(backend.count(), 0);
    assert_eq!(client.get("/").text(), "backend");
    let old = proxy.client().ask("GET /robots.txt HTTP/1.0\r\n\r\n");
    assert_eq!(old.body.len(), 26);
}

fn an_answer_comes_from_a_file(engine: Engine) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("icon.png");
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    fs::write(&file, &bytes).unwrap();
    let backend = Backend::fixed("backend");
    let route = format!(
        "[[route]]\nanswer = {{ status = 404, body_file = \"{}\" }}",
        file.display()
    );
    let proxy = Proxy::to(engine, [&backend]).more(&route).start();
    let mut client = proxy.client();
    for _ in 0..2 {
        let icon = client.get("/favicon.ico");
        assert_eq!((icon.status, icon.body == bytes), (404, true));
        assert_eq!(icon.get("content-type").as_deref(), Some("image/png"));
    }
}

fn bodies_that_nobody_wants_do_no_harm(engine: Engine) {
    let backend = Backend::fixed("backend");
    let routes = format!(
        "{ANSWERS}[[route]]\nmatch = {{ path = \"/moved\" }}\nredirect = {{ to = \"/new\" }}\n\
         [[route]]\nmatch = {{ path = \"/closed\" }}\nupstream = \"web\"\nmaintenance = true"
    );
    let proxy = Proxy::to(engine, [&backend]).more(&routes).start();
    let small = "Content-Length: 11\r\n\r\nGET / HTTP/";
    let chunked = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for (target, status) in [("/robots.txt", 200), ("/moved", 308), ("/closed", 503)] {
        for body in [small, chunked] {
            let mut client = proxy.client();
            let answer = client.ask(format!("POST {target} HTTP/1.1\r\nHost: a\r\n{body}"));
            assert_eq!(answer.status, status, "{target} {body:?}");
            fit_for_use(client);
        }
        // Announced, but never sent: the answer does not wait for it.
        let mut client = proxy.client();
        let asked = client.ask(format!(
            "PUT {target} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 60000000\r\n\r\n"
        ));
        assert_eq!(asked.status, status, "{target}");
        // More than anybody would read away.
        let client = proxy.client();
        let length = 60_000_000;
        let mut reader = client.twin();
        reader.send(format!(
            "PUT {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
        ));
        let upload = client.upload(length);
        match reader.receive() {
            Received::Whole(answer) => assert_eq!(answer.status, status, "{target}"),
            other => panic!("{target}: {other:?}"),
        }
        drop((client, reader));
        let _ = upload.join();
    }
    assert!(backend.seen().iter().all(|seen| seen.target() == "/next"));
    assert_eq!(proxy.get("/next").text(), "backend");
}

/// The connection takes another request, or it has ended: what is left of a body is no request.
fn fit_for_use(mut client: Client) {
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    match client.receive() {
        Received::Whole(answer) => assert_eq!(answer.text(), "backend"),
        Received::Closed | Received::Reset => (),
        Received::Cut(answer) => panic!("{answer:?}"),
    }
}

fn pipelined_requests_are_answered_in_order(engine: Engine) {
    let backend = Backend::fixed("backend");
    let routes = format!(
        "{ANSWERS}[[route]]\nmatch = {{ path = \"/moved\" }}\nredirect = {{ to = \"/new\" }}"
    );
    let proxy = Proxy::to(engine, [&backend]).more(&routes).start();
    let mut client = proxy.client();
    let targets = ["/moved", "/", "/gone", "/empty", "/robots.txt", "/moved"];
    let requests = targets.map(|target| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.send(requests.concat());
    let statuses: Vec<u16> = targets.iter().map(|_| client.read().status).collect();
    assert_eq!(statuses, [308, 200, 410, 204, 200, 308]);
}

/// More of them than there are threads for such answers, each with more answers than the system takes off their hands.
fn slow_readers_of_a_large_answer_hold_up_nobody_else(engine: Engine) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("large.txt");
    fs::write(&file, vec![b'x'; 1 << 20]).unwrap();
    let backend = Backend::fixed("backend");
    let routes = format!(
        "{ANSWERS}[[route]]\nmatch = {{ path = \"/large\" }}\nanswer = {{ body_file = \"{}\" }}\n\
         [[route]]\nmatch = {{ path = \"/moved\" }}\nredirect = {{ to = \"/new\" }}",
        file.display()
    );
    let setup = Proxy::to(engine, [&backend]).more(&routes);
    let proxy = setup
        .server("timeouts.write_idle = \"2m\"\nhealth_paths = [\"/health\"]")
        .start();
    let mut readers: Vec<Client> = (0..6).map(|_| dial::narrow(proxy.traffic())).collect();
    for reader in &mut readers {
        reader.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n".repeat(8));
    }
    let in_flight = || proxy.running().drain().in_flight();
    eventually("nobody takes more", || in_flight() >= readers.len());
    for _ in 0..20 {
        assert_eq!(proxy.get("/robots.txt").body.len(), 26);
        assert_eq!(proxy.get("/moved").status, 308);
        assert_eq!(proxy.get("/health").status, 200);
        assert_eq!(proxy.get("/").text(), "backend");
    }
    // Two at a time may wait for their clients; the others have their turn when these are through.
    std::thread::scope(|scope| {
        for mut reader in readers {
            scope.spawn(move || {
                for _ in 0..8 {
                    assert_eq!(reader.read().body.len(), 1 << 20);
                }
            });
        }
    });
}
