//! Bodies that are too large: refused before a backend hears of them where a length is announced, cut off at the limit where not.

use crate::support::conn::BodyEnd;
use crate::support::{Backend, Engine, Proxy, Received, eventually, on_each_engine};

on_each_engine!(
    an_announced_body_is_refused_before_anything_moves,
    a_streamed_body_is_cut_at_the_limit,
    the_limit_itself_passes,
);

const ROUTES: &str = "[[route]]\nmatch = { path = \"/small\" }\nupstream = \"web\"\nmax_body = \"1KiB\"\n\
                      [[route]]\nmatch = { path = \"/large\" }\nupstream = \"web\"\nmax_body = \"1MiB\"\n\
                      [[route]]\nupstream = \"web\"";

fn start(engine: Engine, backend: &Backend) -> Proxy {
    let setup = Proxy::to(engine, [backend]).server("limits.body = \"2KiB\"");
    setup.more(ROUTES).start()
}

fn an_announced_body_is_refused_before_anything_moves(engine: Engine) {
    let backend = Backend::fixed("never");
    let proxy = start(engine, &backend);
    for (path, limit) in [("/small", 1024), ("/large", 1 << 20), ("/", 2048)] {
        for expect in ["", "Expect: 100-continue\r\n"] {
            let mut client = proxy.client();
            let length = limit + 1;
            client.send(format!(
                "POST {path} HTTP/1.1\r\nHost: test\r\n{expect}Content-Length: {length}\r\n\r\n"
            ));
            // Not a 100 either: the first answer is the last one.
            let head = client.read_any_head();
            assert_eq!(head.line[1], "413", "{path} {expect}");
            let text = String::from_utf8_lossy(&client.drain()).into_owned();
            for word in [&limit.to_string(), "max_body", "limits.body"] {
                assert!(text.contains(word), "{text}");
            }
        }
    }
    assert_eq!(backend.count(), 0);
}

fn a_streamed_body_is_cut_at_the_limit(engine: Engine) {
    let backend = Backend::fixed("never");
    let proxy = start(engine, &backend);
    for (path, limit) in [("/small", 1024), ("/large", 1 << 20), ("/", 2048)] {
        let mut client = proxy.client();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        for part in [limit / 2, limit / 2, 1] {
            client.send(format!("{part:x}\r\n{}\r\n", "x".repeat(part)));
        }
        client.send("0\r\n\r\n");
        match client.receive() {
            Received::Whole(answer) => {
                answer.refused(413, "body_too_big");
            }
            // Where the client still sends, the end of the connection may overtake the answer.
            other => assert!(matches!(other.status(), None | Some(413)), "{other:?}"),
        }
    }
    // A backend that got the begin of one has seen it break off.
    eventually("all are over", || {
        backend.seen().iter().all(|seen| seen.end == BodyEnd::Cut)
    });
}

fn the_limit_itself_passes(engine: Engine) {
    let backend = Backend::echo();
    let proxy = start(engine, &backend);
    for (path, limit) in [("/small", 1024), ("/large", 1 << 20), ("/", 2048)] {
        let body = "x".repeat(limit);
        assert_eq!(proxy.client().post(path, &body).text(), body);
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
        let half = limit / 2;
        let chunk = format!("{half:x}\r\n{}\r\n", "x".repeat(half));
        let answer = proxy.client().ask(format!("{head}{chunk}{chunk}0\r\n\r\n"));
        assert_eq!(answer.text(), body);
    }
    assert!(backend.seen().iter().all(|seen| seen.end == BodyEnd::Whole));
}
