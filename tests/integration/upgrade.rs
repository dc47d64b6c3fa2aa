//! Upgraded connections: the handshake passes, then bytes do, both ways, until an end, a limit or a drain.

use rustix::process::Signal;
use tollgate::app::Outcome;

use crate::support::websocket::{self, ACCEPTED, BINARY, CLOSE, TEXT, handshake};
use crate::support::{
    Backend, Client, Engine, Gate, Process, Proxy, eventually, on_reactor_and_tls,
};

on_reactor_and_tls!(
    the_handshake_passes,
    a_hundred_connections_echo,
    what_comes_with_the_handshake_is_not_lost,
    a_half_closed_client_still_gets_the_rest,
    a_half_closed_backend_still_gets_the_rest,
    a_client_that_leaves_ends_the_backends_side,
    a_backend_that_dies_ends_the_clients_side,
    a_reader_that_stops_holds_up_only_itself,
    a_backend_may_refuse,
    a_backend_may_answer_plainly,
    a_route_may_forbid_it,
    an_old_client_cannot_ask_for_it,
    another_protocol_is_not_switched_to_unasked,
    tunnels_have_a_limit,
    an_idle_tunnel_ends,
    bytes_are_in_the_access_line,
    a_drain_waits_for_tunnels_until_its_deadline,
    a_drain_ends_cleanly_when_the_tunnel_does,
);

fn the_handshake_passes(engine: Engine) {
    let backend = Backend::start(websocket::echo);
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    let head = client.send(handshake("/chat?x=y")).read_switch();
    assert_eq!(head.get("upgrade").as_deref(), Some("websocket"));
    let options = head.get("connection").unwrap().to_ascii_lowercase();
    assert_eq!(options, "upgrade");
    let accept = head.get("sec-websocket-accept");
    assert_eq!(accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(head.get("content-length"), None);
    assert_eq!(head.get("transfer-encoding"), None);
    websocket::assert_echo(&mut client, TEXT, b"hello");
    let seen = backend.only();
    assert_eq!(seen.target(), "/chat?x=y");
    assert_eq!(seen.get("upgrade").as_deref(), Some("websocket"));
    let options = seen.get("connection").unwrap().to_ascii_lowercase();
    assert!(options.split(',').any(|option| option.trim() == "upgrade"));
    assert_eq!(seen.get("sec-websocket-version").as_deref(), Some("13"));
    let key = seen.get("sec-websocket-key");
    assert_eq!(key.as_deref(), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(seen.get("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    websocket::assert_echo(&mut client, CLOSE, b"\x03\xe8");
    client.assert_ended();
}

/// With four workers: a tunnel holds none.
fn a_hundred_connections_echo(engine: Engine) {
    let backend = Backend::start(websocket::echo);
    let proxy = Proxy::to(engine, [&backend]).server("workers = 4").start();
    let mut clients: Vec<Client> = (0..100)
        .map(|n| websocket::open(proxy.client(), &format!("/{n}")))
        .collect();
    std::thread::scope(|scope| {
        for group in clients.chunks_mut(13) {
            scope.spawn(|| {
                for (n, client) in group.iter_mut().enumerate() {
                    websocket::assert_echo(client, TEXT, format!("héllo {n}").as_bytes());
                    websocket::assert_echo(client, BINARY, &[0, 255, b'\r', b'\n', 0]);
                    websocket::assert_echo(client, BINARY, &vec![b'a'; (1 << 20) + n]);
                    websocket::assert_echo(client, TEXT, b"");
                }
            });
        }
    });
    for client in &mut clients {
        websocket::assert_echo(client, CLOSE, b"");
        client.assert_ended();
    }
    eventually("all are gone", || backend.open_connections() == 0);
}

fn what_comes_with_the_handshake_is_not_lost(engine: Engine) {
    let backend = Backend::start(|conn| {
        conn.request();
        conn.raw([ACCEPTED, "greeting"].concat());
        let frame = websocket::receive(conn).expect("a frame");
        conn.raw(frame.payload);
        conn.close();
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    let mut early = handshake("/").into_bytes();
    early.extend(websocket::encode(TEXT, b"early", true));
    client.send(early).read_switch();
    assert_eq!(client.drain(), b"greetingearly");
}

fn a_half_closed_client_still_gets_the_rest(engine: Engine) {
    let backend = Backend::start(|conn| {
        conn.request();
        conn.raw(ACCEPTED);
        while websocket::receive(conn).is_some() {}
        conn.raw(vec![b'r'; 3_000_000]);
        conn.close();
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = websocket::open(proxy.client(), "/");
    websocket::send(&mut client, TEXT, b"last words");
    client.half_close();
    assert_eq!(client.drain().len(), 3_000_000);
}

fn a_half_closed_backend_still_gets_the_rest(engine: Engine) {
    let gate = Gate::new();
    let got_all = gate.clone();
    let backend = Backend::start(move |conn| {
        conn.request();
        conn.raw([ACCEPTED, "last words"].concat());
        conn.close();
        while let Some(frame) = websocket::receive(conn) {
            if frame.payload.len() == 3_000_000 {
                got_all.wait(|| true);
            }
        }
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = websocket::open(proxy.client(), "/");
    client.read_past("last words");
    client.assert_ended();
    websocket::send(&mut client, BINARY, &vec![b'r'; 3_000_000]);
    eventually("the rest has come", || gate.arrived() == 1);
}

fn a_client_that_leaves_ends_the_backends_side(engine: Engine) {
    let backend = Backend::start(websocket::echo);
    let proxy = Proxy::to(engine, [&backend]).start();
    for leaves_with_reset in [true, false] {
        let mut client = websocket::open(proxy.client(), "/");
        websocket::assert_echo(&mut client, TEXT, b"x");
        assert_eq!(backend.open_connections(), 1);
        if leaves_with_reset {
            client.reset();
        } else {
            drop(client);
        }
        eventually("it is gone", || backend.open_connections() == 0);
    }
}

fn a_backend_that_dies_ends_the_clients_side(engine: Engine) {
    let mut backend = Backend::start(websocket::echo);
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut clients = [(); 3].map(|()| websocket::open(proxy.client(), "/"));
    backend.kill();
    for client in &mut clients {
        client.assert_ended();
    }
    assert_eq!(proxy.get("/").status, 502);
}

/// One thread pumps all tunnels: it must not wait for any of them.
fn a_reader_that_stops_holds_up_only_itself(engine: Engine) {
    let backend = Backend::start(|conn| {
        if conn.head_target() == "/flood" {
            conn.raw(ACCEPTED);
            while conn.raw([b'x'; 10_000]) {}
        } else {
            websocket::echo(conn);
        }
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let stuck = [(); 5].map(|()| websocket::open(proxy.client(), "/flood"));
    let mut good = websocket::open(proxy.client(), "/");
    for n in 0..100 {
        websocket::assert_echo(&mut good, TEXT, format!("{n}").as_bytes());
    }
    drop(stuck);
    eventually("they are gone", || backend.open_connections() == 1);
    websocket::assert_echo(&mut good, TEXT, b"still there");
}

fn a_backend_may_refuse(engine: Engine) {
    let backend = Backend::start(|conn| match conn.head_target().as_str() {
        "/no" => conn.reply(403, &[("X-Why", "not you")], "forbidden"),
        _ => conn.reply(200, &[], "fine"),
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    for _ in 0..3 {
        let answer = client.ask(handshake("/no"));
        assert_eq!((answer.status, answer.text().as_str()), (403, "forbidden"));
        assert_eq!(answer.get("x-why").as_deref(), Some("not you"));
        assert_eq!(client.get("/next").text(), "fine");
    }
}

fn a_backend_may_answer_plainly(engine: Engine) {
    let backend = Backend::fixed("plain");
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(client.ask(handshake("/")).text(), "plain");
    }
}

fn a_route_may_forbid_it(engine: Engine) {
    let backend = Backend::fixed("plain");
    let routes = "[[route]]\nmatch = { path = \"/plain\" }\nupstream = \"web\"\nupgrade = false\n\
                  [[route]]\nupstream = \"web\"";
    let proxy = Proxy::to(engine, [&backend]).more(routes).start();
    let mut client = proxy.client();
    assert_eq!(client.ask(handshake("/plain")).text(), "plain");
    assert_eq!(client.ask(handshake("/other")).text(), "plain");
    let seen = backend.seen();
    let upgrade = |n: usize| seen[n].get("upgrade");
    assert_eq!(
        (upgrade(0), upgrade(1).as_deref()),
        (None, Some("websocket"))
    );
    let options = seen[0].get("connection").unwrap_or_default();
    assert!(
        !options.to_ascii_lowercase().contains("upgrade"),
        "{options}"
    );
}

/// RFC 9110 section 7.8: an Upgrade field in an HTTP/1.0 request is ignored.
fn an_old_client_cannot_ask_for_it(engine: Engine) {
    let backend = Backend::fixed("plain");
    let proxy = Proxy::to(engine, [&backend]).start();
    let request = handshake("/").replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(proxy.client().ask(request).text(), "plain");
    assert_eq!(backend.only().get("upgrade"), None);
}

/// A 101 that nobody asked for is no answer.
fn another_protocol_is_not_switched_to_unasked(engine: Engine) {
    let backend = Backend::start(|conn| {
        conn.request();
        conn.raw(ACCEPTED);
        conn.stall();
    });
    let proxy = Proxy::to(engine, [&backend])
        .web("timeouts.response = \"2s\"")
        .start();
    let answer = proxy.get("/");
    assert!(matches!(answer.status, 502 | 504), "{answer:?}");
}

fn tunnels_have_a_limit(engine: Engine) {
    let backend = Backend::start(|conn| {
        if conn.head_target() == "/plain" {
            conn.reply(200, &[], "plain");
        } else {
            websocket::echo(conn);
        }
    });
    let proxy = Proxy::to(engine, [&backend])
        .server("limits.tunnels = 2")
        .start();
    let mut first = websocket::open(proxy.client(), "/");
    let mut second = websocket::open(proxy.client(), "/");
    let refused = proxy.client().ask(handshake("/"));
    refused.refused(503, "overloaded");
    assert_eq!(proxy.get("/plain").text(), "plain");
    websocket::assert_echo(&mut second, TEXT, b"not disturbed");
    first.half_close();
    first.drain();
    eventually("there is room again", || {
        let mut client = proxy.client();
        client.send(handshake("/"));
        client.read_any_head().line[1] == "101"
    });
}

fn an_idle_tunnel_ends(engine: Engine) {
    let backend = Backend::start(websocket::echo);
    let proxy = Proxy::to(engine, [&backend])
        .server("timeouts.tunnel_idle = \"2s\"")
        .start();
    let mut idle = websocket::open(proxy.client(), "/");
    let mut busy = websocket::open(proxy.client(), "/");
    while backend.open_connections() == 2 {
        websocket::assert_echo(&mut busy, TEXT, b"busy");
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    idle.assert_ended();
    websocket::assert_echo(&mut busy, TEXT, b"still there");
    eventually("the other ends too", || backend.open_connections() == 0);
    busy.assert_ended();
}

fn bytes_are_in_the_access_line(engine: Engine) {
    let backend = Backend::start(websocket::echo);
    let process = Process::config(&Proxy::to(engine, [&backend]).text()).start();
    let mut client = websocket::open(process.client(), "/counted");
    websocket::assert_echo(&mut client, BINARY, &[b'x'; 1000]);
    client.half_close();
    client.drain();
    let line = process.line_with("target=\"/counted\"");
    // A client's frame has a head of four bytes here, and four of mask.
    for part in [
        "status=101",
        "cause=-",
        "bytes_in=1008",
        "bytes_out=1004",
        "backend=b1",
    ] {
        assert!(line.contains(part), "{part} is missing: {line}");
    }
}

fn a_drain_waits_for_tunnels_until_its_deadline(engine: Engine) {
    let backend = Backend::start(websocket::echo);
    let proxy = Proxy::to(engine, [&backend])
        .server("drain_timeout = \"500ms\"")
        .start();
    let mut client = websocket::open(proxy.client(), "/tunnel");
    websocket::assert_echo(&mut client, TEXT, b"x");
    assert_eq!(proxy.running().drain().in_flight(), 1);
    let Outcome::Cut(flights) = proxy.shut_down() else {
        panic!("nothing was cut")
    };
    assert_eq!(flights.len(), 1);
    assert!(
        flights[0].label.contains("GET /tunnel"),
        "{:?}",
        flights[0].label
    );
    client.assert_ended();
    eventually("it is gone", || backend.open_connections() == 0);
}

fn a_drain_ends_cleanly_when_the_tunnel_does(engine: Engine) {
    let backend = Backend::start(websocket::echo);
    let setup = Proxy::to(engine, [&backend]).server("drain_timeout = \"60s\"");
    let mut process = Process::config(&setup.text()).start();
    let mut client = websocket::open(process.client(), "/tunnel");
    process.signal(Signal::TERM);
    process.line_with("draining: 1 in flight");
    websocket::assert_echo(&mut client, TEXT, b"goes on meanwhile");
    websocket::assert_echo(&mut client, CLOSE, b"");
    client.assert_ended();
    // Its own side is still open until it goes: a tunnel ends when both sides have ended.
    drop(client);
    assert_eq!(process.wait(), 0);
}
