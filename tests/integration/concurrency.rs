//! How many at once: limits of what is under way.

use std::net::Ipv4Addr;

use crate::support::client::get;
use crate::support::proxy::Setup;
use crate::support::{Backend, Client, Engine, Gate, Proxy};
use crate::support::{dial, eventually, on_each_engine, on_reactor};

on_each_engine!(
    routes_have_so_many_at_once,
    strangers_take_no_place_of_those_who_are_let_in
);

on_reactor!(
    one_client_has_so_many_at_once,
    a_tunnel_counts_until_it_ends
);

/// One route with these limits.
fn limited(engine: Engine, backend: &Backend, limits: &str) -> Setup {
    Proxy::to(engine, [backend]).more(&format!(
        "[[route]]\nname = \"all\"\nupstream = \"web\"\n{limits}"
    ))
}

/// Answers when the gate opens.
fn holding(gate: &Gate) -> Backend {
    let gate = gate.clone();
    Backend::start(move |conn| {
        if conn.request().target() != "/held" || conn.wait(&gate) {
            conn.reply(200, &[], "fine");
        }
    })
}

/// That many connections, each with a request that is under way.
fn hold(number: usize, gate: &Gate, connect: impl FnMut() -> Client) -> Vec<Client> {
    let before = gate.arrived();
    let mut clients: Vec<Client> = std::iter::repeat_with(connect).take(number).collect();
    for client in &mut clients {
        client.send("GET /held HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    eventually("all are under way", || gate.arrived() == before + number);
    clients
}

fn routes_have_so_many_at_once(engine: Engine) {
    let gate = Gate::new();
    let backend = holding(&gate);
    let setup = |most| limited(engine, &backend, &format!("max_concurrent = {most}"));
    let proxy = setup(3).start();
    let held = hold(3, &gate, || proxy.client());
    let answer = proxy.get("/").refused(503, "overloaded");
    assert_eq!(answer.get("retry-after").as_deref(), Some("1"));
    let expected = serde_json::json!([{
        "route": "all", "under_way": 3, "clients": 0, "max_concurrent": 3, "max_concurrent_per_client": null, "refused": 1,
    }]);
    assert_eq!(
        get(proxy.admin(), "/_proxy/status").json()["limits"]["concurrency"],
        expected
    );
    // They are still there after a reload.
    proxy.reload(&setup(4)).unwrap();
    let more = hold(1, &gate, || proxy.client());
    let _ = proxy.get("/").refused(503, "overloaded");
    gate.open();
    for mut client in held.into_iter().chain(more) {
        assert_eq!(client.read().text(), "fine");
    }
    eventually("there is room again", || proxy.get("/").status == 200);
}

fn strangers_take_no_place_of_those_who_are_let_in(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::fixed("fine");
    let judge = {
        let gate = gate.clone();
        Backend::start(move |conn| {
            if conn.wait(&gate) {
                conn.reply(403, &[], "no");
            }
        })
    };
    let auth = format!(
        "max_concurrent = 1\n[route.auth]\napi_keys.keys = {{ a = \"key-0123456789abcdef\" }}\n\
         forward = {{ url = \"{}\", timeout = \"10s\" }}",
        judge.url()
    );
    let proxy = limited(engine, &backend, &auth).start();
    // They wait to be judged.
    let held = hold(3, &gate, || proxy.client());
    let known = "GET / HTTP/1.1\r\nHost: test\r\nX-API-Key: key-0123456789abcdef\r\n\r\n";
    assert_eq!(proxy.client().ask(known).status, 200);
    gate.open();
    for mut client in held {
        assert_eq!(client.read().status, 403);
    }
}

fn one_client_has_so_many_at_once(engine: Engine) {
    let gate = Gate::new();
    let backend = holding(&gate);
    let limits = "match = { path = \"/held\" }\nmax_concurrent_per_client = 2";
    let free = "[[route]]\nname = \"rest\"\nupstream = \"web\"\n";
    let setup = limited(engine, &backend, limits).more(free);
    let proxy = setup.server("limits.requests_per_client = 4").start();
    let held = hold(2, &gate, || proxy.client());
    let answer = proxy.get("/held").refused(429, "rate_limited");
    assert_eq!(answer.get("retry-after").as_deref(), Some("1"));
    assert_eq!(proxy.get("/rest").status, 200);
    let neighbour = || dial::from(Ipv4Addr::new(127, 0, 0, 2), proxy.traffic());
    let others = hold(2, &gate, neighbour);
    // One that leaves makes room.
    let mut held = held.into_iter();
    drop(held.next());
    gate.open();
    for mut client in held.chain(others) {
        assert_eq!(client.read().text(), "fine");
    }
    eventually("there is room again", || proxy.get("/held").status == 200);
}

fn a_tunnel_counts_until_it_ends(engine: Engine) {
    let backend = Backend::start(|conn| {
        if conn.request().target() != "/ws" {
            return conn.reply(200, &[], "fine");
        }
        conn.raw(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: test\r\nConnection: Upgrade\r\n\r\n",
        );
        conn.stall();
    });
    let proxy = limited(engine, &backend, "max_concurrent = 1").start();
    let mut tunnel = proxy.client();
    tunnel.send("GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n");
    tunnel.read_switch();
    let _ = proxy.get("/").refused(503, "overloaded");
    drop(tunnel);
    eventually("there is room again", || proxy.get("/").status == 200);
}
