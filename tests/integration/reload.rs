//! Reloads: what changes, what goes on as before, and what a bad file does (nothing).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::support::admin;
use crate::support::websocket::{self, TEXT};
use crate::support::{
    Backend, Client, Engine, Gate, Proxy, eventually, on_each_engine, on_reactor,
};

on_each_engine!(
    routes_and_backends_come_and_go,
    what_is_under_way_ends_as_it_began,
    what_is_known_goes_on,
    a_bad_file_changes_nothing_and_says_why,
    what_would_change_can_be_asked,
    what_needs_a_restart_is_said_and_stays,
    fifty_reloads_under_traffic_fail_nobody,
);

on_reactor!(websockets_live_on);

fn routes_and_backends_come_and_go(engine: Engine) {
    let (first, second) = (Backend::fixed("first"), Backend::fixed("second"));
    let setup = Proxy::to(engine, [&first]);
    let proxy = setup.start();
    assert_eq!(proxy.get("/").text(), "first");
    let more = setup
        .clone()
        .upstream("api", [second.address()])
        .more("[[route]]\nname = \"all\"\nupstream = \"web\"\n[[route]]\nname = \"api\"\nmatch = { path = \"/api\" }\nupstream = \"api\"");
    let changes = proxy.reload(&more).unwrap();
    assert_eq!(
        changes,
        [
            "upstream api is added",
            "route default is removed",
            "route all is added",
            "route api is added",
        ]
    );
    assert_eq!(proxy.get("/api").text(), "second");
    assert_eq!(proxy.get("/").text(), "first");
    proxy.reload(&setup).unwrap();
    assert_eq!(proxy.get("/api").text(), "first");
    assert_eq!(proxy.reload(&setup).unwrap(), [] as [&str; 0]);
}

fn what_is_under_way_ends_as_it_began(engine: Engine) {
    let gate = Gate::new();
    let (old, new) = (Backend::gated(&gate, "old"), Backend::fixed("new"));
    let proxy = Proxy::to(engine, [&old]).start();
    let mut clients: Vec<Client> = (0..5).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    eventually("all are under way", || gate.arrived() == 5);
    proxy.reload(&Proxy::to(engine, [&new])).unwrap();
    assert_eq!(proxy.get("/").text(), "new");
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read().text(), "old");
        assert_eq!(client.get("/").text(), "new", "on the same connection");
    }
}

/// Counters, connections, what was set by hand.
fn what_is_known_goes_on(engine: Engine) {
    let (one, two) = (Backend::fixed("one"), Backend::fixed("two"));
    let setup = Proxy::to(engine, [&one, &two]);
    let proxy = setup.start();
    let mut client = proxy.client();
    for _ in 0..6 {
        client.get("/");
    }
    admin::put(
        &proxy,
        &admin::path("web", "b2"),
        &json!({ "state": "disabled" }),
    );
    let other = setup.clone().web("retry.attempts = 1");
    assert_eq!(
        proxy.reload(&other).unwrap(),
        ["upstream web: retry.attempts: 2 → 1"]
    );
    let shown = |id: &str| admin::get(&proxy, &admin::path("web", id)).json();
    assert_eq!(shown("b1")["requests"], 3);
    assert_eq!(shown("b1")["idle_connections"], 1);
    assert_eq!(shown("b2")["duty"], "disabled");
    for _ in 0..4 {
        assert_eq!(client.get("/").text(), "one");
    }
    assert_eq!(one.open_connections(), 1, "the connection was kept");
}

fn a_bad_file_changes_nothing_and_says_why(engine: Engine) {
    let backend = Backend::fixed("x");
    let setup = Proxy::to(engine, [&backend]);
    let proxy = setup.start();
    let bad = setup.clone().web("balance = \"best\"\nretry.attempts = -1");
    let problems = proxy.reload(&bad).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("unknown balance") && problems[0].contains("test.toml:"));
    let answer = admin::ask(&proxy, "POST", "/_proxy/reload", "", "");
    assert_eq!(answer.status, 422);
    assert_eq!(answer.json()["problems"].as_array().unwrap().len(), 2);
    assert_eq!(proxy.get("/").text(), "x");
}

fn what_would_change_can_be_asked(engine: Engine) {
    let (first, second) = (Backend::fixed("first"), Backend::fixed("second"));
    let proxy = Proxy::to(engine, [&first]).start();
    proxy.write(&Proxy::to(engine, [&second]));
    let answer = admin::ask(&proxy, "POST", "/_proxy/reload?ask", "", "").json();
    assert_eq!(answer["reloaded"], false);
    let change = answer["changes"][0].as_str().unwrap();
    assert!(
        change.starts_with("upstream web, backend b1: url: "),
        "{change}"
    );
    assert_eq!(proxy.get("/").text(), "first");
    let answer = admin::ask(&proxy, "POST", "/_proxy/reload", "", "").json();
    assert_eq!(answer["reloaded"], true);
    assert_eq!(proxy.get("/").text(), "second");
    assert_eq!(admin::get(&proxy, "/_proxy/reload").status, 405);
    assert_eq!(
        admin::ask(&proxy, "POST", "/_proxy/reload?x", "", "").status,
        400
    );
}

fn what_needs_a_restart_is_said_and_stays(engine: Engine) {
    let backend = Backend::fixed("x");
    let setup = Proxy::to(engine, [&backend]);
    let proxy = setup.start();
    let other = setup.clone().server("workers = 7\nlimits.body = \"5B\"");
    let changes = proxy.reload(&other).unwrap();
    assert_eq!(
        changes,
        [
            "server.workers: 256 → 7 (needs a restart)",
            "server.limits.body: 67108864 → 5",
        ]
    );
    assert_eq!(
        admin::get(&proxy, "/_proxy/status").json()["workers"]["total"],
        256
    );
    proxy
        .client()
        .post("/", "too long")
        .refused(413, "body_too_big");
    // It is still to be said next time.
    assert_eq!(proxy.reload(&other).unwrap().len(), 1);
}

/// Traffic over kept and new connections while routes and backends change; then nothing is left over.
fn fifty_reloads_under_traffic_fail_nobody(engine: Engine) {
    let backends: Vec<Backend> = (0..4).map(|_| Backend::fixed("x")).collect();
    let all = Proxy::to(engine, &backends);
    let half = Proxy::to(engine, &backends[..2]).web("balance = \"least_connections\"").more(
        "[[route]]\nname = \"api\"\nmatch = { path = \"/api\" }\nupstream = \"web\"\n[[route]]\nname = \"rest\"\nupstream = \"web\"",
    );
    let proxy = all.start();
    let (is_over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..6 {
            let (proxy, is_over, answers) = (&proxy, &is_over, &answers);
            scope.spawn(move || {
                let mut client = proxy.client();
                while !is_over.load(Ordering::Relaxed) {
                    let target = if number % 2 == 0 { "/api/x" } else { "/" };
                    let answer = match number % 3 {
                        0 => proxy.get(target),
                        1 => client.get(target),
                        _ => client.post(target, "body"),
                    };
                    assert_eq!((answer.status, answer.text().as_str()), (200, "x"));
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..50 {
            let before = answers.load(Ordering::Relaxed);
            proxy
                .reload(if round % 2 == 0 { &half } else { &all })
                .unwrap();
            eventually("traffic goes on", || {
                answers.load(Ordering::Relaxed) > before + 5
            });
        }
        is_over.store(true, Ordering::Relaxed);
    });
    proxy.reload(&half).unwrap();
    // Who is not among the backends any more has no connection left.
    eventually("connections to those that left are closed", || {
        backends[2].open_connections() + backends[3].open_connections() == 0
    });
}

fn websockets_live_on(engine: Engine) {
    let (old, new) = (Backend::start(websocket::echo), Backend::fixed("new"));
    let setup = Proxy::to(engine, [&old]);
    let proxy = setup.start();
    let mut sockets: Vec<Client> = (0..3)
        .map(|_| websocket::open(proxy.client(), "/"))
        .collect();
    for changed in [
        setup.clone().web("retry.attempts = 1"),
        Proxy::to(engine, [&new]),
    ] {
        proxy.reload(&changed).unwrap();
        for socket in &mut sockets {
            websocket::assert_echo(socket, TEXT, b"still here");
        }
    }
    assert_eq!(proxy.get("/").text(), "new");
}
