//! The server that says who may pass is asked over TLS: whom it has to be, how long it may take, and what the log tells.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::authority::{Authority, Issued};
use crate::support::secured::Secured;
use crate::support::{Backend, Conn, Engine, Gate, Process, Proxy, on_each_engine};

on_each_engine!(
    who_is_trusted_is_asked_and_the_connection_is_kept,
    who_is_not_trusted_lets_nobody_in,
    a_name_may_be_given,
    it_may_want_to_know_who_we_are,
    a_handshake_that_hangs_ends_with_the_timeout,
    whoever_speaks_no_tls_lets_nobody_in,
    a_connection_that_ends_is_replaced,
    a_renewed_authority_is_taken_with_a_reload,
);

/// A route about which `url` is asked; `tls` is the table.
fn route(url: &str, tls: &str) -> String {
    format!(
        "[[route]]\nname = \"web\"\nupstream = \"web\"\n[route.auth.forward]\nurl = \"{url}/check\"\ntimeout = \"10s\"\n\
         response_headers = [\"X-Forwarded-User\"]\n[route.auth.forward.tls]\n{tls}\n"
    )
}

fn trust(authority: &Authority) -> String {
    format!("ca = \"{}\"", authority.path().display())
}

fn welcoming(secured: &Arc<Secured>) -> Backend {
    Backend::secured(secured, |conn| {
        conn.reply(200, &[("X-Forwarded-User", "ann")], "welcome");
    })
}

fn who_is_trusted_is_asked_and_the_connection_is_kept(engine: Engine) {
    let authority = Authority::new();
    for is_old in [false, true] {
        let issued = authority.server(&["127.0.0.1"]);
        let secured = Secured::by(&issued);
        if is_old {
            secured.only_tls12(&issued, None);
        }
        let (auth, backend) = (welcoming(&secured), Backend::fixed("in"));
        let proxy = Proxy::to(engine, [&backend])
            .more(&route(&auth.url(), &trust(&authority)))
            .start();
        let mut client = proxy.client();
        for _ in 0..20 {
            let answer = client.ask("GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!((answer.status, answer.text().as_str()), (200, "in"));
        }
        let seen = backend.seen();
        assert!(
            seen.iter()
                .all(|seen| seen.get("x-forwarded-user").as_deref() == Some("ann"))
        );
        assert_eq!((auth.count(), auth.open_connections()), (20, 1));
        assert_eq!((secured.full(), secured.resumed()), (1, 0));
        let asked = auth.seen().remove(0);
        assert_eq!(asked.get("host"), Some(auth.address().to_string()));
        assert_eq!(asked.get("x-forwarded-uri").as_deref(), Some("/a?b"));
    }
}

fn who_is_not_trusted_lets_nobody_in(engine: Engine) {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = authority.server(&["127.0.0.1"]);
    let named = authority.server(&["other.test"]);
    let expired = authority.expired(&["127.0.0.1"]);
    let unknown = stranger.server(&["127.0.0.1"]);
    let backend = Backend::fixed("in");
    let mut let_in = 0;
    for (shown, full, ca) in [
        (&good, 200, 200),
        (&named, 503, 200),
        (&expired, 503, 503),
        (&unknown, 503, 503),
    ] {
        let auth = welcoming(&Secured::by(shown));
        for (verify, expected) in [("full", full), ("ca", ca), ("none", 200)] {
            let tls = format!("{}\nverify = \"{verify}\"", trust(&authority));
            let more = route(&auth.url(), &tls);
            let proxy = Proxy::to(engine, [&backend]).more(&more).start();
            let answer = proxy.get("/");
            assert_eq!(answer.status, expected, "{verify}: {shown:?}");
            if expected == 503 {
                answer.refused(503, "auth_unavailable");
            } else {
                let_in += 1;
            }
        }
        // Who is not trusted is not even asked.
        let asked = [full, ca, 200].into_iter().filter(|status| *status == 200);
        assert_eq!(auth.count(), asked.count());
    }
    assert_eq!(backend.count(), let_in);
    // The system trusts none of them.
    let auth = welcoming(&Secured::by(&good));
    let proxy = Proxy::to(engine, [&backend])
        .more(&route(&auth.url(), ""))
        .start();
    proxy.get("/").refused(503, "auth_unavailable");
    assert_eq!((auth.count(), backend.count()), (0, let_in));
}

fn a_name_may_be_given(engine: Engine) {
    let authority = Authority::new();
    let secured = Secured::by(&authority.server(&["auth.test"]));
    let (auth, backend) = (welcoming(&secured), Backend::fixed("in"));
    for (name, status) in [("auth.test", 200), ("other.test", 503)] {
        let tls = format!("{}\nserver_name = \"{name}\"", trust(&authority));
        let proxy = Proxy::to(engine, [&backend])
            .more(&route(&auth.url(), &tls))
            .start();
        assert_eq!(proxy.get("/").status, status, "{name}");
    }
    assert_eq!(secured.names(), [Some("auth.test".to_owned())]);
}

fn it_may_want_to_know_who_we_are(engine: Engine) {
    let authority = Authority::new();
    let (server, client) = (authority.server(&["127.0.0.1"]), authority.client());
    let other = Authority::new();
    let stranger = other.client();
    let secured = Secured::by(&server);
    secured.require(&server, authority.roots());
    let (auth, backend) = (welcoming(&secured), Backend::fixed("in"));
    let ask = |own: Option<&Issued>| {
        let own = own.map(|own| {
            let (cert, key) = (own.cert.display(), own.key.display());
            format!("\ncert = \"{cert}\"\nkey = \"{key}\"")
        });
        let tls = trust(&authority) + &own.unwrap_or_default();
        let more = route(&auth.url(), &tls);
        let proxy = Proxy::to(engine, [&backend]).more(&more).start();
        proxy.get("/")
    };
    assert_eq!(ask(Some(&client)).text(), "in");
    ask(None).refused(503, "auth_unavailable");
    ask(Some(&stranger)).refused(503, "auth_unavailable");
    assert_eq!((auth.count(), backend.count()), (1, 1));
}

fn a_handshake_that_hangs_ends_with_the_timeout(engine: Engine) {
    let authority = Authority::new();
    let backend = Backend::fixed("in");
    // The system accepts; nobody ever says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    // A record that is never whole.
    let dripping = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = dripping.local_addr().unwrap();
    let dripper = thread::spawn(move || {
        let (mut socket, _) = dripping.accept().unwrap();
        let gate = Gate::new();
        let record = [0x16, 3, 3, 0x40, 0, 2, 0, 0x3f, 0xfc];
        for byte in record.into_iter().chain(std::iter::repeat(0)) {
            let begin = Instant::now();
            gate.wait(|| begin.elapsed() > Duration::from_millis(20));
            if socket.write_all(&[byte]).is_err() {
                break;
            }
        }
    });
    let after = Backend::secured(&Secured::by(&authority.server(&["127.0.0.1"])), Conn::stall);
    let silent_url = format!("https://{}", silent.local_addr().unwrap());
    for url in [silent_url, format!("https://{address}"), after.url()] {
        let text = route(&url, &trust(&authority)).replace("\"10s\"", "\"300ms\"");
        let proxy = Proxy::to(engine, [&backend]).more(&text).start();
        let begin = Instant::now();
        proxy.get("/").refused(503, "auth_unavailable");
        assert!(begin.elapsed() >= Duration::from_millis(300), "{url}");
    }
    dripper.join().unwrap();
    assert_eq!(backend.count(), 0);
}

fn whoever_speaks_no_tls_lets_nobody_in(engine: Engine) {
    let authority = Authority::new();
    let backend = Backend::fixed("in");
    // Plain HTTP, a connection that is closed at once, and the end in the middle of an answer, which nobody announced.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain_at = plain.local_addr().unwrap();
    let closing = TcpListener::bind("127.0.0.1:0").unwrap();
    let closing_at = closing.local_addr().unwrap();
    let speakers = [
        thread::spawn(move || {
            let (mut socket, _) = plain.accept().unwrap();
            let mut hello = [0; 16];
            socket.read_exact(&mut hello).unwrap();
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }),
        thread::spawn(move || drop(closing.accept().unwrap())),
    ];
    for at in [plain_at, closing_at] {
        let text = route(&format!("https://{at}"), &trust(&authority));
        let proxy = Proxy::to(engine, [&backend]).more(&text).start();
        proxy.get("/").refused(503, "auth_unavailable");
    }
    for speaker in speakers {
        speaker.join().unwrap();
    }
    assert_eq!(backend.count(), 0);
}

fn a_connection_that_ends_is_replaced(engine: Engine) {
    let authority = Authority::new();
    let secured = Secured::by(&authority.server(&["127.0.0.1"]));
    let (mut auth, backend) = (welcoming(&secured), Backend::fixed("in"));
    let proxy = Proxy::to(engine, [&backend])
        .more(&route(&auth.url(), &trust(&authority)))
        .start();
    let mut client = proxy.client();
    let mut ask = || client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    for _ in 0..3 {
        assert_eq!(ask().status, 200);
        auth.kill();
        ask().refused(503, "auth_unavailable");
        auth.restart();
        assert_eq!(ask().status, 200);
    }
    // It closes a connection when the next question is on it.
    let served = Mutex::new(std::collections::HashSet::new());
    let moody = Backend::secured(&secured, move |conn| {
        let connection = conn.request().connection;
        if served.lock().unwrap().insert(connection) {
            conn.reply(200, &[], "");
        } else {
            conn.close();
        }
    });
    let proxy = Proxy::to(engine, [&backend])
        .more(&route(&moody.url(), &trust(&authority)))
        .start();
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status, 200);
    }
}

fn a_renewed_authority_is_taken_with_a_reload(engine: Engine) {
    let (old, new) = (Authority::new(), Authority::new());
    let file = old.file("trusted.pem");
    fs::write(&file, old.pem()).unwrap();
    let secured = Secured::by(&new.server(&["127.0.0.1"]));
    let (auth, backend) = (welcoming(&secured), Backend::fixed("in"));
    let tls = format!("ca = \"{}\"", file.display());
    let setup = Proxy::to(engine, [&backend]).more(&route(&auth.url(), &tls));
    let proxy = setup.start();
    proxy.get("/").refused(503, "auth_unavailable");
    fs::write(&file, new.pem()).unwrap();
    let told = proxy.reload(&setup).unwrap();
    assert!(
        told[0].contains("auth.forward.tls.ca") && told[0].contains("sha256"),
        "{told:?}"
    );
    assert_eq!(proxy.get("/").text(), "in");
}

#[test]
fn the_log_tells_why() {
    let authority = Authority::new();
    let auth = welcoming(&Secured::by(&authority.server(&["other.test"])));
    let backend = Backend::fixed("in");
    let setup =
        Proxy::to(Engine::Reactor, [&backend]).more(&route(&auth.url(), &trust(&authority)));
    let process = Process::config(&setup.text()).start();
    let refused = process.get("/");
    assert!(!refused.text().contains("other.test"), "{}", refused.text());
    refused.refused(503, "auth_unavailable");
    let line = process.line_with("does not say who may pass");
    for part in [
        &*format!("{}/check ", auth.url()),
        "the server's certificate is not for 127.0.0.1 but for",
        "other.test",
        "set `server_name` in [route.auth.forward.tls]",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}
