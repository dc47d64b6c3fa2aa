//! Which requests may come: hosts, methods, rules about header fields and parameters.

use crate::support::{Backend, Engine, Proxy, on_each_engine};

on_each_engine!(
    other_hosts_are_misdirected,
    other_methods_stop_before_the_routes,
    rules_look_at_fields_and_parameters,
    rules_are_not_got_around_by_spelling,
);

/// A proxy whose only route has these lines.
fn ruled(engine: Engine, backend: &Backend, lines: &str) -> Proxy {
    let route = format!("[[route]]\nupstream = \"web\"\n{lines}");
    Proxy::to(engine, [backend]).more(&route).start()
}

fn other_hosts_are_misdirected(engine: Engine) {
    let backend = Backend::fixed("fine");
    let hosts = "hosts = [\"example.com\", \"*.example.org\", \"10.0.0.5\", \"[2001:db8::1]\"]\nhealth_paths = [\"/health\"]";
    let proxy = Proxy::to(engine, [&backend]).server(hosts).start();
    let ask = |lines: &str| proxy.client().ask(format!("{lines}\r\n\r\n"));
    for host in [
        "example.com",
        "EXAMPLE.COM:8080",
        "example.com.",
        "a.b.example.org",
        "10.0.0.5:80",
        "[2001:db8::1]:80",
        "[2001:0DB8::0001]",
    ] {
        let answer = ask(&format!("GET / HTTP/1.1\r\nHost: {host}"));
        assert_eq!(answer.status, 200, "{host}");
    }
    let served = backend.count();
    for host in [
        "other",
        "example.org",
        "example.com.evil.test",
        "[2001:db8::2]",
        "10.0.0.50",
    ] {
        ask(&format!("GET / HTTP/1.1\r\nHost: {host}")).refused(421, "host");
        ask(&format!("GET /health HTTP/1.1\r\nHost: {host}")).refused(421, "host");
    }
    ask("GET / HTTP/1.0").refused(421, "host");
    assert_eq!(ask("GET / HTTP/1.0\r\nHost: example.com").status, 200);
    // The host of the target wins.
    let target = "GET http://example.com/ HTTP/1.1\r\nHost: example.com";
    assert_eq!(ask(target).status, 200);
    let target = "GET http://other/ HTTP/1.1\r\nHost: example.com";
    let answer = ask(target);
    assert!(matches!(answer.status, 400 | 421), "{answer:?}");
    assert_eq!(backend.count(), served + 2);
}

fn other_methods_stop_before_the_routes(engine: Engine) {
    let backend = Backend::fixed("fine");
    let routes = "[[route]]\nmatch = { path = \"/write\", method = [\"PUT\", \"POST\", \"DELETE\"] }\nupstream = \"web\"\n\
                  [[route]]\nmatch = { path = \"/only\", method = \"DELETE\" }\nupstream = \"web\"\n\
                  [[route]]\nmatch = { path = \"/any\" }\nupstream = \"web\"";
    let setup = Proxy::to(engine, [&backend]).more(routes);
    let proxy = setup
        .server("methods = [\"GET\", \"HEAD\", \"POST\"]")
        .start();
    let ask = |method: &str, path: &str| {
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
        proxy.client().ask(request)
    };
    assert_eq!(ask("GET", "/any").status, 200);
    assert_eq!(ask("POST", "/write").status, 200);
    let all = Some("GET, HEAD, POST");
    for (method, path, allow) in [
        ("PUT", "/any", all),
        ("DELETE", "/nowhere", all),
        ("PROPFIND", "/any", all),
        ("OPTIONS", "/any", all),
        ("get", "/any", all),
        ("TRACE", "/any", all),
        // Those that routes take, as far as they get there.
        ("GET", "/write", Some("POST")),
        ("PUT", "/write", all),
        ("GET", "/only", all),
    ] {
        let answer = ask(method, path).refused(405, "method");
        assert_eq!(answer.get("allow").as_deref(), allow, "{method} {path}");
    }
    assert_eq!(backend.count(), 2);
}

const RULES: &str = "deny_if = [{ header = { User-Agent = \"*sqlmap*\" } }, { query = { debug = \"*\" } }, \
                     { cookie = { side = \"b\" }, method = \"POST\" }, { header = { X-Internal = \"*\" } }]\n\
                     allow_if = [{ header = { X-Team = \"a*\" } }, { query = { token = \"t1\" } }]";

fn rules_look_at_fields_and_parameters(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = ruled(engine, &backend, RULES);
    let ask = |line: &str, fields: &str| {
        let request = format!("{line} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n{fields}\r\n");
        proxy.client().ask(request)
    };
    let team = "X-Team: alpha\r\n";
    for (line, fields) in [
        ("GET /", team),
        ("GET /?token=t1", ""),
        ("GET /?%74oken=%741", ""),
        ("GET /?debugger=1", team),
        ("GET /", "X-Team: alpha\r\nCookie: side=b\r\n"),
        ("POST /", "X-Team: alpha\r\nCookie: side=a\r\n"),
        ("GET /", "X-Team: no\r\nx-team: a\r\n"),
    ] {
        assert_eq!(ask(line, fields).status, 200, "{line} {fields}");
    }
    let served = backend.count();
    for (line, fields) in [
        ("GET /", ""),
        ("GET /", "X-Team: beta\r\n"),
        ("GET /?token=t2", ""),
        ("GET /", "X_Team: alpha\r\n"),
        ("GET /", "X-Team: alpha\r\nUser-Agent: x sqlmap/1\r\n"),
        (
            "GET /",
            "X-Team: alpha\r\nuser-agent: good\r\nUSER-AGENT: sqlmap\r\n",
        ),
        ("GET /?a=b&debug", team),
        ("GET /?token=t1&debug=", ""),
        ("POST /", "X-Team: alpha\r\nCookie: x=1; side=b\r\n"),
        ("GET /", "X-Team: alpha\r\nX-Internal: \r\n"),
    ] {
        let text = ask(line, fields).refused(403, "forbidden").text();
        for told in ["sqlmap", "alpha", "token", "X-Team", "debug"] {
            assert!(!text.contains(told), "{text}");
        }
    }
    assert_eq!(backend.count(), served);
}

fn rules_are_not_got_around_by_spelling(engine: Engine) {
    let backend = Backend::fixed("never");
    let lines = "deny_if = [{ header = { X-Debug = \"*\" } }, { query = { debug = \"*\" } }, { cookie = { side = \"b\" } }]";
    let proxy = ruled(engine, &backend, lines);
    let many = "a&".repeat(256);
    for request in [
        "GET / HTTP/1.1\r\nHost: test\r\nx-DEBUG: 1\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: test\r\nX_Debug: 1\r\n\r\n".to_owned(),
        "GET /?%64%65bug=1 HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(),
        "GET /?a=1&&debug=1 HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(),
        "GET http://test/?debug HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: test\r\nCookie: side =b\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: test\r\nCookie: a=1;side= \"b\"\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: test\r\nCookie: side=%62\r\n\r\n".to_owned(),
        format!("GET /?{many}debug=1 HTTP/1.1\r\nHost: test\r\n\r\n"),
    ] {
        proxy.client().ask(request).refused(403, "forbidden");
    }
    assert_eq!(backend.count(), 0);
}
