//! What a client is sent: streams without delay, large bodies in constant memory, and a cut wherever the backend cut.

use std::time::{Duration, Instant};

use crate::support::{
    Backend, Engine, Gate, Process, Proxy, Received, on_each_engine, on_each_engine_and_tls,
    pattern,
};

on_each_engine_and_tls!(
    events_arrive_one_by_one,
    a_cut_body_stays_cut,
    a_clean_end_stays_clean,
    large_bodies_take_no_memory,
    what_the_backend_says_arrives,
    the_backend_header_is_a_choice,
);

// Over TLS it is another kind of end that tells: see `tls`.
on_each_engine!(an_http_10_client_sees_a_cut_too,);

fn events_arrive_one_by_one(engine: Engine) {
    for head in ["Transfer-Encoding: chunked\r\n", "Connection: close\r\n"] {
        let gate = Gate::new();
        let at_each = gate.clone();
        let backend = Backend::start(move |conn| {
            conn.raw(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{head}\r\n"
            ));
            for n in 0..20 {
                let event = format!("data: {n}\n\n");
                conn.wait(&at_each);
                if head.starts_with('T') {
                    conn.chunk(event)
                } else {
                    conn.raw(event)
                };
            }
            conn.close();
        });
        let proxy = Proxy::to(engine, [&backend]).start();
        let mut client = proxy.client();
        client
            .send("GET / HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n")
            .read_head();
        let mut delays: Vec<Duration> = (0..20)
            .map(|n| {
                let asked = Instant::now();
                gate.pass_one();
                client.read_past(&format!("data: {n}\n\n"));
                asked.elapsed()
            })
            .collect();
        delays.sort_unstable();
        assert!(delays[10] < Duration::from_millis(50), "{delays:?}");
    }
}

/// Answers with this head and `abc`, waits for the test, and ends with a reset or cleanly.
fn ending(head: &'static str, body: &'static str, reset: bool, gate: &Gate) -> Backend {
    let gate = gate.clone();
    Backend::start(move |conn| {
        conn.request();
        conn.raw(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}"));
        conn.wait(&gate);
        if reset { conn.reset() } else { conn.close() }
    })
}

fn a_cut_body_stays_cut(engine: Engine) {
    for (head, body, reset) in [
        ("Content-Length: 10\r\n", "abc", false),
        ("Content-Length: 10\r\n", "abc", true),
        ("Content-Length: 1000000\r\n", "abc", false),
        ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n", false),
        ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n", true),
        ("Transfer-Encoding: chunked\r\n", "8\r\nabc", false),
        (
            "Transfer-Encoding: chunked\r\n",
            "3\r\nabc\r\nzz\r\n",
            false,
        ),
        ("Connection: close\r\n", "abc", true),
    ] {
        let gate = Gate::new();
        let backend = ending(head, body, reset, &gate);
        let proxy = Proxy::to(engine, [&backend]).start();
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        gate.open();
        let received = client.receive();
        let cut = matches!(
            received,
            Received::Cut(_) | Received::Reset | Received::Closed
        );
        // Small answers may be held back until they are whole: then a refusal is the honest answer.
        let refused = received.status() == Some(502);
        assert!(cut || refused, "{head:?} {body:?} {reset}: {received:?}");
        if !refused {
            client.assert_ended();
        }
    }
}

fn a_clean_end_stays_clean(engine: Engine) {
    for (head, body) in [
        ("Content-Length: 3\r\n", "abc"),
        ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        (
            "Transfer-Encoding: chunked\r\n",
            "1;x=y\r\na\r\n2\r\nbc\r\n0\r\nX-Trailer: 1\r\n\r\n",
        ),
        ("Connection: close\r\n", "abc"),
    ] {
        let gate = Gate::new();
        gate.open();
        let backend = ending(head, body, false, &gate);
        let proxy = Proxy::to(engine, [&backend]).start();
        let mut client = proxy.client();
        assert_eq!(client.get("/").text(), "abc", "{head:?} {body:?}");
        assert_eq!(
            client.get("/again").text(),
            "abc",
            "the client's connection is kept"
        );
    }
}

fn an_http_10_client_sees_a_cut_too(engine: Engine) {
    let gate = Gate::new();
    let backend = ending(
        "Transfer-Encoding: chunked\r\n",
        "3\r\nabc\r\n",
        true,
        &gate,
    );
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    gate.open();
    let received = client.receive();
    let honest = !matches!(received, Received::Whole(_)) || received.status() == Some(502);
    assert!(honest, "{received:?}");
}

const LARGE: u64 = 256 << 20;

fn large_bodies_take_no_memory(engine: Engine) {
    let backend = Backend::patterned(LARGE);
    let setup = Proxy::to(engine, [&backend]).server("limits.body = \"1GiB\"");
    let process = Process::config(&setup.text()).start();
    let mut client = process.client();
    assert_eq!(client.post("/up", "x").status, 200);
    let before = process.memory();
    pattern::both_ways(&mut client, LARGE);
    let growth = process.peak_memory().saturating_sub(before);
    assert!(growth < 16 << 20, "grew by {growth} bytes");
}

fn what_the_backend_says_arrives(engine: Engine) {
    let backend = Backend::raw(
        b"HTTP/1.1 299 Fine Enough\r\nSet-Cookie: a=1; Path=/\r\nX-Latin: caf\xe9\r\nSet-Cookie: b=2\r\n\
          Server: backend/1.0\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Empty:\r\nContent-Encoding: gzip\r\n\
          Content-Length: 4\r\n\r\n\x1f\x8b\x00\xff",
    );
    let proxy = Proxy::to(engine, [&backend]).start();
    let answer = proxy.get("/");
    assert_eq!(answer.status, 299);
    assert_eq!(answer.body, b"\x1f\x8b\x00\xff");
    assert_eq!(answer.all("set-cookie"), ["a=1; Path=/", "b=2"]);
    assert_eq!(
        answer.get("date").as_deref(),
        Some("Thu, 01 Jan 1970 00:00:00 GMT")
    );
    assert_eq!(answer.get("server").as_deref(), Some("backend/1.0"));
    assert_eq!(answer.get("x-empty").as_deref(), Some(""));
    assert_eq!(answer.get("content-encoding").as_deref(), Some("gzip"));
    let latin = answer
        .fields
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("x-latin"));
    assert_eq!(latin.unwrap().1, b"caf\xe9");
    assert!(answer.get("x-request-id").is_some());
}

fn the_backend_header_is_a_choice(engine: Engine) {
    let backend = Backend::fixed("x");
    let setup = Proxy::to(engine, [&backend]);
    assert_eq!(setup.start().get("/").backend(), "b1");
    let text = setup
        .text()
        .replace("backend_header = true", "backend_header = false");
    let process = Process::config(&text).start();
    assert_eq!(process.get("/").get("x-backend-server"), None);
}
