//! TLS to backends: bodies both ways, connections that are used again, answers that come early, tunnels. How
//! connections begin and end is in `backend_tls_ends`, whom to trust in `backend_trust`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::authority::Authority;
use crate::support::conn::serve_pattern;
use crate::support::secured::Secured;
use crate::support::websocket::{self, BINARY, CLOSE, TEXT};
use crate::support::{
    Backend, Conn, Engine, Gate, Proxy, admin, eventually, on_each_engine, on_reactor, pattern,
};

on_each_engine!(
    bodies_of_all_sizes_go_both_ways_over_one_connection,
    sessions_are_resumed,
    new_keys_on_an_idle_connection_do_it_no_harm,
    stray_data_on_an_idle_connection_is_no_answer,
    a_stale_connection_costs_no_request,
    an_early_answer_overtakes_the_upload,
    an_answer_that_outgrows_the_upload_does_not_stall,
    plain_and_secured_backends_side_by_side,
    backends_that_register_may_speak_tls,
);
on_reactor!(
    websockets_go_through,
    a_tunnel_ends_with_the_backend,
    a_stall_is_answered_by_another_backend,
);

/// A connection that was idle for less is used again, whatever the request.
const RELIED_UPON: Duration = Duration::from_secs(3);
const SIZES: [u64; 4] = [0, 1, 16_384, 3_000_000];

/// A backend with a certificate for its address, by an authority that has to be trusted.
fn secured(
    script: impl Fn(&mut Conn) + Send + Sync + 'static,
) -> (Authority, Arc<Secured>, Backend) {
    let authority = Authority::new();
    let secured = Secured::by(&authority.server(&["127.0.0.1"]));
    let backend = Backend::secured(&secured, script);
    (authority, secured, backend)
}

fn bodies_of_all_sizes_go_both_ways_over_one_connection(engine: Engine) {
    for size in SIZES {
        let (authority, secured, backend) = secured(serve_pattern(size));
        let proxy = Proxy::to(engine, [&backend])
            .web(&authority.trust())
            .start();
        let mut client = proxy.client();
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        for _ in 0..3 {
            let down = client.get("/down");
            assert_eq!((down.status, down.body.len() as u64), (200, size));
            assert!(pattern::matches(0, &down.body));
            for framing in [format!("Content-Length: {size}"), String::new()] {
                if framing.is_empty() {
                    client.send(
                        "POST /up HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n",
                    );
                    let bytes = pattern::bytes(size);
                    for part in bytes.chunks(10_000) {
                        client
                            .send(format!("{:x}\r\n", part.len()))
                            .send(part)
                            .send("\r\n");
                    }
                    client.send("0\r\n\r\n");
                } else {
                    client.send(format!(
                        "POST /up HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"
                    ));
                    assert!(client.upload(size).join().unwrap());
                }
                assert_eq!(client.read().text(), format!("{size} true"));
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
        }
        assert_eq!(secured.full(), 1, "{size}");
        // Nobody relies on a connection that was idle for long, as it may be on a machine that has much to do.
        assert!(secured.resumed() == 0 || longest >= RELIED_UPON, "{size}");
        assert_eq!(secured.names(), [None], "an address is not asked for");
        assert_eq!(proxy.upstream()["backends"][0]["url"], backend.url());
        eventually("its connection is kept", || {
            proxy.upstream()["backends"][0]["idle_connections"] == 1
        });
    }
}

fn sessions_are_resumed(engine: Engine) {
    for is_old in [false, true] {
        let authority = Authority::new();
        let issued = authority.server(&["127.0.0.1"]);
        let secured = Secured::by(&issued);
        if is_old {
            secured.only_tls12(&issued, None);
        }
        let backend = Backend::secured(&secured, |conn| {
            conn.reply(200, &[("Connection", "close")], "once");
            conn.close();
        });
        let proxy = Proxy::to(engine, [&backend])
            .web(&authority.trust())
            .start();
        for _ in 0..5 {
            assert_eq!(proxy.get("/").text(), "once");
        }
        assert_eq!((secured.full(), secured.resumed()), (1, 4), "{is_old}");
    }
}

/// A backend may say things that are for TLS only, at any time: the connection is used again all the same.
fn new_keys_on_an_idle_connection_do_it_no_harm(engine: Engine) {
    let (authority, secured, backend) = secured(|conn| {
        conn.reply(200, &[], "kept");
        conn.change_keys();
    });
    let proxy = Proxy::to(engine, [&backend])
        .web(&authority.trust())
        .start();
    let mut client = proxy.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "kept");
        assert_eq!(client.post("/", "body").text(), "kept");
    }
    assert_eq!(secured.full() + secured.resumed(), 1);
    assert_eq!(backend.count(), 40);
}

fn stray_data_on_an_idle_connection_is_no_answer(engine: Engine) {
    let spoken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&spoken);
    let (authority, secured, backend) = secured(move |conn| {
        conn.reply(200, &[], "right");
        conn.raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong");
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let proxy = Proxy::to(engine, [&backend])
        .web(&authority.trust())
        .start();
    let mut client = proxy.client();
    for count in 1..=5 {
        assert_eq!(client.get("/").text(), "right");
        eventually("it has said too much", || {
            spoken.load(Ordering::SeqCst) == count
        });
    }
    assert_eq!(secured.full() + secured.resumed(), 5);
}

/// The backend closes when the next request arrives, which is the worst moment.
fn a_stale_connection_costs_no_request(engine: Engine) {
    let (authority, secured, backend) = secured(|conn| {
        let seen = conn.request();
        if seen.target() == "/second" && seen.connection == 0 {
            return conn.cut();
        }
        conn.reply(200, &[], "here");
    });
    let proxy = Proxy::to(engine, [&backend])
        .web(&authority.trust())
        .start();
    let mut client = proxy.client();
    assert_eq!(client.get("/first").text(), "here");
    assert_eq!(client.get("/second").text(), "here");
    assert_eq!(secured.full() + secured.resumed(), 2);
    assert_eq!(proxy.upstream()["backends"][0]["failures"], 0);
}

fn an_early_answer_overtakes_the_upload(engine: Engine) {
    let gate = Gate::new();
    let at_the_end = gate.clone();
    let (authority, _, backend) = secured(move |conn| {
        conn.raw("HTTP/1.1 413 Too Much\r\nContent-Length: 8\r\n\r\ntoo much");
        conn.wait(&at_the_end);
        conn.reset();
    });
    let proxy = Proxy::to(engine, [&backend])
        .web(&authority.trust())
        .start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 50000000\r\n\r\n");
    let upload = client.upload(50_000_000);
    let answer = client.read();
    assert_eq!((answer.status, answer.text().as_str()), (413, "too much"));
    gate.open();
    client.reset();
    let _ = upload.join();
}

/// The backend sends before it reads: with both directions full, the request is cut and the answer goes on.
fn an_answer_that_outgrows_the_upload_does_not_stall(engine: Engine) {
    let length = 20_000_000;
    let (authority, _, backend) = secured(move |conn| {
        conn.raw(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        ));
        conn.raw(vec![b'x'; length]);
    });
    let proxy = Proxy::to(engine, [&backend])
        .web(&authority.trust())
        .start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 50000000\r\n\r\n");
    let upload = client.upload(50_000_000);
    let answer = client.read();
    assert_eq!((answer.status, answer.body.len()), (200, length));
    client.reset();
    let _ = upload.join();
}

fn plain_and_secured_backends_side_by_side(engine: Engine) {
    let (authority, _, secured) = secured(|conn| conn.reply(200, &[], "secured"));
    let plain = Backend::fixed("plain");
    let proxy = Proxy::to(engine, [&secured, &plain])
        .web(&authority.trust())
        .start();
    let mut client = proxy.client();
    let mut answers: Vec<String> = (0..4).map(|_| client.get("/").text()).collect();
    answers.sort();
    assert_eq!(answers, ["plain", "plain", "secured", "secured"]);
}

fn backends_that_register_may_speak_tls(engine: Engine) {
    let (authority, secured, backend) = secured(|conn| conn.reply(200, &[], "registered"));
    let plain = Backend::fixed("plain");
    let proxy = Proxy::to(engine, [&plain]).web(&authority.trust()).start();
    assert_eq!(proxy.get("/").text(), "plain");
    let body = serde_json::json!({ "url": backend.url() });
    let placed = admin::put(&proxy, &admin::path("web", "new"), &body);
    assert_eq!(placed.status, 201, "{}", placed.text());
    let mut client = proxy.client();
    let answers: Vec<String> = (0..4).map(|_| client.get("/").text()).collect();
    assert_eq!(answers.iter().filter(|one| *one == "registered").count(), 2);
    assert_eq!(secured.full(), 1);
}

fn websockets_go_through(engine: Engine) {
    let (authority, _, backend) = secured(websocket::echo);
    let proxy = Proxy::to(engine, [&backend])
        .web(&authority.trust())
        .start();
    let mut client = websocket::open(proxy.client(), "/chat");
    for payload in [&b"hello"[..], &[7; 60_000], &[8; 2_000_000]] {
        websocket::assert_echo(&mut client, BINARY, payload);
        websocket::assert_echo(&mut client, TEXT, b"between");
    }
    websocket::assert_echo(&mut client, CLOSE, b"");
    client.assert_ended();
}

fn a_tunnel_ends_with_the_backend(engine: Engine) {
    let (authority, _, mut backend) = secured(websocket::echo);
    let proxy = Proxy::to(engine, [&backend])
        .web(&authority.trust())
        .start();
    let mut client = websocket::open(proxy.client(), "/chat");
    websocket::assert_echo(&mut client, TEXT, b"hello");
    backend.kill();
    client.assert_ended();
}

fn a_stall_is_answered_by_another_backend(engine: Engine) {
    let gate = Gate::new();
    let (one, other) = (gate.clone(), gate.clone());
    let authority = Authority::new();
    let secured = Secured::by(&authority.server(&["127.0.0.1"]));
    let slow_at = |gate: Gate, name: &'static str| {
        Backend::secured(&secured, move |conn| {
            // New keys while it is waited for are no answer.
            conn.request();
            conn.change_keys();
            let target = conn.head_target();
            if target != "/slow" && !target.ends_with(name) || conn.wait(&gate) {
                conn.reply(200, &[], name);
            }
        })
    };
    let backends = [slow_at(one, "first"), slow_at(other, "second")];
    let proxy = Proxy::to(engine, &backends)
        .web(&authority.trust())
        .web("retry = { hedge = true, budget_floor = 1000 }\ntimeouts = { response = \"600s\" }")
        .start();
    let mut clients: Vec<_> = (0..40).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    eventually("all are under way", || gate.arrived() == 40);
    gate.pass(40);
    assert!(clients.iter_mut().all(|client| client.read().status == 200));
    for number in 0..60 {
        assert_eq!(clients[0].get(&format!("/{number}")).status, 200);
    }
    // Whichever it goes to first, one of these two stalls there.
    assert_eq!(clients[0].get("/stall/first").text(), "second");
    assert_eq!(clients[0].get("/stall/second").text(), "first");
    gate.open();
}
