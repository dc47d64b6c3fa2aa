//! Mirrors: copies of requests that nobody waits for, whatever becomes of them.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::backend::reserve;
use crate::support::client::get;
use crate::support::proxy::Setup;
use crate::support::{
    Backend, Client, Engine, Gate, Proxy, eventually, on_each_engine, on_reactor, pattern,
};

on_each_engine!(
    a_copy_is_what_the_backend_gets,
    a_mirror_that_hangs_costs_clients_nothing,
    a_mirror_that_refuses_costs_clients_nothing,
    an_endless_answer_is_cut,
    only_whole_and_small_bodies_are_copied,
    a_share_of_requests_is_copied,
    a_failing_backend_of_the_route_keeps_no_copy_back,
);
on_reactor!(upgrades_are_not_copied);

fn mirrored(proxy: &Proxy) -> Value {
    get(proxy.admin(), "/_proxy/status").json()["mirror"].clone()
}

fn count(proxy: &Proxy, what: &str) -> u64 {
    mirrored(proxy)[what].as_u64().expect("a number")
}

fn setup(engine: Engine, web: &Backend, shadow: std::net::SocketAddr, percent: &str) -> Setup {
    let route =
        format!("[[route]]\nupstream = \"web\"\nmirror = {{ upstream = \"shadow\"{percent} }}");
    Proxy::to(engine, [web])
        .upstream("shadow", [shadow])
        .more(&route)
}

fn a_copy_is_what_the_backend_gets(engine: Engine) {
    let (web, shadow) = (Backend::echo(), Backend::fixed("of no interest"));
    let proxy = setup(engine, &web, shadow.address(), "").start();
    let mut client = proxy.client();
    let post =
        "POST /items?x=%20 HTTP/1.1\r\nHost: test\r\nX-Own: 1\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(client.ask(post).text(), "hello");
    eventually("the copy is there", || count(&proxy, "sent") == 1);
    let (original, copy) = (web.only(), shadow.only());
    assert_eq!(original.head.line, copy.head.line);
    assert_eq!(original.body, copy.body);
    for name in [
        "host",
        "x-own",
        "x-request-id",
        "x-forwarded-for",
        "content-length",
    ] {
        assert!(copy.get(name).is_some(), "{name}");
        assert_eq!(original.get(name), copy.get(name), "{name}");
    }
    for _ in 0..20 {
        assert_eq!(client.get("/again").status, 200);
    }
    eventually("all copies are there", || count(&proxy, "sent") == 21);
    assert_eq!((web.count(), shadow.count()), (21, 21));
    assert_eq!((count(&proxy, "failed"), count(&proxy, "dropped")), (0, 0));
}

fn a_mirror_that_hangs_costs_clients_nothing(engine: Engine) {
    const CLIENTS: usize = 64;
    const ROUNDS: usize = 8;
    let web = Backend::echo();
    let never = Gate::new();
    let shadow = Backend::gated(&never, "never");
    let proxy = setup(engine, &web, shadow.address(), "").start();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| proxy.client()).collect();
    for round in 0..ROUNDS {
        let body = |client: usize| format!("{client} in round {round}");
        for (number, client) in clients.iter_mut().enumerate() {
            let (body, length) = (body(number), body(number).len());
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let answer = client.read();
            assert_eq!((answer.status, answer.text()), (200, body(number)));
        }
    }
    // All are answered; the shadow has four, and holds them.
    eventually("four copies are under way", || never.arrived() == 4);
    let status = mirrored(&proxy);
    assert_eq!((&status["sent"], &status["failed"]), (&0.into(), &0.into()));
    let dropped = CLIENTS * ROUNDS - 256 - 4;
    eventually("what finds no place is dropped", || {
        count(&proxy, "dropped") >= dropped as u64
    });
    let usable = get(proxy.admin(), "/_proxy/status").json()["upstreams"][0]["usable"].clone();
    assert_eq!(usable, true);
    // Nor does it hold up the end for long: its own time would be 30 s.
    let begun = Instant::now();
    drop(clients);
    proxy.shut_down();
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(never.arrived(), 4);
}

fn a_mirror_that_refuses_costs_clients_nothing(engine: Engine) {
    let (_reserved, nobody) = reserve();
    let web = Backend::fixed("web");
    let proxy = setup(engine, &web, nobody, "").start();
    let mut client = proxy.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "web");
    }
    eventually("all copies fail", || count(&proxy, "failed") == 50);
    let status = get(proxy.admin(), "/_proxy/status").json();
    let [web, shadow] = [0, 1].map(|index| status["upstreams"][index]["backends"][0].clone());
    assert_eq!(
        (&web["requests"], &web["failures"]),
        (&50.into(), &0.into())
    );
    assert_eq!(shadow["failures"], 50);
}

fn an_endless_answer_is_cut(engine: Engine) {
    let web = Backend::fixed("web");
    let shadow = Backend::start(|conn| {
        conn.request();
        conn.raw("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        assert!(!conn.pattern(1 << 40), "somebody read it all");
    });
    let proxy = setup(engine, &web, shadow.address(), "").start();
    let mut client = proxy.client();
    for _ in 0..12 {
        assert_eq!(client.get("/").text(), "web");
    }
    eventually("none of them keeps a thread", || {
        count(&proxy, "sent") == 12
    });
}

fn only_whole_and_small_bodies_are_copied(engine: Engine) {
    let web = Backend::patterned(0);
    let shadow = Backend::fixed("x");
    let proxy = setup(engine, &web, shadow.address(), "").start();
    let mut client = proxy.client();
    let mut post = |length: u64| {
        client.send(format!(
            "POST /{length} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
        ));
        assert!(client.upload(length).join().unwrap());
        assert_eq!(client.read().text(), format!("{length} true"));
    };
    for length in [0, 1, 64 << 10, (64 << 10) + 1, 1 << 20, 5] {
        post(length);
    }
    let data = pattern::slice(0, 3);
    client.send("POST /chunks HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in [&data[..2], &data[2..3]] {
        client.send(format!("{:x}\r\n", piece.len()));
        client.send(piece).send("\r\n");
    }
    assert_eq!(client.ask("0\r\n\r\n").text(), "3 true");
    eventually("the small ones are there", || count(&proxy, "sent") == 5);
    let mut seen = shadow.seen();
    assert!(seen.iter().all(|copy| copy.is_pattern));
    seen.sort_by_key(|copy| copy.length);
    let lengths: Vec<u64> = seen.iter().map(|copy| copy.length).collect();
    assert_eq!(lengths, [0, 1, 3, 5, 64 << 10]);
    assert_eq!((count(&proxy, "failed"), count(&proxy, "dropped")), (0, 0));
}

fn a_share_of_requests_is_copied(engine: Engine) {
    let (web, shadow) = (Backend::fixed("web"), Backend::fixed("x"));
    let proxy = setup(engine, &web, shadow.address(), ", percent = 25").start();
    let mut client = proxy.client();
    for _ in 0..1000 {
        assert_eq!(client.get("/").text(), "web");
    }
    let copies = || count(&proxy, "sent") + count(&proxy, "dropped") + count(&proxy, "failed");
    // A quarter, and seven standard deviations of it: sqrt(1000 × 0.25 × 0.75) = 13.7.
    eventually("a quarter is copied", || (154..=346).contains(&copies()));
}

fn a_failing_backend_of_the_route_keeps_no_copy_back(engine: Engine) {
    let (web, shadow) = (Backend::resetting(), Backend::fixed("x"));
    let proxy = setup(engine, &web, shadow.address(), "").start();
    proxy.get("/").refused(502, "backend_closed");
    eventually("the copy is there", || count(&proxy, "sent") == 1);
}

fn upgrades_are_not_copied(engine: Engine) {
    let (shadow, done) = (Backend::fixed("x"), Gate::new());
    let gate = done.clone();
    let web = Backend::start(move |conn| {
        if conn.request().get("upgrade").is_none() {
            return conn.reply(200, &[], "plain");
        }
        conn.raw("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n");
        conn.wait(&gate);
        conn.close();
    });
    let proxy = setup(engine, &web, shadow.address(), "").start();
    let mut client = proxy.client();
    client.send("GET /up HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n");
    client.read_switch();
    done.open();
    assert_eq!(proxy.get("/plain").text(), "plain");
    eventually("the other is there", || count(&proxy, "sent") == 1);
    assert_eq!(shadow.only().target(), "/plain");
}
