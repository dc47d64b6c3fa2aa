//! TLS to backends: handshakes that come to nothing, and connections that end without saying so.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use crate::support::authority::Authority;
use crate::support::patience;
use crate::support::secured::Secured;
use crate::support::websocket::{self, ACCEPTED, TEXT};
use crate::support::{Backend, Engine, Proxy, Received, eventually, on_each_engine, on_reactor};

on_each_engine!(
    an_end_that_is_not_announced_is_a_cut_only_where_it_may_be_one,
    a_handshake_that_never_ends_is_over_with_the_connect_timeout,
    a_plain_backend_is_told_apart,
    a_secured_backend_behind_http_is_told_apart,
);

on_reactor!(a_tunnel_that_is_cut_is_no_end_for_the_backend,);

fn an_end_that_is_not_announced_is_a_cut_only_where_it_may_be_one(engine: Engine) {
    let authority = Authority::new();
    let secured = Secured::by(&authority.server(&["127.0.0.1"]));
    let backend = Backend::secured(&secured, |conn| {
        let target = conn.request().target().to_owned();
        match target.as_str() {
            "/length/cut" => conn.raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"),
            "/chunked/cut" => conn
                .raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"),
            "/short/cut" => conn.raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody"),
            "/nothing/cut" => true,
            _ => conn.raw("HTTP/1.1 200 OK\r\n\r\nbody"),
        };
        match target.ends_with("/cut") {
            true => conn.cut(),
            false => conn.close(),
        }
    });
    let proxy = Proxy::to(engine, [&backend])
        .web(&authority.trust())
        .web("retry.attempts = 0\nejection.failures = 0")
        .start();
    for whole in ["/length/cut", "/chunked/cut", "/close"] {
        let answer = proxy.get(whole);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "body"),
            "{whole}"
        );
    }
    for cut in ["/close/cut", "/short/cut"] {
        let mut client = proxy.client();
        client.send(format!("GET {cut} HTTP/1.1\r\nHost: test\r\n\r\n"));
        let got = client.receive();
        assert!(matches!(got, Received::Cut(_)), "{cut}: {got:?}");
    }
    proxy.get("/nothing/cut").refused(502, "backend_closed");
}

/// Silence, and bytes that come one by one and never make a whole record.
fn a_handshake_that_never_ends_is_over_with_the_connect_timeout(engine: Engine) {
    for drips in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            // A record of 8 KiB that is announced and doled out.
            let mut bytes = [22, 3, 3, 32, 0, 2, 0, 31, 252].iter();
            let pause = Duration::from_millis(10);
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                if drips {
                    let _ = stream.write_all(&[*bytes.next().unwrap_or(&0)]);
                }
            }
        });
        let proxy = Proxy::to(engine, [])
            .and_url(format!("https://{address}"))
            .web("timeouts.connect = \"300ms\"\nretry.attempts = 0\ntls.verify = \"none\"")
            .start();
        let answer = proxy.get("/");
        drop(stop);
        server.join().unwrap();
        answer.refused(504, "connect_timeout");
    }
}

fn a_plain_backend_is_told_apart(engine: Engine) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut hello = [0; 5];
            let Ok(()) = stream.read_exact(&mut hello) else {
                return;
            };
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let setup = Proxy::to(engine, [])
        .and_url(format!("https://{address}"))
        .web("retry.attempts = 0\ntls.verify = \"none\"");
    let proxy = setup.start();
    let refused = proxy.get("/");
    assert_eq!(
        (refused.status, refused.cause().as_str()),
        (502, "backend_tls")
    );
    assert!(
        !refused.text().contains("http://"),
        "no details for clients"
    );
    let status = refused.get("proxy-status").unwrap();
    assert!(status.contains("tls_protocol_error"), "{status}");
    let proxy = setup.web("health = { interval = \"50ms\" }").start();
    eventually("the status page says what is wrong", || {
        let upstream = proxy.upstream();
        let reason = upstream["backends"][0]["last_probe"]["reason"].to_string();
        reason.contains("is no TLS (is it an http:// backend?)")
    });
    drop(proxy);
    drop(TcpStream::connect(address));
    server.join().unwrap();
}

fn a_secured_backend_behind_http_is_told_apart(engine: Engine) {
    let authority = Authority::new();
    let secured = Secured::by(&authority.server(&["127.0.0.1"]));
    let backend = Backend::secured(&secured, |conn| conn.reply(200, &[], "never"));
    let proxy = Proxy::to(engine, [])
        .and(backend.address())
        .web("retry.attempts = 0")
        .start();
    let refused = proxy.get("/");
    assert_eq!(
        (refused.status, refused.cause().as_str()),
        (502, "bad_response")
    );
    eventually("it did not like that", || secured.failures().len() == 1);
}

/// A client that half-closes has said all it wanted to; one that resets has not.
fn a_tunnel_that_is_cut_is_no_end_for_the_backend(engine: Engine) {
    let authority = Authority::new();
    let secured = Secured::by(&authority.server(&["127.0.0.1"]));
    let (tell, told) = crossbeam_channel::bounded(2);
    let backend = Backend::secured(&secured, move |conn| {
        conn.request();
        conn.raw(ACCEPTED);
        let frame = websocket::receive(conn).expect("a message");
        conn.raw(websocket::encode(frame.opcode, &frame.payload, false));
        tell.send(conn.is_told_the_end()).unwrap();
    });
    let proxy = Proxy::to(engine, [&backend])
        .web(&authority.trust())
        .start();
    for is_end in [true, false] {
        let mut client = websocket::open(proxy.client(), "/chat");
        websocket::assert_echo(&mut client, TEXT, b"hello");
        match is_end {
            true => client.half_close(),
            false => client.reset(),
        }
        assert_eq!(told.recv_timeout(patience()), Ok(is_end));
    }
}
