//! Who may use the admin side: over a Unix socket, with a token that cannot be guessed, and from no web page.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use crate::support::client::get;
use crate::support::curl::curl;
use crate::support::program::{CURL, skip_without};
use crate::support::{
    Backend, Client, Engine, Process, Proxy, Response, eventually, on_each_engine,
};

on_each_engine!(
    a_unix_socket_is_for_its_owner,
    a_wrong_token_is_looked_at_ten_times,
    nobody_locks_out_the_owner_of_a_long_token,
    web_pages_change_nothing,
    the_token_is_shown_nowhere,
);

const TOKEN: &str = "an-Admin-t0ken";

fn text(engine: Engine, backend: &Backend, more: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nengine = \"{}\"\n[admin]\nlisten = \"unix:DIR/admin.sock\"\n{more}\n\
         [[upstream]]\nname = \"web\"\nbackends = [{{ id = \"b\", url = \"{}\" }}]\nhealth.enabled = false\n",
        engine.name(),
        backend.url()
    )
}

fn a_unix_socket_is_for_its_owner(engine: Engine) {
    skip_without!(CURL);
    let (first, second) = (Backend::fixed("first"), Backend::fixed("second"));
    let start = Process::config(&text(engine, &first, ""));
    let directory = start.directory().to_owned();
    let path = directory.join("admin.sock");
    // Left behind by one that has died.
    drop(UnixListener::bind(&path).unwrap());
    let process = start.start();
    assert_eq!(process.get("/").text(), "first");
    process.line_with("admin on unix:");
    let file = fs::metadata(&path).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let path = path.display().to_string();
    let ask = |url: &str| curl(&["--unix-socket", &path, url]).response;
    // Whatever it is called: no web page gets there.
    assert_eq!(ask("http://admin/_proxy/status").status, 200);
    assert_eq!(ask("http://localhost/livez").status, 200);
    let file = directory.join("tollgate.toml");
    let text = text(engine, &second, "").replace("DIR", &directory.display().to_string());
    fs::write(&file, text).unwrap();
    let reload = |more: &[&str]| {
        let arguments = [&["reload", "--config", file.to_str().unwrap()], more].concat();
        let mut command = Process::with(&arguments).start();
        let code = command.wait();
        (code, command.lines().join("\n"))
    };
    let (code, told) = reload(&["--ask"]);
    assert!(code == 0 && told.contains("backend b: url"), "{told}");
    assert_eq!(process.get("/").text(), "first");
    let (code, told) = reload(&[]);
    assert!(code == 0 && told.contains("reloaded"), "{told}");
    eventually("it is reloaded", || process.get("/").text() == "second");
}

fn ask(proxy: &Proxy, method: &str, target: &str, fields: &str) -> Response {
    Client::connect(proxy.admin()).ask(format!(
        "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n{fields}\r\n"
    ))
}

fn a_wrong_token_is_looked_at_ten_times(engine: Engine) {
    let backend = Backend::fixed("x");
    let proxy = Proxy::to(engine, [&backend])
        .admin(&format!("token = \"{TOKEN}\""))
        .start();
    let status = |fields: &str| ask(&proxy, "GET", "/_proxy/status", fields);
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    // Who names no token does not guess.
    for _ in 0..20 {
        assert_eq!(status("").status, 401);
    }
    for number in 0..10 {
        let wrong = format!("Authorization: Bearer {number}\r\n");
        assert_eq!(status(&wrong).status, 401);
    }
    let late = status("Authorization: Bearer 10\r\n");
    assert_eq!(late.status, 429);
    let pause: u64 = late.get("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&pause), "{pause}");
    // Otherwise the eleventh guess would tell.
    assert_eq!(status(&right).status, 429);
    assert_eq!(get(proxy.admin(), "/livez").status, 200);
}

fn nobody_locks_out_the_owner_of_a_long_token(engine: Engine) {
    let backend = Backend::fixed("x");
    let long = "an-Admin-t0ken-of-thirty-2-bytes";
    let proxy = Proxy::to(engine, [&backend])
        .admin(&format!("token = \"{long}\""))
        .start();
    let status = |token: &str| {
        let fields = format!("Authorization: Bearer {token}\r\n");
        ask(&proxy, "GET", "/_proxy/status", &fields).status
    };
    for number in 0..10 {
        assert_eq!(status(&number.to_string()), 401);
    }
    for _ in 0..3 {
        assert_eq!((status("10"), status(long)), (429, 200));
    }
}

fn web_pages_change_nothing(engine: Engine) {
    let backend = Backend::fixed("x");
    let proxy = Proxy::to(engine, [&backend]).start();
    for page in [
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-origin\r\n",
    ] {
        let refused = ask(&proxy, "POST", "/_proxy/reload", page);
        assert_eq!(refused.status, 403, "{page}");
        let backend = "/_proxy/upstreams/web/backends/b1";
        assert_eq!(ask(&proxy, "PUT", backend, page).status, 403, "{page}");
        assert_eq!(ask(&proxy, "DELETE", backend, page).status, 403, "{page}");
    }
    assert_eq!(ask(&proxy, "POST", "/_proxy/reload", "").status, 200);
    // A name that points here could be anybody's.
    let rebound = "GET /_proxy/status HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(Client::connect(proxy.admin()).ask(rebound).status, 403);
    for host in ["LOCALHOST", "localhost.", "LocalHost.:9180", "[::1]:1"] {
        let named = rebound.replace("evil.example", host);
        let answer = Client::connect(proxy.admin()).ask(&named);
        assert_eq!(answer.status, 200, "{host}");
    }
}

fn the_token_is_shown_nowhere(engine: Engine) {
    let backend = Backend::fixed("x");
    let setup = Proxy::to(engine, [&backend]);
    let with = |token: &str| setup.clone().admin(&format!("token = \"{token}\""));
    let proxy = with(TOKEN).start();
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    let status = ask(&proxy, "GET", "/_proxy/status", &right);
    assert_eq!(status.status, 200);
    assert!(!status.text().contains(TOKEN));
    proxy.write(&with("an0ther-t0ken"));
    let told = ask(&proxy, "POST", "/_proxy/reload?ask", &right).text();
    assert!(told.contains("admin.token is another one"), "{told}");
    assert!(!told.contains(TOKEN) && !told.contains("an0ther"), "{told}");
}
