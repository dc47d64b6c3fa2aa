//! Demo backends over real sockets, spoken to byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::{Value, json};

use super::*;

/// Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

fn backend() -> DemoBackend {
    DemoBackend::start(0, "b1".to_owned()).unwrap()
}

/// A client connection that is kept over several requests.
struct Client(BufReader<TcpStream>);

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn head(&mut self) -> (u16, String) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let line = self.line();
            assert!(!line.is_empty(), "closed within the head: {head:?}");
            head.push_str(&line);
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head)
    }

    /// The whole answer; its body is as long as the head says.
    fn reply(&mut self) -> Reply {
        let (status, head) = self.head();
        let length = field(&head, "Content-Length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        Reply { status, head, body }
    }

    fn get(&mut self, target: &str) -> Reply {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        self.reply()
    }

    fn post(&mut self, target: &str, body: &str) -> Reply {
        let length = body.len();
        self.send(
            format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
                .as_bytes(),
        );
        self.reply()
    }

    fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        rest
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

#[test]
fn the_echo_shows_what_arrived_and_the_connection_stays() {
    let backend = backend();
    let mut client = Client::connect(backend.address());
    client.send(
        b"PUT /a/b?c=%20d HTTP/1.1\r\nHost: h\r\nX-Two: 1\r\nx-two: 2\r\nX-TWO: 3\r\nContent-Length: 5\r\n\r\nhello",
    );
    let reply = client.reply();
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.json(),
        json!({
            "backend": "b1",
            "port": backend.address().port(),
            "method": "PUT",
            "path": "/a/b?c=%20d",
            "headers": { "host": "h", "x-two": ["1", "2", "3"], "content-length": "5" },
            "body_length": 5,
        })
    );
    assert_eq!(client.get("/health").json(), json!({ "status": "ok" }));
    assert_eq!(client.get("/").json()["path"], "/");
}

#[test]
fn bodies_are_counted_with_and_without_a_length() {
    let backend = backend();
    let mut client = Client::connect(backend.address());
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n");
    assert_eq!(client.reply().json()["body_length"], 8);
    let large = "x".repeat(300_000);
    assert_eq!(client.post("/", &large).json()["body_length"], 300_000);
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(client.head().0, 100);
    client.send(b"hi");
    assert_eq!(client.reply().json()["body_length"], 2);
}

#[test]
fn head_has_the_head_only() {
    let backend = backend();
    let mut client = Client::connect(backend.address());
    for target in ["/", "/bytes?n=5000", "/books", "/sse", "/health"] {
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        let (status, head) = client.head();
        assert_eq!(status, 200, "{target}");
        let is_framed =
            field(&head, "Content-Length").is_some() || field(&head, "Transfer-Encoding").is_some();
        assert!(is_framed, "{head}");
    }
    // Had a body followed, this would read it as a head.
    assert_eq!(client.get("/").json()["method"], "GET");
}

#[test]
fn bytes_follow_the_pattern() {
    let backend = backend();
    let mut client = Client::connect(backend.address());
    let length = 251 * 256 * 3 + 17;
    let reply = client.get(&format!("/bytes?n={length}"));
    assert_eq!(reply.body.len(), length);
    let is_right = |(at, byte): (usize, &u8)| usize::from(*byte) == at % 251;
    assert!(reply.body.iter().enumerate().all(is_right));
    assert_eq!(client.get("/bytes?n=0").body.len(), 0);
    assert_eq!(client.get("/bytes?n=1073741825").status, 400);
}

#[test]
fn a_status_is_answered_as_asked() {
    let backend = backend();
    let mut client = Client::connect(backend.address());
    for code in [200, 204, 301, 304, 404, 418, 500, 599] {
        assert_eq!(client.get(&format!("/status?code={code}")).status, code);
    }
    for bad in ["100", "600", "x", "-1", "70000"] {
        assert_eq!(client.get(&format!("/status?code={bad}")).status, 400);
    }
}

#[test]
fn slow_waits_and_then_echoes() {
    let backend = backend();
    let start = Instant::now();
    let reply = Client::connect(backend.address()).get("/slow?ms=50");
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert_eq!(reply.json()["path"], "/slow?ms=50");
}

#[test]
fn events_come_one_by_one() {
    let backend = backend();
    let mut client = Client::connect(backend.address());
    client.send(b"GET /sse?events=3&ms=1 HTTP/1.1\r\nHost: h\r\n\r\n");
    let (status, head) = client.head();
    assert_eq!(status, 200);
    assert_eq!(field(&head, "Content-Type"), Some("text/event-stream"));
    assert_eq!(field(&head, "Transfer-Encoding"), Some("chunked"));
    for number in 1..=3 {
        let size = usize::from_str_radix(client.line().trim_end(), 16).unwrap();
        let mut event = vec![0; size + 2];
        client.0.read_exact(&mut event).unwrap();
        let event = String::from_utf8(event).unwrap();
        let expected =
            format!("id: {number}\ndata: {{\"backend\":\"b1\",\"event\":{number}}}\n\n\r\n");
        assert_eq!(event, expected);
    }
    assert_eq!(client.line() + &client.line(), "0\r\n\r\n");
    assert_eq!(client.get("/health").status, 200);
}

#[test]
fn the_first_event_comes_before_the_second_is_due() {
    let backend = backend();
    let mut client = Client::connect(backend.address());
    client.send(b"GET /sse?ms=60000 HTTP/1.1\r\nHost: h\r\n\r\n");
    client.head();
    client.line();
    assert_eq!(client.line(), "id: 1\n");
}

#[test]
fn an_old_client_gets_events_without_chunks() {
    let backend = backend();
    let mut client = Client::connect(backend.address());
    client.send(b"GET /sse?events=2&ms=0 HTTP/1.0\r\n\r\n");
    let (_, head) = client.head();
    assert_eq!(field(&head, "Transfer-Encoding"), None);
    let text = String::from_utf8(client.rest()).unwrap();
    assert!(text.starts_with("id: 1\ndata: "), "{text}");
    assert!(text.ends_with("\"event\":2}\n\n"), "{text}");
}

#[test]
fn flaky_fails_every_nth_time() {
    let backend = backend();
    let mut client = Client::connect(backend.address());
    let statuses: Vec<u16> = (0..6)
        .map(|_| client.get("/flaky?every=3").status)
        .collect();
    assert_eq!(statuses, [200, 200, 500, 200, 200, 500]);
    assert_eq!(client.get("/flaky?every=1&code=503").status, 503);
    assert_eq!(client.get("/flaky?every=0").status, 200);
    assert_eq!(client.get("/flaky?code=404").status, 400);
}

#[test]
fn books_are_kept_per_service() {
    let backend = backend();
    let mut client = Client::connect(backend.address());
    let dune = r#"{"name":"Dune","author":"Herbert"}"#;
    let added = client.post("/books", dune);
    assert_eq!(added.status, 201);
    assert_eq!(
        added.json(),
        json!({ "book": { "name": "Dune", "author": "Herbert" } })
    );
    let refused = client.post("/books", r#"{"name":"Dune"}"#);
    assert_eq!(
        (refused.status, refused.json()),
        (400, json!({ "error": "bad request" }))
    );
    assert_eq!(
        client.get("/books?x=1").json(),
        json!({ "books": [{ "name": "Dune", "author": "Herbert" }] })
    );
    assert_eq!(client.get("/items/books").json(), json!({ "books": [] }));
    assert_eq!(client.post("/items/books", dune).status, 201);
    assert_eq!(
        client.get("/items/books").json()["books"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    client.send(b"DELETE /books HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.reply().status, 405);
}

#[test]
fn an_absurd_body_is_refused_and_the_process_lives() {
    let backend = backend();
    for length in ["1073741825", "99999999999999", "9000000000000000000"] {
        let mut client = Client::connect(backend.address());
        client.send(
            format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\nabc").as_bytes(),
        );
        assert_eq!(client.head().0, 103);
        let reply = client.reply();
        assert_eq!(reply.status, 413, "{length}");
        assert_eq!(field(&reply.head, "Connection"), Some("close"));
        assert_eq!(reply.json(), json!({ "error": "body too big" }));
    }
    assert_eq!(
        Client::connect(backend.address()).get("/health").status,
        200
    );
}

#[test]
fn a_client_that_leaves_within_its_body_does_no_harm() {
    let backend = backend();
    for framing in ["Content-Length: 1000000000", "Transfer-Encoding: chunked"] {
        let mut client = Client::connect(backend.address());
        client.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n5\r\nab").as_bytes());
        drop(client);
    }
    assert_eq!(
        Client::connect(backend.address()).get("/health").status,
        200
    );
}

#[test]
fn an_upgrade_is_answered_as_a_plain_request() {
    let backend = backend();
    let mut client = Client::connect(backend.address());
    client
        .send(b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let reply = client.reply();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["headers"]["upgrade"], "websocket");
}

#[test]
fn connection_close_is_obeyed() {
    let backend = backend();
    let mut client = Client::connect(backend.address());
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let reply = client.reply();
    assert_eq!(field(&reply.head, "Connection"), Some("close"));
    assert!(client.rest().is_empty());
}

#[test]
fn a_burst_of_kept_connections_is_answered() {
    let backend = backend();
    let mut clients: Vec<Client> = (0..200)
        .map(|_| Client::connect(backend.address()))
        .collect();
    for client in &mut clients {
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.reply().status, 200);
    }
}

#[test]
fn many_streams_do_not_starve_the_health_check() {
    let backend = backend();
    let mut streams: Vec<Client> = (0..30)
        .map(|_| Client::connect(backend.address()))
        .collect();
    for stream in &mut streams {
        stream.send(b"GET /sse?ms=60000 HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(stream.head().0, 200);
    }
    assert_eq!(
        Client::connect(backend.address()).get("/health").status,
        200
    );
}

#[test]
fn shutting_down_ends_streams_and_frees_the_port() {
    let backend = backend();
    let address = backend.address();
    let mut stream = Client::connect(address);
    stream.send(b"GET /sse?ms=60000 HTTP/1.1\r\nHost: h\r\n\r\n");
    stream.head();
    let mut kept = Client::connect(address);
    assert_eq!(kept.get("/health").status, 200);

    let start = Instant::now();
    backend.shut_down();
    assert!(start.elapsed() < PATIENCE);
    assert!(TcpStream::connect(address).is_err());
    // The stream was ended properly: one event, then the last chunk.
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line| line != "0\r\n") {
        lines.push(stream.line());
    }
    // Whoever kept a connection is sent away.
    let late = kept.get("/health");
    assert_eq!(late.status, 503);
    assert_eq!(field(&late.head, "Connection"), Some("close"));

    let again = DemoBackend::start(address.port(), "b2".to_owned()).unwrap();
    assert_eq!(
        Client::connect(again.address()).get("/").json()["backend"],
        "b2"
    );
}

#[test]
fn dropping_stops_and_a_taken_port_is_an_error() {
    let backend = backend();
    let address = backend.address();
    assert!(DemoBackend::start(address.port(), "other".to_owned()).is_err());
    drop(backend);
    assert!(TcpStream::connect(address).is_err());
}
