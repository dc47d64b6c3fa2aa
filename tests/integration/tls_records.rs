//! Records that come when nobody waits for them, or that hold nothing.

use std::io::{ErrorKind, Read, Write};

use rustls::version;

use crate::support::proxy::SECURE;
use crate::support::secure::{self, Stream};
use crate::support::{Backend, Engine, Gate, Proxy, eventually, on_reactor, records};

on_reactor!(
    what_comes_while_plaintext_waits_is_not_forgotten,
    an_end_that_comes_with_the_request_ends_the_connection,
    records_with_nothing_in_them_are_not_taken_for_ever,
);

/// Records with this in them, not sent.
fn sealed(stream: &mut Stream, plaintext: &[u8]) -> Vec<u8> {
    stream.conn.set_buffer_limit(None);
    stream.conn.writer().write_all(plaintext).unwrap();
    taken(stream)
}

/// What rustls would send.
fn taken(stream: &mut Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn post(path: &str, length: usize) -> String {
    let body = "x".repeat(length);
    format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// The proxy gets part of a record with the first request, and then as much at once as with that part is more plaintext than
/// it takes at a time. The last bytes come while it is busy with what it took.
fn what_comes_while_plaintext_waits_is_not_forgotten(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "fine");
    let setup = Proxy::to(engine, [&backend]).listen(SECURE);
    let proxy = setup.server("timeouts.body_idle = \"5s\"").start();
    let config = secure::config(&version::TLS13);
    let mut stream = secure::open(secure::connect(proxy.traffic()), config);
    let first = sealed(&mut stream, secure::GET);
    let posts = [post("/a", 26_900), post("/b", 26_900), post("/c", 26_900)].concat();
    let (most, last) = posts.as_bytes().split_at(posts.len() - 10);
    let (most, last) = (sealed(&mut stream, most), sealed(&mut stream, last));
    let (begin, rest) = most.split_at(16_000);
    stream.sock.write_all(&[&first, begin].concat()).unwrap();
    eventually("the first is there", || gate.arrived() == 1);
    stream.sock.write_all(rest).unwrap();
    gate.pass_one();
    secure::until_fine(&mut stream);
    eventually("the second is there", || gate.arrived() == 2);
    stream.sock.write_all(&last).unwrap();
    gate.pass(3);
    // Two answers may come at once.
    let mut got = String::new();
    while got.matches("fine").count() < 3 {
        got.push_str(&secure::until_fine(&mut stream));
    }
    assert_eq!(got.matches("HTTP/1.1 200").count(), 3, "{got}");
}

/// close_notify comes with the request, and the connection itself is not ended.
fn an_end_that_comes_with_the_request_ends_the_connection(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).listen(SECURE);
    let proxy = setup.server("timeouts.keep_alive = \"300s\"").start();
    let config = secure::config(&version::TLS13);
    let mut stream = secure::open(secure::connect(proxy.traffic()), config);
    stream.conn.writer().write_all(secure::GET).unwrap();
    stream.conn.send_close_notify();
    let flight = taken(&mut stream);
    stream.sock.write_all(&flight).unwrap();
    secure::until_fine(&mut stream);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

fn records_with_nothing_in_them_are_not_taken_for_ever(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "fine");
    let setup = Proxy::to(engine, [&backend]).listen(SECURE);
    let setup = setup.server(
        "timeouts.head = \"300s\"\ntimeouts.keep_alive = \"300s\"\ntimeouts.body_idle = \"300s\"\ntimeouts.min_rate = \"0\"",
    );
    let proxy = setup.start();
    let open = |begin: &[u8]| {
        let mut config = secure::config(&version::TLS13);
        config.enable_secret_extraction = true;
        let mut stream = secure::open(secure::connect(proxy.traffic()), config);
        stream.write_all(begin).unwrap();
        let (session, socket) = stream.into_parts();
        (session.dangerous_extract_secrets().unwrap(), socket)
    };
    // Where a request could begin, in a small body, and in a large one, which a worker reads.
    for begin in [
        "",
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nx",
    ] {
        let (secrets, mut socket) = open(begin.as_bytes());
        // It may be too many already.
        let _ = socket.write_all(&records::made(&secrets, &[&b""[..]; 20_000]));
        let mut rest = Vec::new();
        match socket.read_to_end(&mut rest) {
            Ok(_) => (),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{begin}"),
        }
    }
    // Some do no harm.
    let some = [vec![&b""[..]; 20], vec![secure::GET]].concat();
    let (secrets, mut socket) = open(b"");
    let before = gate.arrived();
    socket.write_all(&records::made(&secrets, &some)).unwrap();
    eventually("the request is there", || gate.arrived() > before);
    gate.open();
    assert_eq!(proxy.get("/").text(), "fine");
}
