//! Attempts against backends that a test scripts byte by byte.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use http::Method;

use super::*;
use crate::config::model::{self, BackendAddress};
use crate::message::fields::Fields;
use crate::message::forwarded::{self, Hop};
use crate::message::framing::Framing;
use crate::message::head::{BodyLength, RequestHead, Version};
use crate::message::target::Target;
use crate::upstream::Upstream;
use crate::upstream::member::Tier;

/// Both ends read and write at once.
trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A backend whose connections are scripted, one after another.
struct Scripted {
    upstream: Arc<Upstream>,
    server: JoinHandle<()>,
    _folder: Option<tempfile::TempDir>,
}

type Script = fn(&mut dyn Stream);

fn over_tcp(scripts: &'static [Script]) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let at = BackendAddress::Tcp {
        host: "127.0.0.1".into(),
        port,
    };
    let server = thread::spawn(move || {
        for script in scripts {
            script(&mut listener.accept().unwrap().0);
        }
    });
    Scripted {
        upstream: upstream(at),
        server,
        _folder: None,
    }
}

fn over_unix(scripts: &'static [Script]) -> Scripted {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        for script in scripts {
            script(&mut listener.accept().unwrap().0);
        }
    });
    Scripted {
        upstream: upstream(BackendAddress::Unix(path)),
        server,
        _folder: Some(folder),
    }
}

fn upstream(at: BackendAddress) -> Arc<Upstream> {
    Upstream::adjusted(|settings| {
        settings.backends = vec![model::Backend::new("b", at)];
        settings.timeouts.response = Duration::from_secs(20);
    })
}

fn lease(upstream: &Arc<Upstream>) -> Option<Lease> {
    Lease::new(upstream, 0, Tier::Primary, Instant::now())
}

impl Scripted {
    fn with(mut self, adjust: impl FnOnce(&mut model::UpstreamTimeouts)) -> Scripted {
        let upstream = Arc::get_mut(&mut self.upstream).unwrap();
        adjust(&mut upstream.settings.timeouts);
        self
    }

    fn ask(&self, request: &Request) -> (Result<Forwarded, GaveUp>, Attempts) {
        let head = request.head();
        let client = forwarded::Client::identify([127, 0, 0, 1].into(), &head.fields, &[]);
        let hop = Hop {
            peer: [127, 0, 0, 1].into(),
            client: &client,
            local_port: 80,
            request_id: "id",
        };
        let outbound = Outbound::prepare(&head, ("/", ""), hop, request.upgrade, None);
        let mut source = request.body.as_bytes();
        let mut body = RequestBody::new(&mut source, outbound.framing(), 1 << 20).at_hand(true);
        let mut leases = std::iter::repeat_with(|| lease(&self.upstream).unwrap());
        let mut attempts = Attempts::new();
        let result = send(
            &Client::new(),
            &outbound,
            &mut body,
            None,
            &mut leases,
            &mut std::iter::empty(),
            &mut attempts,
        );
        (result, attempts)
    }

    fn answer(&self, request: &Request) -> Forwarded {
        let (result, attempts) = self.ask(request);
        result.unwrap_or_else(|gave_up| panic!("{gave_up:?}: {attempts:?}"))
    }

    fn cause(&self, request: &Request) -> Cause {
        match self.ask(request) {
            (Err(gave_up), _) => gave_up.cause,
            (Ok(forwarded), _) => panic!("answered: {:?}", forwarded.answer.head),
        }
    }

    fn idle(&self) -> usize {
        self.upstream.members[0].backend.idle.len()
    }

    fn done(self) {
        self.server.join().unwrap();
    }
}

struct Request {
    method: Method,
    fields: Vec<(&'static str, &'static str)>,
    body: &'static str,
    upgrade: bool,
}

const GET: Request = Request {
    method: Method::GET,
    fields: Vec::new(),
    body: "",
    upgrade: false,
};

fn websocket() -> Request {
    Request {
        fields: vec![("Connection", "Upgrade"), ("Upgrade", "websocket")],
        upgrade: true,
        ..GET
    }
}

impl Request {
    fn head(&self) -> RequestHead {
        let mut fields = Fields::new();
        for (name, value) in &self.fields {
            fields.append(name, value);
        }
        RequestHead {
            method: self.method.clone(),
            target: Target::parse("/").unwrap(),
            version: Version::Http11,
            fields,
            framing: match self.body.len() {
                0 => Framing::None,
                length => Framing::Length(length as u64),
            },
        }
    }
}

/// The head of a request, in lower case.
fn read_head(stream: &mut dyn Stream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

fn reply(stream: &mut dyn Stream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

/// For pauses that are the point of a test.
fn pause(time: Duration) {
    let _ = crossbeam_channel::after(time).recv();
}

fn until_closed(stream: &mut dyn Stream) {
    // A reset is an end too.
    let _ = io::copy(stream, &mut io::sink());
}

fn text(forwarded: &mut Forwarded) -> String {
    let mut text = String::new();
    forwarded.answer.body.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_unix_backend_answers_and_keeps_its_connection() {
    let backend = over_unix(&[|stream| {
        for _ in 0..2 {
            assert!(read_head(stream).contains("\r\nhost: localhost\r\n"));
            reply(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        }
    }]);
    for _ in 0..2 {
        let mut forwarded = backend.answer(&GET);
        assert!(forwarded.answer.is_body_ready);
        assert_eq!(text(&mut forwarded), "hi");
        assert_eq!(backend.idle(), 1);
    }
    backend.done();
}

#[test]
fn after_101_the_connection_and_what_came_behind_is_the_callers() {
    let scripts: &[Script] = &[|stream| {
        let head = read_head(stream);
        assert!(head.contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n"));
        reply(stream, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
        reply(
            stream,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: abc=\r\n\r\nfirst frame",
        );
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        reply(stream, "pong");
    }];
    for backend in [over_tcp(scripts), over_unix(scripts)] {
        let forwarded = backend.answer(&websocket());
        let head = forwarded.answer.head;
        let names: Vec<&str> = head.fields.iter().map(|(name, _)| name).collect();
        assert_eq!(head.status, 101);
        assert_eq!(names, ["Upgrade", "Sec-WebSocket-Accept"]);
        assert_eq!(forwarded.answer.length, BodyLength::Empty);

        let conduit = forwarded.upgraded.unwrap();
        assert_eq!(conduit.received, b"first frame");
        let mut stream = conduit.stream;
        let nothing = crate::socket::Conduit::receive(&mut stream, &mut [0]);
        assert_eq!(nothing.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut socket = stream.socket();
        socket.set_nonblocking(false).unwrap();
        socket.write_all(b"ping").unwrap();
        let mut word = [0; 4];
        socket.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"pong");
        assert_eq!(backend.idle(), 0);
        backend.done();
    }
}

#[test]
fn an_upgrade_has_a_connection_of_its_own() {
    let backend = over_tcp(&[
        |stream| {
            read_head(stream);
            reply(stream, "HTTP/1.1 204 No Content\r\n\r\n");
        },
        |stream| {
            read_head(stream);
            reply(stream, "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n");
        },
    ]);
    drop(backend.answer(&GET));
    assert_eq!(backend.idle(), 1);
    let forwarded = backend.answer(&websocket());
    assert!(forwarded.upgraded.is_some());
    assert_eq!(backend.idle(), 1);
    backend.done();
}

#[test]
fn an_upgrade_that_the_backend_declines_is_a_normal_answer() {
    let backend = over_tcp(&[|stream| {
        read_head(stream);
        let answer =
            "HTTP/1.1 426 Upgrade Required\r\nUpgrade: chat\r\nContent-Length: 2\r\n\r\nno";
        reply(stream, answer);
    }]);
    let mut forwarded = backend.answer(&websocket());
    assert_eq!(forwarded.answer.head.status, 426);
    assert!(forwarded.upgraded.is_none());
    assert!(forwarded.answer.head.fields.is_empty());
    assert_eq!(text(&mut forwarded), "no");
    assert_eq!(backend.idle(), 1);
    backend.done();
}

#[test]
fn a_101_that_nobody_asked_for_is_refused() {
    let scripts: &[Script] = &[|stream| {
        let head = read_head(stream);
        assert!(!head.contains("upgrade"), "{head}");
        reply(stream, "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n");
        until_closed(stream);
    }];
    let not_allowed = Request {
        upgrade: false,
        ..websocket()
    };
    for request in [&GET, &not_allowed] {
        let backend = over_tcp(scripts);
        assert_eq!(backend.cause(request), Cause::BadResponse);
        backend.done();
    }
}

#[test]
fn an_upgrade_is_retried_like_any_request() {
    let backend = over_tcp(&[
        |stream| {
            read_head(stream);
        },
        |stream| {
            read_head(stream);
            reply(stream, "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n");
        },
    ]);
    let (result, attempts) = backend.ask(&websocket());
    assert!(result.unwrap().upgraded.is_some());
    let causes: Vec<_> = attempts.iter().map(|attempt| attempt.cause).collect();
    assert_eq!(causes, [Some(Cause::BackendClosed), None]);
    backend.done();
}

#[test]
fn head_and_body_arrive_in_one_piece() {
    let backend = over_tcp(&[|stream| {
        let mut request = [0; 2048];
        let count = stream.read(&mut request).unwrap();
        assert!(request[..count].ends_with(b"\r\n\r\nhello"));
        reply(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }]);
    let post = Request {
        method: Method::POST,
        body: "hello",
        ..GET
    };
    let mut forwarded = backend.answer(&post);
    assert_eq!(text(&mut forwarded), "");
    backend.done();
}

#[test]
fn a_head_that_comes_alone_says_that_the_body_is_not_ready() {
    let backend = over_tcp(&[|stream| {
        read_head(stream);
        reply(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\n",
        );
        // The caller has the head, and asks for more.
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap_err();
    }])
    .with(|timeouts| timeouts.idle = Duration::from_millis(100));
    let mut forwarded = backend.answer(&GET);
    assert!(!forwarded.answer.is_body_ready);
    let error = forwarded.answer.body.read(&mut [0; 9]).unwrap_err();
    drop(forwarded);
    assert!(error.to_string().contains("too long"), "{error}");
    backend.done();
}

#[test]
fn each_phase_has_its_own_patience() {
    // Each wait is longer than the timeout of the other phase would allow, or than it may take.
    let cases = [
        (100, 20_000, None, Cause::BackendSlow),
        (20_000, 20_000, Some(100), Cause::BackendSlow),
    ];
    for (response, idle, total, cause) in cases {
        let backend = over_tcp(&[|stream| {
            read_head(stream);
            reply(stream, "HTTP/1.1 200 OK\r\nX-Half");
            until_closed(stream);
        }])
        .with(|timeouts| {
            timeouts.response = Duration::from_millis(response);
            timeouts.idle = Duration::from_millis(idle);
            timeouts.total = total.map(Duration::from_millis);
        });
        let begun = Instant::now();
        assert_eq!(backend.cause(&GET), cause);
        let took = begun.elapsed();
        assert!(
            took >= Duration::from_millis(100) && took < Duration::from_secs(10),
            "{took:?}"
        );
        backend.done();
    }
}

#[test]
fn a_body_may_stall_for_longer_than_a_head() {
    let backend = over_tcp(&[|stream| {
        for _ in 0..2 {
            read_head(stream);
            reply(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\na",
            );
            // As long as it takes, but longer than a head may.
            pause(Duration::from_millis(300));
            reply(stream, "b");
        }
    }])
    .with(|timeouts| {
        timeouts.response = Duration::from_millis(200);
        timeouts.idle = Duration::from_secs(20);
    });
    for _ in 0..2 {
        assert_eq!(text(&mut backend.answer(&GET)), "ab");
    }
    backend.done();
}

#[test]
fn a_head_in_pieces_behind_interim_ones_is_found() {
    let backend = over_tcp(&[|stream| {
        read_head(stream);
        for piece in [
            "HTTP/1.1 100 Continue\r\nX: with fields\r\n\r\nHTTP/1.1 10",
            "3 Early\r\n\r\nHTTP/1.1 200 Fi",
            "ne\r\nContent-Length: 2\r\n\r",
            "\no",
            "k",
        ] {
            reply(stream, piece);
            pause(Duration::from_millis(10));
        }
    }]);
    let mut forwarded = backend.answer(&GET);
    assert_eq!(forwarded.answer.head.reason(), "Fine");
    assert_eq!(text(&mut forwarded), "ok");
    backend.done();
}

#[test]
fn a_head_that_never_ends_is_refused() {
    let backend = over_tcp(&[|stream| {
        read_head(stream);
        reply(stream, "HTTP/1.1 200 OK\r\n");
        let line = format!("X: {}\r\n", "y".repeat(1000));
        while stream.write_all(line.as_bytes()).is_ok() {}
    }]);
    assert_eq!(backend.cause(&GET), Cause::BadResponse);
    backend.done();
}

#[test]
fn what_announces_two_lengths_is_refused() {
    let backend = over_tcp(&[|stream| {
        read_head(stream);
        reply(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        );
        until_closed(stream);
    }]);
    assert_eq!(backend.cause(&GET), Cause::BadResponse);
    backend.done();
}

#[test]
fn a_stale_connection_is_replaced_once_where_that_is_safe() {
    let scripts: &[Script] = &[
        |stream| {
            read_head(stream);
            reply(stream, "HTTP/1.1 204 No Content\r\n\r\n");
            // Closed at the very moment that the next request comes.
            read_head(stream);
        },
        |stream| {
            read_head(stream);
            reply(stream, "HTTP/1.1 204 No Content\r\n\r\n");
        },
    ];
    let backend = over_tcp(scripts);
    drop(backend.answer(&GET));
    let (result, attempts) = backend.ask(&GET);
    let reused: Vec<bool> = attempts.iter().map(|attempt| attempt.is_reused).collect();
    assert_eq!((result.is_ok(), reused), (true, vec![true, false]));
    backend.done();

    let backend = over_tcp(&scripts[..1]);
    let post = Request {
        method: Method::POST,
        ..GET
    };
    drop(backend.answer(&GET));
    assert_eq!(backend.cause(&post), Cause::BackendClosed);
    backend.done();
}

#[test]
fn nonsense_that_comes_before_the_request_is_out_is_not_waited_upon() {
    let backend = over_tcp(&[|stream| {
        reply(stream, "SSH-2.0-server\r\n");
        until_closed(stream);
    }]);
    let client = Client::new();
    let head = Request {
        method: Method::PUT,
        ..GET
    }
    .head();
    let who = forwarded::Client::identify([127, 0, 0, 1].into(), &head.fields, &[]);
    let hop = Hop {
        peer: [127, 0, 0, 1].into(),
        client: &who,
        local_port: 80,
        request_id: "id",
    };
    let head = RequestHead {
        framing: Framing::Length(1 << 30),
        ..head
    };
    let outbound = Outbound::prepare(&head, ("/", ""), hop, false, None);
    let mut source = io::repeat(b'x');
    let mut body = RequestBody::new(&mut source, outbound.framing(), u64::MAX);
    let mut leases = lease(&backend.upstream).into_iter();
    let result = send(
        &client,
        &outbound,
        &mut body,
        None,
        &mut leases,
        &mut std::iter::empty(),
        &mut Attempts::new(),
    );
    assert_eq!(result.err().unwrap().cause, Cause::BadResponse);
    backend.done();
}

#[test]
fn a_retry_that_finds_nobody_costs_no_budget() {
    let upstream = upstream(BackendAddress::Unix("/nowhere".into()));
    let failed = lease(&upstream).unwrap();
    for _ in 0..100 {
        assert!(retry(&failed, &mut std::iter::empty()).is_none());
    }
    assert!(upstream.withdraw_retry(Instant::now()));
}
