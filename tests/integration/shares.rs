//! Who gets how much: 10,000 requests by each strategy, within bounds that follow from what the strategy promises; and what
//! changes shares while traffic flows.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::delay::Delay;
use crate::support::{
    Backend, Client, Engine, Gate, Proxy, eventually, on_each_engine, on_reactor,
};

on_each_engine!(
    round_robin_is_exact,
    backups_wait_for_their_turn,
    a_cold_backend_gets_its_share_step_by_step,
);

on_reactor!(
    random_is_fair_within_five_sigma,
    two_choices_are_fair_within_five_sigma,
    least_connections_is_exact_for_what_is_under_way,
    hash_keeps_keys_together_and_spreads_them,
    fastest_likes_the_fast_one_and_comes_back,
);

const REQUESTS: usize = 10_000;
const CLIENTS: usize = 50;

/// Four backends that answer at once.
fn four() -> [Backend; 4] {
    ["1", "2", "3", "4"].map(Backend::fixed)
}

/// Sends requests over kept connections, a round at a time, and tells who answered how many.
fn spread(proxy: &Proxy, request: impl Fn(usize) -> String) -> BTreeMap<String, usize> {
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| proxy.client()).collect();
    let mut shares = BTreeMap::new();
    for round in 0..REQUESTS / CLIENTS {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(request(round * CLIENTS + number));
        }
        for client in &mut clients {
            *shares.entry(client.read().backend()).or_default() += 1;
        }
    }
    shares
}

fn plain(_: usize) -> String {
    "GET / HTTP/1.1\r\nHost: test\r\n\r\n".into()
}

#[track_caller]
fn assert_within(shares: &BTreeMap<String, usize>, expected: usize, tolerance: usize) {
    assert_eq!(shares.len(), 4, "{shares:?}");
    let is_near = |share: &usize| share.abs_diff(expected) <= tolerance;
    assert!(shares.values().all(is_near), "{shares:?}");
}

fn round_robin_is_exact(engine: Engine) {
    let backends = four();
    let proxy = Proxy::to(engine, &backends).start();
    assert_within(&spread(&proxy, plain), REQUESTS / 4, 0);
}

/// Binomial with a probability of a quarter: sigma is sqrt(10000 / 4 * 3 / 4) = 43.3.
const FIVE_SIGMA: usize = 217;

fn random_is_fair_within_five_sigma(engine: Engine) {
    let backends = four();
    let proxy = Proxy::to(engine, &backends)
        .web("balance = \"random\"")
        .start();
    assert_within(&spread(&proxy, plain), REQUESTS / 4, FIVE_SIGMA);
}

/// The less busy of two that are drawn: that evens out what chance does, so that the bound for chance alone holds.
fn two_choices_are_fair_within_five_sigma(engine: Engine) {
    let backends = four();
    let proxy = Proxy::to(engine, &backends)
        .web("balance = \"p2c\"")
        .start();
    assert_within(&spread(&proxy, plain), REQUESTS / 4, FIVE_SIGMA);
}

/// With nothing under way before, whoever comes next goes to one of those with the fewest: all have the same in the end.
fn least_connections_is_exact_for_what_is_under_way(engine: Engine) {
    const AT_ONCE: usize = 100;
    let gate = Gate::new();
    let backends = ["1", "2", "3", "4"].map(|name| Backend::gated(&gate, name));
    let proxy = Proxy::to(engine, &backends)
        .web("balance = \"least_connections\"\ntimeouts = { response = \"600s\" }")
        .start();
    let drain = proxy.running().drain().clone();
    let mut clients: Vec<Client> = (0..AT_ONCE).map(|_| proxy.client()).collect();
    for round in 1..=REQUESTS / AT_ONCE {
        for client in &mut clients {
            client.send(plain(0));
        }
        eventually("all are under way", || gate.arrived() == round * AT_ONCE);
        let counts = backends.each_ref().map(Backend::count);
        assert_eq!(counts, [round * AT_ONCE / 4; 4]);
        gate.pass(AT_ONCE);
        assert!(clients.iter_mut().all(|client| client.read().status == 200));
        eventually("all are over", || drain.in_flight() == 0);
    }
}

/// A backend has 256 points on the ring, so that sigma of its share is a sixteenth of it, 156; what falls on the ring adds 43.
/// Five times both together, by the root of their squares: 810.
fn hash_keeps_keys_together_and_spreads_them(engine: Engine) {
    let backends = four();
    let proxy = Proxy::to(engine, &backends)
        .web("balance = \"hash\"\nhash_key = \"header:X-User\"")
        .start();
    let by_user = |user: usize| format!("GET / HTTP/1.1\r\nHost: test\r\nX-User: u{user}\r\n\r\n");
    assert_within(&spread(&proxy, by_user), REQUESTS / 4, 810);
    let mut clients = [proxy.client(), proxy.client()];
    for user in 0..200 {
        let [one, other] = clients
            .each_mut()
            .map(|client| client.ask(by_user(user)).backend());
        assert_eq!(one, other, "user {user}");
    }
}

fn delayed(delay: &Delay, text: &'static str) -> Backend {
    let delay = delay.clone();
    Backend::start(move |conn| {
        delay.pass();
        conn.reply(200, &[], text);
    })
}

fn fastest_likes_the_fast_one_and_comes_back(engine: Engine) {
    let delays = [2, 50, 50].map(Delay::of);
    let [fast, slow, other] = [0, 1, 2].map(|one| delayed(&delays[one], ["1", "2", "3"][one]));
    let proxy = Proxy::to(engine, [&fast, &slow, &other])
        .web("balance = \"fastest\"")
        .start();
    let mut client = proxy.client();
    // All are asked before anything is known.
    for _ in 0..20 {
        client.get("/");
    }
    let before = fast.count();
    for _ in 0..400 {
        client.get("/");
    }
    let share = fast.count() - before;
    assert!(share > 300, "{share} of 400");
    delays[1].set(0);
    let (recovered, before) = (Instant::now(), slow.count());
    eventually("the slow one is asked again", || {
        client.get("/");
        slow.count() >= before + 50
    });
    let after = recovered.elapsed();
    let _ = writeln!(std::io::stderr(), "{engine:?}: asked again after {after:?}");
    assert!(after < Duration::from_secs(10), "{after:?}");
}

const PROBES: &str = "health = { interval = \"50ms\", timeout = \"1s\", fall = 1, rise = 1, max_interval = \"50ms\" }";

fn backups_wait_for_their_turn(engine: Engine) {
    let (mut primary, backup) = (Backend::fixed("primary"), Backend::fixed("backup"));
    let upstream = format!(
        "[[upstream]]\nname = \"pair\"\nbackends = [\"{}\", {{ url = \"{}\", backup = true }}]\n{PROBES}\n[[route]]\nupstream = \"pair\"",
        primary.url(),
        backup.url(),
    );
    let proxy = Proxy::to(engine, [&primary]).more(&upstream).start();
    let mut client = proxy.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "primary");
    }
    primary.kill();
    for _ in 0..20 {
        assert_eq!(
            client.get("/").text(),
            "backup",
            "tried again there, or sent there"
        );
    }
    primary.restart();
    eventually("it is back", || client.get("/").text() == "primary");
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "primary");
    }
}

/// How many of the next requests the second one of two backends gets.
fn of_next(client: &mut Client, count: usize) -> usize {
    (0..count)
        .filter(|_| client.get("/").text() == "cold")
        .count()
}

fn a_cold_backend_gets_its_share_step_by_step(engine: Engine) {
    let (warm, mut cold) = (Backend::fixed("warm"), Backend::fixed("cold"));
    cold.kill();
    let proxy = |slow_start: &str| {
        Proxy::to(engine, [&warm, &cold])
            .web(PROBES)
            .web(&format!("slow_start = \"{slow_start}\""))
            .start()
    };
    // One that is far from its end, and one whose end can be waited for.
    let (long, short) = (proxy("600s"), proxy("1s"));
    for proxy in [&long, &short] {
        eventually("it is down", || {
            proxy.upstream()["backends"][1]["state"] == "unreachable"
        });
    }
    cold.restart();
    for proxy in [&long, &short] {
        eventually("it is up", || {
            proxy.upstream()["backends"][1]["state"] == "healthy"
        });
    }
    // A twentieth of what the other one gets: 400 / 21 = 19.
    let few = of_next(&mut long.client(), 400);
    assert!((15..=24).contains(&few), "{few} of 400");
    let mut client = short.client();
    eventually("it has its whole share", || {
        of_next(&mut client, 40).abs_diff(20) <= 1
    });
}
