//! When there is little: few file descriptors, little memory, and bodies that are larger than both.

use std::env;
use std::io::{self, Write};

use crate::support::{Backend, Client, Engine, Gate, Process, Proxy};
use crate::support::{eventually, on_reactor, pattern};

on_reactor!(
    idle_connections_give_their_descriptors_back,
    busy_connections_survive_a_crowd,
    a_crowd_that_never_speaks_is_sent_away,
    uploads_that_lie_about_their_length,
    two_gibibytes_each_way,
);

/// With so few descriptors that some twenty connections use them up.
fn poor(engine: Engine, backend: &Backend) -> Process {
    let setup = Proxy::to(engine, [backend])
        .server("workers = 4\ntimeouts.head = \"1s\"\ntimeouts.keep_alive = \"300s\"");
    let process = Process::config(&setup.text()).descriptors(64).start();
    assert_eq!(process.get("/warm").text(), "fine");
    process
}

/// A new connection is served, at the latest after a while.
#[track_caller]
fn eventually_served(process: &Process) {
    let address = process.traffic();
    eventually("a new connection is served", || {
        let mut client = Client::connect(address);
        client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        client.receive().status() == Some(200)
    });
}

/// Kept connections could stay for five minutes; they go when others need their place.
fn idle_connections_give_their_descriptors_back(engine: Engine) {
    let backend = Backend::fixed("fine");
    let process = poor(engine, &backend);
    let before = process.descriptors();
    let mut crowd = Vec::new();
    for _ in 0..200 {
        let mut client = process.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        if client.receive().status() == Some(200) {
            crowd.push(client);
        }
    }
    assert!(crowd.len() > 100, "{} of 200 were served", crowd.len());
    eventually_served(&process);
    drop(crowd);
    eventually("all descriptors are back", || {
        process.descriptors() <= before + 4
    });
    let mut after: Vec<Client> = (0..10).map(|_| process.client()).collect();
    assert!(after.iter_mut().all(|client| client.get("/").status == 200));
}

fn busy_connections_survive_a_crowd(engine: Engine) {
    let gate = Gate::new();
    let waiting = gate.clone();
    let backend = Backend::start(move |conn| {
        if conn.request().target() != "/held" || conn.wait(&waiting) {
            conn.reply(200, &[], "fine");
        }
    });
    let process = poor(engine, &backend);
    let mut busy: Vec<Client> = (0..3).map(|_| process.client()).collect();
    for client in &mut busy {
        client.send("GET /held HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    eventually("they are under way", || gate.arrived() == 3);
    let address = process.traffic();
    let crowd: Vec<Client> = (0..100).map(|_| Client::connect(address)).collect();
    eventually_served(&process);
    gate.open();
    for client in &mut busy {
        assert_eq!(client.read().text(), "fine");
        assert_eq!(client.get("/again").text(), "fine");
    }
    drop(crowd);
    eventually_served(&process);
}

fn a_crowd_that_never_speaks_is_sent_away(engine: Engine) {
    let backend = Backend::fixed("fine");
    let process = poor(engine, &backend);
    let address = process.traffic();
    let before = process.descriptors();
    let crowd: Vec<Client> = (0..100).map(|_| Client::connect(address)).collect();
    eventually_served(&process);
    eventually_served(&process);
    drop(crowd);
    eventually("all descriptors are back", || {
        process.descriptors() <= before + 4
    });
    assert_eq!(process.get("/").text(), "fine");
}

fn uploads_that_lie_about_their_length(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).server("limits.body = \"200TiB\"\nworkers = 2");
    let process = Process::config(&setup.text()).start();
    assert_eq!(process.get("/").text(), "fine");
    let before = process.memory();
    for sent in [0, 3, 65_537, 3 << 20] {
        for leaves in [Client::reset, drop::<Client>, half_closed] {
            let mut client = process.client();
            client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999\r\n\r\n");
            client.upload(sent).join().unwrap();
            leaves(client);
            assert_eq!(process.get("/").text(), "fine", "after {sent} bytes");
        }
    }
    let growth = process.peak_memory().saturating_sub(before);
    assert!(growth < 32 << 20, "grew by {growth} bytes");
}

/// Says that no more comes, and takes whatever comes then.
fn half_closed(mut client: Client) {
    client.half_close();
    client.drain();
}

/// 2 GiB where `TOLLGATE_SLOW_TESTS` is 1, else 64 MiB.
fn large() -> u64 {
    if env::var("TOLLGATE_SLOW_TESTS").is_ok_and(|value| value == "1") {
        return 2 << 30;
    }
    // Not `eprintln!`: that is captured.
    let _ = writeln!(
        io::stderr(),
        "64 MiB instead of 2 GiB: TOLLGATE_SLOW_TESTS is not 1"
    );
    64 << 20
}

fn two_gibibytes_each_way(engine: Engine) {
    let size = large();
    let backend = Backend::patterned(size);
    let setup = Proxy::to(engine, [&backend]).server("limits.body = \"4GiB\"");
    let process = Process::config(&setup.text()).start();
    let mut client = process.client();
    pattern::both_ways(&mut client, size);
    let peak = process.peak_memory();
    assert!(peak < 64 << 20, "{peak} bytes");
}
