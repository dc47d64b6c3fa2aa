//! TLS for clients, once they have shaken hands: bodies, ends and cuts.
//!
//! What clients can do at the level of HTTP is tested in the same words as without TLS (`on_reactor_and_tls!`).

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use rustls::version;

use crate::support::authority::Authority;
use crate::support::conn::BodyEnd;
use crate::support::curl::{curl, curl_from};
use crate::support::program::{CURL, skip_without};
use crate::support::proxy::SECURE;
use crate::support::secure::{self, Stream};
use crate::support::{
    Backend, Client, Engine, Process, Proxy, dial, eventually, on_reactor, patience, pattern,
};

on_reactor!(
    curl_speaks_both_versions,
    large_bodies_go_both_ways_over_both_versions,
    the_end_is_told_and_a_cut_is_not,
    an_idle_connection_is_ended_with_a_word,
    half_an_upload_is_no_upload,
    a_unix_socket_speaks_tls_too,
    many_requests_in_one_record_are_answered,
    backends_and_log_learn_that_it_was_tls,
    certificates_of_clients_are_told_and_never_believed,
    a_slow_reader_gets_all_of_it_from_the_reactor,
);

const MB: u64 = 1_000_000;

fn url(proxy: &Proxy, path: &str) -> String {
    format!("https://{}{path}", proxy.traffic())
}

/// A connection that has not said anything yet.
fn connect(proxy: &Proxy) -> TcpStream {
    secure::connect(proxy.traffic())
}

/// A session of rustls that has shaken hands.
fn open(proxy: &Proxy) -> Stream {
    secure::open(connect(proxy), secure::config(&version::TLS13))
}

fn start(engine: Engine, backend: &Backend) -> Proxy {
    Proxy::to(engine, [backend]).listen(SECURE).start()
}

fn curl_speaks_both_versions(engine: Engine) {
    skip_without!(CURL);
    let backend = Backend::patterned(3 * MB);
    let proxy = start(engine, &backend);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, pattern::bytes(2 * MB)).unwrap();
    for version in [&["--tlsv1.2", "--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let down = url(&proxy, "/down");
        let got = curl(&[version, &["-k", "-o", "/dev/null", &down, &down]].concat());
        assert_eq!((got.response.status, got.connects), (200, vec![1, 0]));
        let got = curl(&[version, &["-k", &down]].concat()).response;
        assert_eq!(got.body.len() as u64, 3 * MB);
        assert!(pattern::matches(0, &got.body));
        for expect in ["Expect: 100-continue", "Expect:"] {
            let name = file.display().to_string();
            for from in [name.as_str(), "-"] {
                let up = url(&proxy, "/up");
                let got = [version, &["-k", "-H", expect, "-T", from, &up]].concat();
                let got = curl_from(&file, &got).response;
                assert_eq!(
                    got.text(),
                    format!("{} true", 2 * MB),
                    "{version:?} {expect}"
                );
            }
        }
    }
}

fn large_bodies_go_both_ways_over_both_versions(engine: Engine) {
    let backend = Backend::patterned(20 * MB);
    let proxy = start(engine, &backend);
    for version in [&version::TLS12, &version::TLS13] {
        let stream = secure::wrapped(connect(&proxy), secure::config(version));
        pattern::both_ways(&mut Client::plain(stream), 20 * MB);
    }
}

fn the_end_is_told_and_a_cut_is_not(engine: Engine) {
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole";
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\nhalf";
    let backend = Backend::start(move |conn| {
        let is_cut = conn.request().target() == "/cut";
        conn.raw(if is_cut { half } else { whole });
        conn.close();
    });
    let proxy = start(engine, &backend);
    for version in ["1.0", "1.1"] {
        let mut got = String::new();
        let mut stream = open(&proxy);
        let asks = format!("GET / HTTP/{version}\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(asks.as_bytes()).unwrap();
        // Without close_notify this would be an error.
        stream.read_to_string(&mut got).unwrap();
        assert!(got.ends_with("whole"), "{got}");
        let mut got = Vec::new();
        let mut stream = open(&proxy);
        let asks = format!("GET /cut HTTP/{version}\r\nHost: test\r\n\r\n");
        stream.write_all(asks.as_bytes()).unwrap();
        let error = stream.read_to_end(&mut got).unwrap_err();
        let kinds = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
        assert!(kinds.contains(&error.kind()), "{error}");
    }
}

fn an_idle_connection_is_ended_with_a_word(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).listen(SECURE);
    let proxy = setup.server("timeouts.keep_alive = \"200ms\"").start();
    let mut stream = open(&proxy);
    assert!(secure::ask(&mut stream).ends_with("fine"));
    assert_eq!(stream.read(&mut [0; 9]).unwrap(), 0);
}

/// With and without a word at the end: neither is the end of the body.
fn half_an_upload_is_no_upload(engine: Engine) {
    let backend = Backend::echo();
    let proxy = start(engine, &backend);
    let large = format!(
        "Content-Length: {}\r\n\r\n{}",
        2 * MB,
        "x".repeat(MB as usize)
    );
    let chunks = format!(
        "Transfer-Encoding: chunked\r\n\r\nf4240\r\n{}",
        "x".repeat(900_000)
    );
    let rests = [
        "Content-Length: 10\r\n\r\n12345",
        "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
        &large,
        &chunks,
    ];
    for rest in rests {
        for says_so in [false, true] {
            let mut stream = open(&proxy);
            let asks = format!("POST /half HTTP/1.1\r\nHost: test\r\n{rest}");
            stream.write_all(asks.as_bytes()).unwrap();
            if says_so {
                stream.conn.send_close_notify();
            }
            stream.flush().unwrap();
            stream.sock.shutdown(Shutdown::Write).unwrap();
            let mut got = Vec::new();
            let _ = stream.read_to_end(&mut got);
            assert!(!got.starts_with(b"HTTP/1.1 200"), "{rest:.40}");
        }
    }
    assert_eq!(proxy.client().post("/whole", "12345").text(), "12345");
    eventually("the others are cut", || {
        let seen = backend.seen();
        seen.iter()
            .all(|one| one.target() == "/whole" || one.end == BodyEnd::Cut)
    });
}

fn a_unix_socket_speaks_tls_too(engine: Engine) {
    let backend = Backend::patterned(2 * MB);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listen = format!(
        "{{ address = \"unix:{}\", tls = \"self-signed\" }}",
        path.display()
    );
    let proxy = Proxy::to(engine, [&backend]).listen(&listen).start();
    let stream = secure::wrapped(dial::unix_stream(&path), secure::config(&version::TLS13));
    pattern::both_ways(&mut Client::plain(stream), 2 * MB);
    drop(proxy);
}

fn many_requests_in_one_record_are_answered(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = start(engine, &backend);
    let mut stream = open(&proxy);
    // More than one record takes, and more than the proxy reads at a time.
    let count = 3000;
    let asks = secure::GET.repeat(count);
    let mut sender = asks.as_slice();
    let mut got = 0;
    let mut rest = Vec::new();
    let mut buffer = [0; 16 << 10];
    while got < count {
        if !sender.is_empty() {
            let part = sender.len().min(secure::GET.len() * 500);
            stream.write_all(&sender[..part]).unwrap();
            sender = &sender[part..];
        }
        let read = stream.read(&mut buffer).unwrap();
        rest.extend_from_slice(&buffer[..read]);
        while let Some(at) = rest.windows(8).position(|window| window == b"\r\n\r\nfine") {
            rest.drain(..at + 8);
            got += 1;
        }
    }
    assert!(rest.is_empty());
}

fn backends_and_log_learn_that_it_was_tls(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).listen(SECURE);
    let process = Process::config(&setup.text()).start();
    let socket = secure::connect(process.traffic());
    let mut stream = secure::open(socket, secure::config(&version::TLS12));
    let asks = "GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-Proto: http\r\nX_Client_Cert_Subject: CN=root\r\n\
        X-Client-Cert: x\r\nClient-Cert: x\r\n\r\n";
    stream.write_all(asks.as_bytes()).unwrap();
    secure::until_fine(&mut stream);
    let seen = backend.only();
    assert_eq!(seen.get("x-forwarded-proto").as_deref(), Some("https"));
    assert!(seen.get("forwarded").unwrap().ends_with("proto=https"));
    for claim in ["x_client_cert_subject", "x-client-cert", "client-cert"] {
        assert_eq!(seen.get(claim), None);
    }
    process.line_with(" tls=1.2");
}

/// With certificates from an authority of its own: the proxy tells backends who it was, and takes away what clients say of it.
fn certificates_of_clients_are_told_and_never_believed(engine: Engine) {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ca = authority.path();
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).listen(SECURE);
    let auth = format!(
        "tls.client_auth = {{ ca = \"{}\", mode = \"optional\" }}",
        ca.display()
    );
    let proxy = setup.server(&auth).start();
    let asks = "GET / HTTP/1.1\r\nHost: test\r\nX-Client-Cert-Subject: CN=root\r\n\
        X_Client-Cert_Fingerprint: 00\r\nX-Client-Cert-More: x\r\n\
        Connection: keep-alive, x-client-cert-subject, X-Client-Cert-Fingerprint\r\n\r\n";
    for version in [&version::TLS12, &version::TLS13] {
        let (config, fingerprint) = secure::config_of(version, &authority.client());
        let mut stream = secure::open(connect(&proxy), config);
        stream.write_all(asks.as_bytes()).unwrap();
        secure::until_fine(&mut stream);
        let seen = backend.seen().pop().unwrap();
        assert_eq!(
            seen.get("x-client-cert-subject").as_deref(),
            Some("CN=client-tollgate")
        );
        assert_eq!(seen.get("x-client-cert-fingerprint"), Some(fingerprint));
        let claims = seen
            .head
            .fields
            .iter()
            .filter(|(name, _)| name.contains("ert"));
        assert_eq!(claims.count(), 2, "{seen:?}");
        // Nobody proves anything on this one.
        let mut stream = secure::open(connect(&proxy), secure::config(version));
        stream.write_all(asks.as_bytes()).unwrap();
        secure::until_fine(&mut stream);
        let seen = backend.seen().pop().unwrap();
        assert!(
            !seen
                .head
                .fields
                .iter()
                .any(|(name, _)| name.contains("ert"))
        );
        // Somebody else's authority.
        let (config, _) = secure::config_of(version, &stranger.client());
        let mut socket = connect(&proxy);
        let mut session = secure::session(config);
        let result = session.complete_io(&mut socket);
        let result = result.and_then(|_| session.complete_io(&mut socket));
        assert!(result.is_err());
    }
    assert_eq!(backend.count(), 4);
}

/// The only worker is free again while the answers are still being delivered.
fn a_slow_reader_gets_all_of_it_from_the_reactor(engine: Engine) {
    let size = 700_000;
    let backend = Backend::patterned(size);
    let setup = Proxy::to(engine, [&backend]).listen(SECURE);
    let proxy = setup.server("workers = 1\ntimeouts.min_rate = 0").start();
    for version in [&version::TLS12, &version::TLS13] {
        let mut readers: Vec<Stream> = (0..8)
            .map(|_| {
                let socket = dial::narrow_stream(proxy.traffic());
                socket.set_read_timeout(Some(patience())).unwrap();
                let mut stream = secure::open(socket, secure::config(version));
                let asks = b"GET /down HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
                stream.write_all(asks).unwrap();
                stream
            })
            .collect();
        // It is answered only when the worker waits for none of the others.
        assert_eq!(proxy.client().post("/", "x").text(), "1 false");
        for reader in &mut readers {
            let mut got = Vec::new();
            reader.read_to_end(&mut got).unwrap();
            let begin = got.len() - usize::try_from(size).unwrap();
            assert!(pattern::matches(0, &got[begin..]));
        }
    }
}
