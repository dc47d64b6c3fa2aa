//! What a backend is sent, when it is asked again, and how long it is waited for.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::backend::reserve;
use crate::support::wire::Piece;
use crate::support::{Backend, Conn, Engine, Gate, Proxy, eventually, on_each_engine};

on_each_engine!(
    a_post_is_not_sent_twice,
    a_get_is_sent_again_elsewhere,
    a_refused_connection_is_tried_elsewhere_for_any_method,
    a_connection_that_the_backend_closed_is_not_used,
    retries_can_be_switched_off,
    a_backend_that_talks_nonsense_is_not_asked_again,
    a_backend_that_does_not_accept,
    a_backend_that_does_not_answer,
    a_backend_that_stops_in_the_middle,
    a_backend_that_never_ends,
    an_early_answer_overtakes_the_upload,
    an_early_chunked_answer_is_whole,
    an_answer_that_outgrows_the_upload_does_not_stall,
    a_large_chunked_upload_streams,
);

fn a_post_is_not_sent_twice(engine: Engine) {
    let (bad, good) = (Backend::resetting(), Backend::fixed("good"));
    let proxy = Proxy::to(engine, [&bad, &good]).start();
    let answers = ["one", "two"].map(|body| proxy.client().post("/", body));
    let failed: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status != 200)
        .collect();
    assert_eq!(failed.len(), 1, "{answers:?}");
    failed[0].clone().refused(502, "backend_closed");
    assert_eq!((bad.count(), good.count()), (1, 1));
    assert_ne!(bad.only().body, good.only().body);
}

fn a_get_is_sent_again_elsewhere(engine: Engine) {
    let (bad, good) = (Backend::resetting(), Backend::fixed("good"));
    let proxy = Proxy::to(engine, [&bad, &good]).start();
    for _ in 0..2 {
        let answer = proxy.get("/twice");
        assert_eq!((answer.status, answer.backend().as_str()), (200, "b2"));
    }
    assert_eq!(bad.only().target(), "/twice");
    assert_eq!(good.count(), 2);
}

fn a_refused_connection_is_tried_elsewhere_for_any_method(engine: Engine) {
    let (_reserved, nobody) = reserve();
    let good = Backend::echo();
    let proxy = Proxy::to(engine, [&good]).and(nobody).start();
    for n in 0..6 {
        assert_eq!(
            proxy.client().post("/", &format!("body {n}")).text(),
            format!("body {n}")
        );
    }
    let alone = Proxy::to(engine, []).and(nobody).start();
    alone.get("/").refused(502, "connect_refused");
}

fn a_connection_that_the_backend_closed_is_not_used(engine: Engine) {
    let backend = Backend::start(|conn| {
        conn.reply(200, &[], "fine");
        conn.close();
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(backend.count(), 20);
}

fn retries_can_be_switched_off(engine: Engine) {
    let (one, two) = (Backend::resetting(), Backend::resetting());
    let proxy = Proxy::to(engine, [&one, &two])
        .web("retry.attempts = 0")
        .start();
    proxy.get("/").refused(502, "backend_closed");
    assert_eq!(one.count() + two.count(), 1);
}

fn a_backend_that_talks_nonsense_is_not_asked_again(engine: Engine) {
    let answers: [&'static [u8]; 4] = [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        b"HTTP/1.1 abc OK\r\nContent-Length: 5\r\n\r\nhello",
    ];
    for answer in answers {
        let (one, two) = (
            Backend::raw_then_close(answer),
            Backend::raw_then_close(answer),
        );
        let proxy = Proxy::to(engine, [&one, &two]).start();
        proxy.get("/").refused(502, "bad_response");
        assert_eq!(one.count() + two.count(), 1);
    }
}

/// A listener whose queue is full: it neither accepts nor refuses.
fn full() -> (SocketAddr, Socket, Vec<TcpStream>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let queued = std::iter::from_fn(connect).collect();
    (address, socket, queued)
}

fn a_backend_that_does_not_accept(engine: Engine) {
    let (address, _socket, _queued) = full();
    let lines = "timeouts.connect = \"200ms\"\nretry.attempts = 0";
    let proxy = Proxy::to(engine, []).and(address).web(lines).start();
    proxy.get("/").refused(504, "connect_timeout");
}

fn a_backend_that_does_not_answer(engine: Engine) {
    for timeout in [
        "timeouts.response = \"200ms\"",
        "timeouts.total = \"200ms\"",
    ] {
        let (one, two) = (Backend::start(Conn::stall), Backend::start(Conn::stall));
        let proxy = Proxy::to(engine, [&one, &two]).web(timeout).start();
        proxy.get("/").refused(504, "backend_slow");
        assert_eq!(
            one.count() + two.count(),
            1,
            "slow answers are not retried by default"
        );
    }
}

fn a_backend_that_stops_in_the_middle(engine: Engine) {
    let backend = Backend::start(|conn| {
        conn.raw("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n");
        conn.pattern(100_000);
        conn.stall();
    });
    let proxy = Proxy::to(engine, [&backend])
        .web("timeouts.idle = \"300ms\"")
        .start();
    let mut client = proxy.client();
    let answer = client
        .send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        .receive()
        .cut();
    assert_eq!(answer.status, 200);
}

fn a_backend_that_never_ends(engine: Engine) {
    let backend = Backend::start(|conn| {
        conn.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while conn.chunk([b'x'; 10_000]) {}
    });
    let proxy = Proxy::to(engine, [&backend])
        .web("timeouts.total = \"400ms\"")
        .start();
    let mut client = proxy.client();
    assert_eq!(
        client
            .send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            .read_head()
            .line[1],
        "200"
    );
    let mut end = client.piece();
    eventually("it is cut", || {
        end = client.piece();
        !matches!(end, Piece::Data(_))
    });
    assert!(matches!(end, Piece::Cut(_)), "{end:?}");
}

fn an_early_answer_overtakes_the_upload(engine: Engine) {
    let gate = Gate::new();
    let at_the_end = gate.clone();
    let backend = Backend::start(move |conn| {
        conn.raw("HTTP/1.1 413 Too Much\r\nContent-Length: 8\r\nX-Early: yes\r\n\r\ntoo much");
        conn.wait(&at_the_end);
        conn.reset();
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 50000000\r\n\r\n");
    let upload = client.upload(50_000_000);
    let answer = client.read();
    assert_eq!((answer.status, answer.text().as_str()), (413, "too much"));
    assert_eq!(answer.get("x-early").as_deref(), Some("yes"));
    gate.open();
    client.reset();
    let _ = upload.join();
}

fn an_early_chunked_answer_is_whole(engine: Engine) {
    let backend = Backend::start(|conn| {
        conn.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n0\r\n\r\n");
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 20000000\r\n\r\n");
    let upload = client.upload(20_000_000);
    let answer = client.read();
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    client.reset();
    let _ = upload.join();
}

/// The backend sends before it reads: with both directions full, the request is cut and the answer goes on.
fn an_answer_that_outgrows_the_upload_does_not_stall(engine: Engine) {
    let length = 30_000_000;
    let backend = Backend::start(move |conn| {
        conn.raw(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        ));
        conn.raw(vec![b'x'; length]);
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 50000000\r\n\r\n");
    let upload = client.upload(50_000_000);
    let answer = client.read();
    assert_eq!((answer.status, answer.text().len()), (200, length));
    client.reset();
    let _ = upload.join();
}

fn a_large_chunked_upload_streams(engine: Engine) {
    let backend = Backend::start(|conn| {
        let seen = conn.request();
        conn.reply(200, &[], format!("{} {}", seen.length, seen.is_pattern));
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut at = 0;
    while at < 3_000_000 {
        let slice = crate::support::pattern::slice(at, 60_000);
        client
            .send(format!("{:x}\r\n", slice.len()))
            .send(slice)
            .send("\r\n");
        at += slice.len() as u64;
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.read().text(), format!("{at} true"));
}
