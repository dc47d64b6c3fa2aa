//! What a client may have at once and in all: connections, requests on one, sizes; and answers that reach a client
//! which is still sending.

use std::net::Ipv4Addr;

use crate::support::conn::BodyEnd;
use crate::support::{Backend, Client, Engine, Gate, Proxy, Received};
use crate::support::{dial, eventually, on_reactor_and_tls};

on_reactor_and_tls!(
    requests_on_one_connection_are_counted,
    idle_connections_make_room,
    busy_connections_do_not_make_room,
    one_client_has_its_own_limit,
    a_trusted_proxy_has_no_limit_of_its_own,
    a_head_that_is_too_big_is_refused_while_it_comes,
    too_many_headers_are_refused_while_they_come,
    a_target_that_is_too_long_is_refused_while_it_comes,
    a_declared_body_is_refused_while_it_comes,
    a_streamed_body_is_refused_while_it_comes,
    limits_are_met_exactly,
);

fn requests_on_one_connection_are_counted(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend])
        .server("limits.requests_per_connection = 3")
        .start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n".repeat(5));
    for is_last in [false, false, true] {
        let answer = client.read();
        let closes = answer.get("connection").as_deref() == Some("close");
        assert_eq!((answer.status, closes), (200, is_last));
    }
    client.assert_ended();
    assert_eq!(backend.count(), 3);
}

/// Answers `/held` only when the gate opens.
fn holding(gate: &Gate) -> Backend {
    let gate = gate.clone();
    Backend::start(move |conn| {
        if conn.request().target() != "/held" || conn.wait(&gate) {
            conn.reply(200, &[], "fine");
        }
    })
}

/// That many connections, each with a request that is under way.
fn hold(number: usize, gate: &Gate, connect: impl FnMut() -> Client) -> Vec<Client> {
    let before = gate.arrived();
    let mut clients: Vec<Client> = std::iter::repeat_with(connect).take(number).collect();
    for client in &mut clients {
        client.send("GET /held HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    eventually("all are under way", || gate.arrived() == before + number);
    clients
}

/// No connection above a limit is served: it gets the refusal, or the end.
#[track_caller]
fn assert_overloaded(mut client: Client) {
    client.send("GET /more HTTP/1.1\r\nHost: test\r\n\r\n");
    match client.receive() {
        Received::Whole(answer) => drop(answer.refused(503, "overloaded")),
        Received::Closed | Received::Reset => (),
        other @ Received::Cut(_) => panic!("{other:?}"),
    }
}

fn idle_connections_make_room(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend])
        .server("limits.connections = 20")
        .start();
    let mut crowd: Vec<Client> = Vec::new();
    for _ in 0..60 {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        match client.receive() {
            Received::Whole(answer) if answer.status == 200 => crowd.push(client),
            Received::Whole(answer) => drop(answer.refused(503, "overloaded")),
            Received::Closed | Received::Reset => (),
            other @ Received::Cut(_) => panic!("{other:?}"),
        }
    }
    assert!(crowd.len() >= 20, "{} were served", crowd.len());
    drop(crowd);
    eventually("there is room again", || {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        client.receive().status() == Some(200)
    });
    let mut after: Vec<Client> = (0..15).map(|_| proxy.client()).collect();
    assert!(after.iter_mut().all(|client| client.get("/").status == 200));
}

fn busy_connections_do_not_make_room(engine: Engine) {
    let gate = Gate::new();
    let backend = holding(&gate);
    let proxy = Proxy::to(engine, [&backend])
        .server("limits.connections = 10")
        .start();
    let held = hold(10, &gate, || proxy.client());
    for _ in 0..5 {
        assert_overloaded(proxy.client());
    }
    gate.open();
    for mut client in held {
        assert_eq!(client.read().text(), "fine");
        assert_eq!(client.get("/again").text(), "fine");
    }
    eventually("there is room again", || {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        client.receive().status() == Some(200)
    });
}

fn one_client_has_its_own_limit(engine: Engine) {
    let gate = Gate::new();
    let backend = holding(&gate);
    let proxy = Proxy::to(engine, [&backend])
        .server("limits.connections_per_client = 5")
        .start();
    let held = hold(5, &gate, || proxy.client());
    assert_overloaded(proxy.client());
    let mut other = dial::from(Ipv4Addr::new(127, 0, 0, 2), proxy.traffic());
    assert_eq!(other.get("/").text(), "fine");
    gate.open();
    for mut client in held {
        assert_eq!(client.read().text(), "fine");
    }
    eventually("there is room again", || {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        client.receive().status() == Some(200)
    });
}

fn a_trusted_proxy_has_no_limit_of_its_own(engine: Engine) {
    let gate = Gate::new();
    let backend = holding(&gate);
    let proxy = Proxy::to(engine, [&backend])
        .server("limits.connections_per_client = 5\ntrusted_proxies = [\"127.0.0.3/32\"]")
        .start();
    let trusted = Ipv4Addr::new(127, 0, 0, 3);
    let held = hold(12, &gate, || dial::from(trusted, proxy.traffic()));
    gate.open();
    for mut client in held {
        assert_eq!(client.read().text(), "fine");
    }
}

/// Sends `start`, then floods the proxy with `part`, 8 MB of it; gives the refusal that came meanwhile.
#[track_caller]
fn refused_while_sending(engine: Engine, start: &str, part: &str, status: u16, cause: &str) {
    let backend = Backend::fixed("fine");
    let limits = "limits.target = \"1KiB\"\nlimits.head = \"8KiB\"\nlimits.headers = 10\nlimits.body = \"200KiB\"";
    let proxy = Proxy::to(engine, [&backend]).server(limits).start();
    for _ in 0..5 {
        let mut client = proxy.client();
        client.send(start);
        let flood = client.flood(part, 8_000_000 / part.len());
        let answer = client.read().refused(status, cause);
        assert_eq!(answer.get("connection").as_deref(), Some("close"));
        client.reset();
        let _ = flood.join();
    }
    assert_eq!(proxy.get("/").text(), "fine");
    let whole = |seen: &crate::support::conn::Seen| seen.end == BodyEnd::Whole;
    assert!(
        backend
            .seen()
            .iter()
            .all(|seen| seen.target() == "/" || !whole(seen))
    );
}

fn a_head_that_is_too_big_is_refused_while_it_comes(engine: Engine) {
    let start = "GET /bad HTTP/1.1\r\nHost: test\r\nX-Big: ";
    let part = "x".repeat(1000);
    refused_while_sending(engine, start, &part, 431, "head_too_big");
}

fn too_many_headers_are_refused_while_they_come(engine: Engine) {
    let start = "GET /bad HTTP/1.1\r\nHost: test\r\n";
    refused_while_sending(engine, start, "X-Many: 1\r\n", 431, "head_too_big");
}

fn a_target_that_is_too_long_is_refused_while_it_comes(engine: Engine) {
    let part = "x".repeat(1000);
    refused_while_sending(engine, "GET /bad", &part, 414, "target_too_long");
}

fn a_declared_body_is_refused_while_it_comes(engine: Engine) {
    let start = "POST /bad HTTP/1.1\r\nHost: test\r\nContent-Length: 8000000\r\n\r\n";
    let part = "x".repeat(1000);
    refused_while_sending(engine, start, &part, 413, "body_too_big");
}

fn a_streamed_body_is_refused_while_it_comes(engine: Engine) {
    let start = "POST /bad HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let part = format!("400\r\n{}\r\n", "x".repeat(1024));
    refused_while_sending(engine, start, &part, 413, "body_too_big");
}

/// One byte or field more is refused, so many are not.
fn limits_are_met_exactly(engine: Engine) {
    let backend = Backend::echo();
    let limits = "limits.target = \"100B\"\nlimits.headers = 5\nlimits.body = \"1000B\"";
    let proxy = Proxy::to(engine, [&backend]).server(limits).start();
    let target = |length: usize| format!("/{}", "x".repeat(length - 1));
    assert_eq!(proxy.get(&target(100)).status, 200);
    proxy.get(&target(101)).refused(414, "target_too_long");
    let fields = |number: usize| {
        let more = "X-N: 1\r\n".repeat(number - 1);
        format!("GET / HTTP/1.1\r\nHost: test\r\n{more}\r\n")
    };
    assert_eq!(proxy.client().ask(fields(5)).status, 200);
    let many = proxy.client().ask(fields(6));
    many.refused(431, "head_too_big");
    let body = |length: usize| "x".repeat(length);
    assert_eq!(proxy.client().post("/", &body(1000)).text(), body(1000));
    let big = proxy.client().post("/", &body(1001));
    big.refused(413, "body_too_big");
    let chunked = |length: usize| {
        let start = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{start}{length:x}\r\n{}\r\n0\r\n\r\n", body(length))
    };
    let whole = proxy.client().ask(chunked(1000));
    assert_eq!(whole.text(), body(1000));
    let over = proxy.client().ask(chunked(1001));
    over.refused(413, "body_too_big");
}
