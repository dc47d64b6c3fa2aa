//! What a route changes on the way: the path, the fields of requests and of answers.

use crate::support::{
    Backend, Conn, Engine, Proxy, eventually, on_each_engine, on_reactor, websocket,
};

on_each_engine!(
    paths_are_rewritten,
    requests_are_changed,
    nobody_slips_in_what_the_route_sets,
    all_answers_of_a_route_are_changed,
    a_copied_value_stays_one_line,
    the_backend_that_answered_is_named,
    another_host_goes_to_the_backend,
);
on_reactor!(upgrades_are_changed_too);

/// Answers with the request-target it saw.
fn mirror() -> Backend {
    Backend::start(|conn| {
        let target = conn.request().target().to_owned();
        conn.reply(
            200,
            &[("Server", "origin"), ("X-Two", "1"), ("X-Two", "2")],
            target,
        );
    })
}

fn paths_are_rewritten(engine: Engine) {
    let backend = mirror();
    let routes = "[[route]]\nmatch = { path = \"/api\" }\nupstream = \"web\"\nstrip_prefix = \"/api\"\nadd_prefix = \"/v2\"\n\
        [[route]]\nmatch = { path = \"/users/{id}/posts\" }\nupstream = \"web\"\nrewrite = \"/people/{id}{rest}\"\n\
        [[route]]\nmatch = { path = \"/old/\" }\nupstream = \"web\"\nrewrite = \"{rest}\"\n\
        [[route]]\nupstream = \"web\"\nadd_prefix = \"/all\"";
    let setup = Proxy::to(engine, [&backend]).server("paths = \"as_sent\"");
    let proxy = setup.more(routes).start();
    for (target, arrives) in [
        ("/api/x?y=/api", "/v2/x?y=/api"),
        ("/api", "/v2"),
        ("/api?q", "/v2?q"),
        ("/api/", "/v2/"),
        (
            "/users/%2F%0d%0a/posts/1//2?q=\"{",
            "/people/%2F%0d%0a/1//2?q=\"{",
        ),
        ("/users/a/posts", "/people/a"),
        ("/old/", "/"),
        ("/old//evil.test/x", "/evil.test/x"),
        ("/old/?q", "/?q"),
        ("/", "/all/"),
        ("//x", "/all/x"),
        ("http://a.test", "/all/"),
    ] {
        assert_eq!(proxy.get(target).text(), arrives, "{target}");
    }
    let asterisk = proxy.client().ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(asterisk.text(), "*");
}

fn requests_are_changed(engine: Engine) {
    let backend = mirror();
    let route = "[[route]]\nname = \"app\"\nmatch = { path = \"/app\" }\nupstream = \"web\"\n\
        [route.headers.request]\n\
        set = { X-All = \"{client_ip} {route} {upstream} {host} {method} {path} {query} {scheme}\", X-Id = \"{request_id}\", \
                X-Agent = \"{header:User-Agent}\", X-None = \"{header:X-Absent}\", X-Brace = \"{{}}\" }\n\
        add = { Accept-Language = \"de\" }\n\
        remove = [\"Cookie\", \"X-Real-IP\", \"forwarded\"]\n\
        [[route]]\nupstream = \"web\"";
    let proxy = Proxy::to(engine, [&backend]).more(route).start();
    let mut client = proxy.client();
    let fields = "Host: a.test:81\r\nUser-Agent: test/1\r\nCookie: a=b\r\nAccept-Language: en\r\nX-None: theirs\r\n";
    let answer = client.ask(format!(
        "POST /app/x?y HTTP/1.1\r\n{fields}Content-Length: 2\r\n\r\nhi"
    ));
    assert_eq!(answer.text(), "/app/x?y");
    let seen = backend.only();
    let all = "127.0.0.1 app web a.test POST /app/x ?y http";
    assert_eq!(seen.get("x-all").as_deref(), Some(all));
    assert_eq!(seen.get("x-id"), answer.get("x-request-id"));
    assert_eq!(seen.get("x-id"), seen.get("x-request-id"));
    assert_eq!(seen.get("x-agent").as_deref(), Some("test/1"));
    assert_eq!(seen.get("x-brace").as_deref(), Some("{}"));
    assert_eq!(seen.head.all("accept-language"), ["en", "de"]);
    for gone in ["cookie", "x-real-ip", "forwarded", "x-none"] {
        assert_eq!(seen.get(gone), None, "{gone}");
    }
    assert_eq!(seen.get("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.body, b"hi");
    // The next request on the same connections, over another route.
    client.ask(format!("GET / HTTP/1.1\r\n{fields}\r\n"));
    let other = backend.seen().pop().unwrap();
    assert_eq!(other.get("x-all"), None);
    assert_eq!(other.get("cookie").as_deref(), Some("a=b"));
    assert!(other.get("x-real-ip").is_some());
}

fn nobody_slips_in_what_the_route_sets(engine: Engine) {
    let backend = mirror();
    let route = "[[route]]\nupstream = \"web\"\n[route.headers.request]\n\
        set = { X-User = \"{header:X-Auth-User}\" }\nremove = [\"X-Role\", \"X-Forwarded-Host\"]";
    let proxy = Proxy::to(engine, [&backend]).more(route).start();
    let hostile = "X-User: root\r\nx_user: root\r\nX_ROLE: admin\r\nConnection: X-User\r\nX_Forwarded_Host: evil\r\n";
    proxy
        .client()
        .ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{hostile}\r\n"));
    let seen = backend.only();
    for name in [
        "x-user",
        "x_user",
        "x-role",
        "x_role",
        "x-forwarded-host",
        "x_forwarded_host",
    ] {
        assert_eq!(seen.get(name), None, "{name}");
    }
}

fn all_answers_of_a_route_are_changed(engine: Engine) {
    let backend = mirror();
    let silent = Backend::start(Conn::close);
    let changes = "headers.response.set = { X-Frame-Options = \"DENY\", Server = \"front\", X-Route = \"{route} {path}\" }\n\
        headers.response.add = { X-Two = \"3\" }\nheaders.response.remove = [\"X-Gone\", \"X-Request-ID\"]\n";
    let route = |path: &str, lines: &str| {
        format!(
            "[[route]]\nname = \"{path}\"\nmatch = {{ path = \"/{path}\" }}\n{lines}\n{changes}"
        )
    };
    let routes = [
        route("good", "upstream = \"web\"\nmax_body = 10"),
        route("broken", "upstream = \"silent\""),
        route("moved", "redirect = { to = \"/x\" }"),
        route("fixed", "answer = { body = \"a\" }"),
        route("closed", "upstream = \"web\"\nmaintenance = true"),
        route("items/{service}", "services = { a = \"web\" }"),
    ];
    let setup = Proxy::to(engine, [&backend]).upstream("silent", [silent.address()]);
    let proxy = setup.more(&routes.concat()).start();
    for (target, status) in [
        ("/good", 200),
        ("/broken", 502),
        ("/moved", 308),
        ("/fixed", 200),
        ("/closed", 503),
        ("/items/none", 404),
    ] {
        let answer = proxy.get(target);
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.all("x-frame-options"), ["DENY"], "{target}");
        assert_eq!(answer.all("server"), ["front"], "{target}");
        let named = answer.get("x-route").unwrap();
        assert!(named.ends_with(target), "{named}");
        let two = answer.all("x-two");
        assert_eq!(two.last().map(String::as_str), Some("3"), "{target}");
        assert_eq!(answer.get("x-request-id"), None, "{target}");
    }
    assert_eq!(proxy.get("/good").all("x-two"), ["1", "2", "3"]);
    let big = "POST /good HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world";
    let big = proxy.client().ask(big).refused(413, "body_too_big");
    assert_eq!(big.get("x-frame-options").as_deref(), Some("DENY"));
    // No route, no changes.
    let nowhere = proxy.get("/nowhere").refused(404, "no_route");
    assert_eq!(nowhere.get("x-frame-options"), None);
    let head = proxy
        .client()
        .send("HEAD /good HTTP/1.1\r\nHost: a\r\n\r\n")
        .read_bodiless();
    assert_eq!(head.get("x-frame-options").as_deref(), Some("DENY"));
}

fn a_copied_value_stays_one_line(engine: Engine) {
    let backend = mirror();
    let route = "[[route]]\nupstream = \"web\"\n\
        headers.request.set = { X-Copy = \"{header:X-From} {path}{query}\" }\n\
        headers.response.set = { X-Copy = \"<{header:X-From}> {path}{query}\" }";
    let setup = Proxy::to(engine, [&backend]).server("paths = \"as_sent\"");
    let proxy = setup.more(route).start();
    for (value, target) in [
        ("a\tb", "/%0d%0aX-Evil:1?%0a"),
        ("\u{e4}", "/\"`|\\?<>"),
        ("{host}", "/{client_ip}"),
        ("a: b\\r\\nX-Evil: 1", "/x"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nX-From: {value}\r\n\r\n");
        let mut client = proxy.client();
        client.send(request);
        let Some(status) = client.receive().status() else {
            // tiny_http hangs up on bytes beyond ASCII.
            assert!(engine == Engine::TinyHttp && !value.is_ascii());
            continue;
        };
        if status != 200 {
            assert!(engine == Engine::TinyHttp && !value.is_ascii());
            continue;
        }
        let seen = backend.seen().pop().unwrap();
        assert_eq!(seen.get("x-evil"), None);
        assert_eq!(seen.get("x-copy").unwrap(), format!("{value} {target}"));
    }
    let bad = "GET / HTTP/1.1\r\nHost: a\r\nX-From: a\rX-Evil: 1\r\n\r\n";
    let mut client = proxy.client();
    client.send(bad).half_close();
    let answered = String::from_utf8_lossy(&client.drain()).to_ascii_lowercase();
    assert!(!answered.contains("\nx-evil"), "{answered}");
    let copied = proxy
        .client()
        .ask("GET /a?b HTTP/1.1\r\nHost: a\r\nX-From: c\r\n\r\n");
    assert_eq!(copied.get("x-copy").as_deref(), Some("<c> /a?b"));
}

fn the_backend_that_answered_is_named(engine: Engine) {
    let silent = Backend::start(Conn::close);
    let good = Backend::fixed("good");
    let route =
        "[[route]]\nupstream = \"web\"\nheaders.response.set = { X-By = \"{upstream}/{backend}\" }";
    let proxy = Proxy::to(engine, [&silent, &good]).more(route).start();
    for _ in 0..4 {
        let answer = proxy.get("/");
        assert_eq!(answer.text(), "good");
        assert_eq!(answer.get("x-by").as_deref(), Some("web/b2"));
    }
}

fn another_host_goes_to_the_backend(engine: Engine) {
    let backend = mirror();
    let routes = "[[route]]\nmatch = { path = \"/fixed\" }\nupstream = \"web\"\n\
        headers.request.set = { Host = \"app.internal:8080\" }\n\
        [[route]]\nupstream = \"web\"\nheaders.request.set = { host = \"{host}.internal\" }";
    let proxy = Proxy::to(engine, [&backend]).more(routes).start();
    let ask = |request: &str| {
        assert_eq!(proxy.client().ask(request).status, 200);
        let seen = backend.seen().pop().unwrap();
        (seen.head.all("host"), seen.get("x-forwarded-host"))
    };
    let (host, forwarded) = ask("GET /fixed HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(
        (host, forwarded.as_deref()),
        (vec!["app.internal:8080".into()], Some("a.test"))
    );
    let (host, forwarded) = ask("GET / HTTP/1.1\r\nHost: a.test:81\r\n\r\n");
    assert_eq!(
        (host, forwarded.as_deref()),
        (vec!["a.test.internal".into()], Some("a.test:81"))
    );
    let (host, forwarded) = ask("GET /fixed HTTP/1.0\r\n\r\n");
    assert_eq!((host, forwarded), (vec!["app.internal:8080".into()], None));
}

fn upgrades_are_changed_too(engine: Engine) {
    let backend = Backend::start(websocket::echo);
    let route = "[[route]]\nmatch = { path = \"/ws\" }\nupstream = \"web\"\nstrip_prefix = \"/ws\"\n\
        headers.request.set = { X-To = \"backend\" }\nheaders.response.set = { X-To = \"client {backend}\" }";
    let proxy = Proxy::to(engine, [&backend]).more(route).start();
    let mut client = proxy.client();
    let head = client.send(websocket::handshake("/ws/chat")).read_switch();
    assert_eq!(head.get("x-to").as_deref(), Some("client b1"));
    websocket::assert_echo(&mut client, websocket::TEXT, b"hello");
    let seen = backend.only();
    assert_eq!(seen.target(), "/chat");
    assert_eq!(seen.get("x-to").as_deref(), Some("backend"));
    drop(client);
    eventually("the tunnel ends", || backend.open_connections() == 0);
}
