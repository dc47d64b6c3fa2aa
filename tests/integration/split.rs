//! Splits: shares of clients for several upstreams, the same side for the same client, sides that are down.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::thread;

use crate::support::backend::reserve;
use crate::support::proxy::Setup;
use crate::support::{Backend, Client, Engine, Proxy, eventually, on_each_engine};

on_each_engine!(
    a_tenth_of_the_clients_and_always_the_same,
    cookies_and_headers_are_clients_too,
    a_request_that_names_a_side_gets_it,
    a_side_that_is_down_costs_nobody_anything,
    a_side_that_refuses_costs_nobody_anything,
);

const CLIENTS: u32 = 10_000;

fn setup(engine: Engine, web: &Backend, canary: &Backend, lines: &str) -> Setup {
    let route = format!(
        "[[route]]\nname = \"release\"\nsplit = [{{ upstream = \"web\", weight = 90 }}, {{ upstream = \"canary\", weight = 10 }}]\n{lines}"
    );
    Proxy::to(engine, [web])
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .upstream("canary", [canary.address()])
        .more(&route)
}

/// Addresses as they are in life: some far from each other, some next to each other.
fn address(client: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + (client % 100) * 0x1_0000 + client / 100)
}

fn side(connection: &mut Client, fields: &str) -> String {
    let answer = connection.ask(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
    assert_eq!(answer.status, 200);
    answer.text()
}

/// The sides of these clients, asked for over four connections at once.
fn sides(proxy: &Proxy, clients: u32) -> BTreeMap<Ipv4Addr, String> {
    thread::scope(|scope| {
        let parts = (0..4).map(|part| {
            scope.spawn(move || {
                let mut connection = proxy.client();
                let mine = (part..clients).step_by(4).map(address);
                mine.map(|address| {
                    let field = format!("X-Forwarded-For: {address}\r\n");
                    (address, side(&mut connection, &field))
                })
                .collect::<Vec<_>>()
            })
        });
        let parts: Vec<_> = parts.collect();
        let all = parts.into_iter().flat_map(|part| part.join().unwrap());
        all.collect()
    })
}

fn a_tenth_of_the_clients_and_always_the_same(engine: Engine) {
    let [web, canary] = ["web", "canary"].map(Backend::fixed);
    let setup = setup(engine, &web, &canary, "");
    let proxy = setup.start();
    let first = sides(&proxy, CLIENTS);
    assert_eq!(first.len(), CLIENTS as usize);
    // A tenth, and five standard deviations of it: sqrt(10,000 × 0.1 × 0.9) = 30.
    assert!(canary.count().abs_diff(1000) <= 150, "{}", canary.count());
    assert_eq!(web.count() + canary.count(), CLIENTS as usize);
    // The same again, and from a proxy that knows nothing of the first one.
    for proxy in [proxy, setup.start()] {
        for (address, side) in sides(&proxy, 500) {
            assert_eq!(first[&address], side, "{address}");
        }
    }
}

fn cookies_and_headers_are_clients_too(engine: Engine) {
    let [web, canary] = ["web", "canary"].map(Backend::fixed);
    for (key, field) in [
        ("cookie:session", "Cookie: a=1; session="),
        ("header:X-User", "x-user: "),
    ] {
        let lines = format!("split_key = \"{key}\"");
        let proxy = setup(engine, &web, &canary, &lines).start();
        let mut connection = proxy.client();
        let mut seen = BTreeMap::<String, usize>::new();
        for user in 0..200 {
            let mut from = |address: u32| {
                let fields = format!("X-Forwarded-For: 10.0.0.{address}\r\n{field}u{user}\r\n");
                side(&mut connection, &fields)
            };
            let here = from(1);
            assert_eq!(here, from(2), "{key} u{user}");
            *seen.entry(here).or_default() += 1;
        }
        // 20 ± 4.2 by weight; the hashes are always the same.
        assert!((4..=40).contains(&seen["canary"]), "{key} {seen:?}");
        // Without the key it is the address that counts: no dice for every request.
        for client in 0..20 {
            let fields = format!("X-Forwarded-For: {}\r\n", address(client));
            let first = side(&mut connection, &fields);
            assert!((0..5).all(|_| side(&mut connection, &fields) == first));
        }
    }
}

fn a_request_that_names_a_side_gets_it(engine: Engine) {
    let [web, canary] = ["web", "canary"].map(Backend::fixed);
    for (place, field) in [
        ("header:X-Side", "X-Side: "),
        ("cookie:side", "Cookie: side="),
    ] {
        let lines = format!("split_override = \"{place}\"");
        let proxy = setup(engine, &web, &canary, &lines).start();
        let mut connection = proxy.client();
        for client in 0..50 {
            let from = format!("X-Forwarded-For: {}\r\n", address(client));
            let by_weight = side(&mut connection, &from);
            for name in ["web", "canary"] {
                let fields = format!("{from}{field}{name}\r\n");
                assert_eq!(side(&mut connection, &fields), name);
            }
            // A name of nobody is no name.
            let fields = format!("{from}{field}nobody\r\n");
            assert_eq!(side(&mut connection, &fields), by_weight);
        }
    }
}

fn a_side_that_is_down_costs_nobody_anything(engine: Engine) {
    let [web, mut canary] = ["web", "canary"].map(Backend::fixed);
    let probes = "health = { interval = \"50ms\", timeout = \"1s\", fall = 1, rise = 1 }";
    let route = "[[route]]\nsplit = [{ upstream = \"web\", weight = 1 }, { upstream = \"canary\", weight = 1 }]\n\
                 split_override = \"header:X-Side\"";
    let proxy = Proxy::to(engine, [&web])
        .upstream("canary", [canary.address()])
        .web(probes)
        .more(route)
        .start();
    let ask = || {
        let mut connection = proxy.client();
        connection.ask("GET / HTTP/1.1\r\nHost: test\r\nX-Side: canary\r\n\r\n")
    };
    eventually("the canary is used", || ask().text() == "canary");
    canary.kill();
    eventually("the others are used", || ask().text() == "web");
    for _ in 0..50 {
        assert_eq!(ask().text(), "web");
    }
    canary.restart();
    eventually("the canary is used again", || ask().text() == "canary");
}

/// Before probes find it out, or where there are none.
fn a_side_that_refuses_costs_nobody_anything(engine: Engine) {
    let web = Backend::echo();
    let (_reserved, nobody) = reserve();
    let route = "[[route]]\nsplit = [{ upstream = \"web\", weight = 1 }, { upstream = \"canary\", weight = 1 }]\n\
                 split_override = \"header:X-Side\"";
    let proxy = Proxy::to(engine, [&web])
        .upstream("canary", [nobody])
        .more(route)
        .start();
    let mut connection = proxy.client();
    // More than what a retry budget lets through.
    for number in 0..99 {
        let body = format!("{number:02}");
        let post = format!(
            "POST / HTTP/1.1\r\nHost: test\r\nX-Side: canary\r\nContent-Length: 2\r\n\r\n{body}"
        );
        assert_eq!(connection.ask(post).text(), body);
    }
    assert_eq!(web.count(), 99);
}
