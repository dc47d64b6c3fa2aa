//! Who gets the next request: fair shares, weights, ejection, and what happens when nobody is left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::backend::reserve;
use crate::support::{Backend, Client, Engine, Gate, Proxy, eventually, on_each_engine};

on_each_engine!(
    two_hundred_connections_are_shared_fairly,
    weights_are_shares,
    random_reaches_everybody,
    three_failures_eject,
    an_ejected_backend_returns,
    the_last_backend_is_never_ejected,
    without_a_backend_the_answer_is_503,
    least_connections_goes_around_the_busy_one,
    two_choices_go_around_the_busy_one,
);

fn two_hundred_connections_are_shared_fairly(engine: Engine) {
    let backends = ["1", "2", "3", "4"].map(Backend::fixed);
    let proxy = Proxy::to(engine, &backends).start();
    let mut clients: Vec<Client> = (0..200).map(|_| proxy.client()).collect();
    // Every round has all 200 requests under way at once.
    for round in 0..25 {
        for client in &mut clients {
            client.send(format!("GET /{round} HTTP/1.1\r\nHost: test\r\n\r\n"));
        }
        for client in &mut clients {
            assert_eq!(client.read().status, 200);
        }
    }
    let counts: Vec<usize> = backends.iter().map(Backend::count).collect();
    assert_eq!(counts.iter().sum::<usize>(), 5000);
    assert!(
        counts.iter().all(|count| count.abs_diff(1250) <= 1),
        "{counts:?}"
    );
}

fn shares(proxy: &Proxy, requests: usize) -> BTreeMap<String, usize> {
    let mut client = proxy.client();
    let mut shares = BTreeMap::new();
    for _ in 0..requests {
        *shares.entry(client.get("/").backend()).or_default() += 1;
    }
    shares
}

fn weights_are_shares(engine: Engine) {
    let (one, three) = (Backend::fixed("1"), Backend::fixed("3"));
    let more = format!(
        "[[upstream]]\nname = \"weighted\"\nhealth.enabled = false\nbackends = [\"http://{}\", {{ url = \"http://{}\", weight = 3 }}]\n\
         [[route]]\nupstream = \"weighted\"",
        one.address(),
        three.address()
    );
    let proxy = Proxy::to(engine, [&one]).more(&more).start();
    shares(&proxy, 40);
    assert_eq!((one.count(), three.count()), (10, 30));
}

fn random_reaches_everybody(engine: Engine) {
    let backends = ["1", "2", "3"].map(Backend::fixed);
    let proxy = Proxy::to(engine, &backends)
        .web("balance = \"random\"")
        .start();
    let shares = shares(&proxy, 300);
    // Each share is 100 ± 8; a fair choice misses 40 once in some 10^13 runs.
    assert!(
        shares.len() == 3 && shares.values().all(|share| *share > 40),
        "{shares:?}"
    );
}

fn three_failures_eject(engine: Engine) {
    let (bad, good) = (Backend::resetting(), Backend::fixed("good"));
    let setup = Proxy::to(engine, [&bad, &good]);
    let proxy = setup
        .web("ejection = { failures = 3, cooldown = \"60s\" }")
        .start();
    for _ in 0..20 {
        assert_eq!(proxy.get("/").text(), "good");
    }
    assert_eq!(bad.count(), 3);
    assert_eq!(good.count(), 20);
}

fn an_ejected_backend_returns(engine: Engine) {
    let broken = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&broken);
    let moody = Backend::start(move |conn| match state.load(Ordering::Acquire) {
        true => conn.reset(),
        false => conn.reply(200, &[], "moody"),
    });
    let good = Backend::fixed("good");
    let setup = Proxy::to(engine, [&moody, &good]);
    let proxy = setup
        .web("ejection = { failures = 3, cooldown = \"300ms\" }")
        .start();
    eventually("it fails three times", || {
        assert_eq!(proxy.get("/").status, 200);
        moody.count() >= 3
    });
    broken.store(false, Ordering::Release);
    eventually("it is used again", || proxy.get("/").text() == "moody");
}

fn the_last_backend_is_never_ejected(engine: Engine) {
    let (one, two) = (Backend::resetting(), Backend::resetting());
    let setup = Proxy::to(engine, [&one, &two]);
    let ejection = "ejection = { failures = 1, cooldown = \"60s\" }\nretry.attempts = 0";
    let proxy = setup.web(ejection).start();
    for _ in 0..10 {
        proxy.get("/").refused(502, "backend_closed");
    }
    assert_eq!(one.count() + two.count(), 10);
    assert!(
        one.count().max(two.count()) >= 9,
        "{} {}",
        one.count(),
        two.count()
    );
}

fn without_a_backend_the_answer_is_503(engine: Engine) {
    let (_reserved, nobody) = reserve();
    let health = "health = { interval = \"50ms\", timeout = \"1s\", fall = 1, rise = 1 }";
    let proxy = Proxy::to(engine, []).and(nobody).web(health).start();
    eventually("the probe finds it down", || proxy.get("/").status == 503);
    let refused = proxy.get("/").refused(503, "no_backend");
    let seconds: u32 = refused.get("retry-after").unwrap().parse().unwrap();
    assert!(seconds >= 1);
}

fn least_connections_goes_around_the_busy_one(engine: Engine) {
    goes_around_the_busy_one(engine, "least_connections");
}

fn two_choices_go_around_the_busy_one(engine: Engine) {
    goes_around_the_busy_one(engine, "p2c");
}

/// One backend gets stuck with its share of what comes at once; all that comes later goes to the other.
fn goes_around_the_busy_one(engine: Engine, balance: &str) {
    let (stuck, quick) = (Gate::new(), Gate::new());
    let backends = [
        Backend::gated(&stuck, "stuck"),
        Backend::gated(&quick, "quick"),
    ];
    let proxy = Proxy::to(engine, &backends)
        .web(&format!("balance = \"{balance}\""))
        .start();
    let mut crowd: Vec<Client> = (0..6).map(|_| proxy.client()).collect();
    for (before, client) in crowd.iter_mut().enumerate() {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        eventually("it is under way", || {
            stuck.arrived() + quick.arrived() == before + 1
        });
    }
    assert_eq!((stuck.arrived(), quick.arrived()), (3, 3));
    quick.open();
    let drain = proxy.running().drain();
    eventually("the quick ones are done", || drain.in_flight() == 3);
    for _ in 0..20 {
        assert_eq!(proxy.get("/").text(), "quick");
    }
    assert_eq!(stuck.arrived(), 3);
    stuck.open();
    assert!(crowd.iter_mut().all(|client| client.read().status == 200));
}
