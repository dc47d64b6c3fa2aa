//! What takes a backend out of the rotation and lets it in again, as the status page shows it; and how far retries go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::support::delay::Delay;
use crate::support::{
    Backend, Client, Engine, Gate, Process, Proxy, eventually, on_each_engine, on_reactor,
};

on_each_engine!(
    it_trips_probes_and_passes,
    errors_eject_by_their_share,
    the_last_two_fail_open,
    a_retry_goes_to_another_backend,
    retries_end_with_their_budget,
);

on_reactor!(
    who_is_much_slower_is_ejected,
    an_ejection_by_answers_is_told_of
);

/// What the status page says of a backend.
fn of(proxy: &Proxy, backend: usize, key: &str) -> serde_json::Value {
    proxy.upstream()["backends"][backend][key].take()
}

fn it_trips_probes_and_passes(engine: Engine) {
    let (is_broken, gate) = (Arc::new(AtomicBool::new(true)), Gate::new());
    let (state, waits) = (Arc::clone(&is_broken), gate.clone());
    let moody = Backend::start(move |conn| {
        if state.load(Ordering::Acquire) {
            conn.request();
            conn.reset();
        } else if conn.wait(&waits) {
            conn.reply(200, &[], "moody");
        }
    });
    let good = Backend::fixed("good");
    let proxy = Proxy::to(engine, [&moody, &good])
        .web("ejection = { failures = 3, cooldown = \"700ms\", max_cooldown = \"700ms\" }")
        .start();
    assert_eq!(of(&proxy, 0, "breaker"), "passing");
    let mut client = proxy.client();
    eventually("it trips", || {
        assert_eq!(client.get("/").text(), "good");
        of(&proxy, 0, "breaker") == "tripped"
    });
    assert_eq!(moody.count(), 3);
    is_broken.store(false, Ordering::Release);
    // Without traffic nothing happens when its time is over, but that the next request may show whether it is back.
    eventually("its time is over", || of(&proxy, 0, "breaker") == "probing");
    assert_eq!(
        (of(&proxy, 0, "usable"), of(&proxy, 0, "ejected_until")),
        (true.into(), ().into())
    );
    let mut trial = proxy.client();
    // It goes to whoever's turn it is.
    for _ in 0..10 {
        let before = good.count();
        trial.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        eventually("somebody has it", || {
            gate.arrived() == 1 || good.count() > before
        });
        if gate.arrived() == 1 {
            break;
        }
        assert_eq!(trial.read().text(), "good");
    }
    // One at a time.
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "good");
    }
    assert_eq!(
        (of(&proxy, 0, "breaker"), of(&proxy, 0, "usable")),
        ("probing".into(), false.into())
    );
    gate.open();
    assert_eq!(trial.read().text(), "moody");
    eventually("it passes", || of(&proxy, 0, "breaker") == "passing");
    let texts: Vec<String> = (0..10).map(|_| client.get("/").text()).collect();
    assert_eq!(texts.iter().filter(|text| *text == "moody").count(), 5);
}

fn errors_eject_by_their_share(engine: Engine) {
    let bad = Backend::start(|conn| conn.reply(500, &[], "bad"));
    let good = Backend::fixed("good");
    let proxy = Proxy::to(engine, [&bad, &good])
        .web("ejection = { failures = 0, error_percent = 50, min_requests = 10, window = \"600s\", cooldown = \"600s\" }")
        .start();
    let mut client = proxy.client();
    let statuses: Vec<u16> = (0..100).map(|_| client.get("/").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 500).count(), 10);
    assert_eq!(bad.count(), 10, "as many as it takes to judge it");
    assert_eq!(
        (of(&proxy, 0, "breaker"), of(&proxy, 0, "failures")),
        ("tripped".into(), 0.into())
    );
    assert!(of(&proxy, 0, "ejected_until").as_u64() > Some(0));
    assert_eq!(of(&proxy, 1, "breaker"), "passing");
}

fn an_ejection_by_answers_is_told_of(engine: Engine) {
    let bad = Backend::start(|conn| conn.reply(500, &[], "bad"));
    let good = Backend::fixed("good");
    let setup = Proxy::to(engine, [&bad, &good]).web(
        "ejection = { failures = 0, error_percent = 50, min_requests = 2, cooldown = \"600s\" }",
    );
    let process = Process::config(&setup.text()).start();
    let mut client = process.client();
    for _ in 0..10 {
        client.get("/");
    }
    let line = process.line_with("ejected for 600 s: too many errors");
    assert!(line.contains("backend web/"), "{line}");
}

fn who_is_much_slower_is_ejected(engine: Engine) {
    let delay = Delay::of(1000);
    let slow = Backend::start(move |conn| {
        delay.pass();
        conn.reply(200, &[], "slow");
    });
    let [one, two] = ["1", "2"].map(Backend::fixed);
    let proxy = Proxy::to(engine, [&slow, &one, &two])
        .web("ejection = { failures = 0, slow_factor = 2, slow_floor = \"100ms\", min_requests = 5, window = \"600s\", cooldown = \"600s\" }")
        .start();
    let mut clients: Vec<Client> = (0..15).map(|_| proxy.client()).collect();
    eventually("it is ejected", || {
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        assert!(clients.iter_mut().all(|client| client.read().status == 200));
        of(&proxy, 0, "breaker") == "tripped"
    });
    let before = slow.count();
    for _ in 0..20 {
        assert_eq!(proxy.get("/").status, 200);
    }
    assert_eq!(slow.count(), before);
    assert_eq!(proxy.upstream()["failing_open"], false);
}

fn the_last_two_fail_open(engine: Engine) {
    let backends = [Backend::resetting(), Backend::resetting()];
    let proxy = Proxy::to(engine, &backends)
        .web("ejection = { failures = 1, cooldown = \"600s\", max_cooldown = \"600s\" }\nretry.attempts = 0")
        .start();
    assert_eq!(proxy.upstream()["failing_open"], false);
    for _ in 0..4 {
        proxy.get("/").refused(502, "backend_closed");
    }
    let upstream = proxy.upstream();
    assert_eq!(
        (&upstream["failing_open"], &upstream["usable"]),
        (&true.into(), &true.into())
    );
    let mut breakers = [0, 1].map(|one| upstream["backends"][one]["breaker"].as_str().unwrap());
    breakers.sort_unstable();
    assert_eq!(breakers, ["passing", "tripped"]);
}

/// Never to be ejected.
const TOUGH: &str = "ejection = { failures = 0 }";

fn a_retry_goes_to_another_backend(engine: Engine) {
    let backends = [(); 3].map(|()| Backend::resetting());
    let proxy = Proxy::to(engine, &backends)
        .web(TOUGH)
        .web("retry = { attempts = 2, budget_floor = 1000 }")
        .start();
    for done in 1..=20 {
        proxy.get("/").refused(502, "backend_closed");
        let counts = backends.each_ref().map(Backend::count);
        assert_eq!(counts, [done; 3]);
    }
}

fn retries_end_with_their_budget(engine: Engine) {
    let backends = [(); 3].map(|()| Backend::resetting());
    let attempts = |retry: &str, requests: usize| {
        let before: usize = backends.iter().map(Backend::count).sum();
        let proxy = Proxy::to(engine, &backends).web(TOUGH).web(retry).start();
        let begun = Instant::now();
        for _ in 0..requests {
            proxy.get("/").refused(502, "backend_closed");
        }
        let after: usize = backends.iter().map(Backend::count).sum();
        (after - before, begun.elapsed().as_secs() as usize)
    };
    let none = "retry = { attempts = 2, budget_percent = 0, budget_floor = 0 }";
    assert_eq!(attempts(none, 30).0, 30);
    // A fifth of 10, of 20 and so on, and one more for every second that goes by if that takes long.
    let fifth = "retry = { attempts = 2, budget_percent = 20, budget_floor = 0 }";
    let (count, seconds) = attempts(fifth, 100);
    assert!(
        count <= 120 && (count == 120 || seconds >= 10),
        "{count} in {seconds} s"
    );
    // Ten in ten seconds, and one in every second in any case.
    let floor = "retry = { attempts = 2, budget_percent = 0, budget_floor = 1 }";
    let (count, seconds) = attempts(floor, 50);
    assert!(
        (60..=61 + 2 * seconds).contains(&count),
        "{count} in {seconds} s"
    );
}
