//! Sticky sessions: a client stays with its backend by a cookie, as long as that backend is there.

use crate::support::curl::curl;
use crate::support::program::{CURL, skip_without};
use crate::support::{
    Backend, Client, Engine, Process, Proxy, Response, eventually, on_each_engine,
};

on_each_engine!(
    a_client_stays_with_its_backend,
    a_forged_cookie_is_ignored,
    curl_keeps_its_cookie,
    a_client_moves_when_its_backend_dies,
);

const STICKY: &str = "sticky = { secret = \"a-secret-of-more-than-sixteen-bytes\" }";

fn ask(client: &mut Client, cookie: &str) -> Response {
    client.ask(format!(
        "GET / HTTP/1.1\r\nHost: test\r\nCookie: theme=dark; {cookie}\r\n\r\n"
    ))
}

/// The cookie that comes with the answer, as the client sends it back.
#[track_caller]
fn cookie(answer: &Response) -> String {
    let field = answer.get("set-cookie").expect("a cookie");
    let (pair, attributes) = field.split_once(';').expect("attributes");
    assert!(attributes.contains("HttpOnly"), "{field}");
    assert!(pair.starts_with("tollgate_web="), "{field}");
    pair.to_owned()
}

fn a_client_stays_with_its_backend(engine: Engine) {
    let backends = ["1", "2", "3"].map(Backend::fixed);
    let proxy = Proxy::to(engine, &backends).web(STICKY).start();
    let mut client = proxy.client();
    let mut homes: Vec<(String, String)> = Vec::new();
    for _ in 0..3 {
        let answer = client.get("/");
        homes.push((cookie(&answer), answer.text()));
    }
    let mut texts: Vec<&str> = homes.iter().map(|(_, text)| &**text).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["1", "2", "3"], "who has no cookie is spread");
    for _ in 0..20 {
        for (cookie, text) in &homes {
            let answer = ask(&mut client, cookie);
            assert_eq!(answer.text(), *text);
            assert_eq!(answer.get("set-cookie"), None, "it has one");
        }
    }
}

fn a_forged_cookie_is_ignored(engine: Engine) {
    let backends = ["1", "2"].map(Backend::fixed);
    let proxy = Proxy::to(engine, &backends).web(STICKY).start();
    let other_secret = STICKY.replace("more", "less");
    let other = Proxy::to(engine, &backends).web(&other_secret).start();
    let elsewhere = cookie(&other.get("/"));
    let mut client = proxy.client();
    let real = cookie(&client.get("/"));
    let cut = &real[..real.len() - 1];
    let longer = format!("{real}0");
    let forged = [
        "tollgate_web=b1",
        "tollgate_web=",
        "tollgate_web=1",
        cut,
        &longer,
        &elsewhere,
    ];
    for forged in forged {
        let before = backends.each_ref().map(Backend::count);
        for _ in 0..10 {
            // It gets another one, and goes where anybody would.
            cookie(&ask(&mut client, forged));
        }
        let after = backends.each_ref().map(Backend::count);
        assert_eq!(
            [after[0] - before[0], after[1] - before[1]],
            [5, 5],
            "{forged}"
        );
    }
}

fn curl_keeps_its_cookie(engine: Engine) {
    skip_without!(CURL);
    let backends = ["1", "2", "3"].map(Backend::fixed);
    let proxy = Proxy::to(engine, &backends).web(STICKY).start();
    let folder = tempfile::tempdir().unwrap();
    let jar = folder.path().join("jar").display().to_string();
    let url = format!("http://{}/", proxy.traffic());
    let fetch = || {
        curl(&["--cookie", &jar, "--cookie-jar", &jar, &url])
            .response
            .text()
    };
    let home = fetch();
    for _ in 0..5 {
        assert_eq!(fetch(), home);
    }
    let counts = backends.each_ref().map(Backend::count);
    assert_eq!(counts.iter().max(), Some(&6), "{counts:?}");
}

fn a_client_moves_when_its_backend_dies(engine: Engine) {
    let [mut one, two] = ["1", "2"].map(Backend::fixed);
    let setup = Proxy::to(engine, [&one, &two])
        .web(STICKY)
        .web("ejection = { failures = 2, cooldown = \"200ms\", max_cooldown = \"200ms\" }");
    let process = Process::config(&setup.text()).start();
    let mut client = process.client();
    let mut given = || cookie(&client.get("/"));
    let [first, second] = [given(), given()];
    let mut client = process.client();
    assert_eq!(ask(&mut client, &first).text(), "1");
    one.kill();
    let moved = ask(&mut client, &first);
    assert_eq!((moved.text(), cookie(&moved)), ("2".into(), second.clone()));
    let id = moved.get("x-request-id").unwrap();
    let line = process.line_with("goes to");
    for part in ["backend web/b1", "goes to b2", &id] {
        assert!(line.contains(part), "{part} is missing: {line}");
    }
    one.restart();
    // It stays where it is now; who has not come in between is at home again.
    eventually("the first one is used again", || {
        ask(&mut client, &first).text() == "1"
    });
    for _ in 0..10 {
        assert_eq!(ask(&mut client, &second).text(), "2");
    }
}
