//! Requests whose answer is waited for without a worker: those that go out over a connection that was used before.

use std::time::{Duration, Instant};

use crate::support::client::get;
use crate::support::conn::Seen;
use crate::support::{Backend, Client, Engine, Gate, Proxy};
use crate::support::{eventually, on_each_engine};
use tollgate::app::Outcome;

on_each_engine!(
    it_counts_against_the_workers,
    one_worker_takes_one_at_a_time,
    each_gets_its_own_answer,
    a_slow_backend_is_given_up_in_time,
    a_connection_that_is_closed_meanwhile_is_replaced,
    an_answer_that_was_not_asked_for_is_nobodys,
    a_post_is_not_repeated,
    a_drain_waits_too,
);

const GET: &str = "GET /waits HTTP/1.1\r\nHost: test\r\n\r\n";

/// Answers at once, but `/waits` when `gate` lets it.
fn backend(gate: &Gate) -> Backend {
    let gate = gate.clone();
    Backend::start(move |conn| {
        let target = conn.request().target().to_owned();
        if !target.starts_with("/waits") || conn.wait(&gate) {
            conn.reply(200, &[], target);
        }
    })
}

/// Makes the proxy have `count` idle connections to its backend.
fn warm_up(proxy: &Proxy, gate: &Gate, count: usize) {
    let before = gate.arrived();
    let mut clients: Vec<Client> = (0..count).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    eventually("all are under way", || gate.arrived() == before + count);
    (0..count).for_each(|_| gate.pass_one());
    assert!(clients.iter_mut().all(|client| client.read().status == 200));
}

fn it_counts_against_the_workers(engine: Engine) {
    let gate = Gate::new();
    let backend = backend(&gate);
    let setup = Proxy::to(engine, [&backend]).server("workers = 1\nqueue = 1");
    let proxy = setup.start();
    warm_up(&proxy, &gate, 1);
    let mut first = proxy.client();
    first.send(GET);
    eventually("it waits", || gate.arrived() == 2);
    let mut second = proxy.client();
    second.send("GET /next HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it is in flight", || {
        proxy.running().drain().in_flight() == 2
    });
    proxy.get("/third").refused(503, "overloaded");
    assert_eq!(backend.count(), 2);
    gate.open();
    assert_eq!(first.read().text(), "/waits");
    assert_eq!(second.read().text(), "/next");
}

fn one_worker_takes_one_at_a_time(engine: Engine) {
    let gate = Gate::new();
    let backend = backend(&gate);
    let setup = Proxy::to(engine, [&backend]).server("workers = 1\nqueue = 50");
    let proxy = setup.start();
    warm_up(&proxy, &gate, 1);
    let mut clients: Vec<Client> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    // With one worker, they go one by one: whoever has begun is answered before the next one begins.
    for done in 0..20 {
        eventually("one waits", || gate.arrived() == 2 + done);
        assert_eq!(backend.count(), 2 + done);
        gate.pass_one();
    }
    assert!(clients.iter_mut().all(|client| client.read().status == 200));
}

fn each_gets_its_own_answer(engine: Engine) {
    let gate = Gate::new();
    let backend = backend(&gate);
    let proxy = Proxy::to(engine, [&backend]).start();
    warm_up(&proxy, &gate, 40);
    let before = gate.arrived();
    let mut clients: Vec<Client> = (0..60).map(|_| proxy.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let request = format!("GET /waits?{number} HTTP/1.1\r\nHost: test\r\n\r\n");
        client.send(request);
    }
    eventually("all wait", || gate.arrived() == before + 60);
    gate.open();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read().text(), format!("/waits?{number}"));
    }
}

fn a_slow_backend_is_given_up_in_time(engine: Engine) {
    let gate = Gate::new();
    let backend = backend(&gate);
    let patience = Duration::from_millis(1500);
    let proxy = Proxy::to(engine, [&backend])
        .web("timeouts = { response = \"1500ms\" }\nejection = { failures = 1000 }")
        .start();
    warm_up(&proxy, &gate, 5);
    let before = gate.arrived();
    let begun = Instant::now();
    let mut clients: Vec<Client> = (0..10).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    for client in &mut clients {
        client.read().refused(504, "backend_slow");
    }
    assert!(begun.elapsed() >= patience);
    assert_eq!(gate.arrived(), before + 10);
    gate.open();
    assert_eq!(proxy.get("/").status, 200);
}

fn a_connection_that_is_closed_meanwhile_is_replaced(engine: Engine) {
    let gate = Gate::new();
    let waits = gate.clone();
    let backend = Backend::start(move |conn| {
        let target = conn.request().target().to_owned();
        if target == "/dies" && waits.arrived() == 0 {
            waits.wait(|| false);
            return conn.close();
        }
        conn.reply(200, &[], target);
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    assert_eq!(proxy.get("/").status, 200);
    // The client has its answer a moment before the connection is free again.
    eventually("the connection is idle", || {
        let status = get(proxy.admin(), "/_proxy/status").json();
        status["upstreams"][0]["backends"][0]["idle_connections"] == 1
    });
    let mut client = proxy.client();
    client.send("GET /dies HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it waits", || gate.arrived() == 1);
    gate.open();
    assert_eq!(client.read().text(), "/dies");
    assert_eq!(backend.count(), 3);
}

/// A backend that goes on talking behind its answer, at once or later: the next request must not get that for its own.
fn an_answer_that_was_not_asked_for_is_nobodys(engine: Engine) {
    const FORGED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    let (talk, talked) = (Gate::new(), Gate::new());
    let gates = (talk.clone(), talked.clone());
    let backend = Backend::start(move |conn| {
        let target = conn.request().target().to_owned();
        match target.as_str() {
            "/at-once" => {
                conn.raw(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{FORGED}"
                ));
            }
            "/later" => {
                conn.reply(200, &[], &target);
                conn.wait(&gates.0);
                conn.raw(FORGED);
                // What is written over loopback has arrived.
                conn.wait(&gates.1);
            }
            _ => conn.reply(200, &[], &target),
        }
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    for round in 1..=30 {
        assert_eq!(client.get("/at-once").status, 200, "round {round}");
        assert_eq!(client.get("/next").text(), "/next", "round {round}");
        assert_eq!(client.get("/later").text(), "/later", "round {round}");
        talk.pass_one();
        eventually("it has talked", || talked.arrived() == round);
        assert_eq!(client.get("/next").text(), "/next", "round {round}");
        talked.pass_one();
    }
}

fn a_post_is_not_repeated(engine: Engine) {
    let backend = Backend::start(|conn| {
        let seen = conn.request();
        if seen.method() == "POST" {
            return conn.close();
        }
        conn.reply(200, &[], "fine");
    });
    let proxy = Proxy::to(engine, [&backend])
        .web("ejection = { failures = 1000 }")
        .start();
    for round in 1..=10 {
        assert_eq!(proxy.get("/").status, 200);
        let mut client = proxy.client();
        let answer = client.ask("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
        answer.refused(502, "backend_closed");
        let posts = |seen: &Seen| seen.method() == "POST";
        assert_eq!(
            backend.seen().iter().filter(|seen| posts(seen)).count(),
            round
        );
    }
}

fn a_drain_waits_too(engine: Engine) {
    let gate = Gate::new();
    let backend = backend(&gate);
    let proxy = Proxy::to(engine, [&backend]).start();
    warm_up(&proxy, &gate, 3);
    let before = gate.arrived();
    let mut clients: Vec<Client> = (0..6).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    eventually("all wait", || gate.arrived() == before + 6);
    let drain = proxy.running().drain().clone();
    let ended = std::thread::spawn(move || proxy.shut_down());
    eventually("it drains", || drain.is_draining());
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read().text(), "/waits");
    }
    assert!(matches!(ended.join().unwrap(), Outcome::Clean));
}
