//! Crowds of slow clients: they hold no worker, and others do not feel them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Backend, Client, Engine, Process, Proxy, SetOnDrop};
use crate::support::{dial, eventually, on_reactor, patience};

on_reactor!(
    fifteen_hundred_slow_clients_are_not_felt,
    slow_readers_of_one_mebibyte_hold_no_worker,
    silent_connections_cost_little,
);

const EACH: usize = 500;
/// What a slow reader asks for: most of them less, so that all of it together stays small.
const SIZES: [usize; 5] = [100 << 10, 100 << 10, 100 << 10, 100 << 10, 1 << 20];

fn sized() -> Backend {
    Backend::start(|conn| {
        let target = conn.request().target().to_owned();
        let size = target.strip_prefix("/read/").and_then(|n| n.parse().ok());
        conn.reply(200, &[], vec![b'x'; size.unwrap_or(4)]);
    })
}

/// No deadline and no limit per client may end what this is about.
const PATIENT: &str = "workers = 8\nlimits.connections_per_client = 5000\ntimeouts.head = \"300s\"\n\
    timeouts.body_idle = \"300s\"\ntimeouts.write_idle = \"300s\"\ntimeouts.min_rate = 0";

/// Heads and bodies that get a byte now and then.
fn drip(slow: &mut [Client], done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        for client in &mut *slow {
            client.send("x");
        }
        std::thread::park_timeout(Duration::from_millis(300));
    }
}

fn fifteen_hundred_slow_clients_are_not_felt(engine: Engine) {
    let backend = sized();
    let setup = Proxy::to(engine, [&backend]).server(PATIENT);
    let process = Process::config(&setup.text()).start();
    let address = process.traffic();
    let mut dripping = Vec::new();
    for _ in 0..EACH {
        let mut head = Client::connect(address);
        head.send("GET /head HTTP/1.1\r\nHost: test\r\nX-Slow: ");
        let mut body = Client::connect(address);
        body.send("POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: 60000\r\n\r\n");
        dripping.extend([head, body]);
    }
    let readers: Vec<Client> = (0..EACH)
        .map(|n| {
            let mut reader = dial::narrow(address);
            let size = SIZES[n % SIZES.len()];
            reader.send(format!("GET /read/{size} HTTP/1.1\r\nHost: test\r\n\r\n"));
            reader
        })
        .collect();
    let done = AtomicBool::new(false);
    let mut times = std::thread::scope(|scope| {
        scope.spawn(|| drip(&mut dripping, &done));
        let _done = SetOnDrop(&done);
        let times: Vec<Duration> = (0..300).map(|_| timed_get(&process)).collect();
        // Eight workers have fetched five hundred answers that nobody reads.
        eventually("every answer has been fetched", || backend.count() >= 800);
        times
    });
    times.sort_unstable();
    let median = times[times.len() / 2];
    assert!(median < Duration::from_millis(100), "{median:?}");
    let asked = backend.seen().into_iter();
    let slow = asked.filter(|seen| ["/head", "/body"].contains(&seen.target()));
    assert_eq!(
        slow.count(),
        0,
        "a slow request went out before it was whole"
    );
    for (n, mut reader) in readers.into_iter().enumerate().skip(400) {
        assert_eq!(reader.read().body.len(), SIZES[n % SIZES.len()]);
    }
}

/// From the connect to the last byte, on a new connection.
fn timed_get(process: &Process) -> Duration {
    let began = Instant::now();
    let answer = process.get("/good");
    assert_eq!((answer.status, answer.body.len()), (200, 4));
    began.elapsed()
}

/// All at once, so that a worker that waits for one of them would have to wait for all.
fn slow_readers_of_one_mebibyte_hold_no_worker(engine: Engine) {
    let backend = sized();
    let setup = Proxy::to(engine, [&backend]).server(PATIENT);
    let process = Process::config(&setup.text()).start();
    let mut readers: Vec<Client> = (0..64).map(|_| dial::narrow(process.traffic())).collect();
    for reader in &mut readers {
        reader.send("GET /read/1048576 HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    eventually("every answer has been fetched", || backend.count() == 64);
    for _ in 0..20 {
        timed_get(&process);
    }
    for mut reader in readers {
        assert_eq!(reader.read().body.len(), 1 << 20);
    }
}

/// A thread each would cost more than this, and so would a buffer that is there before it is needed.
fn silent_connections_cost_little(engine: Engine) {
    let backend = sized();
    let setup = Proxy::to(engine, [&backend]).server(PATIENT);
    let process = Process::config(&setup.text()).start();
    timed_get(&process);
    let before = process.memory();
    let address = process.traffic();
    let mut crowd: Vec<Client> = (0..1000).map(|_| Client::connect(address)).collect();
    for client in &mut crowd {
        client.send("GET / HTTP/1.1\r\nHost: te");
    }
    eventually("all are accepted", || process.descriptors() >= 1000);
    timed_get(&process);
    let each = process.memory().saturating_sub(before) / 1000;
    assert!(each < 16 << 10, "{each} bytes for each connection");
    for client in &mut crowd[..10] {
        assert_eq!(client.ask("st\r\n\r\n").status, 200);
    }
    drop(crowd);
    let began = Instant::now();
    eventually("all are gone", || process.descriptors() < 100);
    assert!(began.elapsed() < patience());
}
