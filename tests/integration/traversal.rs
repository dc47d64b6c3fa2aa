//! Paths that try to lead out of where a route puts them, or to where the rules let nobody in: in every spelling, against backends
//! that read them in every way.

use crate::support::program::{NGINX, skip_without};
use crate::support::readers::readings;
use crate::support::traversals::corpus;
use crate::support::{Backend, Engine, Nginx, Proxy, Received, Response, on_each_engine};

on_each_engine!(
    no_spelling_leaves_the_prefix,
    no_spelling_leaves_the_prefix_it_is_given,
    no_spelling_reaches_what_is_closed,
    nginx_serves_nothing_else,
    what_applications_send_arrives,
    refusals_say_which_rule,
    spellings_have_their_key,
);

fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
}

/// All of them; where connections take longer, a part: paths are judged by the same code.
fn targets(engine: Engine) -> impl Iterator<Item = String> {
    let step = match engine {
        Engine::Reactor => 1,
        _ => 7,
    };
    corpus().into_iter().step_by(step)
}

/// Asks on a new connection. tiny_http hangs up for a while on an address and port that it has just broken off, and the system
/// gives ports out again.
fn ask(proxy: &Proxy, target: &str) -> Response {
    for _ in 0..100 {
        match proxy.client().send(request(target)).receive() {
            Received::Whole(answer) => return answer,
            Received::Closed | Received::Reset => (),
            cut @ Received::Cut(_) => panic!("{target}: {cut:?}"),
        }
    }
    panic!("{target}: no answer");
}

/// Sends them all: how many were served, with what the backend saw of each.
fn send_all(engine: Engine, proxy: &Proxy, backend: &Backend) -> Vec<(String, String)> {
    let mut served = Vec::new();
    for target in targets(engine) {
        let before = backend.count();
        let status = ask(proxy, &target).status;
        match status {
            200 => {
                assert_eq!(backend.count(), before + 1, "{target}");
                served.push((target, backend.last_target()));
            }
            400 | 403 | 404 => assert_eq!(backend.count(), before, "{target}: {status}"),
            other => panic!("{target}: {other}"),
        }
    }
    served
}

fn no_spelling_leaves_the_prefix(engine: Engine) {
    let backend = Backend::fixed("open");
    for matching in [
        "path = \"/public/\"",
        "path = \"/public\"",
        "path = \"/public/{name}\"",
        "path_exact = \"/public/x\"",
    ] {
        let route = format!("[[route]]\nmatch = {{ {matching} }}\nupstream = \"web\"");
        let proxy = Proxy::to(engine, [&backend]).more(&route).start();
        let served = send_all(engine, &proxy, &backend);
        for (sent, seen) in &served {
            for found in readings(seen) {
                assert!(
                    found.is_below("public"),
                    "{matching}: {sent} as {seen}: {found:?}"
                );
            }
        }
        // It is no proxy that refuses everything.
        let has = |wanted: &str| {
            engine != Engine::Reactor || served.iter().any(|(sent, _)| sent == wanted)
        };
        assert!(has("/public//x") || matching.contains("exact") || matching.contains("name"));
        assert!(has("/public/./x"), "{served:?}");
    }
}

fn no_spelling_leaves_the_prefix_it_is_given(engine: Engine) {
    let backend = Backend::fixed("open");
    for (lines, directory) in [
        (
            "match = { path = \"/public/\" }\nstrip_prefix = \"/public\"",
            None,
        ),
        (
            "match = { path = \"/public/\" }\nadd_prefix = \"/inner\"",
            Some("inner"),
        ),
        (
            "match = { path = \"/public\" }\nstrip_prefix = \"/public\"\nadd_prefix = \"/inner\"",
            Some("inner"),
        ),
        (
            "match = { path = \"/public/{name}\" }\nrewrite = \"/inner/{name}{rest}\"",
            Some("inner"),
        ),
        (
            "match = { path = \"/public\" }\nrewrite = \"/inner{rest}\"",
            Some("inner"),
        ),
        (
            "match = { path = \"/\" }\nadd_prefix = \"/inner\"",
            Some("inner"),
        ),
        (
            "match = { path = \"/\" }\nrewrite = \"/inner{path}\"",
            Some("inner"),
        ),
    ] {
        let route = format!("[[route]]\nupstream = \"web\"\n{lines}");
        let proxy = Proxy::to(engine, [&backend]).more(&route).start();
        for (sent, seen) in send_all(engine, &proxy, &backend) {
            assert!(!seen.starts_with("//"), "{lines}: {sent} as {seen}");
            for found in readings(&seen) {
                assert!(!found.went_above, "{lines}: {sent} as {seen}: {found:?}");
                let is_inside = directory.is_none_or(|directory| found.is_below(directory));
                assert!(is_inside, "{lines}: {sent} as {seen}: {found:?}");
            }
        }
    }
}

fn no_spelling_reaches_what_is_closed(engine: Engine) {
    let (open, closed) = (Backend::fixed("open"), Backend::fixed("closed"));
    let catch_all = "[[route]]\nupstream = \"web\"\n[[route]]\nmatch = { path = \"/private\" }\n";
    for private in [
        "upstream = \"web\"\ndeny = [\"0.0.0.0/0\", \"::/0\"]",
        "upstream = \"web\"\ndeny_if = { method = \"GET\" }",
        "answer = { status = 404 }",
        "upstream = \"other\"",
    ] {
        let proxy = Proxy::to(engine, [&open])
            .upstream("other", [closed.address()])
            .more(&format!("{catch_all}{private}"))
            .start();
        let mut reached = 0;
        for target in targets(engine) {
            let answer = ask(&proxy, &target);
            if answer.text() == "closed" {
                reached += 1;
                continue;
            }
            if answer.text() == "open" {
                let seen = open.last_target();
                for found in readings(&seen) {
                    assert!(
                        !found.is_below("private"),
                        "{private}: {target} as {seen}: {found:?}"
                    );
                }
            }
        }
        assert_eq!(reached > 0, private.contains("other"), "{private}");
    }
}

fn nginx_serves_nothing_else(engine: Engine) {
    skip_without!(NGINX);
    let nginx = Nginx::start("merge_slashes on;");
    for (folder, text) in [("public", "open"), ("private", "closed")] {
        std::fs::create_dir_all(nginx.path(&format!("{folder}/a"))).unwrap();
        std::fs::write(nginx.path(&format!("{folder}/x")), text).unwrap();
        std::fs::write(nginx.path(&format!("{folder}/a/x")), text).unwrap();
    }
    std::fs::write(nginx.path("x"), "closed").unwrap();
    let routes = [
        "[[route]]\nmatch = { path = \"/public/\" }\nupstream = \"web\"",
        "[[route]]\nmatch = { path = \"/public/\" }\nupstream = \"web\"\nstrip_prefix = \"/public\"\nadd_prefix = \"/public/a\"",
        "[[route]]\nupstream = \"web\"\n[[route]]\nmatch = { path = \"/private\" }\nupstream = \"web\"\ndeny = [\"127.0.0.1\"]\n\
         [[route]]\nmatch = { path_exact = \"/x\" }\nupstream = \"web\"\ndeny = [\"127.0.0.1\"]",
    ];
    let around = crate::support::client::get(nginx.address(), "/public/../private/x");
    assert_eq!(around.text(), "closed");
    for route in routes {
        let proxy = Proxy::to(engine, [])
            .and(nginx.address())
            .more(route)
            .start();
        assert_eq!(proxy.get("/public//x").text(), "open");
        for target in targets(engine) {
            let answer = ask(&proxy, &target);
            assert_ne!(answer.text(), "closed", "{route}: {target}");
        }
    }
}

fn what_applications_send_arrives(engine: Engine) {
    let backend = Backend::fixed("fine");
    let routes = "[[route]]\nupstream = \"web\"\n[[route]]\nmatch = { path = \"/private\" }\nupstream = \"web\"\ndeny = [\"127.0.0.1\"]";
    let proxy = Proxy::to(engine, [&backend]).more(routes).start();
    let mut client = proxy.client();
    for (sent, expected) in [
        ("/@scope%2fname", "/@scope%2fname"),
        ("/bucket/a//b%2Fc", "/bucket/a//b%2Fc"),
        (
            "/get/http://example.com/a?b=%2e%2e/..",
            "/get/http://example.com/a?b=%2e%2e/..",
        ),
        (
            "/get/http%3A%2F%2Fexample.com%2Fa",
            "/get/http%3A%2F%2Fexample.com%2Fa",
        ),
        ("/cars;color=red/wheels;n=4", "/cars;color=red/wheels;n=4"),
        ("/app;jsessionid=1", "/app;jsessionid=1"),
        ("/100%25/a%2520b", "/100%25/a%2520b"),
        ("/caf%c3%a9/%E2%82%AC", "/caf%c3%a9/%E2%82%AC"),
        ("/%EF%BC%8E%EF%BC%8E/x", "/%EF%BC%8E%EF%BC%8E/x"),
        ("/DOMAIN%5Cuser", "/DOMAIN%5Cuser"),
        ("/wiki/What%3F", "/wiki/What%3F"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a/.../..b", "/a/.../..b"),
        (
            "/a+b/(c)!$&'*,:=@\"|`<>{}[]^",
            "/a+b/(c)!$&'*,:=@\"|`<>{}[]^",
        ),
        ("/publ%69c/./a/../x/", "/public/x/"),
        ("//a//b", "/a//b"),
        ("/a/%2e%2E/b", "/b"),
        ("/../../a", "/a"),
        ("/%7euser", "/~user"),
        ("/a/..", "/"),
        ("/privately/x", "/privately/x"),
    ] {
        assert_eq!(client.get(sent).status, 200, "{sent}");
        assert_eq!(backend.last_target(), expected, "{sent}");
    }
}

fn refusals_say_which_rule(engine: Engine) {
    let backend = Backend::fixed("never");
    let routes = "[[route]]\nupstream = \"web\"\n[[route]]\nmatch = { path = \"/private\" }\nupstream = \"web\"\n\
                  [[route]]\nmatch = { path = \"/a/b\" }\nupstream = \"web\"";
    let proxy = Proxy::to(engine, [&backend]).more(routes).start();
    for (sent, words) in [
        ("/a%zz", "two hexadecimal digits"),
        ("/a%00", "control character"),
        ("/a\\b", "backslash"),
        ("/%c0%ae", "overlong"),
        ("/a//../b", "behind an empty segment"),
        ("/a/..%2fb", "a dot segment that shows"),
        ("/private%2fx", "another route"),
        ("/private;x", "another route"),
        ("/a//b", "another route"),
    ] {
        let text = proxy
            .client()
            .ask(request(sent))
            .refused(400, "bad_request")
            .text();
        assert!(
            text.contains(words) && text.contains("paths = "),
            "{sent}: {text}"
        );
    }
    assert_eq!(backend.count(), 0);
}

fn spellings_have_their_key(engine: Engine) {
    let backend = Backend::fixed("fine");
    let routes = "[[route]]\nupstream = \"web\"\n[[route]]\nmatch = { path = \"/as/sent\" }\nupstream = \"web\"\npaths = \"as_sent\"\n\
                  [[route]]\nmatch = { path = \"/normal\" }\nupstream = \"web\"\npaths = \"normal\"";
    let setup = Proxy::to(engine, [&backend]).server("paths = \"strict\"");
    let proxy = setup.more(routes).start();
    for (sent, expected) in [
        ("/a/b;x=1", Some("/a/b;x=1")),
        ("/a/%20", Some("/a/%20")),
        ("/a//b", None),
        ("/a/./b", None),
        ("/%61", None),
        ("/a%2fb", None),
        ("/a%5cb", None),
        ("/a%2541", None),
        ("/normal/./x%2fy", Some("/normal/x%2fy")),
        ("/normal/..%2fy", None),
        (
            "//as/%73ent/../sent/%2e%2e%2f%00%zz\\",
            Some("//as/%73ent/../sent/%2e%2e%2f%00%zz\\"),
        ),
    ] {
        let answer = ask(&proxy, sent);
        match expected {
            Some(expected) => {
                assert_eq!(answer.status, 200, "{sent}");
                assert_eq!(backend.last_target(), expected);
            }
            None => {
                answer.refused(400, "bad_request");
            }
        }
    }
}
