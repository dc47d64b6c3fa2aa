//! A new process takes over from an old one: sockets that a supervisor passes, what it is told, and what a drain still serves.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::client::{Received, get};
use crate::support::wire::Piece;
use crate::support::{Backend, Client, Engine, Gate, Process, Proxy, Supervisor};
use crate::support::{dial, eventually, on_each_engine, on_reactor, patience};

on_each_engine!(
    passed_sockets_are_listened_on,
    sockets_for_another_process_are_left_alone,
    a_passed_socket_that_nobody_asked_for_is_an_error,
    what_cannot_be_listened_on_is_an_error,
    the_supervisor_is_told,
);

on_reactor!(
    a_passed_unix_socket_outlives_the_process,
    who_comes_after_the_end_waits_for_the_successor,
    a_request_that_has_begun_is_served_during_a_handover,
    an_answer_begun_before_a_handover_may_be_followed_by_a_request,
    several_threads_hand_over_together,
    the_state_file_is_the_successors_once_the_drain_begins,
);

const FULL_GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
/// close on exec, in open(2)
const CLOSED_ON_EXEC: u32 = 0o2_000_000;

fn passed_sockets_are_listened_on(engine: Engine) {
    let backend = Backend::fixed("fine");
    let supervisor = Supervisor::new();
    // There before the process is: it waits in the queue.
    let mut early = Client::connect(supervisor.traffic());
    early.send(FULL_GET);
    let mut process = supervisor.start(&Proxy::to(engine, [&backend]));
    assert_eq!(early.read().text(), "fine");
    assert_eq!(process.get("/").text(), "fine");
    assert_eq!(get(process.admin(), "/livez").status, 200);
    for descriptor in [3, 4] {
        assert_ne!(process.descriptor_flags(descriptor) & CLOSED_ON_EXEC, 0);
    }
    drop(early);
    process.signal(Signal::TERM);
    assert_eq!(process.wait(), 0);
    let process = supervisor.start(&Proxy::to(engine, [&backend]));
    assert_eq!(process.get("/").text(), "fine");
}

fn sockets_for_another_process_are_left_alone(engine: Engine) {
    let backend = Backend::fixed("fine");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let passed = socket.local_addr().unwrap();
    let process = Process::config(&Proxy::to(engine, [&backend]).text())
        .env("LISTEN_PID", &1)
        .passing(socket)
        .start();
    assert_ne!(process.traffic(), passed);
    assert_eq!(process.get("/").text(), "fine");
}

fn a_passed_socket_that_nobody_asked_for_is_an_error(engine: Engine) {
    let backend = Backend::fixed("fine");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let passed = socket.local_addr().unwrap().to_string();
    let mut process = Process::config(&Proxy::to(engine, [&backend]).text())
        .env("LISTEN_FDNAMES", &"web")
        .passing(socket)
        .start();
    assert_eq!(process.wait(), 78);
    let line = process.line_with("no address in the configuration is for it");
    for part in ["descriptor 3 (web)", &passed, "server.listen"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

fn what_cannot_be_listened_on_is_an_error(engine: Engine) {
    let backend = Backend::fixed("fine");
    let text = Proxy::to(engine, [&backend]).text();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let starts = [
        Process::config(&text).passing(datagrams),
        Process::config(&text).passing(connected),
        Process::config(&text)
            .passing(listener.try_clone().unwrap())
            .env("LISTEN_FDS", &"2"),
    ];
    for start in starts {
        let mut process = start.start();
        assert_eq!(process.wait(), 78);
        process.line_with("cannot be used");
    }
    let mut process = Process::config(&text)
        .passing(listener)
        .env("LISTEN_FDS", &"some")
        .start();
    assert_eq!(process.wait(), 78);
    process.line_with("LISTEN_FDS is not a number");
}

fn the_supervisor_is_told(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "finished");
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(patience())).unwrap();
    let told = || {
        let mut buffer = [0; 256];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let setup = Proxy::to(engine, [&backend]).server("drain_timeout = \"60s\"");
    let mut process = Process::config(&setup.text())
        .env("NOTIFY_SOCKET", &path.display())
        .start();
    assert!(told().starts_with("READY=1\n"));
    process.signal(Signal::HUP);
    assert!(told().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(told().starts_with("READY=1\n"));
    let mut client = process.client();
    client.send(FULL_GET);
    eventually("it is under way", || gate.arrived() == 1);
    process.signal(Signal::TERM);
    assert!(told().starts_with("STOPPING=1\n"));
    assert_eq!(told(), "STATUS=draining: 1 in flight");
    gate.open();
    assert_eq!(client.read().text(), "finished");
    assert_eq!(process.wait(), 0);
}

fn a_passed_unix_socket_outlives_the_process(engine: Engine) {
    let backend = Backend::fixed("fine");
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("front.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let setup = Proxy::to(engine, [&backend]).listen(&format!("\"unix:{}\"", path.display()));
    for _ in 0..2 {
        let mut process = Process::config(&setup.text())
            .passing(socket.try_clone().unwrap())
            .start();
        process.line_with("listening on unix:");
        assert_eq!(dial::unix(&path).get("/").text(), "fine");
        process.signal(Signal::TERM);
        assert_eq!(process.wait(), 0);
        assert!(path.exists());
    }
}

fn who_comes_after_the_end_waits_for_the_successor(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "finished");
    let setup = Proxy::to(engine, [&backend]).server("drain_timeout = \"60s\"");
    let supervisor = Supervisor::new();
    let mut process = supervisor.start(&setup);
    let mut running = process.client();
    running.send(FULL_GET);
    eventually("it is under way", || gate.arrived() == 1);
    process.signal(Signal::TERM);
    process.line_with("draining: 1 in flight");
    let mut waiting: Vec<Client> = (0..20).map(|_| process.client()).collect();
    for client in &mut waiting {
        client.send(FULL_GET);
    }
    gate.open();
    let answer = running.read();
    assert_eq!(answer.text(), "finished");
    assert_eq!(answer.get("connection").as_deref(), Some("close"));
    assert_eq!(process.wait(), 0);
    let mut late = Client::connect(supervisor.traffic());
    late.send(FULL_GET);
    let _successor = supervisor.start(&setup);
    for client in waiting.iter_mut().chain([&mut late]) {
        assert_eq!(client.read().text(), "finished");
    }
}

fn a_request_that_has_begun_is_served_during_a_handover(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).server("drain_timeout = \"60s\"\nreuse_port = true");
    let mut process = Process::config(&setup.text()).start();
    let mut kept = process.client();
    assert_eq!(kept.get("/").text(), "fine");
    let mut new = process.client();
    for client in [&mut kept, &mut new] {
        client.send("GET / HTTP/1.1\r\nHost: ");
    }
    // Answered after the halves were read: they came before.
    assert_eq!(process.get("/").text(), "fine");
    process.signal(Signal::TERM);
    eventually("it listens no more", || {
        TcpStream::connect_timeout(&process.traffic(), patience()).is_err()
    });
    for client in [&mut kept, &mut new] {
        let answer = client.ask("test\r\n\r\n");
        assert_eq!(answer.text(), "fine");
        assert_eq!(answer.get("connection").as_deref(), Some("close"));
    }
    assert_eq!(process.wait(), 0);
}

fn an_answer_begun_before_a_handover_may_be_followed_by_a_request(engine: Engine) {
    let gate = Gate::new();
    let waiting = gate.clone();
    let backend = Backend::start(move |conn| {
        conn.request();
        conn.raw("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
        if conn.wait(&waiting) {
            conn.raw("half");
        }
    });
    let setup = Proxy::to(engine, [&backend]).server("drain_timeout = \"60s\"");
    let supervisor = Supervisor::new();
    let mut process = supervisor.start(&setup);
    let mut client = process.client();
    client.send(FULL_GET);
    let head = client.read_head();
    assert_eq!(head.get("connection"), None);
    process.signal(Signal::TERM);
    process.line_with("draining: 1 in flight");
    gate.open();
    while !matches!(client.piece(), Piece::End) {}
    // Nothing has said that the connection ends. It may end all the same, but what is taken is served.
    match client.send(FULL_GET).receive() {
        Received::Whole(answer) => {
            assert_eq!(answer.text(), "halfhalf");
            assert_eq!(answer.get("connection").as_deref(), Some("close"));
        }
        Received::Closed | Received::Reset => {}
        Received::Cut(answer) => panic!("half an answer: {answer:?}"),
    }
    assert_eq!(process.wait(), 0);
}

fn several_threads_hand_over_together(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup =
        Proxy::to(engine, [&backend]).server("drain_timeout = \"60s\"\nlistener_threads = 3");
    let supervisor = Supervisor::new();
    let mut first = supervisor.start(&setup);
    for _ in 0..20 {
        assert_eq!(first.get("/").text(), "fine");
    }
    let second = supervisor.start(&setup);
    first.signal(Signal::TERM);
    assert_eq!(first.wait(), 0);
    for _ in 0..20 {
        assert_eq!(second.get("/").text(), "fine");
    }
}

fn the_state_file_is_the_successors_once_the_drain_begins(engine: Engine) {
    let gate = Gate::new();
    let backend = Backend::gated(&gate, "late");
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("state.json");
    let state_file = format!("reuse_port = true\nstate_file = \"{}\"", file.display());
    let setup = Proxy::to(engine, [&backend]).server(&state_file);
    let mut process = Process::config(&setup.text()).start();
    let mut client = process.client();
    client.send(FULL_GET);
    eventually("it is under way", || gate.arrived() == 1);
    process.signal(Signal::TERM);
    process.line_with("draining: 1 in flight");
    assert!(file.exists(), "what was known when the drain began");
    std::fs::write(&file, "the successor's").unwrap();
    gate.open();
    assert_eq!(client.read().text(), "late");
    assert_eq!(process.wait(), 0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "the successor's");
}
