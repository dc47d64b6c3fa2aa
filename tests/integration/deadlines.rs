//! What a client may take its time for, and what happens when it takes more: each deadline of `[server.timeouts]`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::conn::BodyEnd;
use crate::support::wire::Piece;
use crate::support::{
    Backend, Client, Engine, Process, Proxy, SetOnDrop, dial, on_reactor_and_tls,
};

on_reactor_and_tls!(
    a_head_that_stops_is_refused_and_logged,
    a_head_that_drips_is_refused,
    a_second_head_has_its_own_deadline,
    an_empty_line_is_no_head,
    a_first_byte_that_never_comes,
    a_small_body_that_stops_is_refused,
    a_large_body_that_stops_is_refused,
    a_body_below_the_minimum_rate_is_refused,
    an_answer_that_is_read_below_the_minimum_rate_is_cut,
    an_idle_connection_is_closed,
    a_kept_connection_lives_as_long_as_it_is_used,
    a_reader_that_stops_is_cut,
    a_reader_of_a_small_answer_holds_no_worker,
);

const START: &str = "GET /slow HTTP/1.1\r\nHost: test\r\n";

/// Sends one byte every few milliseconds for as long as `meanwhile` takes.
fn dripping<T>(bytes: &'static [u8], client: &mut Client, meanwhile: fn(&mut Client) -> T) -> T {
    let done = AtomicBool::new(false);
    let mut sender = client.twin();
    std::thread::scope(|scope| {
        let _ends = scope.spawn(|| {
            for byte in bytes.iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                sender.send([*byte]);
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        let _done = SetOnDrop(&done);
        meanwhile(client)
    })
}

fn a_head_that_stops_is_refused_and_logged(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).server("timeouts.head = \"400ms\"");
    let process = Process::config(&setup.text()).start();
    let mut client = process.client();
    client.send(START).read().refused(408, "client_timeout");
    client.assert_ended();
    let line = process.line_with("status=408");
    for part in ["method=-", "cause=client_timeout", "client_ip=127.0.0.1"] {
        assert!(line.contains(part), "{part} is missing: {line}");
    }
    assert_eq!(process.get("/").text(), "fine");
    assert_eq!(backend.only().target(), "/");
}

/// Each byte is in time; the head is not.
fn a_head_that_drips_is_refused(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).server("timeouts.head = \"400ms\"");
    let proxy = setup.start();
    let mut client = proxy.client();
    client.send(START).send("X-Slow: ");
    let answer = dripping(b"x", &mut client, Client::read);
    answer.refused(408, "client_timeout");
    assert_eq!(backend.count(), 0);
}

fn a_second_head_has_its_own_deadline(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).server("timeouts.head = \"400ms\"");
    let proxy = setup.start();
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "fine");
    client.send(START).read().refused(408, "client_timeout");
    client.assert_ended();
    assert_eq!(backend.count(), 1);
}

fn an_empty_line_is_no_head(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).server("timeouts.head = \"100ms\"");
    let proxy = setup.start();
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "fine");
        client.send("\r\n");
        std::thread::park_timeout(Duration::from_millis(400));
    }
    assert_eq!(client.get("/").text(), "fine");
}

fn a_first_byte_that_never_comes(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).server("timeouts.head = \"300ms\"");
    let proxy = setup.start();
    let status = proxy.client().receive().status();
    assert!(matches!(status, None | Some(408)), "{status:?}");
    assert_eq!(proxy.get("/").text(), "fine");
}

fn stopped_body(engine: Engine, length: usize, sent: usize) -> Backend {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend])
        .server("workers = 1\ntimeouts.body_idle = \"400ms\"")
        .start();
    let mut client = proxy.client();
    client.send(format!(
        "POST /stops HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
    ));
    client.send("x".repeat(sent));
    client.read().refused(408, "client_timeout");
    client.assert_ended();
    assert_eq!(proxy.client().post("/", "whole").text(), "fine");
    let stopped = |seen: &crate::support::conn::Seen| seen.target() == "/stops";
    let whole = |end| end == BodyEnd::Whole;
    let seen = backend.seen();
    assert!(!seen.iter().any(|seen| stopped(seen) && whole(seen.end)));
    backend
}

/// The backend never hears of it: no worker was asked.
fn a_small_body_that_stops_is_refused(engine: Engine) {
    assert_eq!(stopped_body(engine, 10_000, 9_999).count(), 1);
}

fn a_large_body_that_stops_is_refused(engine: Engine) {
    stopped_body(engine, 1_000_000, 500_000);
}

/// The rate is judged after ten seconds of waiting, so this takes as long.
fn a_body_below_the_minimum_rate_is_refused(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend])
        .server("timeouts.min_rate = \"1MiB\"")
        .start();
    for length in [60_000, 10_000_000] {
        let mut client = proxy.client();
        client.send(format!(
            "POST /drips HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
        ));
        let began = Instant::now();
        let answer = dripping(b"x", &mut client, Client::read);
        answer.refused(408, "client_timeout");
        assert!(began.elapsed() > Duration::from_secs(9), "ten are allowed");
    }
    assert!(backend.seen().iter().all(|seen| seen.end != BodyEnd::Whole));
}

const LARGE: u64 = 200 << 20;

fn large() -> Backend {
    Backend::start(|conn| match conn.head_target().as_str() {
        "/large" => {
            conn.raw(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"
            ));
            conn.pattern(LARGE);
        }
        "/mebibyte" => conn.reply(200, &[], vec![b'x'; 1 << 20]),
        _ => conn.reply(200, &[], "fine"),
    })
}

fn an_answer_that_is_read_below_the_minimum_rate_is_cut(engine: Engine) {
    let backend = large();
    let proxy = Proxy::to(engine, [&backend])
        .server("workers = 1\ntimeouts.min_rate = \"10MiB\"\nqueue_timeout = \"60s\"")
        .start();
    let mut client = dial::narrow(proxy.traffic());
    client
        .send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n")
        .read_head();
    let began = Instant::now();
    let mut got = 0;
    let end = loop {
        match client.piece() {
            Piece::Data(data) => got += data.len() as u64,
            end => break end,
        }
        std::thread::park_timeout(Duration::from_millis(20));
        assert!(began.elapsed() < Duration::from_secs(60), "{got} bytes");
    };
    assert!(matches!(end, Piece::Cut(_)), "{end:?}");
    assert!(got < LARGE);
    assert_eq!(proxy.get("/").text(), "fine");
}

fn an_idle_connection_is_closed(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend])
        .server("timeouts.keep_alive = \"300ms\"")
        .start();
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "fine");
    client.assert_ended();
}

fn a_kept_connection_lives_as_long_as_it_is_used(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend])
        .server("timeouts.keep_alive = \"2s\"\ntimeouts.head = \"2s\"")
        .start();
    let mut client = proxy.client();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        assert_eq!(client.get("/").text(), "fine");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// Of what is too large to be held back a worker sends the rest, until the reader has stood still for too long.
fn a_reader_that_stops_is_cut(engine: Engine) {
    let backend = large();
    let proxy = Proxy::to(engine, [&backend])
        .server("workers = 1\ntimeouts.write_idle = \"500ms\"\nqueue_timeout = \"60s\"")
        .start();
    let mut client = dial::narrow(proxy.traffic());
    client.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
    client.read_head();
    assert_eq!(proxy.get("/").text(), "fine");
    assert!((client.drain().len() as u64) < LARGE);
}

/// One worker, and eight readers that stand still: their answers have been taken off its hands.
fn a_reader_of_a_small_answer_holds_no_worker(engine: Engine) {
    let backend = large();
    let proxy = Proxy::to(engine, [&backend])
        .server("workers = 1\ntimeouts.write_idle = \"60s\"")
        .start();
    let mut readers: Vec<Client> = (0..8).map(|_| dial::narrow(proxy.traffic())).collect();
    for reader in &mut readers {
        reader.send("GET /mebibyte HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    assert_eq!(proxy.get("/").text(), "fine");
    for reader in &mut readers {
        assert_eq!(reader.read().body.len(), 1 << 20);
    }
}
