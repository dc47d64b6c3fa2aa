//! Which route, by more than host and path: methods, headers, queries, cookies, client addresses.

use crate::support::{Backend, Engine, Proxy, Response, on_each_engine};

on_each_engine!(
    every_condition_has_to_hold,
    the_more_special_route_wins,
    the_client_is_who_a_trusted_proxy_says,
    another_method_is_405_and_says_which,
);

/// A GET with these lines of fields.
fn ask(proxy: &Proxy, target: &str, fields: &str) -> Response {
    proxy.client().ask(format!(
        "GET {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"
    ))
}

fn every_condition_has_to_hold(engine: Engine) {
    let [special, rest] = ["special", "rest"].map(Backend::fixed);
    let routes = "[[route]]\nupstream = \"special\"\n[route.match]\nheader = { X-Beta = \"1\" }\n\
                  query = { version = \"2*\", flag = \"*\" }\ncookie = { side = \"b\" }\n\
                  [[route]]\nupstream = \"web\"";
    let setup = Proxy::to(engine, [&rest]).upstream("special", [special.address()]);
    let proxy = setup.more(routes).start();
    let (header, cookie) = ("X-BETA: 1\r\n", "Cookie: a=1; side=b\r\n");
    let both = format!("{header}{cookie}");
    for (target, fields, to) in [
        ("/?version=2.1&flag", &*both, "special"),
        ("/x?a=b&%66lag=&version=%32", &*both, "special"),
        ("/?version=2.1", &*both, "rest"),
        ("/?version=1&flag", &*both, "rest"),
        ("/?version=2&flag", header, "rest"),
        ("/?version=2&flag", cookie, "rest"),
        (
            "/?version=2&flag",
            "X-Beta: 10\r\nCookie: side=b\r\n",
            "rest",
        ),
        (
            "/?version=2&flag",
            "X-Beta: 1\r\nCookie: side=bb\r\n",
            "rest",
        ),
        ("/version=2&flag", &*both, "rest"),
    ] {
        assert_eq!(ask(&proxy, target, fields).text(), to, "{target} {fields}");
    }
}

fn the_more_special_route_wins(engine: Engine) {
    let [login, beta, rest] = ["login", "beta", "rest"].map(Backend::fixed);
    let routes = "[[route]]\nupstream = \"web\"\n\
                  [[route]]\nmatch = { path = \"/login\" }\nupstream = \"web\"\n\
                  [[route]]\nmatch = { header = { X-Beta = \"*\" } }\nupstream = \"beta\"\n\
                  [[route]]\nmatch = { path_exact = \"/login\" }\nupstream = \"login\"";
    let setup = Proxy::to(engine, [&rest]).upstream("login", [login.address()]);
    let proxy = setup
        .upstream("beta", [beta.address()])
        .more(routes)
        .start();
    let beta = "X-Beta: yes\r\n";
    for (target, fields, to) in [
        ("/", "", "rest"),
        ("/", beta, "beta"),
        ("/login", "", "login"),
        ("/login?next=/", beta, "login"),
        // A longer path is more special than any header.
        ("/login/", beta, "rest"),
    ] {
        assert_eq!(ask(&proxy, target, fields).text(), to, "{target} {fields}");
    }
}

fn the_client_is_who_a_trusted_proxy_says(engine: Engine) {
    let [office, rest] = ["office", "rest"].map(Backend::fixed);
    let routes = "[[route]]\nmatch = { client_ip = [\"198.51.100.0/24\", \"2001:db8::7\"] }\nupstream = \"office\"\n\
                  [[route]]\nupstream = \"web\"";
    let setup = Proxy::to(engine, [&rest]).upstream("office", [office.address()]);
    let setup = setup.more(routes);
    let from = |proxy: &Proxy, address: &str| {
        ask(proxy, "/", &format!("X-Forwarded-For: {address}\r\n")).text()
    };
    let doubting = setup.start();
    assert_eq!(from(&doubting, "198.51.100.9"), "rest");
    let trusting = setup.server("trusted_proxies = [\"127.0.0.1\"]").start();
    for (address, to) in [
        ("198.51.100.9", "office"),
        ("2001:db8::7", "office"),
        ("::ffff:198.51.100.1", "office"),
        ("203.0.113.1, 198.51.100.9", "office"),
        ("198.51.100.9, 203.0.113.1", "rest"),
        ("198.51.101.9", "rest"),
        ("2001:db8::8", "rest"),
    ] {
        assert_eq!(from(&trusting, address), to, "{address}");
    }
}

fn another_method_is_405_and_says_which(engine: Engine) {
    let [read, write] = ["read", "write"].map(Backend::fixed);
    let routes = "[[route]]\nmatch = { path = \"/items\", method = [\"GET\", \"HEAD\"] }\nupstream = \"web\"\n\
                  [[route]]\nmatch = { path = \"/items\", method = \"POST\" }\nupstream = \"write\"\n\
                  [[route]]\nmatch = { path = \"/items\", method = \"PURGE\", header = { X-Admin = \"1\" } }\nupstream = \"write\"";
    let setup = Proxy::to(engine, [&read]).upstream("write", [write.address()]);
    let proxy = setup.more(routes).start();
    assert_eq!(proxy.get("/items/1").text(), "read");
    assert_eq!(proxy.client().post("/items", "new").text(), "write");
    let mut client = proxy.client();
    let refused = client
        .ask("DELETE /items/1 HTTP/1.1\r\nHost: test\r\n\r\n")
        .refused(405, "method");
    assert_eq!(refused.get("allow").as_deref(), Some("GET, HEAD, POST"));
    // The connection goes on, and a route that lacks more than a method is none.
    assert_eq!(client.get("/items").text(), "read");
    let admin = "DELETE /items HTTP/1.1\r\nHost: test\r\nX-Admin: 1\r\n\r\n";
    let refused = client.ask(admin).refused(405, "method");
    let allow = refused.get("allow");
    assert_eq!(allow.as_deref(), Some("GET, HEAD, POST, PURGE"));
    client
        .ask("DELETE /other HTTP/1.1\r\nHost: test\r\n\r\n")
        .refused(404, "no_route");
}
