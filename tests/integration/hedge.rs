//! Second attempts at another backend while the first is waited for (`retry.hedge`).

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::{Backend, Client, Engine, Gate, Process, Proxy, eventually, on_each_engine};

on_each_engine!(
    a_stall_is_answered_by_another_backend,
    what_may_not_be_done_twice_is_not_hedged,
    an_error_does_not_win,
    the_budget_bounds_hedges,
    a_hedge_that_finds_nobody_does_no_harm,
    a_hedge_is_told_of_in_the_log,
    without_it_nothing_is_sent_twice,
);

/// Without a hedge, a stall has no end that a test would see.
const HEDGE: &str =
    "retry = { hedge = true, budget_floor = 1000 }\ntimeouts = { response = \"600s\" }";

/// Two backends that answer with the target. Whichever gets a `/stall` first keeps it until `gate` opens; the other answers at
/// once. A `/slow` is kept by both.
fn pair(gate: &Gate) -> [Backend; 2] {
    let stalled = Arc::new(Mutex::new(HashSet::new()));
    [(); 2].map(|()| {
        let (gate, stalled) = (gate.clone(), Arc::clone(&stalled));
        Backend::start(move |conn| {
            let target = conn.request().target().to_owned();
            let is_first =
                target.starts_with("/stall") && stalled.lock().unwrap().insert(target.clone());
            let is_kept = is_first || target.starts_with("/slow");
            if !is_kept || conn.wait(&gate) {
                conn.reply(200, &[], target);
            }
        })
    })
}

/// Makes it known how fast the backends are, and leaves many connections to each that can be used again: what goes out over
/// a new one is not hedged.
fn warm_up(connect: impl Fn() -> Client, gate: &Gate) {
    let before = gate.arrived();
    let mut clients: Vec<Client> = (0..40).map(|_| connect()).collect();
    for client in &mut clients {
        client.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    eventually("all are under way", || gate.arrived() == before + 40);
    (0..40).for_each(|_| gate.pass_one());
    assert!(clients.iter_mut().all(|client| client.read().status == 200));
    for number in 0..60 {
        assert_eq!(clients[0].get(&format!("/{number}")).status, 200);
    }
}

fn active(upstream: &Value) -> u64 {
    let backends = upstream["backends"].as_array().unwrap();
    backends
        .iter()
        .map(|one| one["active"].as_u64().unwrap())
        .sum()
}

fn a_stall_is_answered_by_another_backend(engine: Engine) {
    let gate = Gate::new();
    let backends = pair(&gate);
    let proxy = Proxy::to(engine, &backends).web(HEDGE).start();
    warm_up(|| proxy.client(), &gate);
    let mut client = proxy.client();
    for number in 0..10 {
        // The gate is closed all the time: without a hedge there would be no answer.
        let target = format!("/stall{number}");
        assert_eq!(client.get(&target).text(), target);
        // The connections of those that were not waited for are gone; they would answer `/stall`.
        assert_eq!(client.get("/next").text(), "/next");
    }
    let upstream = proxy.upstream();
    let hedges = &upstream["hedges"];
    // The second attempt can be the one that comes first, and stalls. That happens to be so now and then.
    let [sent, won] = ["sent", "won"].map(|name| hedges[name].as_u64().unwrap());
    assert!(sent >= 10 && won >= 1 && won <= sent, "{upstream}");
    eventually("nobody is waited for", || active(&proxy.upstream()) == 0);
    for backend in proxy.upstream()["backends"].as_array().unwrap() {
        assert_eq!(
            (&backend["failures"], &backend["breaker"]),
            (&0.into(), &"passing".into())
        );
    }
    gate.open();
    assert_eq!(client.get("/last").text(), "/last");
}

fn an_error_does_not_win(engine: Engine) {
    let gate = Gate::new();
    let stalled = Arc::new(Mutex::new(HashSet::new()));
    let backends = [(); 2].map(|()| {
        let (gate, stalled) = (gate.clone(), Arc::clone(&stalled));
        Backend::start(move |conn| {
            let target = conn.request().target().to_owned();
            let is_stall = target.starts_with("/stall");
            if is_stall && !stalled.lock().unwrap().insert(target.clone()) {
                conn.reply(503, &[], "not now");
            } else if !is_stall && !target.starts_with("/slow") || conn.wait(&gate) {
                conn.reply(200, &[], target);
            }
        })
    });
    let proxy = Proxy::to(engine, &backends).web(HEDGE).start();
    warm_up(|| proxy.client(), &gate);
    let counts = || backends.iter().map(Backend::count).sum::<usize>();
    let before = counts();
    let mut client = proxy.client();
    client.send("GET /stall HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it is asked twice", || counts() == before + 2);
    for _ in 0..20 {
        assert_eq!(proxy.get("/").status, 200);
    }
    gate.open();
    assert_eq!(client.read().text(), "/stall");
    assert_eq!(proxy.upstream()["hedges"]["won"], 0);
}

fn what_may_not_be_done_twice_is_not_hedged(engine: Engine) {
    let gate = Gate::new();
    let backends = pair(&gate);
    let proxy = Proxy::to(engine, &backends).web(HEDGE).start();
    warm_up(|| proxy.client(), &gate);
    let mut poster = proxy.client();
    poster.send("POST /stall-post HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    eventually("it stalls", || gate.arrived() == 41);
    let mut putter = proxy.client();
    putter.send("PUT /stall-put HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi");
    eventually("it stalls", || gate.arrived() == 42);
    let mut deleter = proxy.client();
    deleter.send("DELETE /stall-delete HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it stalls", || gate.arrived() == 43);
    // These come later, and are hedged.
    for number in 0..5 {
        assert_eq!(proxy.get(&format!("/stall{number}")).status, 200);
    }
    gate.open();
    assert_eq!(poster.read().text(), "/stall-post");
    assert_eq!(putter.read().text(), "/stall-put");
    assert_eq!(deleter.read().text(), "/stall-delete");
    let seen = backends.iter().flat_map(Backend::seen);
    let count = seen.filter(|seen| seen.method() != "GET").count();
    assert_eq!(count, 3);
}

fn the_budget_bounds_hedges(engine: Engine) {
    let gate = Gate::new();
    let backends = pair(&gate);
    let retry = "retry = { hedge = true, budget_percent = 5, budget_floor = 0 }";
    let proxy = Proxy::to(engine, &backends).web(retry).start();
    warm_up(|| proxy.client(), &gate);
    let warm: usize = backends.iter().map(Backend::count).sum();
    let before = proxy.upstream()["hedges"]["sent"].as_u64().unwrap();
    let mut clients: Vec<Client> = (0..40).map(|_| proxy.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /slow{number} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }
    eventually("all are under way", || gate.arrived() >= 80);
    gate.open();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read().text(), format!("/slow{number}"));
    }
    let sent = proxy.upstream()["hedges"]["sent"].as_u64().unwrap();
    assert!(sent <= (100 + 40) * 5 / 100, "{sent}");
    eventually("all have come", || {
        let count: usize = backends.iter().map(Backend::count).sum();
        count - warm == 40 + (sent - before) as usize
    });
}

fn a_hedge_that_finds_nobody_does_no_harm(engine: Engine) {
    let gate = Gate::new();
    let [mut one, two] = pair(&gate);
    let proxy = Proxy::to(engine, [&one, &two])
        .web(HEDGE)
        .web("ejection = { failures = 1000 }")
        .start();
    warm_up(|| proxy.client(), &gate);
    one.kill();
    // Whichever is asked first, the other one is not there.
    let mut client = proxy.client();
    client.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it is with the one that is left", || gate.arrived() == 41);
    gate.open();
    assert_eq!(client.read().text(), "/slow");
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status, 200);
    }
}

fn a_hedge_is_told_of_in_the_log(engine: Engine) {
    let gate = Gate::new();
    let backends = pair(&gate);
    let setup = Proxy::to(engine, &backends).web(HEDGE);
    let process = Process::config(&setup.more("[log]\nlevel = \"debug\"").text()).start();
    warm_up(|| process.client(), &gate);
    let mut client = process.client();
    let answer = client.get("/stall");
    let id = answer.get("x-request-id").unwrap();
    process.line_with(&format!("another one answered first (id={id})"));
    let access = |line: &String| line.contains(&id) && line.contains("/stall");
    eventually("it has a line", || process.lines().iter().any(access));
    let line = process.lines().into_iter().find(access).unwrap();
    assert!(line.contains("attempts=2"), "{line}");
    gate.open();
}

fn without_it_nothing_is_sent_twice(engine: Engine) {
    let gate = Gate::new();
    let backends = pair(&gate);
    let proxy = Proxy::to(engine, &backends).start();
    warm_up(|| proxy.client(), &gate);
    let mut client = proxy.client();
    client.send("GET /stall HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it stalls", || gate.arrived() == 41);
    for _ in 0..50 {
        assert_eq!(proxy.get("/").status, 200);
    }
    gate.open();
    assert_eq!(client.read().text(), "/stall");
    let count: usize = backends.iter().map(Backend::count).sum();
    assert_eq!(
        (count, &proxy.upstream()["hedges"]["sent"]),
        (151, &0.into())
    );
}
