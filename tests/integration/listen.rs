//! Where it listens: several addresses, several threads, several processes on one port.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use tollgate::config::model::Address;

use crate::support::client::get;
use crate::support::{
    Backend, Client, Engine, Gate, Proxy, eventually, on_each_engine, on_reactor,
};

on_each_engine!(several_addresses, a_taken_port_is_an_error, an_ipv6_address,);

on_reactor!(
    several_threads_share_the_connections,
    several_threads_drain_together,
    two_proxies_share_a_port,
    a_port_is_shared_only_when_asked_for,
);

fn several_addresses(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend])
        .listen("[\"127.0.0.1:0\", \"127.0.0.1:0\", \"127.0.0.2:0\"]")
        .start();
    let addresses: Vec<SocketAddr> = proxy.addresses().iter().filter_map(Address::ip).collect();
    assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), 3);
    for address in &addresses {
        assert_eq!(get(*address, "/").text(), "fine");
    }
    let mut clients: Vec<Client> = addresses.iter().map(|to| Client::connect(*to)).collect();
    for client in clients.iter_mut().rev() {
        assert_eq!(client.get("/").text(), "fine");
    }
    assert!(matches!(proxy.shut_down(), tollgate::app::Outcome::Clean));
    for address in addresses {
        eventually("its port is free", || {
            std::net::TcpListener::bind(address).is_ok()
        });
    }
}

fn a_taken_port_is_an_error(engine: Engine) {
    let backend = Backend::fixed("fine");
    let first = Proxy::to(engine, [&backend]).start();
    let taken = format!("\"{}\"", first.traffic());
    let second = Proxy::to(engine, [&backend]).listen(&taken).try_start();
    let error = second.err().expect("it is taken").to_string();
    assert!(error.contains(&first.traffic().to_string()), "{error}");
    assert_eq!(first.get("/").text(), "fine");
}

fn an_ipv6_address(engine: Engine) {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return eprintln!("skipped: this machine has no IPv6");
    }
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend]).listen("\"[::1]:0\"").start();
    assert_eq!(proxy.get("/").text(), "fine");
    let seen = backend.only();
    assert_eq!(seen.get("x-real-ip").as_deref(), Some("::1"));
}

fn several_threads_share_the_connections(engine: Engine) {
    let gate = Gate::new();
    let waiting = gate.clone();
    let backend = Backend::start(move |conn| {
        let seen = conn.request();
        if conn.wait(&waiting) {
            conn.reply(200, &[], seen.body);
        }
    });
    let proxy = Proxy::to(engine, [&backend])
        .server("listener_threads = 2")
        .start();
    let mut clients: Vec<Client> = (0..100).map(|_| proxy.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let body = format!("body {n}");
        let length = body.len();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }
    eventually("all are under way", || gate.arrived() == 100);
    gate.open();
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read().text(), format!("body {n}"));
    }
    for (n, client) in clients.iter_mut().enumerate().rev() {
        assert_eq!(client.post("/", &n.to_string()).text(), n.to_string());
    }
}

fn several_threads_drain_together(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "finished");
    let proxy = Proxy::to(engine, [&backend])
        .server("listener_threads = 2\ndrain_timeout = \"20s\"")
        .start();
    let mut clients: Vec<Client> = (0..20).map(|_| proxy.client()).collect();
    let mut idle: Vec<Client> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    eventually("all are under way", || gate.arrived() == 20);
    let address = proxy.traffic();
    let drain = proxy.running().drain().clone();
    let end = std::thread::spawn(move || proxy.shut_down());
    eventually("it drains", || drain.is_draining());
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read().text(), "finished");
    }
    assert!(matches!(end.join().unwrap(), tollgate::app::Outcome::Clean));
    for client in &mut idle {
        client.assert_ended();
    }
    eventually("its port is free", || {
        std::net::TcpListener::bind(address).is_ok()
    });
}

fn two_proxies_share_a_port(engine: Engine) {
    let backends = [Backend::fixed("one"), Backend::fixed("two")];
    let first = Proxy::to(engine, [&backends[0]])
        .server("reuse_port = true")
        .start();
    let address = first.traffic();
    let second = Proxy::to(engine, [&backends[1]])
        .listen(&format!("\"{address}\""))
        .server("reuse_port = true")
        .start();
    assert_eq!(second.traffic(), address);
    for _ in 0..200 {
        assert!(["one", "two"].contains(&get(address, "/").text().as_str()));
    }
    // The kernel spreads the connections by their ports: that one gets none of 200 does not happen.
    let counts = backends.each_ref().map(Backend::count);
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    assert_eq!(counts.iter().sum::<usize>(), 200);
    drop(first);
    for _ in 0..20 {
        assert_eq!(get(address, "/").text(), "two");
    }
}

fn a_port_is_shared_only_when_asked_for(engine: Engine) {
    let backend = Backend::fixed("fine");
    let first = Proxy::to(engine, [&backend])
        .server("reuse_port = true")
        .start();
    let taken = format!("\"{}\"", first.traffic());
    let second = Proxy::to(engine, [&backend]).listen(&taken);
    assert!(second.try_start().is_err());
}
