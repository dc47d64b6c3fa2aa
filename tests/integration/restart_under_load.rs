//! Restarts while clients ask without a pause, over new connections and over kept ones: nobody goes without an answer.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::support::client::Received;
use crate::support::{Backend, Client, Engine, Process, Proxy, SetOnDrop, Supervisor};
use crate::support::{eventually, on_reactor, patience};

on_reactor!(
    restarts_with_a_passed_socket_lose_nothing,
    restarts_over_a_shared_port_lose_nothing,
);

/// How the clients of some restarts fared.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    /// Connections that ended before any byte of an answer: asked again.
    again: AtomicUsize,
    /// Answers on kept connections that announced the end.
    farewells: AtomicUsize,
}

/// One request over a connection of its own. `None`: the connection could not be made, or ended without an answer.
fn ask_anew(to: SocketAddr) -> Option<()> {
    let stream = TcpStream::connect_timeout(&to, patience()).ok()?;
    let mut client = Client::over(stream);
    client.send("GET /new HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    match client.receive() {
        Received::Whole(response) => {
            assert_eq!((response.status, response.text().as_str()), (200, "fine"));
            Some(())
        }
        Received::Cut(response) => panic!("half an answer: {response:?}"),
        Received::Closed | Received::Reset => None,
    }
}

/// Asks over new connections until `is_over`.
fn ask_over_new_connections(to: SocketAddr, is_over: &AtomicBool, tally: &Tally) {
    while !is_over.load(Ordering::Relaxed) {
        match ask_anew(to) {
            Some(()) => tally.answered.fetch_add(1, Ordering::Relaxed),
            None => tally.again.fetch_add(1, Ordering::Relaxed),
        };
    }
}

/// Asks over one connection for as long as it is kept, then over the next.
fn ask_over_kept_connections(to: SocketAddr, is_over: &AtomicBool, tally: &Tally) {
    let mut client = None;
    while !is_over.load(Ordering::Relaxed) {
        let mut current = client.take().unwrap_or_else(|| Client::connect(to));
        current.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        match current.receive() {
            Received::Whole(response) => {
                assert_eq!(response.status, 200, "{response:?}");
                tally.answered.fetch_add(1, Ordering::Relaxed);
                if response.get("connection").as_deref() == Some("close") {
                    tally.farewells.fetch_add(1, Ordering::Relaxed);
                } else {
                    client = Some(current);
                }
            }
            Received::Cut(response) => panic!("half an answer: {response:?}"),
            Received::Closed | Received::Reset => {
                tally.again.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

const NEW: usize = 4;
const KEPT: usize = 2;
const RESTARTS: usize = 4;

/// Restarts several times under load. `start` starts one more process.
fn restart_under_load(to: SocketAddr, start: impl Fn() -> Process) -> Tally {
    let (is_over, tally) = (AtomicBool::new(false), Tally::default());
    let mut current = start();
    thread::scope(|scope| {
        let _end = SetOnDrop(&is_over);
        for _ in 0..NEW {
            scope.spawn(|| ask_over_new_connections(to, &is_over, &tally));
        }
        for _ in 0..KEPT {
            scope.spawn(|| ask_over_kept_connections(to, &is_over, &tally));
        }
        let advance = || {
            let before = tally.answered.load(Ordering::Relaxed);
            eventually("requests are answered", || {
                tally.answered.load(Ordering::Relaxed) > before + 50
            });
        };
        for _ in 0..RESTARTS {
            advance();
            let next = start();
            advance();
            current.signal(Signal::TERM);
            assert_eq!(current.wait(), 0);
            current = next;
        }
        advance();
    });
    tally
}

fn restarts_with_a_passed_socket_lose_nothing(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).server("drain_timeout = \"60s\"");
    let supervisor = Supervisor::new();
    let tally = restart_under_load(supervisor.traffic(), || supervisor.start(&setup));
    // A kept connection may be silent for a second while its client gets no turn: then it is closed.
    let again = tally.again.into_inner();
    assert!(again <= RESTARTS * KEPT, "{again}");
    assert!(tally.farewells.into_inner() > 0);
}

fn restarts_over_a_shared_port_lose_nothing(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).server("drain_timeout = \"60s\"\nreuse_port = true");
    // Keeps the port for the processes, and does not listen.
    let keeper = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    keeper.set_reuse_port(true).unwrap();
    keeper
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let to = keeper.local_addr().unwrap().as_socket().unwrap();
    let setup = setup.listen(&format!("\"{to}\""));
    let tally = restart_under_load(to, || {
        let process = Process::config(&setup.text()).start();
        process.traffic();
        process
    });
    // Between the emptying of a queue and the closing of its socket lies next to nothing, but not nothing.
    let again = tally.again.into_inner();
    assert!(again <= RESTARTS * (NEW + KEPT), "{again}");
    assert!(tally.farewells.into_inner() > 0);
}
