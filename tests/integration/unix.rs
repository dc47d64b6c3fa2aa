//! Unix sockets on both sides.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::support::curl::curl;
use crate::support::program::{CURL, skip_without};
use crate::support::proxy::Setup;
use crate::support::websocket::{self, TEXT};
use crate::support::{Backend, Client, Engine, Process, Proxy};
use crate::support::{dial, eventually, on_reactor};

on_reactor!(
    clients_come_over_a_unix_socket,
    curl_comes_over_a_unix_socket,
    a_socket_and_a_port_at_once,
    a_socket_that_was_left_behind_is_taken_over,
    a_file_that_is_no_socket_is_left_alone,
    a_clean_end_leaves_no_socket,
    a_backend_on_a_unix_socket,
    a_backend_on_a_unix_socket_that_comes_and_goes,
    a_backend_on_a_unix_socket_is_probed,
    unix_sockets_on_both_sides,
);

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Directory {
        Directory(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn listening(setup: Setup, path: &Path) -> Setup {
    setup.listen(&format!("\"unix:{}\"", path.display()))
}

/// Small bodies and a large one come back.
#[track_caller]
fn assert_echoes(client: &mut Client) {
    for n in 0..20 {
        assert_eq!(
            client.post("/", &format!("body {n}")).text(),
            format!("body {n}")
        );
    }
    let large = "x".repeat(1_000_000);
    let echoed = client.post("/", &large);
    let shown = (echoed.status, echoed.body.len());
    assert!(echoed.text() == large, "{shown:?}");
}

fn clients_come_over_a_unix_socket(engine: Engine) {
    let directory = Directory::new();
    let path = directory.path("front.sock");
    let backend = Backend::echo();
    let proxy = listening(Proxy::to(engine, [&backend]), &path).start();
    let shown = proxy.addresses()[0].to_string();
    assert_eq!(shown, format!("unix:{}", path.display()));
    let mut client = dial::unix(&path);
    assert_echoes(&mut client);
    client
        .ask("GET / HTTP/1.1\r\n\r\n")
        .refused(400, "bad_request");
    client.assert_ended();
    let mut crowd: Vec<Client> = (0..100).map(|_| dial::unix(&path)).collect();
    assert!(crowd.iter_mut().all(|client| client.get("/").status == 200));
}

fn curl_comes_over_a_unix_socket(engine: Engine) {
    skip_without!(CURL);
    let directory = Directory::new();
    let path = directory.path("front.sock");
    let backend = Backend::fixed("fine");
    let _proxy = listening(Proxy::to(engine, [&backend]), &path).start();
    let path = path.display().to_string();
    let url = "http://any.example/path";
    let got = curl(&["--unix-socket", &path, url, url]);
    assert_eq!((got.response.status, got.connects), (200, vec![1, 0]));
    assert_eq!(got.response.text(), "finefine");
    let host = backend.seen()[0].get("host");
    assert_eq!(host.as_deref(), Some("any.example"));
}

fn a_socket_and_a_port_at_once(engine: Engine) {
    let directory = Directory::new();
    let path = directory.path("front.sock");
    let backend = Backend::fixed("fine");
    let both = format!("[\"127.0.0.1:0\", \"unix:{}\"]", path.display());
    let proxy = Proxy::to(engine, [&backend]).listen(&both).start();
    assert_eq!(proxy.get("/").text(), "fine");
    assert_eq!(dial::unix(&path).get("/").text(), "fine");
}

fn a_socket_that_was_left_behind_is_taken_over(engine: Engine) {
    let directory = Directory::new();
    let path = directory.path("front.sock");
    let backend = Backend::fixed("fine");
    let setup = listening(Proxy::to(engine, [&backend]), &path);
    let process = Process::config(&setup.text()).start();
    process.line_with("listening on unix:");
    assert_eq!(dial::unix(&path).get("/").text(), "fine");
    // Killed: it cannot clean up.
    drop(process);
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    let _proxy = setup.start();
    assert_eq!(dial::unix(&path).get("/").text(), "fine");
}

fn a_file_that_is_no_socket_is_left_alone(engine: Engine) {
    let directory = Directory::new();
    let path = directory.path("precious");
    fs::write(&path, "data").unwrap();
    let backend = Backend::fixed("fine");
    let setup = listening(Proxy::to(engine, [&backend]), &path);
    assert!(setup.try_start().is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
}

fn a_clean_end_leaves_no_socket(engine: Engine) {
    let directory = Directory::new();
    let path = directory.path("front.sock");
    let backend = Backend::fixed("fine");
    let setup = listening(Proxy::to(engine, [&backend]), &path);
    for _ in 0..2 {
        let proxy = setup.start();
        assert_eq!(dial::unix(&path).get("/").text(), "fine");
        proxy.shut_down();
        assert!(!path.exists());
    }
}

fn a_backend_on_a_unix_socket(engine: Engine) {
    let directory = Directory::new();
    let backend = Backend::unix(&directory.path("back.sock"), |conn| {
        let seen = conn.request();
        conn.reply(200, &[], seen.body);
    });
    let proxy = Proxy::to(engine, [&backend]).start();
    let mut client = proxy.client();
    assert_echoes(&mut client);
    assert_eq!(
        backend.open_connections(),
        1,
        "the connection is used again"
    );
    let seen = backend.seen();
    assert_eq!(seen[0].get("host").as_deref(), Some("test"));
    assert_eq!(seen[0].get("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(client.get("/").backend(), "b1");
}

fn a_backend_on_a_unix_socket_that_comes_and_goes(engine: Engine) {
    let directory = Directory::new();
    let path = directory.path("back.sock");
    let gone = format!("unix:{}", path.display());
    let proxy = Proxy::to(engine, [])
        .and_url(gone)
        .web("ejection.failures = 0")
        .start();
    proxy.get("/").refused(502, "connect_refused");
    let mut backend = Backend::unix(&path, |conn| conn.reply(200, &[], "fine"));
    assert_eq!(proxy.get("/").text(), "fine");
    backend.kill();
    proxy.get("/").refused(502, "connect_refused");
    backend.restart();
    assert_eq!(proxy.get("/").text(), "fine");
}

fn a_backend_on_a_unix_socket_is_probed(engine: Engine) {
    let directory = Directory::new();
    let path = directory.path("back.sock");
    let mut backend = Backend::unix(&path, |conn| conn.reply(200, &[], "fine"));
    let probes = "health = { path = \"/alive\", interval = \"50ms\", fall = 1, rise = 1, max_interval = \"100ms\" }";
    let proxy = Proxy::to(engine, [&backend]).web(probes).start();
    eventually("it is probed", || backend.count() > 2);
    assert!(backend.seen().iter().all(|seen| seen.target() == "/alive"));
    backend.kill();
    eventually("it is down", || proxy.get("/").cause() == "no_backend");
    backend.restart();
    eventually("it is up again", || proxy.get("/").status == 200);
}

fn unix_sockets_on_both_sides(engine: Engine) {
    let directory = Directory::new();
    let path = directory.path("front.sock");
    let backend = Backend::unix(&directory.path("back.sock"), |conn| {
        if conn.head_target() == "/socket" {
            websocket::echo(conn);
        } else {
            conn.reply(200, &[], "fine");
        }
    });
    let _proxy = listening(Proxy::to(engine, [&backend]), &path).start();
    assert_eq!(dial::unix(&path).get("/").text(), "fine");
    let mut client = websocket::open(dial::unix(&path), "/socket");
    websocket::assert_echo(&mut client, TEXT, b"hello");
    websocket::assert_echo(&mut client, TEXT, &vec![b'x'; 1 << 20]);
}
