//! Probes: a backend that is down is found, skipped, and used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Backend, Conn, Engine, Proxy, eventually, on_each_engine};

on_each_engine!(
    a_backend_that_dies_and_returns_costs_no_get,
    a_failing_health_path_takes_a_backend_out,
    a_hanging_probe_delays_no_other,
);

const SHORT: &str = "health = { interval = \"50ms\", timeout = \"500ms\", fall = 2, rise = 2, max_interval = \"100ms\" }";

fn a_backend_that_dies_and_returns_costs_no_get(engine: Engine) {
    let mut backends = ["1", "2", "3"].map(Backend::fixed);
    let proxy = Proxy::to(engine, &backends)
        .web(SHORT)
        .web("ejection = { failures = 3, cooldown = \"200ms\", max_cooldown = \"200ms\" }")
        .start();
    let ask = |times: usize| {
        let mut client = proxy.client();
        let answers = (0..times).map(|_| client.get("/"));
        answers
            .inspect(|answer| assert_eq!(answer.status, 200))
            .filter(|answer| answer.text() == "2")
            .count()
    };
    assert_eq!(ask(30), 10);
    std::thread::scope(|scope| {
        let steady: Vec<_> = (0..4).map(|_| scope.spawn(|| ask(400))).collect();
        eventually("traffic is under way", || backends[0].count() > 50);
        backends[1].kill();
        for client in steady {
            client.join().unwrap();
        }
    });
    eventually("it is skipped", || ask(30) == 0);
    let died_at = backends[1].count();
    backends[1].restart();
    eventually("it is used again", || ask(30) == 10);
    assert!(backends[1].count() > died_at);
}

fn a_failing_health_path_takes_a_backend_out(engine: Engine) {
    let well = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&well);
    let moody = Backend::start(move |conn| match conn.head_target().as_str() {
        "/health" if !state.load(Ordering::Acquire) => conn.reply(503, &[], "no"),
        _ => conn.reply(200, &[], "moody"),
    });
    let other = Backend::fixed("other");
    let setup = Proxy::to(engine, [&moody, &other]);
    let proxy = setup
        .web(&SHORT.replace("{ ", "{ path = \"/health\", "))
        .start();
    let moody_answers = || (0..10).filter(|_| proxy.get("/").text() == "moody").count();
    eventually("both are used", || moody_answers() == 5);
    well.store(false, Ordering::Release);
    eventually("it is out", || moody_answers() == 0);
    well.store(true, Ordering::Release);
    eventually("it is back", || moody_answers() == 5);
    let probed = moody
        .seen()
        .into_iter()
        .find(|seen| seen.target() == "/health")
        .unwrap();
    assert_eq!(probed.method(), "GET");
    assert!(probed.get("host").is_some());
}

fn a_hanging_probe_delays_no_other(engine: Engine) {
    let hanging = Backend::start(Conn::stall);
    let mut other = Backend::fixed("other");
    let health = "health = { path = \"/health\", interval = \"50ms\", timeout = \"60s\", fall = 1, rise = 1, max_interval = \"50ms\" }";
    let proxy = Proxy::to(engine, [&hanging, &other]).web(health).start();
    eventually("the hanging one is being probed", || hanging.count() > 0);
    other.kill();
    let status = || crate::support::client::get(proxy.admin(), "/_proxy/status").text();
    eventually("the dead one is found", || status().contains("unreachable"));
    other.restart();
    eventually("and found again", || !status().contains("unreachable"));
}
