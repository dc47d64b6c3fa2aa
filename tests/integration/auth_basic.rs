//! Users and passwords, which take their time to compare; and files of credentials that change.

use std::fs;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tollgate::config::model::{HashKind, PasswordHash};

use crate::support::curl::curl;
use crate::support::program::{CURL, skip_without};
use crate::support::{Backend, Client, Engine, Proxy, Response, eventually, on_each_engine};

on_each_engine!(
    passwords_let_in,
    nothing_is_shown_or_sent_before_the_password_is_compared,
    bodies_come_after_the_password,
    many_at_once_are_all_answered,
    who_guesses_does_not_make_others_wait,
    a_file_that_changes_takes_effect,
    curl_logs_in,
);

const PASSWORD: &str = "correct: horse ä";

static HASH: LazyLock<String> = LazyLock::new(|| hash(PASSWORD));

fn hash(password: &str) -> String {
    PasswordHash::make(password.as_bytes(), HashKind::Argon2id).unwrap()
}

fn login(user: &str, password: &str) -> String {
    let encoded = STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {encoded}\r\n")
}

fn route(more: &str) -> String {
    format!(
        "[[route]]\nupstream = \"web\"\n{more}\n[route.auth]\nuser_header = \"X-User\"\nbasic.users = {{ alice = '{}' }}\n",
        *HASH
    )
}

fn ask(client: &mut Client, target: &str, fields: &str) -> Response {
    client.ask(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
}

fn passwords_let_in(engine: Engine) {
    let backend = Backend::fixed("in");
    let proxy = Proxy::to(engine, [&backend]).more(&route("")).start();
    let mut client = proxy.client();
    for (fields, status) in [
        (login("alice", PASSWORD), 200),
        (login("alice", PASSWORD), 200),
        (login("alice", "wrong"), 401),
        (login("bob", PASSWORD), 401),
        (login("alice", ""), 401),
        (String::new(), 401),
        ("Authorization: Basic !!!\r\n".into(), 401),
        (login("alice", PASSWORD).repeat(2), 401),
        (login("alice", PASSWORD).replace("Basic", "bASIC"), 200),
    ] {
        let answer = ask(&mut client, "/", &fields);
        assert_eq!(answer.status, status, "{fields}");
        if status == 401 {
            assert_eq!(answer.text(), "{\"message\": \"Not authenticated\"}");
            let challenge = answer.get("www-authenticate");
            let expected = "Basic realm=\"tollgate\", charset=\"UTF-8\"";
            assert_eq!(challenge.as_deref(), Some(expected));
        }
    }
    let seen = backend.seen();
    assert_eq!(seen.len(), 3);
    for one in seen {
        assert_eq!(one.head.get("authorization"), None);
        assert_eq!(one.head.get("x-user").as_deref(), Some("alice"));
    }
}

fn nothing_is_shown_or_sent_before_the_password_is_compared(engine: Engine) {
    let backend = Backend::fixed("in");
    let users = format!("auth.basic.users = {{ alice = '{}' }}\n", *HASH);
    let routes = format!(
        "[[route]]\nmatch = {{ path = \"/fixed\" }}\nanswer = {{ body = \"shown\" }}\n{users}\
         [[route]]\nmatch = {{ path = \"/moved\" }}\nredirect = {{ to = \"/there\" }}\n{users}\
         [[route]]\nmatch = {{ path = \"/closed\" }}\nupstream = \"web\"\nmaintenance = true\n{users}\
         [[route]]\nmatch = {{ path = \"/small\" }}\nupstream = \"web\"\nmax_body = 1\n{users}"
    );
    let proxy = Proxy::to(engine, [&backend]).more(&routes).start();
    for (target, status) in [
        ("/fixed", 200),
        ("/moved", 308),
        ("/closed", 503),
        ("/small", 413),
    ] {
        let ask = |fields: &str| {
            let body = if target == "/small" {
                "Content-Length: 2\r\n\r\nab"
            } else {
                "\r\n"
            };
            let mut client = proxy.client();
            client.ask(format!(
                "POST {target} HTTP/1.1\r\nHost: h\r\n{fields}{body}"
            ))
        };
        for bad in [login("alice", "wrong"), login("bob", "x"), String::new()] {
            let refused = ask(&bad);
            assert_eq!(
                (refused.status, refused.get("location")),
                (401, None),
                "{target}"
            );
        }
        assert_eq!(ask(&login("alice", PASSWORD)).status, status, "{target}");
    }
    assert_eq!(backend.count(), 0);
}

fn bodies_come_after_the_password(engine: Engine) {
    let backend = Backend::echo();
    let proxy = Proxy::to(engine, [&backend]).more(&route("")).start();
    let body = "b".repeat(200_000);
    let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let chunked = format!(
        "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    for (framed, expected) in [(&length, body.clone()), (&chunked, format!("abcde{body}"))] {
        let post = |password: &str| {
            let login = login("alice", password);
            format!("POST / HTTP/1.1\r\nHost: h\r\n{login}{framed}")
        };
        // A new password each time: the second is remembered, the first is not.
        for _ in 0..2 {
            let answer = proxy.client().ask(post(PASSWORD));
            assert_eq!((answer.status, answer.text() == expected), (200, true));
        }
        let before = backend.count();
        let mut client = proxy.client();
        // It may be told no before it has sent everything.
        let upload = client.flood(post("wrong"), 1);
        assert_eq!(client.read_any_head().line[1], "401");
        let _ = upload.join();
        assert_eq!(backend.count(), before);
    }
}

fn many_at_once_are_all_answered(engine: Engine) {
    let backend = Backend::fixed("in");
    // Comparing takes a multiple of what it should where nothing is optimised and others keep the processors busy.
    let setup = Proxy::to(engine, [&backend]).server("queue_timeout = \"60s\"");
    let proxy = setup.more(&route("")).start();
    let mut clients: Vec<Client> = (0..12).map(|_| proxy.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let password = if number % 3 == 0 { PASSWORD } else { "wrong" };
        let login = login("alice", password);
        client.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{login}\r\n"));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let expected = if number % 3 == 0 { 200 } else { 401 };
        assert_eq!(client.read().status, expected);
    }
}

fn who_guesses_does_not_make_others_wait(engine: Engine) {
    let backend = Backend::fixed("in");
    let quick = bcrypt::hash(PASSWORD, 8).unwrap();
    let route = format!(
        "[[route]]\nupstream = \"web\"\n[route.auth]\nbasic.users = {{ alice = '{quick}' }}\n"
    );
    let proxy = Proxy::to(engine, [&backend])
        .server("queue_timeout = \"60s\"\ntrusted_proxies = [\"127.0.0.1\"]")
        .more(&route)
        .start();
    let request = |from: &str, password: &str| {
        let login = login("alice", password);
        format!("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {from}\r\n{login}\r\n")
    };
    let mut guessers: Vec<Client> = (0..200).map(|_| proxy.client()).collect();
    let guess = request("192.0.2.1", "wrong");
    for client in &mut guessers {
        client.send(&guess);
    }
    let answer = proxy.client().ask(request("198.51.100.1", PASSWORD));
    assert_eq!(answer.status, 200);
    let statuses: Vec<u16> = guessers
        .iter_mut()
        .map(|client| client.read().status)
        .collect();
    let count = |wanted: u16| statuses.iter().filter(|one| **one == wanted).count();
    assert_eq!(count(401) + count(503), 200, "{statuses:?}");
    assert!(count(401) >= 32 && count(503) > 0, "{statuses:?}");
    // None of them counts any longer.
    for _ in 0..40 {
        assert_eq!(proxy.client().ask(&guess).status, 401);
    }
}

fn a_file_that_changes_takes_effect(engine: Engine) {
    let backend = Backend::fixed("in");
    let folder = tempfile::tempdir().unwrap();
    let (keys, users) = (folder.path().join("keys.txt"), folder.path().join("users"));
    fs::write(&keys, "# keys\nold:old-0123456789abc\n").unwrap();
    fs::write(&users, format!("alice:{}\n", *HASH)).unwrap();
    let route = format!(
        "[[route]]\nupstream = \"web\"\n[route.auth]\napi_keys.file = '{}'\nbasic.file = '{}'\n",
        keys.display(),
        users.display()
    );
    let proxy = Proxy::to(engine, [&backend]).more(&route).start();
    let mut client = proxy.client();
    let (old, new) = (
        "X-API-Key: old-0123456789abc\r\n",
        "X-API-Key: new-0123456789abc\r\n",
    );
    let mut status = |fields: &str| ask(&mut client, "/", fields).status;
    assert_eq!((status(old), status(new)), (200, 401));
    fs::write(&keys, "new:new-0123456789abc\n").unwrap();
    eventually("the new key is taken", || status(new) == 200);
    assert_eq!(status(old), 401);
    // A bad file changes nothing, and neither does none.
    fs::write(&keys, "new-0123456789abd\n").unwrap();
    let alice = login("alice", PASSWORD);
    assert_eq!(status(&alice), 200);
    // Remembered or not: another hash ends it, even of the same password.
    fs::write(&users, format!("bob:{}\n", *HASH)).unwrap();
    eventually("alice has gone", || status(&alice) == 401);
    assert_eq!(status(&login("bob", PASSWORD)), 200);
    assert_eq!((status(old), status(new)), (401, 200));
    fs::remove_file(&keys).unwrap();
    fs::write(&users, format!("alice:{}\n", hash("another"))).unwrap();
    eventually("her password is another", || {
        status(&login("alice", "another")) == 200
    });
    assert_eq!((status(&alice), status(new)), (401, 200));
}

fn curl_logs_in(engine: Engine) {
    skip_without!(CURL);
    let backend = Backend::fixed("in");
    let proxy = Proxy::to(engine, [&backend]).more(&route("")).start();
    let url = format!("http://{}/", proxy.traffic());
    let login = format!("alice:{PASSWORD}");
    for more in [&["--basic"][..], &["--anyauth"]] {
        let run = |login: &str| curl(&[more, &["-u", login, &url]].concat()).response;
        let answer = run(&login);
        assert_eq!((answer.status, answer.text().ends_with("in")), (200, true));
        assert_eq!(run("alice:wrong").status, 401);
    }
    let posted = curl(&["--anyauth", "-u", &login, "-d", "x=1", &url]).response;
    assert_eq!(posted.status, 200);
}
