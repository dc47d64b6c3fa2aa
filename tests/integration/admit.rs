//! Who may come in: limits, the shape of a refusal, and what happens when there is too much to do.

use crate::support::conn::BodyEnd;
use crate::support::{Backend, Engine, Gate, Proxy, eventually, on_each_engine};

on_each_engine!(
    limits_have_their_own_status,
    a_chunked_body_over_the_limit_never_arrives_whole,
    a_route_may_take_larger_bodies,
    a_refusal_speaks_the_language_of_the_client,
    a_refusal_names_the_request,
    a_full_queue_refuses,
    a_long_wait_in_the_queue_refuses,
    a_refusal_keeps_a_good_connection_usable,
);

fn limits_have_their_own_status(engine: Engine) {
    let backend = Backend::fixed("never");
    let limits = "limits.target = \"1KiB\"\nlimits.head = \"8KiB\"\nlimits.headers = 10\nlimits.body = \"1KiB\"";
    let proxy = Proxy::to(engine, [&backend]).server(limits).start();
    let long = "x".repeat(2000);
    let many = "X-N: 1\r\n".repeat(20);
    let big = format!("X-Big: {}\r\n", "x".repeat(10_000));
    for (request, status, cause) in [
        (
            format!("GET /{long} HTTP/1.1\r\nHost: test\r\n\r\n"),
            414,
            "target_too_long",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: test\r\n{many}\r\n"),
            431,
            "head_too_big",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: test\r\n{big}\r\n"),
            431,
            "head_too_big",
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1025\r\n\r\n".into(),
            413,
            "body_too_big",
        ),
    ] {
        proxy.client().ask(request).refused(status, cause);
    }
    assert_eq!(backend.count(), 0);
}

fn a_chunked_body_over_the_limit_never_arrives_whole(engine: Engine) {
    let backend = Backend::fixed("never");
    let proxy = Proxy::to(engine, [&backend])
        .server("limits.body = \"1KiB\"")
        .start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        client.send(format!("200\r\n{}\r\n", "x".repeat(512)));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.receive().status(), Some(413));
    assert!(backend.seen().iter().all(|seen| seen.end != BodyEnd::Whole));
}

fn a_route_may_take_larger_bodies(engine: Engine) {
    let backend = Backend::echo();
    let routes = "[[route]]\nmatch = { path = \"/big/\" }\nupstream = \"web\"\nmax_body = \"1MiB\"\n\
                  [[route]]\nupstream = \"web\"";
    let setup = Proxy::to(engine, [&backend]).server("limits.body = \"1KiB\"");
    let proxy = setup.more(routes).start();
    let body = "x".repeat(5000);
    assert_eq!(proxy.client().post("/big/", &body).text(), body);
    let length = "POST /small HTTP/1.1\r\nHost: test\r\nContent-Length: 5000\r\n\r\n";
    proxy.client().ask(length).refused(413, "body_too_big");
}

fn a_refusal_speaks_the_language_of_the_client(engine: Engine) {
    let backend = Backend::fixed("never");
    let route = "[[route]]\nmatch = { host = \"only.example\" }\nupstream = \"web\"";
    let proxy = Proxy::to(engine, [&backend]).more(route).start();
    for (accept, kind, has) in [
        ("*/*", "application/json", "\"cause\":\"no_route\""),
        ("application/json", "application/json", "\"status\":404"),
        (
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/html",
            "<html",
        ),
        ("text/plain", "text/plain", "no_route"),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: test\r\nAccept: {accept}\r\n\r\n");
        let answer = proxy.client().ask(request);
        assert_eq!(answer.status, 404);
        assert!(
            answer.get("content-type").unwrap().starts_with(kind),
            "{accept}"
        );
        let text = answer.text().replace(": ", ":");
        assert!(
            text.contains(has) && text.contains("no_route"),
            "{accept}: {text}"
        );
    }
}

fn a_refusal_names_the_request(engine: Engine) {
    let backend = Backend::fixed("never");
    let route = "[[route]]\nmatch = { host = \"only.example\" }\nupstream = \"web\"";
    let proxy = Proxy::to(engine, [&backend]).more(route).start();
    let answer = proxy.get("/<b>").refused(404, "no_route");
    let json = answer.json();
    assert_eq!(json["status"], 404);
    assert_eq!(
        json["request_id"].as_str(),
        answer.get("x-request-id").as_deref()
    );
    assert!(!json["message"].as_str().unwrap().is_empty());
}

fn a_full_queue_refuses(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "done");
    let setup = Proxy::to(engine, [&backend]).server("workers = 1\nqueue = 1");
    let proxy = setup.start();
    let mut working = proxy.client();
    working.send("GET /working HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("the worker is busy", || gate.arrived() == 1);
    let mut crowd = [proxy.client(), proxy.client()];
    for client in &mut crowd {
        client.send("GET /queued HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    eventually("one too many came", || proxy.get("/more").status == 503);
    let refused = proxy.get("/more").refused(503, "overloaded");
    assert!(refused.get("retry-after").is_some());
    gate.open();
    assert_eq!(working.read().text(), "done");
    for mut client in crowd {
        assert!(matches!(client.read().status, 200 | 503));
    }
}

fn a_long_wait_in_the_queue_refuses(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "done");
    let setup = Proxy::to(engine, [&backend]);
    let proxy = setup
        .server("workers = 1\nqueue = 10\nqueue_timeout = \"200ms\"")
        .start();
    let mut working = proxy.client();
    working.send("GET /working HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("the worker is busy", || gate.arrived() == 1);
    let refused = proxy.get("/waiting").refused(503, "overloaded");
    assert!(refused.get("retry-after").is_some());
    gate.open();
    assert_eq!(working.read().text(), "done");
    assert!(
        backend
            .seen()
            .iter()
            .all(|seen| seen.target() != "/waiting")
    );
}

fn a_refusal_keeps_a_good_connection_usable(engine: Engine) {
    let backend = Backend::fixed("welcome");
    let route = "[[route]]\nmatch = { path = \"/in\" }\nupstream = \"web\"";
    let proxy = Proxy::to(engine, [&backend]).more(route).start();
    let mut client = proxy.client();
    client.get("/out").refused(404, "no_route");
    assert_eq!(client.get("/in").text(), "welcome");
    let unread = client.post("/out", "nobody reads this");
    if unread.refused(404, "no_route").get("connection").as_deref() == Some("close") {
        client.assert_ended();
    } else {
        assert_eq!(client.get("/in").text(), "welcome");
    }
}
