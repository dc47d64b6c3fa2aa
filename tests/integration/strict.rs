//! Where the reactor engine reads more strictly than tiny_http, which lets these pass or only hangs up: every refusal
//! is an answer with a cause and an access line, and the connection ends with it.

use crate::support::conn::BodyEnd;
use crate::support::{Backend, Engine, Process, Proxy, on_reactor_and_tls};

on_reactor_and_tls!(
    malformed_heads_are_answered,
    other_versions_are_answered,
    malformed_chunks_are_answered,
    malformed_chunks_behind_a_large_part_are_answered,
    a_malformed_request_has_an_access_line,
    values_that_are_not_ascii_pass_unchanged,
    trailers_are_dropped_and_the_connection_goes_on,
    bad_trailers_are_refused,
    empty_lines_before_a_request_are_skipped,
    heads_may_come_byte_by_byte,
    chunks_may_come_byte_by_byte,
    connection_options_end_or_keep_the_connection,
);

/// One row, one line.
#[rustfmt::skip]
const MALFORMED: &[(&str, &str)] = &[
    ("obs-fold", "GET /bad HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n"),
    ("obs-fold with a tab", "GET /bad HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\tc\r\n\r\n"),
    ("a fold before the first field", "GET /bad HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n"),
    ("bare LF after the request line", "GET /bad HTTP/1.1\nHost: a\r\n\r\n"),
    ("bare LF after a field", "GET /bad HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n"),
    ("bare LF as the empty line", "GET /bad HTTP/1.1\r\nHost: a\r\n\n"),
    ("bare LF all over", "GET /bad HTTP/1.1\nHost: a\n\n"),
    ("bare CR in a value", "GET /bad HTTP/1.1\r\nHost: a\r\nX-A: b\rc\r\n\r\n"),
    ("bare CR as a line end", "GET /bad HTTP/1.1\rHost: a\r\n\r\n"),
    ("two CRs", "GET /bad HTTP/1.1\r\r\nHost: a\r\n\r\n"),
    ("NUL in a value", "GET /bad HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n"),
    ("NUL in a name", "GET /bad HTTP/1.1\r\nHost: a\r\nX\0A: b\r\n\r\n"),
    ("NUL in the target", "GET /bad\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("NUL before the request", "\0GET /bad HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("blank before the colon", "GET /bad HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n"),
    ("tab before the colon", "GET /bad HTTP/1.1\r\nHost: a\r\nX-A\t: b\r\n\r\n"),
    ("blank before the colon of a length", "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc"),
    ("no colon", "GET /bad HTTP/1.1\r\nHost: a\r\nX-A\r\n\r\n"),
    ("words behind the version", "GET /bad HTTP/1.1 more\r\nHost: a\r\n\r\n"),
    ("a blank behind the version", "GET /bad HTTP/1.1 \r\nHost: a\r\n\r\n"),
    ("a blank in the target", "GET /bad part HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("two blanks behind the method", "GET  /bad HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a tab behind the method", "GET\t/bad HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("two blanks before the version", "GET /bad  HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no version", "GET /bad\r\nHost: a\r\n\r\n"),
    ("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("coding with HTTP/1.0", "POST /bad HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a TLS client", "\x16\x03\x01\x02\0\x01\0\x01\u{7f}bad\r\n\r\n"),
];

fn malformed_heads_are_answered(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend]).start();
    for (what, bytes) in MALFORMED {
        let mut client = proxy.client();
        client
            .send(bytes)
            .send("GET /bad HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.read();
        assert_eq!(
            (answer.status, answer.cause().as_str()),
            (400, "bad_request"),
            "{what}"
        );
        assert_eq!(answer.get("connection").as_deref(), Some("close"), "{what}");
        client.assert_ended();
        assert_eq!(proxy.get("/good").text(), "fine", "{what}");
    }
    assert!(backend.seen().iter().all(|seen| seen.target() == "/good"));
}

fn other_versions_are_answered(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend]).start();
    for bytes in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        "GET /bad HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET /bad HTTP/3.0\r\nHost: a\r\n\r\n",
        "GET /bad HTTP/0.9\r\nHost: a\r\n\r\n",
        "GET /bad HTTP/9.9\r\nHost: a\r\n\r\n",
    ] {
        let mut client = proxy.client();
        let answer = client.ask(bytes).refused(505, "version");
        assert_eq!(answer.get("connection").as_deref(), Some("close"));
        client.assert_ended();
    }
    assert_eq!(proxy.get("/good").text(), "fine");
    assert_eq!(backend.only().target(), "/good");
}

const BAD_CHUNKS: &[&str] = &[
    "+3\r\nabc\r\n0\r\n\r\n",
    "-3\r\nabc\r\n0\r\n\r\n",
    "0x3\r\nabc\r\n0\r\n\r\n",
    " 3\r\nabc\r\n0\r\n\r\n",
    "3 3\r\nabc\r\n0\r\n\r\n",
    "3,\r\nabc\r\n0\r\n\r\n",
    "\r\nabc\r\n0\r\n\r\n",
    ";x=y\r\nabc\r\n0\r\n\r\n",
    "zz\r\nabc\r\n0\r\n\r\n",
    "00000000000000003\r\nabc\r\n0\r\n\r\n",
    "10000000000000003\r\nabc\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "3\nabc\r\n0\r\n\r\n",
    "3\r\nabc\n0\r\n\r\n",
    "3\r\nabc\r\n0\n\r\n",
    "3\r\nabc\r\n0\r\n\n",
    "3\r\nabcd\r\n0\r\n\r\n",
    "3\r\nab\r\n0\r\n\r\n",
    "3\r\nabc0\r\n\r\n",
    "3;x=\0\r\nabc\r\n0\r\n\r\n",
    "3;x=a\rb\r\nabc\r\n0\r\n\r\n",
    "3\rabc\r\n0\r\n\r\n",
];

const CHUNKED: &str = "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Sends `before` and then what is bad, on a new connection each.
fn refused_chunks(engine: Engine, before: &str, bad: &[String]) {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend]).start();
    for chunks in bad {
        let mut client = proxy.client();
        client.send(CHUNKED).send(before).send(chunks);
        // What is too large is told from what is no number only by reading it.
        let answer = client.read();
        let is_size = chunks.starts_with("ffff") && answer.status == 413;
        assert!(answer.status == 400 || is_size, "{chunks:.80?}: {answer:?}");
        client.assert_ended();
        assert_eq!(proxy.get("/good").text(), "fine", "{chunks:.80?}");
    }
    let mut seen = backend.seen().into_iter();
    assert!(!seen.any(|seen| seen.target() == "/bad" && seen.end == BodyEnd::Whole));
}

fn malformed_chunks_are_answered(engine: Engine) {
    let mut bad: Vec<String> = BAD_CHUNKS.iter().map(|&bad| bad.to_owned()).collect();
    // A line of a chunk that never ends.
    bad.push("1".repeat(100_000));
    bad.push(format!("3;{}", "x".repeat(100_000)));
    refused_chunks(engine, "", &bad);
}

/// So large that the backend has seen a part of the body already.
fn malformed_chunks_behind_a_large_part_are_answered(engine: Engine) {
    let before = format!("{:x}\r\n{}\r\n", 200_000, "x".repeat(200_000));
    let bad: Vec<String> = BAD_CHUNKS.iter().map(|&bad| bad.to_owned()).collect();
    refused_chunks(engine, &before, &bad);
}

fn a_malformed_request_has_an_access_line(engine: Engine) {
    let backend = Backend::fixed("fine");
    let process = Process::config(&Proxy::to(engine, [&backend]).text()).start();
    let answer = process.client().ask("GET /bad\r\nHost: a\r\n\r\n");
    let id = answer.get("x-request-id").expect("an id");
    let line = process.line_with(&id);
    for part in [
        "method=-",
        "status=400",
        "cause=bad_request",
        "client_ip=127.0.0.1",
    ] {
        assert!(line.contains(part), "{part} is missing: {line}");
    }
    let answer = process.client().ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let line = process.line_with(&answer.get("x-request-id").expect("an id"));
    assert!(
        line.contains("status=505") && line.contains("cause=version"),
        "{line}"
    );
}

fn values_that_are_not_ascii_pass_unchanged(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Latin: caf\xe9\r\nX-Utf: ".to_vec();
    request.extend_from_slice("é→😀\r\nX-All: ".as_bytes());
    let all: Vec<u8> = (0x80..=0xff).collect();
    request.extend_from_slice(&all);
    request.extend_from_slice(b"\r\nX-Tab: a\tb\r\n\r\n");
    assert_eq!(proxy.client().ask(request).text(), "fine");
    let fields = backend.only().head.fields;
    let value = |name: &str| {
        let found = fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.expect(name).1.clone()
    };
    assert_eq!(value("x-latin"), b"caf\xe9");
    assert_eq!(value("x-utf"), "é→😀".as_bytes());
    assert_eq!(value("x-all"), all);
    assert_eq!(value("x-tab"), b"a\tb");
}

fn trailers_are_dropped_and_the_connection_goes_on(engine: Engine) {
    let backend = Backend::echo();
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    for trailers in [
        "",
        "X-T: 1\r\n",
        "X-T: 1\r\nX-U:\r\nHost: evil\r\nContent-Length: 5\r\n",
    ] {
        let request = format!("{CHUNKED}4\r\nbody\r\n0\r\n{trailers}\r\n");
        assert_eq!(client.ask(request).text(), "body");
    }
    assert_eq!(client.get("/next").status, 200);
    for seen in backend.seen() {
        assert_eq!((seen.get("x-t"), seen.get("x-u")), (None, None));
        assert_eq!(
            seen.get("host").as_deref(),
            Some(if seen.target() == "/bad" { "a" } else { "test" })
        );
    }
}

fn bad_trailers_are_refused(engine: Engine) {
    let many = format!("3\r\nabc\r\n0\r\n{}\r\n", "X-T: 1\r\n".repeat(20_000));
    let bad = [
        "X-T\r\n",
        " X-T: 1\r\n",
        "X T: 1\r\n",
        "X-T: a\0b\r\n",
        "X-T: 1\nX-U: 2\r\n",
    ];
    let mut bad: Vec<String> = bad
        .iter()
        .map(|trailer| format!("3\r\nabc\r\n0\r\n{trailer}\r\n"))
        .collect();
    bad.push(many);
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend]).start();
    for chunks in bad {
        let mut client = proxy.client();
        let answer = client.ask(format!("{CHUNKED}{chunks}"));
        let fits = matches!(answer.status, 400 | 413 | 431);
        assert!(fits, "{chunks:.80?}: {answer:?}");
        assert_eq!(proxy.get("/good").text(), "fine");
    }
    let mut seen = backend.seen().into_iter();
    assert!(!seen.any(|seen| seen.target() == "/bad" && seen.end == BodyEnd::Whole));
}

/// RFC 9112 section 2.2.
fn empty_lines_before_a_request_are_skipped(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    for _ in 0..3 {
        let answer = client.ask("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(answer.text(), "fine");
    }
    // But not for ever.
    let status = proxy
        .client()
        .send("\r\n".repeat(50_000))
        .receive()
        .status();
    assert!(matches!(status, None | Some(400 | 431)), "{status:?}");
}

fn heads_may_come_byte_by_byte(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    for _ in 0..3 {
        for byte in b"GET /slow?x=y HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n" {
            client.send([*byte]);
        }
        assert_eq!(client.read().text(), "fine");
    }
    assert!(
        backend
            .seen()
            .iter()
            .all(|seen| seen.target() == "/slow?x=y")
    );
}

fn chunks_may_come_byte_by_byte(engine: Engine) {
    let backend = Backend::echo();
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    for _ in 0..3 {
        for byte in
            format!("{CHUNKED}3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n").bytes()
        {
            client.send([byte]);
        }
        assert_eq!(client.read().text(), "abc0123456789");
    }
}

fn connection_options_end_or_keep_the_connection(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend]).start();
    for (request, ends) in [
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n",
            true,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\n\r\n",
            true,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n",
            true,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n",
            false,
        ),
        ("GET / HTTP/1.0\r\n\r\n", true),
    ] {
        let mut client = proxy.client();
        assert_eq!(client.ask(request).text(), "fine", "{request:?}");
        if ends {
            client.assert_ended();
        } else {
            assert_eq!(client.get("/again").text(), "fine");
        }
    }
}
