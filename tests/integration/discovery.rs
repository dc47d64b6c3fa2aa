//! Where backends come from: names that appear, move and have several addresses.

use rustix::process::Signal;
use serde_json::json;

use crate::support::admin;
use crate::support::members::{config, ids, members, replace, shown, under_load};
use crate::support::names;
use crate::support::{Backend, Engine, Process, Proxy, eventually, on_each_engine};

on_each_engine!(
    a_name_moves_without_a_failed_request,
    a_failed_connection_leads_to_a_lookup,
    a_name_that_does_not_resolve_stops_nothing,
    every_address_of_a_name_is_a_backend,
    a_name_that_moves_is_probed_anew,
    a_reload_brings_names_without_a_failed_request,
    a_name_that_registers_is_looked_up,
);

fn a_name_moves_without_a_failed_request(engine: Engine) {
    if !names::available() {
        return;
    }
    let mut here = Backend::fixed("here");
    let there = Backend::beside(&here, 2, "there");
    let port = here.address().port();
    let backends = format!("backends = [{{ id = \"b\", url = \"http://app.test:{port}\" }}]");
    let text = config(engine, &backends, "discovery.dns_interval = \"1s\"");
    let process = Process::config(&text).hosts("127.0.0.1 app.test\n").start();
    assert_eq!(process.get("/").text(), "here");
    under_load(&process, |_| {
        process.set_hosts("127.0.0.2 app.test\n");
        let moved = format!("b 127.0.0.2:{port} not_checked");
        eventually("the name has moved", || shown(&process) == [moved.as_str()]);
        // Requests that were under way end where they began, but no connection is used again.
        eventually("nobody is here any more", || here.open_connections() == 0);
        here.kill();
        eventually("there is work there", || there.count() > 100);
    });
    process.line_with("app.test has moved: web/b is at 127.0.0.2 (was at 127.0.0.1)");

    // It does not resolve any more: what was known last is used.
    process.set_hosts("");
    process.line_with("app.test does not resolve; web/b stays at 127.0.0.2");
    assert_eq!(process.get("/").text(), "there");
}

fn a_failed_connection_leads_to_a_lookup(engine: Engine) {
    if !names::available() {
        return;
    }
    let mut here = Backend::fixed("here");
    let there = Backend::beside(&here, 2, "there");
    let port = here.address().port();
    let backends = format!("backends = [\"http://app.test:{port}\"]");
    let lines = "discovery.dns_interval = \"1h\"\nejection.failures = 0";
    let text = config(engine, &backends, lines);
    let process = Process::config(&text).hosts("127.0.0.1 app.test\n").start();
    assert_eq!(process.get("/").text(), "here");
    process.set_hosts("127.0.0.2 app.test\n");
    assert_eq!(process.get("/").text(), "here");
    here.kill();
    eventually("it is asked there", || process.get("/").status == 200);
    assert!(there.count() > 0);
}

fn a_name_that_does_not_resolve_stops_nothing(engine: Engine) {
    if !names::available() {
        return;
    }
    let late = Backend::fixed("late");
    let good = Backend::fixed("good");
    let (port, url) = (late.address().port(), good.url());
    let backends = format!(
        "backends = [{{ id = \"late\", url = \"http://late.test:{port}\" }}, {{ id = \"good\", url = \"{url}\" }}]"
    );
    let probes = "discovery.dns_interval = \"1s\"\nhealth.interval = \"50ms\"";
    let text = config(engine, &backends, probes);
    let process = Process::config(&text).hosts("").start();
    for _ in 0..4 {
        assert_eq!(process.get("/").text(), "good");
    }
    assert_eq!(shown(&process)[0], "late  unresolved");
    let member = &members(&process)[0];
    assert_eq!(member["usable"], false);
    assert_eq!(member["skipped"], "its name does not resolve");
    process.line_with("late.test does not resolve, so that these are unresolved: web/late: ");
    under_load(&process, |_| {
        process.set_hosts("127.0.0.1 late.test\n");
        eventually("it joins", || late.count() > 10);
    });
    process.line_with("late.test resolves now: web/late is at 127.0.0.1");
    eventually("it is probed", || {
        shown(&process)[0] == format!("late 127.0.0.1:{port} healthy")
    });
    let lines = process.lines();
    let told = lines
        .iter()
        .filter(|line| line.contains("does not resolve"));
    assert_eq!(told.count(), 1, "{lines:#?}");

    let text = config(engine, "backends = [\"http://late.test:1\"]", "");
    let alone = Process::config(&text).hosts("").start();
    alone.get("/").refused(503, "no_backend");
}

fn every_address_of_a_name_is_a_backend(engine: Engine) {
    if !names::available() {
        return;
    }
    let one = Backend::fixed("one");
    let two = Backend::beside(&one, 2, "two");
    let three = Backend::beside(&one, 3, "three");
    let port = one.address().port();
    let backends = format!(
        "backends = [{{ id = \"app\", url = \"http://app.test:{port}\", resolve = \"all\", weight = 5 }}]"
    );
    let lines =
        "discovery.dns_interval = \"1s\"\nhealth.interval = \"50ms\"\nhealth.path = \"/up\"";
    let text = config(engine, &backends, lines);
    let process = Process::config(&text).hosts("").start();
    assert_eq!(ids(&process), ["app"]);
    assert_eq!(shown(&process), ["app  unresolved"]);
    process.get("/").refused(503, "no_backend");

    process.set_hosts("127.0.0.2 app.test\n127.0.0.1 app.test\n");
    eventually("there are two", || {
        ids(&process) == ["app@127.0.0.1", "app@127.0.0.2"]
    });
    assert_eq!(members(&process)[1]["weight"], 5);
    assert_eq!(members(&process)[1]["address"], format!("127.0.0.2:{port}"));
    under_load(&process, |_| {
        eventually("both have work", || one.count() > 20 && two.count() > 20);
        process.set_hosts("127.0.0.2 app.test\n127.0.0.3 app.test\n");
        eventually("one has left, three has come", || {
            ids(&process) == ["app@127.0.0.2", "app@127.0.0.3"]
        });
        eventually("nobody is with one", || one.open_connections() == 0);
        eventually("three has work", || three.count() > 20);
        // Nothing is known any more: what was known last stays.
        process.set_hosts("");
        process.line_with("app.test does not resolve; web/app");
        assert_eq!(ids(&process).len(), 2);
    });
    let seen = two.seen();
    let probe = seen.iter().find(|seen| seen.target() == "/up").unwrap();
    let host = format!("app.test:{port}");
    assert_eq!(probe.get("host").as_deref(), Some(host.as_str()));
}

/// Nobody answered where it was, so that the next probe there would be in an hour.
fn a_name_that_moves_is_probed_anew(engine: Engine) {
    if !names::available() {
        return;
    }
    let mut here = Backend::fixed("here");
    let there = Backend::beside(&here, 2, "there");
    here.kill();
    let port = here.address().port();
    let backends = format!("backends = [{{ id = \"b\", url = \"http://app.test:{port}\" }}]");
    let probes = "health = { interval = \"1h\", fall = 1, rise = 1 }";
    let lines = format!("discovery.dns_interval = \"1s\"\n{probes}");
    let text = config(engine, &backends, &lines);
    let process = Process::config(&text).hosts("127.0.0.1 app.test\n").start();
    let is_at = |last: u8, state: &str| {
        let line = format!("b 127.0.0.{last}:{port} {state}");
        eventually(&line, || shown(&process) == [line.as_str()]);
    };
    is_at(1, "unreachable");
    process.set_hosts("127.0.0.2 app.test\n");
    is_at(2, "healthy");
    assert_eq!(process.get("/").text(), "there");
    assert!(there.count() > 0);
}

fn a_name_that_registers_is_looked_up(engine: Engine) {
    let (one, two) = (Backend::fixed("one"), Backend::fixed("two"));
    let proxy = Proxy::to(engine, [&one]).start();
    let url = format!("http://localhost:{}", two.address().port());
    let placed = admin::put(&proxy, &admin::path("web", "two"), &json!({ "url": url }));
    assert_eq!(placed.status, 201);
    eventually("it is asked", || proxy.get("/").text() == "two");
}

/// Each reload replaces all backends by others, which have names that nobody has looked up.
fn a_reload_brings_names_without_a_failed_request(engine: Engine) {
    if !names::available() {
        return;
    }
    let one = Backend::fixed("one");
    let two = Backend::beside(&one, 2, "two");
    let port = one.address().port();
    let numbered = |number: usize| {
        let resolve = ["one", "all"][number % 2];
        let backends = format!(
            "backends = [{{ id = \"b{number}\", url = \"http://n{number}.test:{port}\", resolve = \"{resolve}\" }}]"
        );
        config(engine, &backends, "")
    };
    let hosts: String = (0..10)
        .map(|number| format!("127.0.0.{} n{number}.test\n", 1 + number % 2))
        .collect();
    let process = Process::config(&numbered(0)).hosts(&hosts).start();
    under_load(&process, |_| {
        for number in 1..10 {
            let text = numbered(number);
            replace(&process, "tollgate.toml", &text);
            process.signal(Signal::HUP);
            let id = format!("b{number}");
            eventually("it is reloaded", || ids(&process)[0].starts_with(&id));
        }
    });
    assert!(one.count() > 0 && two.count() > 0);
}
