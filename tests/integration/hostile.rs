//! A table of bad bytes. Each row gets its status or a closed connection; the backend never hears of it, nothing that
//! follows on the connection is honoured, and a good request on a new connection works right after.

use crate::support::conn::{BodyEnd, Seen};
use crate::support::{Backend, Client, Engine, Proxy, on_each_engine};

on_each_engine!(
    bad_heads_are_refused,
    what_follows_a_connect_is_no_request,
    oversized_heads_are_refused,
    bad_chunks_never_become_a_whole_body,
    chunked_bodies_that_break_off_are_not_whole,
    backends_cannot_smuggle_answers,
);

/// What is wrong, the statuses that fit, and the bytes.
type Row = (&'static str, &'static [u16], &'static str);

/// Every row asks for `/bad`. One row, one line.
#[rustfmt::skip]
const BAD_HEADS: &[Row] = &[
    // Content-Length
    ("length is no number", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: abc\r\n\r\nabc"),
    ("length with plus", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"),
    ("length with minus", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc"),
    ("length in hex", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc"),
    ("length with fraction", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 3.0\r\n\r\nabc"),
    ("length with exponent", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 3e0\r\n\r\nabc"),
    ("length with inner blank", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 3 3\r\n\r\nabc"),
    ("empty length", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabc"),
    ("list of equal lengths", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc"),
    ("list of lengths", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabc"),
    ("two lengths", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
    ("the same length twice", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    ("length beyond 63 bits", &[400, 413], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\nabc"),
    ("length beyond 64 bits", &[400, 413], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nabc"),
    ("length over the limit", &[413], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999\r\n\r\nabc"),
    ("bad length on a GET", &[400], "GET /bad HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"),
    // Transfer-Encoding
    ("unknown coding", &[400, 501], "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("identity", &[400, 501], "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    ("gzip only", &[400, 501], "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
    ("gzip, chunked", &[400, 501], "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("chunked, gzip", &[400, 501], "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    ("chunked twice in a list", &[400, 501], "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("chunked twice", &[400, 501], "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunked, then another", &[400, 501], "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    ("chunked with parameter", &[400, 501], "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
    ("empty coding", &[400, 501], "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n"),
    ("quoted coding", &[400, 501], "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ("length and coding", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("coding and length", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    ("coding in 1.0", &[400], "POST /bad HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("blank before the colon", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc"),
    ("blank before the colon of a coding", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("tab before the colon", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length\t: 3\r\n\r\nabc"),
    // Field syntax
    ("no colon", &[400], "GET /bad HTTP/1.1\r\nHost: a\r\nX-Nothing\r\n\r\n"),
    ("empty name", &[400], "GET /bad HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"),
    ("blank in a name", &[400], "GET /bad HTTP/1.1\r\nHost: a\r\nX Y: x\r\n\r\n"),
    ("bracket in a name", &[400], "GET /bad HTTP/1.1\r\nHost: a\r\nX(Y): x\r\n\r\n"),
    ("NUL in a name", &[400], "GET /bad HTTP/1.1\r\nHost: a\r\nX\0Y: x\r\n\r\n"),
    ("NUL in a value", &[400], "GET /bad HTTP/1.1\r\nHost: a\r\nX-Y: a\0b\r\n\r\n"),
    ("control character in a value", &[400], "GET /bad HTTP/1.1\r\nHost: a\r\nX-Y: a\x01b\r\n\r\n"),
    ("DEL in a value", &[400], "GET /bad HTTP/1.1\r\nHost: a\r\nX-Y: a\x7fb\r\n\r\n"),
    ("bare LF in a value", &[400], "GET /bad HTTP/1.1\r\nHost: a\r\nX-Y: a\nX-Z: b\r\n\r\n"),
    ("bare CR in a value", &[400], "GET /bad HTTP/1.1\r\nHost: a\r\nX-Y: a\rX-Z: b\r\n\r\n"),
    ("length behind a bare LF", &[400], "POST /bad HTTP/1.1\r\nHost: a\r\nX-Y: a\nContent-Length: 40\r\n\r\n"),
    ("bare LF all over", &[400], "GET /bad HTTP/1.1\nHost: a\n\n"),
    // Host
    ("no Host", &[400], "GET /bad HTTP/1.1\r\n\r\n"),
    ("two Hosts", &[400], "GET /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("the same Host twice", &[400], "GET /bad HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    ("blank in Host", &[400], "GET /bad HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("port that is none", &[400], "GET /bad HTTP/1.1\r\nHost: a:99999\r\n\r\n"),
    ("empty label in Host", &[400], "GET /bad HTTP/1.1\r\nHost: ..example.com\r\n\r\n"),
    ("two names in Host", &[400], "GET /bad HTTP/1.1\r\nHost: evil.example,.example.com\r\n\r\n"),
    ("escape in Host", &[400], "GET /bad HTTP/1.1\r\nHost: evil.example%0d.example.com\r\n\r\n"),
    ("escape in an authority", &[400], "GET http://a%41/bad HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("list in Host", &[400], "GET /bad HTTP/1.1\r\nHost: a, b/c\r\n\r\n"),
    ("path in Host", &[400], "GET /bad HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("user in Host", &[400], "GET /bad HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    ("bad port in Host", &[400], "GET /bad HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    // Request line
    ("bracket in the method", &[400], "GE(T /bad HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("NUL in the method", &[400], "GE\0T /bad HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no method", &[400], " /bad HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no version", &[400], "GET /bad\r\nHost: a\r\n\r\n"),
    ("lower-case version", &[400, 505], "GET /bad http/1.1\r\nHost: a\r\n\r\n"),
    ("version 9.9", &[400, 505], "GET /bad HTTP/9.9\r\nHost: a\r\n\r\n"),
    ("version 1.x", &[400, 505], "GET /bad HTTP/1.x\r\nHost: a\r\n\r\n"),
    ("no HTTP", &[400, 505], "GET /bad ICY/1.1\r\nHost: a\r\n\r\n"),
    ("fragment", &[400], "GET /bad#part HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("control character in the target", &[400], "GET /bad\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("relative target", &[400], "GET bad HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("foreign scheme", &[400], "GET ftp://a/bad HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("absolute target with user", &[400], "GET http://u:p@a/bad HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("not HTTP at all", &[400], "\x16\x03\x01\x02\0\x01\0\x01\u{7f}bad\r\n\r\n"),
];

/// Sends a row with another request right behind it, and checks everything that the table promises.
fn check(engine: Engine, backend: &Backend, proxy: &Proxy, row: &Row) {
    let (what, statuses, bytes) = row;
    let before = backend.count();
    let mut client = proxy.client();
    client
        .send(bytes)
        .send("GET /bad-next HTTP/1.1\r\nHost: a\r\n\r\n");
    client.half_close();
    let answered = String::from_utf8_lossy(&client.drain()).into_owned();
    let status = answered
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let hung_up = engine == Engine::TinyHttp && answered.is_empty();
    let fits = hung_up || status.is_some_and(|status| statuses.contains(&status));
    assert!(fits, "{what}: wanted {statuses:?}, got {answered:?}");
    // An engine may refuse what follows with another 400; it must not do what it says.
    let later = answered.match_indices("HTTP/1.1 ").skip(1);
    let mut later = later.map(|(at, line)| &answered[at + line.len()..]);
    let honoured = later.find(|rest| rest.starts_with(['1', '2', '3', '5']));
    assert!(honoured.is_none(), "{what}: a second answer: {answered:?}");
    let seen = backend.seen();
    let leaked = seen[before..].iter().find(|seen| seen.target() != "/good");
    assert!(leaked.is_none(), "{what}: the backend saw {leaked:?}");
    assert_eq!(
        proxy.get("/good").status,
        200,
        "{what}: a good request right after"
    );
}

fn bad_heads_are_refused(engine: Engine) {
    let backend = Backend::fixed("good");
    let proxy = Proxy::to(engine, [&backend]).start();
    assert!(BAD_HEADS.len() >= 40);
    for row in BAD_HEADS {
        check(engine, &backend, &proxy, row);
    }
}

/// A client that sends CONNECT goes on with the bytes of its tunnel: they must never be read as requests.
fn what_follows_a_connect_is_no_request(engine: Engine) {
    let backend = Backend::fixed("good");
    let proxy = Proxy::to(engine, [&backend]).start();
    let connect = "CONNECT bad:443 HTTP/1.1\r\nHost: bad:443\r\n\r\n";
    let row = ("CONNECT", &[400, 405, 501][..], connect);
    check(engine, &backend, &proxy, &row);
}

fn oversized_heads_are_refused(engine: Engine) {
    let backend = Backend::fixed("good");
    let proxy = Proxy::to(engine, [&backend]).start();
    let filler = "x".repeat(40_000);
    for (what, statuses, bytes) in [
        (
            "long target",
            [414, 431],
            format!("GET /bad{} HTTP/1.1\r\nHost: a\r\n\r\n", &filler[..9000]),
        ),
        (
            "very long target",
            [414, 431],
            format!("GET /bad{filler} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ),
        (
            "long value",
            [431, 431],
            format!("GET /bad HTTP/1.1\r\nHost: a\r\nX: {filler}\r\n\r\n"),
        ),
        (
            "long name",
            [431, 400],
            format!("GET /bad HTTP/1.1\r\nHost: a\r\n{filler}: x\r\n\r\n"),
        ),
        (
            "many fields",
            [431, 431],
            format!(
                "GET /bad HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "X: y\r\n".repeat(200)
            ),
        ),
    ] {
        let mut client = proxy.client();
        let status = client.send(bytes).receive().status();
        let hung_up = engine == Engine::TinyHttp && status.is_none();
        let fits = hung_up || status.is_some_and(|status| statuses.contains(&status));
        assert!(fits, "{what}: wanted {statuses:?}, got {status:?}");
        assert_eq!(proxy.get("/good").status, 200, "{what}");
    }
    assert!(backend.seen().iter().all(|seen| seen.target() == "/good"));
}

const CHUNKED: &str = "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The decoder of tiny_http takes a sign or blanks around a chunk size; for the reactor see `strict`.
fn bad_chunks_never_become_a_whole_body(engine: Engine) {
    for chunks in [
        "zz\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "3 3\r\nabc\r\n0\r\n\r\n",
    ] {
        refused_chunks(engine, chunks, |client| {
            client.send(CHUNKED).send(chunks);
        });
    }
}

fn chunked_bodies_that_break_off_are_not_whole(engine: Engine) {
    for chunks in ["3\r\nab", "3\r\nabc\r\n", "3\r\nabc\r\n0"] {
        refused_chunks(engine, chunks, |client| {
            client.send(CHUNKED).send(chunks).half_close();
        });
    }
}

fn refused_chunks(engine: Engine, what: &str, send: impl FnOnce(&mut Client)) {
    let backend = Backend::fixed("good");
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    send(&mut client);
    let answered = String::from_utf8_lossy(&client.drain()).into_owned();
    let is_refused = answered.is_empty() || answered.starts_with("HTTP/1.1 4");
    assert!(is_refused, "{what:?}: {answered:?}");
    let is_whole = |seen: &Seen| seen.target() == "/bad" && seen.end == BodyEnd::Whole;
    assert!(!backend.seen().iter().any(is_whole), "{what:?}");
    assert_eq!(proxy.get("/good").status, 200, "{what:?}");
}

fn backends_cannot_smuggle_answers(engine: Engine) {
    let backend = Backend::raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirstHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond",
    );
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    for _ in 0..5 {
        let answer = client.get("/");
        assert!(
            answer.status == 502 || answer.text() == "first",
            "{answer:?}"
        );
    }
}
