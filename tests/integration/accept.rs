//! Connections: keep-alive, pipelining, old clients, clients that leave, and running out of file descriptors.

use crate::support::conn::BodyEnd;
use crate::support::{Backend, Client, Engine, Process, Proxy, eventually};
use crate::support::{on_each_engine, on_each_engine_and_tls};

on_each_engine_and_tls!(
    one_connection_carries_many_requests,
    pipelined_requests_are_answered_in_order,
    a_hundred_pipelined_bodies_are_answered_in_order,
    connection_close_is_obeyed,
    an_http_10_client_gets_a_close_delimited_answer,
    a_client_that_leaves_a_download_frees_everything,
    a_client_that_leaves_an_upload_frees_everything,
    a_silent_upload_is_given_up,
);

// Whoever is too many over TLS is closed at once, which takes no descriptor.
on_each_engine!(running_out_of_descriptors_does_not_end_accepting,);

fn one_connection_carries_many_requests(engine: Engine) {
    let backend = Backend::echo();
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    for n in 0..50 {
        let body = format!("body {n}");
        assert_eq!(client.post("/", &body).text(), body);
    }
    assert_eq!(backend.count(), 50);
    assert_eq!(backend.open_connections(), 1);
}

fn pipelined_requests_are_answered_in_order(engine: Engine) {
    let backend = Backend::start(|conn| {
        let target = conn.request().target().to_owned();
        conn.reply(200, &[], target);
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    for n in 0..5 {
        client.send(format!("GET /{n} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }
    for n in 0..5 {
        assert_eq!(client.read().text(), format!("/{n}"));
    }
}

/// Sent from a thread of its own: they are more than the buffers on the way take.
fn a_hundred_pipelined_bodies_are_answered_in_order(engine: Engine) {
    let backend = Backend::echo();
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    // Some that fit into one packet, some that fit no buffer that is filled ahead.
    let body = |n: usize| format!("{n}:{}", "x".repeat(if n % 10 == 9 { 100_000 } else { n }));
    let mut sender = client.twin();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..100 {
                let (body, length) = (body(n), body(n).len());
                let start = format!("POST /{n} HTTP/1.1\r\nHost: test\r\n");
                sender.send(match n % 2 {
                    0 => format!("{start}Content-Length: {length}\r\n\r\n{body}"),
                    _ => format!(
                        "{start}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
                    ),
                });
            }
        });
        for n in 0..100 {
            assert!(client.read().text() == body(n), "answer {n}");
        }
    });
    assert_eq!(backend.count(), 100);
}

fn connection_close_is_obeyed(engine: Engine) {
    let backend = Backend::fixed("bye");
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    let answer = client.ask("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.text(), "bye");
    assert_eq!(answer.get("connection").as_deref(), Some("close"));
    client.assert_ended();
}

fn an_http_10_client_gets_a_close_delimited_answer(engine: Engine) {
    let backend =
        Backend::raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nold\r\n0\r\n\r\n");
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    let answer = client.ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(answer.text(), "old");
    assert_eq!(answer.get("transfer-encoding"), None);
    client.assert_ended();
}

/// One worker only: a good request afterwards proves that it is free again.
fn served_by_one_worker(engine: Engine, backend: &Backend) -> Process {
    let setup = Proxy::to(engine, [backend]).server("workers = 1\nlimits.body = \"1GiB\"");
    let process = Process::config(&setup.text()).start();
    assert_eq!(process.get("/warm").status, 200);
    process
}

/// Answers `/endless` with a body that never ends, everything else with 200.
fn endless() -> Backend {
    Backend::start(|conn| {
        if conn.head_target() == "/endless" {
            conn.raw("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
            conn.pattern(1_000_000_000_000);
            conn.close();
        } else {
            conn.reply(200, &[], "fine");
        }
    })
}

fn a_client_that_leaves_a_download_frees_everything(engine: Engine) {
    let backend = endless();
    let process = served_by_one_worker(engine, &backend);
    let before = process.descriptors();
    for _ in 0..3 {
        let mut client = process.client();
        client.send("GET /endless HTTP/1.1\r\nHost: test\r\n\r\n");
        client.read_head();
        client.piece();
        client.reset();
    }
    for seen in backend
        .seen()
        .iter()
        .filter(|seen| seen.target() == "/endless")
    {
        eventually("the backend sees its connection end", || {
            !backend.is_open(seen.connection)
        });
    }
    assert_eq!(process.get("/after").text(), "fine");
    eventually("all descriptors are back", || {
        process.descriptors() <= before + 1
    });
}

fn a_client_that_leaves_an_upload_frees_everything(engine: Engine) {
    let backend = Backend::fixed("fine");
    let process = served_by_one_worker(engine, &backend);
    let before = process.descriptors();
    for _ in 0..3 {
        let mut client = process.client();
        client.send("POST /up HTTP/1.1\r\nHost: test\r\nContent-Length: 500000000\r\n\r\n");
        assert!(client.upload(8 << 20).join().unwrap());
        client.reset();
    }
    let uploads = || {
        backend
            .seen()
            .into_iter()
            .filter(|seen| seen.target() == "/up")
    };
    eventually("every upload is seen to break off", || {
        uploads().count() == 3 && uploads().all(|seen| seen.end == BodyEnd::Cut)
    });
    assert_eq!(process.get("/after").text(), "fine");
    eventually("all descriptors are back", || {
        process.descriptors() <= before + 1
    });
}

fn a_silent_upload_is_given_up(engine: Engine) {
    let backend = Backend::fixed("never");
    let setup = Proxy::to(engine, [&backend]);
    let proxy = setup
        .server("workers = 1\ntimeouts.body_idle = \"300ms\"")
        .start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc");
    let status = client.receive().status();
    let hung_up = engine == Engine::TinyHttp && status.is_none();
    assert!(hung_up || status == Some(408), "{status:?}");
    assert!(backend.seen().iter().all(|seen| seen.end != BodyEnd::Whole));
    assert_eq!(proxy.client().post("/", "whole").text(), "never");
}

fn running_out_of_descriptors_does_not_end_accepting(engine: Engine) {
    let backend = Backend::fixed("alive");
    let setup = Proxy::to(engine, [&backend]).server("workers = 4");
    let process = Process::config(&setup.text()).descriptors(80).start();
    let address = process.traffic();
    let crowd: Vec<Client> = (0..150).map(|_| Client::connect(address)).collect();
    // The reactor keeps some in reserve, and closes idle connections to have them.
    let many = if engine == Engine::TinyHttp { 78 } else { 60 };
    eventually("it has run out of descriptors", || {
        process.descriptors() >= many
    });
    drop(crowd);
    eventually("it accepts again", || {
        let mut client = Client::connect(address);
        client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        client.receive().status() == Some(200)
    });
    assert_eq!(process.get("/again").text(), "alive");
}
