//! Waiting for a place while every backend has as many requests as it may have (`max_connections`, `max_wait`).

use std::time::{Duration, Instant};

use crate::support::conn::Seen;
use crate::support::{Backend, Client, Engine, Gate, Proxy, Received};
use crate::support::{eventually, on_each_engine, on_reactor};
use tollgate::app::Outcome;

on_each_engine!(
    places_are_given_in_the_order_of_arrival,
    who_waits_takes_no_worker,
    a_wait_has_an_end_that_says_why,
    no_wait_where_none_is_wanted,
    no_more_than_may_wait,
    a_backend_that_comes_back_ends_the_wait,
    a_retry_does_not_wait,
    a_drain_waits_for_them,
    many_share_few_places,
);

on_reactor!(who_leaves_is_forgotten);

/// One request at a time, and a wait that no test sees the end of.
const ONE: &str = "max_connections = 1\nmax_wait = \"600s\"\ntimeouts = { response = \"600s\" }";

fn ask(client: &mut Client, number: usize) {
    client.send(format!("GET /{number} HTTP/1.1\r\nHost: test\r\n\r\n"));
}

/// Sends one request after another; all but those that get a place wait, in this order.
fn line_up(proxy: &Proxy, gate: &Gate, places: usize, count: usize) -> Vec<Client> {
    (0..count)
        .map(|number| {
            let mut client = proxy.client();
            ask(&mut client, number);
            eventually("it has a place, or waits for one", || {
                if number < places {
                    gate.arrived() == number + 1
                } else {
                    proxy.upstream()["waiting"] == number + 1 - places
                }
            });
            client
        })
        .collect()
}

fn places_are_given_in_the_order_of_arrival(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "x");
    let proxy = Proxy::to(engine, [&backend]).web(ONE).start();
    let mut clients = line_up(&proxy, &gate, 1, 8);
    for (number, client) in clients.iter_mut().enumerate() {
        eventually("the next one has the place", || {
            gate.arrived() == number + 1
        });
        assert_eq!(backend.count(), number + 1);
        gate.pass_one();
        assert_eq!(client.read().status, 200);
    }
    let seen = backend.seen();
    let order: Vec<&str> = seen.iter().map(Seen::target).collect();
    assert_eq!(order, ["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7"]);
    eventually("nobody waits", || proxy.upstream()["waiting"] == 0);
}

fn who_waits_takes_no_worker(engine: Engine) {
    let (gate, quick) = (Gate::new(), Backend::fixed("quick"));
    let backend = Backend::gated(&gate, "x");
    let proxy = Proxy::to(engine, [&backend])
        .web(ONE)
        .upstream("other", [quick.address()])
        .server("workers = 2\nqueue = 10")
        .more("[[route]]\nmatch.path = \"/quick\"\nupstream = \"other\"\n[[route]]\nupstream = \"web\"")
        .start();
    let mut clients = line_up(&proxy, &gate, 1, 8);
    for _ in 0..20 {
        assert_eq!(proxy.get("/quick").text(), "quick");
    }
    gate.open();
    assert!(clients.iter_mut().all(|client| client.read().status == 200));
}

fn a_wait_has_an_end_that_says_why(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "x");
    let proxy = Proxy::to(engine, [&backend])
        .web("max_connections = 1\nmax_wait = \"300ms\"\ntimeouts = { response = \"600s\" }")
        .start();
    let mut first = line_up(&proxy, &gate, 1, 1);
    let begun = Instant::now();
    let refused = proxy.get("/").refused(503, "overloaded");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let message = refused.text();
    for word in ["Upstream web:", "max_connections", "max_wait"] {
        assert!(message.contains(word), "{message}");
    }
    assert!(refused.get("retry-after").is_some());
    eventually("nobody waits", || proxy.upstream()["waiting"] == 0);
    gate.open();
    assert_eq!(first[0].read().status, 200);
    assert_eq!((proxy.get("/").status, backend.count()), (200, 2));
}

fn no_wait_where_none_is_wanted(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "x");
    let proxy = Proxy::to(engine, [&backend])
        .web("max_connections = 1\nmax_wait = \"0s\"")
        .start();
    let mut first = line_up(&proxy, &gate, 1, 1);
    proxy.get("/").refused(503, "overloaded");
    gate.open();
    assert_eq!(first[0].read().status, 200);
}

fn no_more_than_may_wait(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "x");
    let setup = Proxy::to(engine, [&backend]).web(ONE);
    let proxy = setup.server("workers = 4\nqueue = 2").start();
    let mut clients = line_up(&proxy, &gate, 1, 3);
    let refused = proxy.get("/").refused(503, "overloaded").text();
    assert!(refused.contains("server.queue"), "{refused}");
    gate.open();
    assert!(clients.iter_mut().all(|client| client.read().status == 200));
    assert_eq!(backend.count(), 3);
}

fn a_backend_that_comes_back_ends_the_wait(engine: Engine) {
    let gate = Gate::new();
    let (busy, mut other) = (Backend::gated(&gate, "busy"), Backend::fixed("other"));
    other.kill();
    let probes = "health = { interval = \"50ms\", timeout = \"1s\", fall = 1, rise = 1, max_interval = \"50ms\" }";
    let proxy = Proxy::to(engine, [&busy, &other])
        .web(ONE)
        .web(probes)
        .start();
    eventually("it is down", || {
        proxy.upstream()["backends"][1]["state"] == "unreachable"
    });
    let mut clients = line_up(&proxy, &gate, 1, 4);
    other.restart();
    for client in &mut clients[1..] {
        assert_eq!(client.read().text(), "other");
    }
    gate.open();
    assert_eq!(clients[0].read().text(), "busy");
}

fn a_retry_does_not_wait(engine: Engine) {
    let gate = Gate::new();
    let (bad, full) = (Backend::resetting(), Backend::gated(&gate, "full"));
    let proxy = Proxy::to(engine, [&bad, &full])
        .web(ONE)
        .web("ejection = { failures = 1000 }")
        .start();
    let mut first = proxy.client();
    ask(&mut first, 0);
    eventually("it was tried again, and has the place", || {
        gate.arrived() == 1
    });
    proxy.get("/").refused(502, "backend_closed");
    gate.open();
    assert_eq!(first.read().text(), "full");
}

fn a_drain_waits_for_them(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "x");
    let setup = Proxy::to(engine, [&backend]).web(ONE);
    let proxy = setup.server("drain_timeout = \"20s\"").start();
    let mut clients = line_up(&proxy, &gate, 1, 4);
    let drain = proxy.running().drain().clone();
    let ended = std::thread::spawn(move || proxy.shut_down());
    eventually("it drains", || drain.is_draining());
    gate.open();
    assert!(clients.iter_mut().all(|client| client.read().status == 200));
    assert!(matches!(ended.join().unwrap(), Outcome::Clean));
}

fn many_share_few_places(engine: Engine) {
    let backends = ["1", "2"].map(Backend::fixed);
    let proxy = Proxy::to(engine, &backends)
        .web("max_connections = 2\nmax_wait = \"600s\"\nbalance = \"least_connections\"")
        .server("workers = 16")
        .start();
    let mut clients: Vec<Client> = (0..60).map(|_| proxy.client()).collect();
    for round in 0..20 {
        for (number, client) in clients.iter_mut().enumerate() {
            match number % 3 {
                0 => {
                    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi");
                }
                _ => ask(client, round),
            }
        }
        for client in &mut clients {
            assert_eq!(client.read().status, 200);
        }
    }
    assert_eq!(backends.iter().map(Backend::count).sum::<usize>(), 1200);
    eventually("nobody waits", || proxy.upstream()["waiting"] == 0);
}

fn who_leaves_is_forgotten(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "x");
    let proxy = Proxy::to(engine, [&backend]).web(ONE).start();
    let mut clients = line_up(&proxy, &gate, 1, 4);
    clients.remove(2).reset();
    eventually("two wait", || proxy.upstream()["waiting"] == 2);
    gate.open();
    let answers = clients.iter_mut().map(Client::receive);
    assert!(
        answers
            .into_iter()
            .all(|answer| matches!(answer, Received::Whole(_)))
    );
    assert_eq!(backend.count(), 3);
}
