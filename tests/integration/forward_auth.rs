//! Another server says who may pass: what it is asked, what its answers mean, and what happens when it gives none.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use crate::support::backend::reserve;
use crate::support::{
    Backend, Client, Conn, Engine, Gate, Proxy, Response, eventually, on_each_engine,
};

on_each_engine!(
    who_is_let_in_is_known_to_the_backend,
    the_other_server_is_told_about_the_request,
    denials_are_passed_on,
    without_an_answer_nobody_gets_in,
    who_answers_slowly_is_not_waited_for_longer,
    a_server_that_hangs_keeps_nobody_else_waiting,
    a_server_that_was_restarted_is_asked_again,
    connections_are_kept,
    other_ways_to_be_let_in_go_first,
);

/// The route `web`, about which `auth` is asked, and `/open`, about which nobody is.
fn routes(auth: &str, lines: &str) -> String {
    format!(
        "[[route]]\nname = \"open\"\nmatch = {{ path = \"/open\" }}\nupstream = \"web\"\n\
         [[route]]\nname = \"web\"\nupstream = \"web\"\n\
         [route.auth.forward]\nurl = \"{auth}/check?from=tollgate\"\ntimeout = \"10s\"\n{lines}\n"
    )
}

fn ask(client: &mut Client, target: &str, fields: &str) -> Response {
    client.ask(format!(
        "GET {target} HTTP/1.1\r\nHost: h.test\r\n{fields}\r\n"
    ))
}

/// A server that says this, whatever it is asked.
fn saying(
    status: u16,
    fields: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> Backend {
    Backend::start(move |conn: &mut Conn| conn.reply(status, fields, body))
}

fn who_is_let_in_is_known_to_the_backend(engine: Engine) {
    let auth = saying(
        204,
        &[
            ("X-User", "ann"),
            ("X-Groups", "a"),
            ("X-Groups", "b"),
            ("X-Other", "o"),
            ("Set-Cookie", "c=d"),
        ],
        "",
    );
    let backend = Backend::fixed("in");
    let lines =
        "response_headers = [\"X-User\", \"X-Groups\", \"X-Absent\"]\nuser_header = \"X-User\"";
    let more =
        routes(&auth.url(), lines) + "[route.headers.request]\nset = { X-Who = \"{user}\" }\n";
    let proxy = Proxy::to(engine, [&backend]).more(&more).start();
    let forged = "X-User: root\r\nx-user: root\r\nX_User: root\r\nX-Groups: admin\r\nX-Absent: x\r\nX-Other: mine\r\n\
        Connection: X-User, X-Groups, X-Who\r\n";
    let answer = ask(&mut proxy.client(), "/", forged);
    assert_eq!((answer.status, answer.text().as_str()), (200, "in"));
    assert_eq!(answer.get("set-cookie"), None);
    let seen = backend.only();
    let all = |name: &str| {
        let fields = seen.head.fields.iter();
        let fields = fields.filter(|(other, _)| other.to_lowercase().replace('_', "-") == name);
        fields
            .map(|(_, value)| String::from_utf8_lossy(value.as_ref()).into_owned())
            .collect::<Vec<String>>()
    };
    assert_eq!(all("x-user"), ["ann"]);
    assert_eq!(all("x-groups"), ["a, b"]);
    assert_eq!(all("x-absent"), Vec::<String>::new());
    assert_eq!(all("x-other"), ["mine"]);
    assert_eq!(all("x-who"), ["ann"]);
}

fn the_other_server_is_told_about_the_request(engine: Engine) {
    let auth = saying(200, &[], "welcome");
    let backend = Backend::echo();
    let lines = "request_headers = [\"Authorization\", \"Cookie\", \"X-Shown\"]";
    let proxy = Proxy::to(engine, [&backend])
        .more(&routes(&auth.url(), lines))
        .start();
    let answer = proxy.client().ask(
        "POST /open/../%61%20b?x=1&y HTTP/1.1\r\nHost: h.test\r\nX-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Uri: /other\r\n\
         X-Forwarded-Method: GET\r\nX-Forwarded-Host: other\r\nX-Request-ID: forged\r\nX-Real-IP: 198.51.100.7\r\n\
         Authorization: Basic eDp5\r\nCookie: a=b\r\nX-Shown: 1\r\nX-Shown: 2\r\nX-Hidden: 3\r\nContent-Length: 4\r\n\r\nbody",
    );
    assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    let asked = auth.only();
    assert_eq!(
        (asked.method(), asked.target()),
        ("GET", "/check?from=tollgate")
    );
    assert_eq!(asked.length, 0);
    let own = auth.address().to_string();
    for (name, value) in [
        ("host", Some(own.as_str())),
        ("x-forwarded-method", Some("POST")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("h.test")),
        ("x-forwarded-uri", Some("/a%20b?x=1&y")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("authorization", Some("Basic eDp5")),
        ("cookie", Some("a=b")),
        ("x-hidden", None),
        ("x-real-ip", None),
        ("content-length", None),
        ("transfer-encoding", None),
        ("accept-encoding", None),
    ] {
        let values = asked.head.all(name);
        assert_eq!(values, Vec::from_iter(value.map(str::to_owned)), "{name}");
    }
    assert_eq!(asked.head.all("x-shown"), ["1", "2"]);
    let id = asked.get("x-request-id");
    assert!(id.is_some() && id == answer.get("x-request-id"), "{id:?}");
    assert_eq!(backend.only().get("x-request-id"), id);
}

fn denials_are_passed_on(engine: Engine) {
    const FIELDS: &[(&str, &str)] = &[
        ("WWW-Authenticate", "Basic realm=\"x\""),
        ("Location", "https://login.test/?back=%2F"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Content-Type", "text/x-own"),
        ("X-Secret", "s"),
        ("Server", "auth"),
    ];
    let backend = Backend::fixed("in");
    for status in [401, 403, 302, 303, 307] {
        let auth = saying(status, FIELDS, "not you");
        let proxy = Proxy::to(engine, [&backend])
            .more(&routes(&auth.url(), ""))
            .start();
        let mut client = proxy.client();
        // A second one over the same connection: the first was framed well.
        for _ in 0..2 {
            let answer = ask(&mut client, "/", "");
            assert_eq!((answer.status, answer.text().as_str()), (status, "not you"));
            assert_eq!(
                answer.get("www-authenticate").as_deref(),
                Some("Basic realm=\"x\"")
            );
            assert_eq!(
                answer.get("location").as_deref(),
                Some("https://login.test/?back=%2F")
            );
            assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
            assert_eq!(answer.get("content-type").as_deref(), Some("text/x-own"));
            assert_eq!(answer.get("cache-control").as_deref(), Some("no-store"));
            assert_eq!(answer.get("x-secret"), None);
        }
        let head = client
            .send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
            .read_bodiless();
        assert_eq!((head.status, head.body.len()), (status, 0));
        assert_eq!(ask(&mut client, "/open", "").status, 200);
    }
    assert_eq!(backend.count(), 5);
}

fn without_an_answer_nobody_gets_in(engine: Engine) {
    let backend = Backend::fixed("in");
    let big_field = format!("HTTP/1.1 200 OK\r\nX-Big: {}\r\n\r\n", "x".repeat(70_000));
    let big_body = format!(
        "HTTP/1.1 401 No\r\nContent-Length: 70000\r\n\r\n{}",
        "x".repeat(70_000)
    );
    let endless =
        "HTTP/1.1 401 No\r\nConnection: close\r\n\r\n".to_owned() + &"x".repeat(1_000_000);
    let mut servers: Vec<Backend> = [500, 404, 400, 429, 304, 300, 503]
        .map(|status| saying(status, &[("X-User", "root")], ""))
        .into();
    servers.push(Backend::resetting());
    servers.push(Backend::raw_then_close(b""));
    servers.push(Backend::raw_then_close(b"HTTP/1.1 200 OK\r\nContent-Le"));
    servers.push(Backend::raw_then_close(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
    ));
    servers.push(Backend::raw_then_close(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ));
    servers.push(Backend::raw_then_close(b"SSH-2.0-OpenSSH_9.2\r\n"));
    servers.push(Backend::raw_then_close(
        b"HTTP/1.1 200 OK\r\nX-User: a\r\n b\r\n\r\n",
    ));
    for bytes in [big_field, big_body, endless] {
        servers.push(Backend::raw_then_close(bytes.leak().as_bytes()));
    }
    let (_reserve, nobody) = reserve();
    let mut urls: Vec<String> = servers.iter().map(Backend::url).collect();
    urls.push(format!("http://{nobody}"));
    for url in urls {
        let proxy = Proxy::to(engine, [&backend])
            .more(&routes(&url, "response_headers = [\"X-User\"]"))
            .start();
        let mut client = proxy.client();
        let answer = ask(&mut client, "/", "").refused(503, "auth_unavailable");
        assert!(!answer.text().contains("check"), "{}", answer.text());
        assert_eq!(ask(&mut client, "/open", "").status, 200, "{url}");
    }
    assert_eq!(backend.count(), servers.len() + 1);
}

fn who_answers_slowly_is_not_waited_for_longer(engine: Engine) {
    let backend = Backend::fixed("in");
    let silent = Backend::start(Conn::stall);
    let dripping_head = Backend::start(|conn| {
        conn.request();
        let gate = Gate::new();
        let mut rest = b"HTTP/1.1 200 OK\r\nX-Slow: "
            .iter()
            .chain(std::iter::repeat(&b'x'));
        while conn.raw([*rest.next().unwrap()]) {
            let begin = std::time::Instant::now();
            gate.wait(|| begin.elapsed() > Duration::from_millis(20));
        }
    });
    let dripping_body = Backend::start(|conn| {
        conn.request();
        conn.raw("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n");
        let gate = Gate::new();
        while conn.raw("x") {
            let begin = std::time::Instant::now();
            gate.wait(|| begin.elapsed() > Duration::from_millis(20));
        }
    });
    for auth in [&silent, &dripping_head, &dripping_body] {
        let text = routes(&auth.url(), "").replace("\"10s\"", "\"300ms\"");
        let proxy = Proxy::to(engine, [&backend]).more(&text).start();
        ask(&mut proxy.client(), "/", "").refused(503, "auth_unavailable");
    }
    assert_eq!(backend.count(), 0);
}

fn a_server_that_hangs_keeps_nobody_else_waiting(engine: Engine) {
    let backend = Backend::fixed("in");
    let hanging = Backend::start(Conn::stall);
    let quick = saying(200, &[], "");
    let text = routes(&hanging.url(), "")
        + &format!(
            "[[route]]\nname = \"quick\"\nmatch = {{ path = \"/quick\" }}\nupstream = \"web\"\nauth.forward = {{ url = \"{}\" }}\n",
            quick.url()
        );
    let proxy = Proxy::to(engine, [&backend])
        .server("workers = 4")
        .more(&text)
        .start();
    let mut waiting: Vec<Client> = (0..48)
        .map(|_| {
            let mut client = proxy.client();
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            client
        })
        .collect();
    eventually("all of them hang", || hanging.open_connections() == 48);
    // Neither workers nor all threads for questions are held.
    for _ in 0..20 {
        assert_eq!(proxy.get("/open").status, 200);
        assert_eq!(proxy.get("/quick").status, 200);
    }
    assert_eq!(hanging.open_connections(), 48);
    // They go away, and that is the end of it.
    waiting.clear();
    assert_eq!(proxy.get("/quick").status, 200);
    drop(hanging);
}

fn a_server_that_was_restarted_is_asked_again(engine: Engine) {
    let backend = Backend::fixed("in");
    let mut auth = saying(200, &[], "");
    let proxy = Proxy::to(engine, [&backend])
        .more(&routes(&auth.url(), ""))
        .start();
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(ask(&mut client, "/", "").status, 200);
        auth.kill();
        ask(&mut client, "/", "").refused(503, "auth_unavailable");
        auth.restart();
        assert_eq!(ask(&mut client, "/", "").status, 200);
    }
    // It closes a connection when the next question is on it.
    let served = Mutex::new(HashSet::new());
    let moody = Backend::start(move |conn| {
        let connection = conn.request().connection;
        if served.lock().unwrap().insert(connection) {
            conn.reply(200, &[], "");
        } else {
            conn.close();
        }
    });
    let proxy = Proxy::to(engine, [&backend])
        .more(&routes(&moody.url(), ""))
        .start();
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status, 200);
    }
}

fn connections_are_kept(engine: Engine) {
    let backend = Backend::fixed("in");
    let auth = saying(200, &[], "fine");
    let proxy = Proxy::to(engine, [&backend])
        .more(&routes(&auth.url(), ""))
        .start();
    let mut client = proxy.client();
    for _ in 0..20 {
        assert_eq!(ask(&mut client, "/", "").status, 200);
    }
    assert_eq!((auth.count(), auth.open_connections()), (20, 1));
}

fn other_ways_to_be_let_in_go_first(engine: Engine) {
    let backend = Backend::fixed("in");
    let auth = saying(403, &[], "no");
    let text = routes(&auth.url(), "")
        + "[route.auth.api_keys]\nkeys = { alice = \"alice-0123456789\" }\n";
    let proxy = Proxy::to(engine, [&backend]).more(&text).start();
    let mut client = proxy.client();
    assert_eq!(
        ask(&mut client, "/", "X-API-Key: alice-0123456789\r\n").status,
        200
    );
    assert_eq!(ask(&mut client, "/", "X-API-Key: wrong\r\n").status, 401);
    assert_eq!(auth.count(), 0);
    assert_eq!(ask(&mut client, "/", "").status, 403);
    assert_eq!((auth.count(), backend.count()), (1, 1));
}
