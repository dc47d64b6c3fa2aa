//! What a client says about itself: not believed from an address that is not trusted, by nobody; believed from one that is.

use crate::support::process::Start;
use crate::support::{Backend, Engine, Process, Proxy, eventually, on_each_engine};

on_each_engine!(
    backends_never_hear_what_a_stranger_claims,
    lists_and_limits_never_hear_it_either,
    logs_have_the_address_of_the_connection,
    a_trusted_peer_is_believed_from_right_to_left,
);

/// What a stranger sends, and the part of it that nobody may see as a fact.
const CLAIMS: [(&str, &str, &str); 22] = [
    ("X-Forwarded-For", "203.0.113.66", "203.0.113.66"),
    ("x-forwarded-for", "203.0.113.66, 127.0.0.1", "203.0.113.66"),
    ("X-FORWARDED-FOR", ",203.0.113.66,,", "203.0.113.66"),
    ("X_Forwarded_For", "203.0.113.66", "203.0.113.66"),
    ("X-Forwarded_For", "203.0.113.66", "203.0.113.66"),
    ("X-Forwarded-For", "[2001:db8::66]:80", "2001:db8::66"),
    ("X-Real-IP", "203.0.113.66", "203.0.113.66"),
    ("x-real-ip", "203.0.113.66", "203.0.113.66"),
    ("X_Real_IP", "203.0.113.66", "203.0.113.66"),
    ("X-Real_IP", "203.0.113.66", "203.0.113.66"),
    ("Forwarded", "for=203.0.113.66;proto=https", "203.0.113.66"),
    ("FORWARDED", "for=\"[2001:db8::66]\"", "2001:db8::66"),
    ("X-Forwarded-Host", "evil.test", "evil.test"),
    ("X_Forwarded_Host", "evil.test", "evil.test"),
    ("X-Forwarded-Proto", "https", "https"),
    ("x_forwarded_proto", "https", "https"),
    ("X-Forwarded-Port", "6666", "6666"),
    ("X_Forwarded_Port", "6666", "6666"),
    ("X-Request-ID", "evil-id", "evil-id"),
    ("x-request-id", "evil-id", "evil-id"),
    ("X_Request_Id", "evil-id", "evil-id"),
    ("Proxy", "http://evil.test", "evil.test"),
];

fn claiming(name: &str, value: &str) -> String {
    // Twice, since some take the first field and some the last.
    format!("GET / HTTP/1.1\r\nHost: test\r\n{name}: {value}\r\n{name}: {value}\r\n\r\n")
}

fn backends_never_hear_what_a_stranger_claims(engine: Engine) {
    let backend = Backend::fixed("fine");
    for trusted in [
        "",
        "trusted_proxies = [\"192.0.2.0/24\", \"2001:db8::/32\"]",
    ] {
        let proxy = Proxy::to(engine, [&backend]).server(trusted).start();
        for (name, value, claim) in CLAIMS {
            let answer = proxy.client().ask(claiming(name, value));
            assert_eq!(answer.status, 200, "{name}: {value}");
            assert_ne!(answer.get("x-request-id").as_deref(), Some("evil-id"));
            let seen = backend.seen().pop().unwrap();
            for (field, told) in &seen.head.fields {
                let told = String::from_utf8_lossy(told);
                assert!(!told.contains(claim), "{name}: {value}: {field}: {told}");
            }
            for (name, fact) in [
                ("x-real-ip", "127.0.0.1"),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-host", "test"),
            ] {
                assert_eq!(seen.get(name).as_deref(), Some(fact), "{name}");
            }
        }
    }
}

fn lists_and_limits_never_hear_it_either(engine: Engine) {
    let backend = Backend::fixed("never");
    let routes = "[[route]]\nupstream = \"web\"\nallow = [\"203.0.113.66\", \"2001:db8::66\"]\n\
                  [[route]]\nmatch = { client_ip = \"203.0.113.66\" }\nupstream = \"web\"\n\
                  [[route]]\nmatch = { path = \"/deny\" }\nupstream = \"web\"\ndeny = [\"127.0.0.1\"]";
    let proxy = Proxy::to(engine, [&backend]).more(routes).start();
    for (name, value, _) in CLAIMS {
        let request = claiming(name, value);
        proxy.client().ask(&request).refused(403, "forbidden");
        let denied = request.replace("GET / ", "GET /deny ");
        proxy.client().ask(denied).refused(403, "forbidden");
    }
    assert_eq!(backend.count(), 0);
}

fn logs_have_the_address_of_the_connection(engine: Engine) {
    let backend = Backend::fixed("fine");
    let log = "[log]\nfile = \"DIR/logs/access.log\"\n";
    let start: Start = Process::config(&Proxy::to(engine, [&backend]).more(log).text());
    let process = start.start();
    for (name, value, _) in CLAIMS {
        assert_eq!(process.client().ask(claiming(name, value)).status, 200);
    }
    let file = process.directory().join("logs/access.log");
    let logged = || std::fs::read_to_string(&file).unwrap_or_default();
    let lines = || logged().matches(" client_ip=127.0.0.1 ").count();
    eventually("all are logged", || lines() >= CLAIMS.len());
    for (name, _, claim) in CLAIMS
        .into_iter()
        .filter(|(_, _, claim)| *claim != "https" && *claim != "6666")
    {
        assert!(!logged().contains(claim), "{name}: {}", logged());
    }
}

fn a_trusted_peer_is_believed_from_right_to_left(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend])
        .server("trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]")
        .start();
    for (lines, expected) in [
        (
            "X-Forwarded-For: 203.0.113.66, 192.0.2.1, 10.0.0.1",
            "192.0.2.1",
        ),
        (
            "X-Forwarded-For: 203.0.113.66\r\nX-Forwarded-For: 192.0.2.1",
            "192.0.2.1",
        ),
        (
            "X-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 203.0.113.66",
            "192.0.2.1",
        ),
        ("X_Forwarded_For: 203.0.113.66", "127.0.0.1"),
        ("X-Real-IP: 203.0.113.66", "127.0.0.1"),
        (
            "Forwarded: for=203.0.113.66, for=192.0.2.1;proto=https, for=10.0.0.1",
            "192.0.2.1",
        ),
        (
            "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=203.0.113.66",
            "192.0.2.1",
        ),
        (
            "X-Forwarded-For: 203.0.113.66, nonsense, 10.0.0.1",
            "10.0.0.1",
        ),
        (
            "X-Forwarded-For: ::ffff:192.0.2.1, ::ffff:10.0.0.9",
            "192.0.2.1",
        ),
    ] {
        let request =
            format!("GET / HTTP/1.1\r\nHost: test\r\nX-Request-ID: theirs\r\n{lines}\r\n\r\n");
        let answer = proxy.client().ask(request);
        assert_eq!(answer.get("x-request-id").as_deref(), Some("theirs"));
        let seen = backend.seen().pop().unwrap();
        assert_eq!(seen.get("x-real-ip").as_deref(), Some(expected), "{lines}");
        assert_eq!(seen.get("x-request-id").as_deref(), Some("theirs"));
    }
}
