//! One test per bug that was fixed here, or that is known in a library below; the link stands above it.

use std::collections::HashSet;
use std::sync::Mutex;

use crate::support::client::get;
use crate::support::{Backend, Client, Engine, Gate, Process, Proxy};
use crate::support::{eventually, on_each_engine, on_reactor};

on_each_engine!(
    an_abandoned_upload_allocates_nothing,
    an_unread_chunked_body_is_not_the_next_request,
    an_unread_body_with_a_length_is_not_the_next_request,
    a_cut_answer_has_no_end_marker,
    a_chunked_body_with_connection_close_arrives,
    a_flood_of_pipelined_requests_holds_up_nobody,
    silent_bodies_hold_up_no_refusal,
    a_long_method_is_the_clients_fault,
    half_a_head_is_asked_for_elsewhere,
    a_farewell_is_no_answer,
    a_flood_of_interim_answers_ends,
);
on_reactor!(
    the_end_comes_while_a_body_is_waited_for,
    nobody_is_asked_for_a_client_that_has_gone,
);

/// <https://github.com/tiny-http/tiny-http/pull/290>: the unread rest of a body was allocated when a request was dropped.
fn an_abandoned_upload_allocates_nothing(engine: Engine) {
    let backend = Backend::fixed("alive");
    let setup = Proxy::to(engine, [&backend]).server("limits.body = \"16GiB\"");
    let process = Process::config(&setup.text()).start();
    assert_eq!(process.get("/").text(), "alive");
    let before = process.memory();
    for length in [
        "99999999999999",
        "9000000000000000000",
        "16000000000",
        "1000000000",
    ] {
        let mut client = process.client();
        client.send(format!(
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nabc"
        ));
        client.half_close();
        client.drain();
        assert_eq!(process.get("/").text(), "alive", "{length}");
    }
    let growth = process.peak_memory().saturating_sub(before);
    assert!(growth < 16 << 20, "grew by {growth} bytes");
}

/// tiny_http 0.12.0 parses what is left of a chunked body as the next request.
fn an_unread_chunked_body_is_not_the_next_request(engine: Engine) {
    let backend = Backend::fixed("welcome");
    let route = "[[route]]\nmatch = { path = \"/in\" }\nupstream = \"web\"";
    let proxy = Proxy::to(engine, [&backend]).more(route).start();
    let smuggled = "GET /in/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = proxy.client();
    client.send("POST /out HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!(
        "1\r\nx\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n",
        smuggled.len()
    ));
    assert_eq!(client.read().status, 404);
    client.half_close();
    let more = String::from_utf8_lossy(&client.drain()).into_owned();
    let refused = more.is_empty() || more.starts_with("HTTP/1.1 400 ");
    assert!(refused, "a second answer: {more}");
    assert_eq!(backend.count(), 0);
    assert_eq!(proxy.get("/in").text(), "welcome");
}

/// The same with a length, and a body that comes after the refusal.
fn an_unread_body_with_a_length_is_not_the_next_request(engine: Engine) {
    let backend = Backend::fixed("welcome");
    let route = "[[route]]\nmatch = { path = \"/in\" }\nupstream = \"web\"";
    let proxy = Proxy::to(engine, [&backend]).more(route).start();
    let smuggled = "GET /in/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = proxy.client();
    let length = smuggled.len();
    client.send(format!(
        "POST /out HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{smuggled}"
    ));
    assert_eq!(client.read().status, 404);
    client.half_close();
    let more = String::from_utf8_lossy(&client.drain()).into_owned();
    let refused = more.is_empty() || more.starts_with("HTTP/1.1 400 ");
    assert!(refused, "a second answer: {more}");
    assert_eq!(backend.count(), 0);
    assert_eq!(proxy.get("/in").text(), "welcome");
}

/// chunked_transfer's encoder writes the end marker when it is dropped: a failed answer looked complete.
fn a_cut_answer_has_no_end_marker(engine: Engine) {
    let backend = Backend::start(|conn| {
        conn.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        conn.chunk([b'x'; 300_000]);
        conn.reset();
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    let bytes = client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").drain();
    assert!(!bytes.ends_with(b"0\r\n\r\n"));
    eventually("the backend's connection is gone", || {
        backend.open_connections() == 0
    });
    assert!(bytes.len() < 310_000);
}

/// tiny_http stops reading after such a request, which looked like the client's end.
fn a_chunked_body_with_connection_close_arrives(engine: Engine) {
    let backend = Backend::echo();
    let proxy = Proxy::to(engine, [&backend]).start();
    for _ in 0..20 {
        let request = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                       4\r\nbody\r\n0\r\n\r\n";
        assert_eq!(proxy.client().ask(request).text(), "body");
    }
}

/// Requests that nobody answers were dropped by the thread that takes in all requests, which waited for earlier answers.
fn a_flood_of_pipelined_requests_holds_up_nobody(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "late");
    let proxy = Proxy::to(engine, [&backend])
        .server("health_paths = [\"/health\"]")
        .start();
    let mut flood = proxy.client();
    flood.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2000));
    eventually("the first is under way", || gate.arrived() == 1);
    for _ in 0..5 {
        assert_eq!(proxy.get("/health").status, 200);
    }
}

/// Small bodies were thought to be in memory; with these fields tiny_http leaves them on the wire.
fn silent_bodies_hold_up_no_refusal(engine: Engine) {
    let backend = Backend::fixed("x");
    let route = "[[route]]\nmatch = { path = \"/in\" }\nupstream = \"web\"";
    let proxy = Proxy::to(engine, [&backend])
        .server("timeouts.body_idle = \"60s\"")
        .more(route)
        .start();
    let mut silent: Vec<_> = (0..8).map(|_| proxy.client()).collect();
    for client in &mut silent {
        client.send(
            "POST /out HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nContent-Length: 100\r\n\r\n",
        );
    }
    assert_eq!(proxy.get("/out").status, 404);
}

/// It was too long for ureq, which looked like the backend's fault and ejected it.
fn a_long_method_is_the_clients_fault(engine: Engine) {
    let backends = [Backend::fixed("x"), Backend::fixed("x")];
    let proxy = Proxy::to(engine, &backends).start();
    for _ in 0..8 {
        let request = format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(70_000));
        let status = proxy.client().ask(request).status;
        assert_eq!(status, 400);
    }
    assert!(
        !get(proxy.admin(), "/_proxy/status")
            .text()
            .contains("\"usable\":false")
    );
}

/// The reactor waited for a lock that it held itself.
fn the_end_comes_while_a_body_is_waited_for(engine: Engine) {
    let backend = Backend::fixed("x");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("front.sock");
    let both = format!("[\"127.0.0.1:0\", \"unix:{}\"]", path.display());
    let proxy = Proxy::to(engine, [&backend]).listen(&both).start();
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    clients[1].send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    let drain = proxy.running().drain().clone();
    eventually("it is in flight", || drain.in_flight() == 1);
    drain.advance(tollgate::app::Phase::Stopped);
    for client in &mut clients {
        client.drain();
    }
    eventually("the socket is gone", || !path.exists());
}

fn nobody_is_asked_for_a_client_that_has_gone(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "done");
    let setup = Proxy::to(engine, [&backend]).server("workers = 1\nqueue = 20");
    let proxy = setup.start();
    let mut first = proxy.client();
    first.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the worker is busy", || gate.arrived() == 1);
    let mut gone: Vec<Client> = (0..5).map(|_| proxy.client()).collect();
    for client in &mut gone {
        client.send("GET /gone HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let drain = proxy.running().drain();
    eventually("they are queued", || drain.in_flight() == 6);
    gone.into_iter().for_each(Client::reset);
    // Whoever comes behind them is seen after their end.
    let mut last = proxy.client();
    last.send("GET /last HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is queued", || drain.in_flight() == 7);
    gate.open();
    assert_eq!(first.read().text(), "done");
    assert_eq!(last.read().text(), "done");
    let targets: Vec<String> = backend
        .seen()
        .iter()
        .map(|seen| seen.target().into())
        .collect();
    assert_eq!(targets, ["/first", "/last"]);
}

fn half_a_head_is_asked_for_elsewhere(engine: Engine) {
    let bad = Backend::raw_then_close(b"HTTP/1.1 200 OK\r\nConte");
    let good = Backend::fixed("good");
    let proxy = Proxy::to(engine, [&bad, &good]).start();
    for _ in 0..4 {
        assert_eq!(proxy.get("/").text(), "good");
    }
    assert!(bad.count() > 0);
}

/// RFC 9110 section 15.5.9: a server that closes an idle connection may say so with a 408, just when the next request comes.
fn a_farewell_is_no_answer(engine: Engine) {
    let known = Mutex::new(HashSet::new());
    let backend = Backend::start(move |conn| {
        let seen = conn.request();
        let target = seen.target().to_owned();
        if !known.lock().unwrap().insert(seen.connection) {
            conn.raw(
                "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            );
            return conn.close();
        }
        conn.reply(200, &[], target);
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    for round in 0..10 {
        assert_eq!(proxy.get("/again").text(), "/again", "round {round}");
    }
    assert!(backend.count() > 10);
}

fn a_flood_of_interim_answers_ends(engine: Engine) {
    let backend = Backend::start(|conn| {
        conn.request();
        while conn.raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") {}
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    proxy.get("/").refused(502, "bad_response");
}
