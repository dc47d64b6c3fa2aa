//! Who may come, by address: lists of listeners and of routes, and what a reload does with them.

use crate::support::proxy::Setup;
use crate::support::{Backend, Client, Engine, Proxy, Response, on_each_engine, on_reactor};
use tollgate::config::model::Address;

on_each_engine!(
    a_route_lets_in_whom_it_lists,
    a_listener_lets_in_whom_it_lists,
    nothing_comes_before_the_lists_of_a_listener,
    ten_thousand_networks_are_no_burden,
    a_reload_changes_who_may_come,
);

on_reactor!(mapped_addresses_are_what_they_map);

const TRUSTING: &str = "trusted_proxies = [\"127.0.0.1\", \"10.9.0.0/16\"]";

/// A request for `path` that came along `chain`.
fn along(proxy: &Proxy, path: &str, chain: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {chain}\r\n\r\n");
    proxy.client().ask(request)
}

fn lists(engine: Engine, backend: &Backend, lines: &str) -> Setup {
    let route = format!("[[route]]\nname = \"r\"\nupstream = \"web\"\n{lines}");
    Proxy::to(engine, [backend]).server(TRUSTING).more(&route)
}

fn a_route_lets_in_whom_it_lists(engine: Engine) {
    let backend = Backend::fixed("fine");
    let lines = "allow = [\"192.0.2.0/24\", \"2001:db8::/32\"]\ndeny = [\"192.0.2.66\", \"2001:db8:bad::/48\"]";
    let proxy = lists(engine, &backend, lines).start();
    let mut passed = 0;
    for (chain, may_come) in [
        ("192.0.2.1", true),
        ("192.0.2.66", false),
        ("192.0.3.1", false),
        ("198.51.100.1", false),
        // From right to left, over trusted proxies.
        ("198.51.100.1, 192.0.2.1", true),
        ("192.0.2.1, 198.51.100.1", false),
        ("192.0.2.1, 10.9.1.1, 10.9.1.2", true),
        ("198.51.100.1, 192.0.2.1, 10.9.1.1", true),
        ("192.0.2.1, 198.51.100.1, 10.9.1.1", false),
        ("10.9.1.1", false),
        // IPv6, in every spelling; IPv4 inside it is IPv4.
        ("2001:db8::1", true),
        ("2001:DB8:0:0:0:0:0:1", true),
        ("[2001:db8::1]:4711", true),
        ("2001:db8:bad::1", false),
        ("2001:db9::1", false),
        ("::ffff:192.0.2.1", true),
        ("::ffff:c000:201", true),
        ("::ffff:192.0.2.66", false),
        ("[::ffff:192.0.2.66]:80", false),
        ("192.0.2.1:4711", true),
        // What is no address ends the walk: then it is the last proxy that comes.
        ("192.0.2.1, unknown", false),
        ("192.0.2.1, _hidden, 10.9.1.1", false),
        ("192.0.2.1, 192.0.2.256", false),
        ("192.0.2.1, 0192.0.2.1", false),
        ("192.0.2.1, 1", false),
        ("192.0.2.1, 192.0.2.1/24", false),
        ("192.0.2.1; 192.0.2.1", false),
        ("\"192.0.2.1\"", false),
        ("", false),
        (",,", false),
        // Empty members are none.
        ("198.51.100.1,,192.0.2.1, ,", true),
    ] {
        let answer = along(&proxy, "/", chain);
        if may_come {
            assert_eq!(answer.status, 200, "{chain}");
            passed += 1;
        } else {
            let text = answer.refused(403, "forbidden").text();
            assert!(!text.contains("192.0.2"), "{chain}: {text}");
        }
    }
    // Several lines are one list.
    let lines = "X-Forwarded-For: 192.0.2.1\r\nx-forwarded-for: 198.51.100.1\r\n";
    let request = format!("GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n");
    proxy.client().ask(request).refused(403, "forbidden");
    // Without the field it is the peer.
    proxy.get("/").refused(403, "forbidden");
    assert_eq!(backend.count(), passed);
}

fn port(address: &Address) -> std::net::SocketAddr {
    address.ip().unwrap()
}

fn a_listener_lets_in_whom_it_lists(engine: Engine) {
    let backend = Backend::fixed("fine");
    let listen = "[\"127.0.0.1:0\", { address = \"127.0.0.2:0\", deny = [\"127.0.0.0/8\"] }, \
                  { address = \"127.0.0.3:0\", allow = [\"127.0.0.1\", \"192.0.2.0/24\"], deny = [\"192.0.2.9\"] }]";
    let setup = Proxy::to(engine, [&backend]).listen(listen);
    let proxy = setup.server(TRUSTING).start();
    let ask = |listener: usize, chain: &str| {
        let mut client = Client::connect(port(&proxy.addresses()[listener]));
        client.ask(format!(
            "GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {chain}\r\n\r\n"
        ))
    };
    assert_eq!(ask(0, "198.51.100.1").status, 200);
    ask(1, "127.0.0.1").refused(403, "forbidden");
    // The peer is 127.0.0.1, also where 127.0.0.2 is connected to: not in `deny`, but trusted to say that it is 192.0.2.1.
    assert_eq!(ask(1, "192.0.2.1").status, 200);
    assert_eq!(ask(2, "127.0.0.1").status, 200);
    assert_eq!(ask(2, "192.0.2.1").status, 200);
    ask(2, "192.0.2.9").refused(403, "forbidden");
    ask(2, "198.51.100.1").refused(403, "forbidden");
}

fn nothing_comes_before_the_lists_of_a_listener(engine: Engine) {
    let backend = Backend::fixed("never");
    let setup = Proxy::to(engine, [&backend])
        .listen("{ address = \"127.0.0.1:0\", deny = [\"0.0.0.0/0\"] }")
        .server("health_paths = [\"/health\", \"/_health\"]\nhosts = [\"example.com\"]\nmethods = [\"GET\"]");
    let proxy = setup.start();
    for request in [
        "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET /_health HTTP/1.1\r\nHost: other\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n",
    ] {
        proxy.client().ask(request).refused(403, "forbidden");
    }
    assert_eq!(backend.count(), 0);
}

fn ten_thousand_networks_are_no_burden(engine: Engine) {
    let backend = Backend::fixed("fine");
    let list: Vec<String> = (0..10_000)
        .map(|n| format!("\"10.{}.{}.0/25\"", n / 128, n % 128 * 2))
        .collect();
    let lines = format!("deny = [{}]", list.join(", "));
    let proxy = lists(engine, &backend, &lines).start();
    along(&proxy, "/", "10.0.0.0").refused(403, "forbidden");
    along(&proxy, "/", "10.77.254.127").refused(403, "forbidden");
    assert_eq!(along(&proxy, "/", "10.77.254.128").status, 200);
    assert_eq!(along(&proxy, "/", "10.77.255.1").status, 200);
}

fn mapped_addresses_are_what_they_map(engine: Engine) {
    let backend = Backend::fixed("fine");
    let lines = "allow = [\"::ffff:127.0.0.0/104\"]";
    let proxy = lists(engine, &backend, lines).start();
    assert_eq!(proxy.get("/").status, 200);
    along(&proxy, "/", "192.0.2.1").refused(403, "forbidden");
}

fn a_reload_changes_who_may_come(engine: Engine) {
    let backend = Backend::fixed("fine");
    let with = |listener: &str, server: &str, route: &str| {
        let listen = format!("{{ address = \"127.0.0.1:0\"{listener} }}");
        lists(engine, &backend, route)
            .listen(&listen)
            .server(server)
    };
    let proxy = with("", "", "").start();
    assert_eq!(proxy.get("/").status, 200);
    for (listener, server, route, status, cause, said) in [
        (
            ", deny = [\"127.0.0.0/8\"]",
            "",
            "",
            403,
            "forbidden",
            "server.listeners.127.0.0.1:0",
        ),
        ("", "hosts = [\"other\"]", "", 421, "host", "server.hosts"),
        (
            "",
            "methods = [\"PUT\"]",
            "",
            405,
            "method",
            "server.methods",
        ),
        (
            "",
            "",
            "allow = [\"192.0.2.1\"]",
            403,
            "forbidden",
            "route r: lists",
        ),
        (
            "",
            "",
            "deny_if = [{ method = \"GET\" }]",
            403,
            "forbidden",
            "route r: rules",
        ),
    ] {
        let said_now = proxy.reload(&with(listener, server, route)).unwrap();
        assert_eq!(said_now.len(), 1, "{said_now:?}");
        assert!(said_now[0].starts_with(said), "{said_now:?}");
        assert!(!said_now[0].contains("restart"), "{said_now:?}");
        proxy.get("/").refused(status, cause);
        proxy.reload(&with("", "", "")).unwrap();
        assert_eq!(proxy.get("/").status, 200);
    }
}
