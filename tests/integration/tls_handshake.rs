//! Handshakes of TLS: slow ones, broken ones, those that are none, and what may come with them.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustls::{HandshakeKind, version};

use crate::support::proxy::SECURE;
use crate::support::secure::{self, Stream};
use crate::support::{Backend, Client, Engine, Process, Proxy, eventually, on_reactor};

on_reactor!(
    plain_http_is_told_that_this_is_https,
    garbage_is_answered_with_an_alert,
    a_hello_may_come_byte_by_byte,
    a_handshake_has_a_deadline,
    a_client_that_offers_only_http2_is_refused,
    the_proxy_protocol_comes_before_tls,
    too_many_connections_are_closed_at_once,
    a_request_may_come_with_the_end_of_the_handshake,
    sessions_are_resumed,
);

/// A connection that has not said anything yet.
fn connect(proxy: &Proxy) -> TcpStream {
    secure::connect(proxy.traffic())
}

/// A session of rustls that has shaken hands.
fn open(proxy: &Proxy) -> Stream {
    secure::open(connect(proxy), secure::config(&version::TLS13))
}

fn start(engine: Engine, backend: &Backend) -> Proxy {
    Proxy::to(engine, [backend]).listen(SECURE).start()
}

fn plain_http_is_told_that_this_is_https(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).listen(SECURE);
    let process = Process::config(&setup.text()).start();
    let address = process.traffic();
    let mut client = Client::plain(secure::connect(address));
    let got = client.get("/").refused(400, "bad_request");
    assert!(got.text().contains("HTTPS"), "{got:?}");
    client.assert_ended();
    process.line_with("status=400");
    process.line_with("TLS handshakes failed");
    assert_eq!(process.client().get("/").text(), "fine");
    assert_eq!(backend.count(), 1);
}

/// Each of them is no handshake, one way or the other.
fn garbage_is_answered_with_an_alert(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = start(engine, &backend);
    let hello = secure::hello();
    let mut other_version = hello.clone();
    other_version[9] = 2;
    let long = [&[22, 3, 1, 0xff, 0xff][..], &[0; 100]].concat();
    let garbage: [&[u8]; 6] = [
        &[0; 100],
        &[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10],
        &[22, 3, 1, 0, 4, 1, 0, 0, 0],
        &[23, 3, 3, 0, 4, 1, 2, 3, 4],
        &long,
        &[21, 3, 1, 0, 2, 2, 40],
    ];
    for bytes in garbage {
        let mut stream = connect(&proxy);
        stream.write_all(bytes).unwrap();
        let mut got = Vec::new();
        // A reset would be as good as an end.
        let _ = stream.read_to_end(&mut got);
        assert!(got.is_empty() || got[0] == 21, "{bytes:?}: {got:?}");
    }
    assert_eq!(proxy.get("/").text(), "fine");
}

fn a_hello_may_come_byte_by_byte(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = start(engine, &backend);
    for version in [&version::TLS12, &version::TLS13] {
        let mut session = secure::session(secure::config(version));
        let mut socket = connect(&proxy);
        let mut bytes = Vec::new();
        while session.is_handshaking() {
            while session.wants_write() {
                session.write_tls(&mut bytes).unwrap();
            }
            for byte in bytes.drain(..) {
                socket.write_all(&[byte]).unwrap();
            }
            session.read_tls(&mut socket).unwrap();
            session.process_new_packets().unwrap();
        }
        let mut stream = Stream::new(session, socket);
        assert!(secure::ask(&mut stream).ends_with("fine"));
    }
}

fn a_handshake_has_a_deadline(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).listen(SECURE);
    let setup = setup.server("timeouts.handshake = \"300ms\"");
    let process = Process::config(&setup.text()).start();
    let address = process.traffic();
    let hello = secure::hello();
    for part in [&[][..], &hello[..1], &hello[..hello.len() / 2]] {
        let mut stream = secure::connect(address);
        stream.write_all(part).unwrap();
        assert_eq!(stream.read(&mut [0; 9]).unwrap(), 0);
    }
    // The whole hello is answered, and then it is the client's turn again.
    let mut stream = secure::connect(address);
    stream.write_all(&hello).unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    assert_eq!(got[0], 22);
    process.line_with("server.timeouts.handshake");
    // What has shaken hands has other deadlines.
    let mut stream = secure::open(secure::connect(address), secure::config(&version::TLS13));
    assert!(secure::ask(&mut stream).ends_with("fine"));
}

fn a_client_that_offers_only_http2_is_refused(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = start(engine, &backend);
    for (offer, is_served) in [(&[&b"h2"[..]][..], false), (&[b"h2", b"http/1.1"], true)] {
        let mut config = secure::config(&version::TLS13);
        config.alpn_protocols = offer.iter().map(|name| name.to_vec()).collect();
        let mut socket = connect(&proxy);
        let mut session = secure::session(config);
        let result = session.complete_io(&mut socket);
        if is_served {
            assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        } else {
            let why = result.unwrap_err().to_string();
            assert!(why.contains("NoApplicationProtocol"), "{why}");
        }
    }
}

fn the_proxy_protocol_comes_before_tls(engine: Engine) {
    let backend = Backend::fixed("fine");
    let listen = "{ address = \"127.0.0.1:0\", tls = \"self-signed\", proxy_protocol = true }";
    let setup = Proxy::to(engine, [&backend]).listen(listen);
    let setup = setup.server("trusted_proxies = [\"127.0.0.1/32\"]");
    let proxy = setup.server("timeouts.handshake = \"2s\"").start();
    let header = "PROXY TCP4 203.0.113.7 192.0.2.1 5555 443\r\n";
    // In one packet with the hello, in front of it, and in parts.
    let hello = secure::hello();
    for at in [0, 10, header.len()] {
        let mut socket = connect(&proxy);
        socket.write_all(&header.as_bytes()[..at]).unwrap();
        socket.write_all(&header.as_bytes()[at..]).unwrap();
        let mut stream = secure::open(socket, secure::config(&version::TLS13));
        assert!(secure::ask(&mut stream).ends_with("fine"));
        assert_eq!(
            backend.seen().last().unwrap().get("x-real-ip").as_deref(),
            Some("203.0.113.7")
        );
    }
    let mut socket = connect(&proxy);
    let both = [header.as_bytes(), &hello].concat();
    socket.write_all(&both).unwrap();
    let mut first = [0];
    socket.read_exact(&mut first).unwrap();
    assert_eq!(first, [22]);
    // Without one it is no connection at all.
    let mut socket = connect(&proxy);
    socket.write_all(&hello).unwrap();
    assert!(matches!(socket.read(&mut [0; 9]), Ok(0) | Err(_)));
}

/// Nobody shakes hands with them first.
fn too_many_connections_are_closed_at_once(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).listen(SECURE);
    let proxy = setup.server("limits.connections_per_client = 2").start();
    let mut streams = [open(&proxy), open(&proxy)];
    let mut third = connect(&proxy);
    let _ = third.write_all(&secure::hello());
    assert!(matches!(third.read(&mut [0; 9]), Ok(0) | Err(_)));
    for stream in &mut streams {
        assert!(secure::ask(stream).ends_with("fine"));
    }
    drop(streams);
    eventually("there is room again", || {
        let mut session = secure::session(secure::config(&version::TLS13));
        session.complete_io(&mut connect(&proxy)).is_ok()
    });
}

/// The last flight of the client's handshake and its first requests in one packet, and two of them.
fn a_request_may_come_with_the_end_of_the_handshake(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = start(engine, &backend);
    for version in [&version::TLS12, &version::TLS13] {
        for length in [0, 70_000] {
            let mut session = secure::session(secure::config(version));
            session.set_buffer_limit(None);
            let socket = connect(&proxy);
            let body = "x".repeat(length);
            let asks =
                format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}");
            session.writer().write_all(asks.as_bytes()).unwrap();
            session.writer().write_all(secure::GET).unwrap();
            let mut stream = Stream::new(session, socket);
            // Both answers may come in one read.
            let mut got = secure::until_fine(&mut stream);
            if got.matches("fine").count() < 2 {
                got += &secure::until_fine(&mut stream);
            }
            assert_eq!(got.matches("HTTP/1.1 200").count(), 2, "{got}");
        }
    }
}

fn sessions_are_resumed(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = start(engine, &backend);
    for version in [&version::TLS12, &version::TLS13] {
        let config = secure::config(version);
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let mut stream = secure::open(connect(&proxy), config.clone());
            assert!(secure::ask(&mut stream).ends_with("fine"));
            kinds.push(stream.conn.handshake_kind().unwrap());
        }
        let resumed = HandshakeKind::Resumed;
        assert_eq!(kinds, [HandshakeKind::Full, resumed, resumed]);
    }
}
