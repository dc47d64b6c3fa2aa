//! Shutting down: signals, what finishes and what is cut.

use rustix::process::Signal;
use tollgate::app::Outcome;
use tollgate::drain::Phase;

use crate::support::client::get;
use crate::support::{
    Backend, Client, Engine, Gate, Process, Proxy, eventually, on_each_engine_and_tls,
};

on_each_engine_and_tls!(
    twenty_slow_requests_finish,
    a_second_signal_cuts_and_says_what,
    every_signal_drains,
    the_deadline_cuts_and_says_what,
    a_drain_without_traffic_is_clean,
    idle_connections_do_not_hold_it_up,
);

fn gated(engine: Engine, gate: &Gate) -> (Backend, Process) {
    let backend = Backend::gated(gate, "finished");
    let setup = Proxy::to(engine, [&backend]).server("drain_timeout = \"60s\"");
    let process = Process::config(&setup.text()).start();
    (backend, process)
}

fn start_slow(process: &Process, number: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..number).map(|_| process.client()).collect();
    for client in &mut clients {
        client.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    clients
}

fn twenty_slow_requests_finish(engine: Engine) {
    let gate = Gate::new();
    let (_backend, mut process) = gated(engine, &gate);
    let mut clients = start_slow(&process, 20);
    eventually("all are under way", || gate.arrived() == 20);
    assert_eq!(get(process.admin(), "/readyz").status, 200);
    process.signal(Signal::TERM);
    process.line_with("draining: 20 in flight");
    let refused = process.get("/late").refused(503, "draining");
    assert!(refused.get("retry-after").is_some());
    assert_eq!(refused.get("connection").as_deref(), Some("close"));
    assert_eq!(get(process.admin(), "/readyz").status, 503);
    assert_eq!(get(process.admin(), "/livez").status, 200);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read().text(), "finished");
    }
    assert_eq!(process.wait(), 0);
}

fn a_second_signal_cuts_and_says_what(engine: Engine) {
    let gate = Gate::new();
    let (_backend, mut process) = gated(engine, &gate);
    let mut clients = start_slow(&process, 1);
    eventually("it is under way", || gate.arrived() == 1);
    process.signal(Signal::TERM);
    process.line_with("draining: 1 in flight");
    process.signal(Signal::INT);
    assert_eq!(process.wait(), 3);
    assert!(
        process
            .lines()
            .iter()
            .any(|line| line.contains("GET /slow")),
        "{:?}",
        process.lines()
    );
    let status = clients[0].receive().status();
    assert!(matches!(status, None | Some(502 | 503)), "{status:?}");
}

fn every_signal_drains(engine: Engine) {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let gate = Gate::new();
        let (_backend, mut process) = gated(engine, &gate);
        let mut clients = start_slow(&process, 1);
        eventually("it is under way", || gate.arrived() == 1);
        process.signal(signal);
        process.line_with("draining: 1 in flight");
        gate.open();
        assert_eq!(clients[0].read().text(), "finished", "{signal:?}");
        assert_eq!(process.wait(), 0, "{signal:?}");
    }
}

fn the_deadline_cuts_and_says_what(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "too late");
    let proxy = Proxy::to(engine, [&backend])
        .server("drain_timeout = \"200ms\"")
        .start();
    let mut client = proxy.client();
    client.send("GET /slow?x HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it is under way", || gate.arrived() == 1);
    assert_eq!(proxy.running().drain().in_flight(), 1);
    let Outcome::Cut(flights) = proxy.shut_down() else {
        panic!("nothing was cut")
    };
    assert_eq!(flights.len(), 1);
    assert!(
        flights[0].label.contains("GET /slow"),
        "{:?}",
        flights[0].label
    );
    gate.open();
}

fn a_drain_without_traffic_is_clean(engine: Engine) {
    let backend = Backend::fixed("x");
    let proxy = Proxy::to(engine, [&backend]).start();
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(proxy.running().drain().phase(), Phase::Serving);
    let address = proxy.traffic();
    assert!(matches!(proxy.shut_down(), Outcome::Clean));
    eventually("its port is free", || {
        std::net::TcpListener::bind(address).is_ok()
    });
}

fn idle_connections_do_not_hold_it_up(engine: Engine) {
    let backend = Backend::fixed("x");
    let setup = Proxy::to(engine, [&backend]).server("drain_timeout = \"60s\"");
    let mut process = Process::config(&setup.text()).start();
    let mut idle = process.client();
    assert_eq!(idle.get("/").status, 200);
    process.signal(Signal::TERM);
    assert_eq!(process.wait(), 0);
    idle.assert_ended();
}
