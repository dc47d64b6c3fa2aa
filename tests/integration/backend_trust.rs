//! Which backends are trusted: authorities, names, dates, our own certificate, and what is said where it fails.

use std::fs;
use std::sync::Arc;

use rustls::RootCertStore;

use crate::support::authority::{Authority, Issued};
use crate::support::secured::Secured;
use crate::support::{Backend, Engine, Process, Proxy, eventually, on_each_engine};

on_each_engine!(
    what_is_verified_is_what_was_asked_for,
    a_name_may_be_given,
    a_backend_may_want_to_know_who_we_are,
    an_untrusted_backend_costs_no_request_where_there_is_another,
    probes_trust_nobody_else_either,
    a_renewed_authority_is_taken_with_a_reload,
);

const ALONE: &str = "retry.attempts = 0\nejection.failures = 0";

/// A proxy before one backend that shows this certificate. `{ca}` in the lines stands for the authority's.
fn ask(engine: Engine, authority: &Authority, shown: &Issued, lines: &str) -> (u16, String) {
    let secured = Secured::by(shown);
    let backend = Backend::secured(&secured, |conn| conn.reply(200, &[], "trusted"));
    let ca = authority.path();
    let proxy = Proxy::to(engine, [&backend])
        .web(ALONE)
        .web(&lines.replace("{ca}", &ca.display().to_string()))
        .start();
    let answer = proxy.get("/");
    match answer.status {
        200 => (200, answer.text()),
        status => (status, answer.cause()),
    }
}

fn what_is_verified_is_what_was_asked_for(engine: Engine) {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = authority.server(&["127.0.0.1", "localhost"]);
    let named = authority.server(&["other.test"]);
    let expired = authority.expired(&["127.0.0.1"]);
    let unknown = stranger.server(&["127.0.0.1"]);
    let client = authority.client();
    for (shown, full, ca) in [
        (&good, 200, 200),
        (&named, 502, 200),
        (&expired, 502, 502),
        (&unknown, 502, 502),
        // It is for clients only.
        (&client, 502, 502),
    ] {
        for (verify, expected) in [("full", full), ("ca", ca), ("none", 200)] {
            let lines = format!("tls.ca = \"{{ca}}\"\ntls.verify = \"{verify}\"");
            let got = ask(engine, &authority, shown, &lines);
            let word = match expected {
                200 => "trusted",
                _ => "backend_certificate",
            };
            assert_eq!(got, (expected, word.to_owned()), "{verify}: {shown:?}");
        }
    }
}

fn a_name_may_be_given(engine: Engine) {
    let authority = Authority::new();
    let secured = Secured::by(&authority.server(&["api.test", "*.wild.test", "::1"]));
    let backend = Backend::secured(&secured, |conn| conn.reply(200, &[], "trusted"));
    for (name, status) in [
        ("api.test", 200),
        ("API.test", 200),
        ("a.wild.test", 200),
        ("::1", 200),
        ("a.b.wild.test", 502),
        ("127.0.0.1", 502),
    ] {
        let proxy = Proxy::to(engine, [&backend])
            .web(ALONE)
            .web(&authority.trust())
            .web(&format!("tls.server_name = \"{name}\""))
            .start();
        assert_eq!(proxy.get("/").status, status, "{name}");
    }
    let names: Vec<Option<String>> = secured.names();
    let asked = ["api.test", "api.test", "a.wild.test"].map(|name| Some(name.to_owned()));
    assert_eq!(names, [&asked[..], &[None]].concat());
    let seen = backend.seen();
    assert!(
        seen.iter()
            .all(|seen| seen.get("host").as_deref() == Some("test"))
    );
}

fn a_backend_may_want_to_know_who_we_are(engine: Engine) {
    let authority = Authority::new();
    let (server, client) = (authority.server(&["127.0.0.1"]), authority.client());
    let other = Authority::new();
    let stranger = other.client();
    let roots: Arc<RootCertStore> = authority.roots();
    let secured = Secured::by(&server);
    let backend = Backend::secured(&secured, |conn| conn.reply(200, &[], "welcome"));
    let start = |own: Option<&Issued>| {
        let mut setup = Proxy::to(engine, [&backend])
            .web(ALONE)
            .web(&authority.trust());
        if let Some(own) = own {
            let (cert, key) = (own.cert.display(), own.key.display());
            setup = setup.web(&format!("tls.cert = \"{cert}\"\ntls.key = \"{key}\""));
        }
        setup.start()
    };
    for is_old in [false, true] {
        match is_old {
            false => secured.require(&server, Arc::clone(&roots)),
            true => secured.only_tls12(&server, Some(Arc::clone(&roots))),
        }
        assert_eq!(start(Some(&client)).get("/").text(), "welcome");
        for own in [None, Some(&stranger)] {
            let refused = start(own).get("/");
            assert_eq!(
                (refused.status, refused.cause().as_str()),
                (502, "backend_tls"),
                "{is_old} {own:?}"
            );
        }
    }
    assert_eq!(backend.count(), 2);
}

/// Also with a POST: nothing of it was sent.
fn an_untrusted_backend_costs_no_request_where_there_is_another(engine: Engine) {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = Secured::by(&authority.server(&["127.0.0.1"]));
    let bad = Secured::by(&stranger.server(&["127.0.0.1"]));
    let [good, bad] = [good, bad].map(|secured| {
        Backend::secured(&secured, |conn| {
            let seen = conn.request();
            conn.reply(200, &[], seen.body);
        })
    });
    let proxy = Proxy::to(engine, [&bad, &good])
        .web(&authority.trust())
        .web("ejection.failures = 2\nejection.cooldown = \"600s\"")
        .start();
    let mut client = proxy.client();
    for number in 0..10 {
        let body = number.to_string();
        assert_eq!(client.post("/", &body).text(), body);
    }
    assert_eq!((good.count(), bad.count()), (10, 0));
    let upstream = proxy.upstream();
    assert_eq!(upstream["backends"][0]["failures"], 2);
    assert_eq!(upstream["backends"][0]["skipped"], "ejected");
}

fn probes_trust_nobody_else_either(engine: Engine) {
    let authority = Authority::new();
    let (good, bad) = (
        authority.server(&["127.0.0.1"]),
        authority.expired(&["127.0.0.1"]),
    );
    for path in ["", "path = \"/health\", "] {
        let secured = Secured::by(&good);
        let backend = Backend::secured(&secured, |conn| conn.reply(200, &[], "up"));
        let health = format!(
            "health = {{ {path}interval = \"20ms\", timeout = \"5s\", fall = 1, rise = 1, max_interval = \"20ms\" }}"
        );
        let proxy = Proxy::to(engine, [&backend])
            .web(&authority.trust())
            .web(&health)
            .start();
        let state = || {
            let upstream = proxy.upstream();
            let backend = &upstream["backends"][0];
            let reason = backend["last_probe"]["reason"].to_string();
            (backend["state"].as_str().unwrap().to_owned(), reason)
        };
        eventually("it is up", || state().0 == "healthy");
        secured.show(&bad);
        eventually("it is down", || {
            let (state, reason) = state();
            state == "unreachable" && reason.contains("the backend's certificate has expired")
        });
        secured.show(&good);
        eventually("it is up again", || state().0 == "healthy");
    }
}

fn a_renewed_authority_is_taken_with_a_reload(engine: Engine) {
    let (old, new) = (Authority::new(), Authority::new());
    let (shown, renewed) = (old.server(&["127.0.0.1"]), new.server(&["127.0.0.1"]));
    let file = old.file("trusted.pem");
    fs::write(&file, old.pem()).unwrap();
    let secured = Secured::by(&shown);
    let backend = Backend::secured(&secured, |conn| {
        conn.reply(200, &[("Connection", "close")], "trusted");
        conn.close();
    });
    let setup = Proxy::to(engine, [&backend])
        .web(ALONE)
        .web(&format!("tls.ca = \"{}\"", file.display()));
    let proxy = setup.start();
    assert_eq!(proxy.get("/").text(), "trusted");
    assert_eq!(proxy.reload(&setup).unwrap(), [""; 0]);
    assert_eq!(proxy.get("/").text(), "trusted");
    assert_eq!(
        (secured.full(), secured.resumed()),
        (1, 1),
        "nothing has changed"
    );

    fs::write(&file, "nothing").unwrap();
    let problems = proxy.reload(&setup).unwrap_err();
    assert!(problems[0].contains("holds no certificate"), "{problems:?}");
    assert_eq!(proxy.get("/").text(), "trusted");

    fs::write(&file, new.pem()).unwrap();
    secured.show(&renewed);
    let told = proxy.reload(&setup).unwrap();
    assert!(
        told[0].contains("tls.ca") && told[0].contains("sha256"),
        "{told:?}"
    );
    assert_eq!(proxy.get("/").text(), "trusted");
    assert_eq!((secured.full(), secured.resumed()), (2, 2));
    assert_eq!(proxy.upstream()["backends"][0]["requests"], 4);
    secured.show(&shown);
    proxy.get("/").refused(502, "backend_certificate");
}

#[test]
fn the_log_tells_why() {
    let authority = Authority::new();
    let secured = Secured::by(&authority.server(&["other.test", "10.0.0.1"]));
    let backend = Backend::secured(&secured, |conn| conn.reply(200, &[], "never"));
    let setup = Proxy::to(Engine::Reactor, [&backend])
        .web(ALONE)
        .web(&authority.trust());
    let process = Process::config(&setup.text()).start();
    let refused = process.get("/");
    assert!(!refused.text().contains("other.test"), "{}", refused.text());
    refused.refused(502, "backend_certificate");
    let line = process.line_with("attempt 1 at backend b1 failed");
    for part in [
        "backend_certificate: the backend's certificate is not for 127.0.0.1 but for",
        "other.test",
        "10.0.0.1",
        "set `server_name` in [upstream.tls]",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

/// The variable is what OpenSSL knows it by.
#[test]
fn whom_the_system_trusts_is_the_default() {
    let authority = Authority::new();
    let secured = Secured::by(&authority.server(&["127.0.0.1"]));
    let backend = Backend::secured(&secured, |conn| conn.reply(200, &[], "trusted"));
    let arguments = ["run", "--listen", "127.0.0.1:0", "--to", &backend.url()];
    let trusting = Process::with(&arguments)
        .env("SSL_CERT_FILE", &authority.path().display())
        .start();
    assert_eq!(trusting.get("/").text(), "trusted");

    let empty = authority.file("empty.pem");
    fs::write(&empty, "").unwrap();
    let mut alone = Process::with(&arguments)
        .env("SSL_CERT_FILE", &empty.display())
        .start();
    let code = alone.wait();
    let said = alone.lines().join("\n");
    assert_eq!(code, 78, "{said}");
    assert!(
        said.contains("upstream default: this system names no authorities to trust"),
        "{said}"
    );
}
