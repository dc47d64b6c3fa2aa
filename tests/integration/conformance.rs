//! One test per rule of HTTP, named by its section; the request direction first.

use crate::support::conn::Seen;
use crate::support::{Backend, Engine, Proxy, on_each_engine};

on_each_engine!(
    rfc9110_9_every_method_passes,
    rfc9112_3_2_targets_pass_byte_for_byte,
    rfc9112_3_2_2_absolute_form_wins_over_host,
    rfc9112_3_2_4_asterisk_form_reaches_the_only_upstream,
    rfc9110_5_3_repeated_fields_keep_their_order,
    rfc9110_7_6_1_hop_by_hop_fields_stop_here_on_the_way_in,
    rfc9110_7_6_1_hop_by_hop_fields_stop_here_on_the_way_out,
    rfc7239_forwarding_fields_are_set,
    rfc7239_spoofed_forwarding_fields_are_replaced,
    rfc7239_a_trusted_proxy_is_believed,
    rfc9110_9_3_2_head_has_a_length_and_no_body,
    rfc9110_15_bodiless_statuses,
    rfc9110_10_1_1_expect_continue,
    rfc9110_15_2_interim_answers_are_not_final,
    rfc9112_6_bodies_pass_in_every_framing,
    rfc9112_7_1_1_chunk_extensions_are_ignored,
    rfc9112_7_1_2_trailers_do_not_travel,
    rfc9112_9_3_http_10_backends,
);

/// What a backend sees of this request.
fn arrives(engine: Engine, server: &str, request: &str) -> Seen {
    let backend = Backend::fixed("x");
    let proxy = Proxy::to(engine, [&backend]).server(server).start();
    assert_eq!(proxy.client().ask(request).status, 200);
    backend.only()
}

fn rfc9110_9_every_method_passes(engine: Engine) {
    let backend = Backend::start(|conn| {
        let method = conn.request().method().to_owned();
        conn.reply(200, &[("X-Method", &method)], "");
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    for method in [
        "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "MKCOL", "REPORT",
        "M-SEARCH", "PURGE", "get",
    ] {
        let request = format!("{method} / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.ask(request).get("x-method").as_deref(), Some(method));
    }
}

fn rfc9112_3_2_targets_pass_byte_for_byte(engine: Engine) {
    let backend = Backend::start(|conn| {
        let target = conn.request().target().to_owned();
        conn.reply(200, &[], target);
    });
    let setup = Proxy::to(engine, [&backend]).server("paths = \"as_sent\"");
    let proxy = setup.start();
    let mut client = proxy.client();
    for target in [
        "/",
        "//",
        "/?",
        "/a/./b/../c//%2e%2E/%2f%zz%",
        "/a/./b//%2e?x=\"|`^{}[]\\<>",
        "/\"|`^{}[]\\<>",
        "/;a=1;b?x=1&x=2&&=",
        "/~!$&'()*+,;=:@-._",
        "/a?b?c=/d",
        "/%00%0d%0a",
    ] {
        assert_eq!(client.get(target).text(), target);
    }
}

fn rfc9112_3_2_4_asterisk_form_reaches_the_only_upstream(engine: Engine) {
    let seen = arrives(engine, "", "OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!((seen.method(), seen.target()), ("OPTIONS", "*"));
}

fn rfc9112_3_2_2_absolute_form_wins_over_host(engine: Engine) {
    let request = "GET http://real.test:81/p?q HTTP/1.1\r\nHost: other.test\r\n\r\n";
    let seen = arrives(engine, "", request);
    assert_eq!(seen.target(), "/p?q");
    assert_eq!(seen.get("host").as_deref(), Some("real.test:81"));
}

fn rfc9110_5_3_repeated_fields_keep_their_order(engine: Engine) {
    let fields =
        "X-A: 1\r\nX-B: b\r\nx-a: 2\r\nX-Empty:\r\nX-A:   3 with  blanks  \r\nCookie: a=1; b=2\r\n";
    let request = format!("GET / HTTP/1.1\r\nHost: Test.Example:8080\r\n{fields}\r\n");
    let seen = arrives(engine, "", &request);
    assert_eq!(seen.head.all("x-a"), ["1", "2", "3 with  blanks"]);
    assert_eq!(seen.get("x-empty").as_deref(), Some(""));
    assert_eq!(seen.get("cookie").as_deref(), Some("a=1; b=2"));
    assert_eq!(seen.get("host").as_deref(), Some("Test.Example:8080"));
    for added in [
        "user-agent",
        "accept",
        "accept-encoding",
        "content-length",
        "transfer-encoding",
    ] {
        assert_eq!(seen.get(added), None, "{added} was not asked for");
    }
}

fn rfc9110_7_6_1_hop_by_hop_fields_stop_here_on_the_way_in(engine: Engine) {
    let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: X-Named, keep-alive\r\nX-Named: 1\r\nKeep-Alive: 5\r\n\
                   TE: trailers\r\nTrailer: X-T\r\nUpgrade: h2c\r\nProxy-Connection: close\r\nProxy: http://evil\r\nX-Kept: 1\r\n\r\n";
    let seen = arrives(engine, "", request);
    for gone in [
        "x-named",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "proxy-connection",
        "proxy",
    ] {
        assert_eq!(seen.get(gone), None, "{gone}");
    }
    assert_eq!(seen.get("x-kept").as_deref(), Some("1"));
}

fn rfc9110_7_6_1_hop_by_hop_fields_stop_here_on_the_way_out(engine: Engine) {
    let backend = Backend::raw(
        b"HTTP/1.1 200 OK\r\nConnection: X-Named\r\nX-Named: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\n\
          Upgrade: h2c\r\nContent-Length: 1\r\nX-Kept: 1\r\n\r\nx",
    );
    let proxy = Proxy::to(engine, [&backend]).start();
    let answer = proxy.get("/");
    for gone in ["x-named", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(answer.get(gone), None, "{gone}");
    }
    assert_eq!(answer.get("x-kept").as_deref(), Some("1"));
}

const SPOOFED: &str = "GET / HTTP/1.1\r\nHost: test:80\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\
    X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\n\
    X-Request-ID: spoofed-id\r\nVia: 1.0 before\r\n\r\n";

fn rfc7239_forwarding_fields_are_set(engine: Engine) {
    let seen = arrives(engine, "", "GET / HTTP/1.1\r\nHost: test:80\r\n\r\n");
    assert_eq!(seen.get("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.get("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(seen.get("x-forwarded-host").as_deref(), Some("test:80"));
    assert!(seen.get("x-forwarded-port").is_some());
    assert_eq!(seen.get("x-real-ip").as_deref(), Some("127.0.0.1"));
    assert!(seen.get("forwarded").unwrap().contains("for=127.0.0.1"));
    assert!(seen.get("via").unwrap().starts_with("1.1 "));
    assert!(seen.get("x-request-id").unwrap().len() >= 16);
}

fn rfc7239_spoofed_forwarding_fields_are_replaced(engine: Engine) {
    let seen = arrives(engine, "", SPOOFED);
    assert_eq!(seen.get("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.get("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(seen.get("x-forwarded-host").as_deref(), Some("test:80"));
    assert_eq!(seen.get("x-real-ip").as_deref(), Some("127.0.0.1"));
    let raw = String::from_utf8_lossy(&seen.head.raw).into_owned();
    assert!(
        !raw.contains("203.0.113.9") && !raw.contains("evil") && !raw.contains("spoofed-id"),
        "{raw}"
    );
    assert!(
        seen.head
            .all("via")
            .join(", ")
            .starts_with("1.0 before, 1.1 "),
        "{raw}"
    );
}

fn rfc7239_a_trusted_proxy_is_believed(engine: Engine) {
    let seen = arrives(engine, "trusted_proxies = [\"127.0.0.0/8\"]", SPOOFED);
    assert_eq!(
        seen.get("x-forwarded-for").as_deref(),
        Some("203.0.113.9, 127.0.0.1")
    );
    assert_eq!(seen.get("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(seen.get("x-real-ip").as_deref(), Some("203.0.113.9"));
    assert_eq!(seen.get("x-request-id").as_deref(), Some("spoofed-id"));
    let forwarded = seen.head.all("forwarded").join(", ");
    assert!(
        forwarded.starts_with("for=203.0.113.9, for=127.0.0.1"),
        "{forwarded}"
    );
}

fn rfc9110_9_3_2_head_has_a_length_and_no_body(engine: Engine) {
    let backend = Backend::start(|conn| {
        if conn.request().method() == "HEAD" {
            conn.raw("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nETag: \"x\"\r\n\r\n");
        } else {
            conn.reply(200, &[], "body");
        }
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    let head = client
        .send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
        .read_bodiless();
    assert_eq!(head.get("content-length").as_deref(), Some("12345"));
    assert_eq!(head.get("etag").as_deref(), Some("\"x\""));
    assert_eq!(client.get("/next").text(), "body");
}

fn rfc9110_15_bodiless_statuses(engine: Engine) {
    for (answer, status) in [
        ("HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", 204),
        (
            "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 99\r\n\r\n",
            304,
        ),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", 304),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
    ] {
        let backend = Backend::start(move |conn| {
            conn.raw(answer);
        });
        let proxy = Proxy::to(engine, [&backend]).start();
        let mut client = proxy.client();
        for _ in 0..2 {
            let got = client.get("/");
            assert_eq!((got.status, got.body.len()), (status, 0));
            assert_eq!(got.get("transfer-encoding"), None, "{answer:?}");
            let no_length = status != 204 || got.get("content-length").is_none();
            assert!(no_length, "204 with Content-Length");
        }
        assert_eq!(backend.count(), 2);
    }
}

fn rfc9110_10_1_1_expect_continue(engine: Engine) {
    let backend = Backend::echo();
    let proxy = Proxy::to(engine, [&backend])
        .server("limits.body = \"1KiB\"")
        .start();
    let mut client = proxy.client();
    let head = |length| {
        format!(
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    client.send(head(4));
    assert_eq!(client.read_interim(), 100);
    assert_eq!(client.ask("body").text(), "body");
    assert_eq!(backend.only().get("expect"), None);
    let mut refused = proxy.client();
    refused.send(head(5000));
    refused.read().refused(413, "body_too_big");
}

fn rfc9110_15_2_interim_answers_are_not_final(engine: Engine) {
    let backend = Backend::raw(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal",
    );
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "final");
    assert_eq!(client.get("/").text(), "final");
}

fn rfc9112_6_bodies_pass_in_every_framing(engine: Engine) {
    let backend = Backend::echo();
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET", "PROPFIND"] {
        let start = format!("{method} / HTTP/1.1\r\nHost: test\r\n");
        let length = client.ask(format!("{start}Content-Length: 4\r\n\r\nbody"));
        assert_eq!(length.text(), "body", "{method}");
        let chunks = "2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n";
        let chunked = client.ask(format!("{start}Transfer-Encoding: chunked\r\n\r\n{chunks}"));
        assert_eq!(chunked.text(), "body", "{method}");
        let empty = client.ask(format!(
            "{start}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ));
        assert_eq!(empty.text(), "", "{method}");
    }
}

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";

fn rfc9112_7_1_1_chunk_extensions_are_ignored(engine: Engine) {
    let request = format!("{CHUNKED}2;a\r\nbo\r\n2;ext=\"1\"\r\ndy\r\n0\r\n\r\n");
    assert_eq!(arrives(engine, "", &request).body, b"body");
}

fn rfc9112_7_1_2_trailers_do_not_travel(engine: Engine) {
    let request = format!("{CHUNKED}4\r\nbody\r\n0\r\nX-Trailer: 1\r\n\r\n");
    let backend = Backend::echo();
    let proxy = Proxy::to(engine, [&backend]).start();
    let answer = proxy.client().ask(request);
    // An engine that cannot read trailers refuses them.
    let refused = engine == Engine::TinyHttp && answer.status == 400;
    assert!(refused || answer.text() == "body", "{answer:?}");
    let mut seen = backend.seen().into_iter();
    assert!(seen.all(|seen| seen.get("x-trailer").is_none()));
}

fn rfc9112_9_3_http_10_backends(engine: Engine) {
    let answers: [&'static [u8]; 3] = [
        b"HTTP/1.0 200 OK\r\n\r\nold",
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nold",
    ];
    for answer in answers {
        let backend = Backend::raw_then_close(answer);
        let proxy = Proxy::to(engine, [&backend]).start();
        let mut client = proxy.client();
        for _ in 0..3 {
            let got = client.get("/");
            assert_eq!(
                (got.text().as_str(), got.line[0].as_str()),
                ("old", "HTTP/1.1")
            );
        }
    }
}
