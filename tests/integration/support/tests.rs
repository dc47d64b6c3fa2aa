//! The support code against itself: the raw client talks to the scripted backend, with nothing in between.

use std::net::TcpStream;

use super::backend::reserve;
use super::conn::BodyEnd;
use super::program::Program;
use super::websocket::{self, BINARY, CLOSE, TEXT};
use super::wire::Piece;
use super::{Backend, Client, Gate, Received, dial, eventually};

#[test]
fn a_connection_is_kept_and_requests_are_remembered() {
    let backend = Backend::echo();
    let mut client = Client::connect(backend.address());
    assert_eq!(client.post("/a", "one").text(), "one");
    let chunked =
        "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n1\r\n!\r\n0\r\n\r\n";
    assert_eq!(client.ask(chunked).text(), "two!");
    let seen = backend.seen();
    assert_eq!((seen[0].target(), seen[1].target()), ("/a", "/b"));
    assert_eq!(
        (seen[1].body.as_slice(), seen[1].end),
        (b"two!".as_slice(), BodyEnd::Whole)
    );
    assert_eq!(seen[0].connection, seen[1].connection);
}

#[test]
fn a_cut_body_is_told_from_a_whole_one() {
    let answers: [(&'static [u8], bool); 5] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", true),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", false),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            true,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            false,
        ),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", true),
    ];
    for (answer, whole) in answers {
        let backend = Backend::raw_then_close(answer);
        let received = Client::connect(backend.address())
            .send("GET / HTTP/1.1\r\n\r\n")
            .receive();
        assert_eq!(
            matches!(received, Received::Whole(_)),
            whole,
            "{received:?}"
        );
        assert_eq!(received.status(), Some(200));
    }
}

#[test]
fn a_reset_cuts_a_body_that_ends_with_the_connection() {
    let gate = Gate::new();
    let at_the_end = gate.clone();
    let backend = Backend::start(move |conn| {
        conn.raw("HTTP/1.1 200 OK\r\n\r\nabc");
        conn.wait(&at_the_end);
        conn.reset();
    });
    let mut client = Client::connect(backend.address());
    client.send("GET / HTTP/1.1\r\n\r\n").read_head();
    assert_eq!(client.piece(), Piece::Data(b"abc".to_vec()));
    gate.open();
    assert!(matches!(client.piece(), Piece::Cut(_)));
}

#[test]
fn a_reset_without_an_answer_is_no_clean_end() {
    let backend = Backend::resetting();
    let received = Client::connect(backend.address())
        .send("GET / HTTP/1.1\r\n\r\n")
        .receive();
    assert!(matches!(received, Received::Reset), "{received:?}");
    let backend = Backend::raw_then_close(b"");
    let received = Client::connect(backend.address())
        .send("GET / HTTP/1.1\r\n\r\n")
        .receive();
    assert!(matches!(received, Received::Closed), "{received:?}");
}

#[test]
fn killed_it_refuses_and_restarted_it_answers() {
    let mut backend = Backend::fixed("up");
    let mut client = Client::connect(backend.address());
    assert_eq!(client.get("/").text(), "up");
    backend.kill();
    client.assert_ended();
    assert!(TcpStream::connect(backend.address()).is_err());
    backend.restart();
    assert_eq!(Client::connect(backend.address()).get("/").text(), "up");
    assert_eq!(backend.count(), 2);
}

#[test]
fn a_gate_holds_until_it_is_opened_and_a_kill_frees_its_script() {
    let gate = Gate::new();
    let mut backend = Backend::gated(&gate, "late");
    let mut first = Client::connect(backend.address());
    first.send("GET / HTTP/1.1\r\n\r\n");
    eventually("the first is at the gate", || gate.arrived() == 1);
    gate.pass_one();
    assert_eq!(first.read().text(), "late");
    let mut second = Client::connect(backend.address());
    second.send("GET / HTTP/1.1\r\n\r\n");
    eventually("the second is at the gate", || gate.arrived() == 2);
    backend.kill();
    assert_eq!(second.receive().status(), None);
}

#[test]
fn a_client_that_leaves_is_seen() {
    let backend = Backend::start(|conn| {
        conn.request();
        conn.raw("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        conn.pattern(1_000_000_000_000);
    });
    let mut client = Client::connect(backend.address());
    client.send("GET / HTTP/1.1\r\n\r\n").read_head();
    client.reset();
    eventually("its connection ended", || backend.open_connections() == 0);
}

#[test]
fn a_script_that_panics_fails_its_test() {
    let backend = Backend::start(|_| panic!("on purpose"));
    Client::connect(backend.address())
        .send("GET / HTTP/1.1\r\n\r\n")
        .receive();
    let raised = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(backend)));
    assert!(raised.is_err());
}

#[test]
fn a_reserved_port_refuses() {
    let (_reserve, address) = reserve();
    assert!(TcpStream::connect(address).is_err());
}

const NO_PROGRAM: Program = Program::new("no-such-program", "no-such-package");

#[test]
fn programs_are_found_on_the_path() {
    assert!(NO_PROGRAM.path().is_none());
    assert!(Program::new("sh", "dash").is_installed(true));
}

#[test]
#[should_panic(expected = "the Debian package no-such-package")]
fn a_missing_program_fails_in_ci() {
    NO_PROGRAM.is_installed(true);
}

#[test]
fn frames_of_every_length_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("echo.sock");
    let tcp = Backend::start(websocket::echo);
    let unix = Backend::unix(&path, websocket::echo);
    for client in [Client::connect(tcp.address()), dial::unix(&path)] {
        let mut client = websocket::open(client, "/");
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
            websocket::assert_echo(&mut client, BINARY, &vec![b'x'; length]);
        }
        websocket::assert_echo(&mut client, TEXT, "hé".as_bytes());
        websocket::assert_echo(&mut client, CLOSE, b"");
        client.assert_ended();
    }
    assert_eq!((tcp.count(), unix.count()), (1, 1));
}
