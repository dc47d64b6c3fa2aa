//! Reloads: what changes, what goes on as before, and what a bad file does (nothing).

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::json;

use crate::support::admin;
use crate::support::backend::reserve;
use crate::support::websocket::{self, TEXT};
use crate::support::{
    Backend, Client, Engine, Gate, Process, Proxy, eventually, on_each_engine, on_reactor,
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

on_reactor!(
    websockets_live_on,
    hangup_and_the_command_reload,
    the_command_says_what_helps_when_it_is_refused,
    a_watched_file_is_read_again,
    a_reload_that_hangs_keeps_nobody_from_stopping,
    a_reload_that_hangs_keeps_nothing_else_from_being_done,
);

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

fn hangup_and_the_command_reload(_engine: Engine) {
    let (first, second) = (Backend::fixed("first"), Backend::fixed("second"));
    let text = |backend: &Backend, port: u16| {
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:{port}\"\n[[upstream]]\nname = \"web\"\n\
             backends = [{{ id = \"b\", url = \"{}\" }}]\nhealth.enabled = false\n",
            backend.url()
        )
    };
    let process = Process::config(&text(&first, 0)).start();
    assert_eq!(process.get("/").text(), "first");
    let file = process.directory().join("tollgate.toml");
    // The command finds the admin address in the file; the port that was picked needs a restart to be another one.
    let admin = process.admin().port();
    fs::write(&file, text(&second, admin)).unwrap();
    process.signal(Signal::HUP);
    eventually("it is reloaded", || process.get("/").text() == "second");
    process.line_with("backend b: url");

    let reload = |more: &[&str]| {
        let mut arguments = vec!["reload", "--config", file.to_str().unwrap()];
        arguments.extend(more);
        let mut command = Process::with(&arguments).start();
        let code = command.wait();
        (code, command.lines().join("\n"))
    };
    assert_eq!(reload(&["--ask"]).0, 0);
    fs::write(&file, text(&first, admin)).unwrap();
    let (code, told) = reload(&["--ask"]);
    assert!(code == 0 && told.contains("backend b: url"), "{told}");
    assert_eq!(process.get("/").text(), "second");
    let (code, told) = reload(&[]);
    assert!(code == 0 && told.contains("reloaded"), "{told}");
    assert_eq!(process.get("/").text(), "first");
    fs::write(&file, "[server]\nworker = 1").unwrap();
    let (code, told) = reload(&[]);
    assert!(code == 78 && told.contains("did you mean"), "{told}");
    assert_eq!(process.get("/").text(), "first");
}

fn the_command_says_what_helps_when_it_is_refused(_engine: Engine) {
    let backend = Backend::fixed("x");
    let (_reserved, nobody) = reserve();
    let text = |token: &str, port: u16| {
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:{port}\"\ntoken = \"{token}\"\n\
             [[upstream]]\nname = \"web\"\nbackends = [\"{}\"]\nhealth.enabled = false\n",
            backend.url()
        )
    };
    let process = Process::config(&text("s3cret-t0ken", 0)).start();
    let file = process.directory().join("tollgate.toml");
    for (written, word) in [
        (
            text("an0ther-t0ken", process.admin().port()),
            "refused with status 401",
        ),
        (text("s3cret-t0ken", nobody.port()), "no answer from"),
    ] {
        fs::write(&file, written).unwrap();
        let mut command = Process::with(&["reload", "--config", file.to_str().unwrap()]).start();
        assert_eq!(command.wait(), 1);
        command.line_with(word);
        command.line_with("send it HUP instead");
    }
}

fn a_watched_file_is_read_again(_engine: Engine) {
    let (first, second) = (Backend::fixed("first"), Backend::fixed("second"));
    let text = |backend: &Backend| {
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nwatch_config = true\n[[upstream]]\nname = \"web\"\n\
             backends = [\"{}\"]\nhealth.enabled = false\n",
            backend.url()
        )
    };
    let process = Process::config(&text(&first)).start();
    assert_eq!(process.get("/").text(), "first");
    let file = process.directory().join("tollgate.toml");
    fs::write(&file, "nonsense").unwrap();
    process.line_with("nothing has changed");
    assert_eq!(process.get("/").text(), "first");
    fs::write(&file, text(&second)).unwrap();
    eventually("it is reloaded", || process.get("/").text() == "second");
}

/// Puts something in the place of the configuration that cannot be read to its end.
fn hang_readers_of(file: &Path) {
    fs::remove_file(file).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, file, kind, mode, 0).unwrap();
}

fn a_reload_that_hangs_keeps_nobody_from_stopping(engine: Engine) {
    let backend = Backend::fixed("x");
    let mut process = Process::config(&Proxy::to(engine, [&backend]).text()).start();
    assert_eq!(process.get("/").text(), "x");
    hang_readers_of(&process.directory().join("tollgate.toml"));
    for _ in 0..20 {
        process.signal(Signal::HUP);
    }
    process.signal(Signal::TERM);
    assert_eq!(process.wait(), 0);
}

/// The thread that looks at the file is also the one that ends registrations.
fn a_reload_that_hangs_keeps_nothing_else_from_being_done(engine: Engine) {
    let (first, second) = (Backend::fixed("first"), Backend::fixed("second"));
    let text = Proxy::to(engine, [&first])
        .server("watch_config = true")
        .text();
    let process = Process::config(&text).start();
    assert_eq!(process.get("/").text(), "first");
    hang_readers_of(&process.directory().join("tollgate.toml"));
    process.line_with("the configuration file has changed");
    let order = json!({ "url": second.url(), "ttl": "1s" }).to_string();
    let path = admin::path("web", "late");
    let to = process.admin();
    let length = order.len();
    let put =
        format!("PUT {path} HTTP/1.1\r\nHost: {to}\r\nContent-Length: {length}\r\n\r\n{order}");
    assert_eq!(Client::connect(to).ask(put).status, 201);
    process.line_with("it has not renewed its registration");
}
