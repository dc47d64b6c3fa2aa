//! Programs of other people as peers: curl in front, nginx and Python behind. What is not installed is skipped.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::curl::{curl, curl_from};
use crate::support::process::address_in;
use crate::support::program::{CURL, NGINX, PYTHON, Running, skip_without};
use crate::support::{Engine, Nginx, Proxy, SetOnDrop, eventually, on_each_engine, pattern};

on_each_engine!(
    curl_gets_a_large_file,
    curl_gets_a_range,
    curl_revalidates,
    curl_asks_for_heads,
    nginx_says_404_itself,
    curl_uploads,
    curl_speaks_http_10,
    curl_keeps_its_connection,
    nginx_refuses_a_large_upload,
    nginx_compresses,
    python_closes_after_every_answer,
    an_end_of_connection_ends_the_body,
    nginx_connections_are_used_again,
    nginx_reloads_and_no_get_fails,
    nginx_stops_and_returns,
    one_of_two_nginxes_dies_and_no_get_fails,
);

const MB: u64 = 1_000_000;
const PROBES: &str = "health = { interval = \"50ms\", timeout = \"500ms\", fall = 2, rise = 2, max_interval = \"100ms\" }";

/// A proxy with one nginx behind it.
fn before(engine: Engine, nginx: &Nginx) -> Proxy {
    Proxy::to(engine, []).and(nginx.address()).start()
}

fn url(proxy: &Proxy, path: &str) -> String {
    format!("http://{}{path}", proxy.traffic())
}

fn curl_gets_a_large_file(engine: Engine) {
    skip_without!(CURL, NGINX);
    let nginx = Nginx::start("").file("large", pattern::bytes(5 * MB));
    let proxy = before(engine, &nginx);
    let got = curl(&[&url(&proxy, "/large")]).response;
    assert_eq!((got.status, got.body.len() as u64), (200, 5 * MB));
    assert!(pattern::matches(0, &got.body));
    assert_eq!(got.get("content-length").as_deref(), Some("5000000"));
}

fn curl_gets_a_range(engine: Engine) {
    skip_without!(CURL, NGINX);
    let nginx = Nginx::start("").file("large", pattern::bytes(5 * MB));
    let proxy = before(engine, &nginx);
    let range = ["-H", "Range: bytes=100-199"];
    let got = curl(&[&range[..], &[&url(&proxy, "/large")]].concat()).response;
    assert_eq!((got.status, got.body.len()), (206, 100));
    assert!(pattern::matches(100, &got.body));
    let content_range = got.get("content-range");
    assert_eq!(content_range.as_deref(), Some("bytes 100-199/5000000"));
}

fn curl_revalidates(engine: Engine) {
    skip_without!(CURL, NGINX);
    let nginx = Nginx::start("").file("page.txt", "hello");
    let proxy = before(engine, &nginx);
    let page = url(&proxy, "/page.txt");
    let etag = curl(&[&page]).response.get("etag").expect("an ETag");
    // Twice on one connection: a body after the first would spoil the second.
    let condition = format!("If-None-Match: {etag}");
    let got = curl(&["-H", &condition, &page, &page]);
    assert_eq!((got.response.status, got.connects), (304, vec![1, 0]));
    assert_eq!(got.response.body, b"");
    assert_eq!(got.response.get("etag"), Some(etag));
}

fn curl_asks_for_heads(engine: Engine) {
    skip_without!(CURL, NGINX);
    let nginx = Nginx::start("").file("large", pattern::bytes(5 * MB));
    let proxy = before(engine, &nginx);
    let large = url(&proxy, "/large");
    // Twice on one connection: a body after the first would spoil the second.
    let got = curl(&["--head", &large, &large]);
    assert_eq!((got.response.status, got.connects), (200, vec![1, 0]));
    let length = got.response.get("content-length");
    assert_eq!(length.as_deref(), Some("5000000"));
}

fn nginx_says_404_itself(engine: Engine) {
    skip_without!(CURL, NGINX);
    let nginx = Nginx::start("");
    let proxy = before(engine, &nginx);
    let direct = curl(&[&nginx.url("/nothing")]).response;
    let got = curl(&[&url(&proxy, "/nothing")]).response;
    assert_eq!((got.status, got.text()), (404, direct.text()));
    assert!(got.text().contains("nginx"), "{got:?}");
    assert_eq!(got.get("content-type"), direct.get("content-type"));
}

fn curl_uploads(engine: Engine) {
    skip_without!(CURL, NGINX);
    let dav = "dav_methods PUT; create_full_put_path on; client_max_body_size 0;";
    let nginx = Nginx::start(dav).file("source", pattern::bytes(3 * MB));
    let proxy = before(engine, &nginx);
    let source = nginx.path("source");
    let name = source.display().to_string();
    for (n, from) in [name.as_str(), "-"].into_iter().enumerate() {
        // The first is what curl does by itself with large bodies, the second takes the field away.
        for (m, expect) in ["Expect: 100-continue", "Expect:"].into_iter().enumerate() {
            let path = format!("stored/{n}/{m}");
            let to = url(&proxy, &format!("/{path}"));
            let got = curl_from(&source, &["-H", expect, "-T", from, &to]);
            assert_eq!(got.response.status, 201, "{from} {expect}");
            let stored = fs::read(nginx.path(&path)).unwrap();
            assert_eq!(stored.len() as u64, 3 * MB, "{from} {expect}");
            assert!(pattern::matches(0, &stored), "{from} {expect}");
        }
    }
}

/// Lines of text, which compress well.
fn lines() -> String {
    (0..20_000).map(|n| format!("line {n}\n")).collect()
}

/// nginx compresses for a proxy only when it is told to; what it compresses has no length.
const GZIP: &str = "gzip on; gzip_proxied any; gzip_types text/plain;";

fn curl_speaks_http_10(engine: Engine) {
    skip_without!(CURL, NGINX);
    let nginx = Nginx::start(GZIP).file("lines.txt", lines());
    let proxy = before(engine, &nginx);
    let page = url(&proxy, "/lines.txt");
    for arguments in [&["--http1.0"][..], &["--http1.0", "--compressed"]] {
        let got = curl(&[arguments, &[&page, &page]].concat());
        assert_eq!(got.connects, [1, 1], "{arguments:?}");
        assert_eq!(got.response.status, 200);
        assert_eq!(got.response.text(), lines().repeat(2));
        assert_eq!(got.response.get("transfer-encoding"), None);
    }
}

fn curl_keeps_its_connection(engine: Engine) {
    skip_without!(CURL, NGINX);
    let nginx = Nginx::start(GZIP).file("lines.txt", lines());
    let nginx = nginx.file("large", pattern::bytes(5 * MB));
    let proxy = before(engine, &nginx);
    let (large, page) = (url(&proxy, "/large"), url(&proxy, "/lines.txt"));
    let got = curl(&["--compressed", "-o", "/dev/null", &large, &page, &page]);
    assert_eq!(got.connects, [1, 0, 0]);
    assert_eq!(got.response.text(), lines().repeat(2));
}

fn nginx_refuses_a_large_upload(engine: Engine) {
    skip_without!(CURL, NGINX);
    let refusing =
        "client_max_body_size 1k; location /all/ { client_max_body_size 0; return 413; }";
    let nginx = Nginx::start(refusing).file("source", pattern::bytes(20 * MB));
    let proxy = Proxy::to(engine, []).and(nginx.address());
    let proxy = proxy.server("limits.body = \"64MiB\"").start();
    let source = nginx.path("source").display().to_string();
    for run in 0..10 {
        for path in ["/large", "/all/large"] {
            for expect in ["Expect: 100-continue", "Expect:"] {
                let got = curl(&["-H", expect, "-T", &source, &url(&proxy, path)]).response;
                assert_eq!(got.status, 413, "{run} {path} {expect}");
                assert!(got.text().contains("nginx"), "{got:?}");
            }
        }
    }
}

fn nginx_compresses(engine: Engine) {
    skip_without!(CURL, NGINX);
    let nginx = Nginx::start(GZIP).file("lines.txt", lines());
    let proxy = before(engine, &nginx);
    let (page, direct) = (url(&proxy, "/lines.txt"), nginx.url("/lines.txt"));
    let gzip = |from: &str| curl(&["-H", "Accept-Encoding: gzip", from]).response;
    let got = gzip(&page);
    assert_eq!(got.get("content-encoding").as_deref(), Some("gzip"));
    assert_eq!(got.body, gzip(&direct).body);
    assert!(got.body.len() < lines().len() / 2);
    let plain = curl(&["--compressed", &page]).response;
    assert_eq!(plain.text(), lines());
}

/// The address in what a Python origin says first.
#[track_caller]
fn listens(python: &mut Running) -> std::net::SocketAddr {
    eventually("it listens", || {
        assert!(python.is_alive(), "{}", python.output());
        python.output().contains('\n')
    });
    address_in(&python.output())
}

fn python_closes_after_every_answer(engine: Engine) {
    skip_without!(PYTHON);
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("large"), pattern::bytes(MB)).unwrap();
    let mut command = PYTHON.command();
    command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]);
    let mut python = Running::start(&mut command, directory.path());
    let proxy = Proxy::to(engine, []).and(listens(&mut python)).start();
    let mut client = proxy.client();
    for _ in 0..50 {
        let got = client.get("/large");
        assert_eq!((got.status, got.body.len() as u64), (200, MB));
        assert!(pattern::matches(0, &got.body));
    }
    assert_eq!(client.get("/nothing").status, 404);
}

/// An origin whose answers have no length. It says when a connection comes.
const WITHOUT_LENGTH: &str = r#"
import socket
listener = socket.create_server(("127.0.0.1", 0))
print("listening on http://127.0.0.1:%d" % listener.getsockname()[1])
while True:
    connection, _ = listener.accept()
    print("connection")
    with connection, connection.makefile("rb") as request:
        while request.readline().strip():
            pass
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"0123456789" * 50000)
"#;

fn an_end_of_connection_ends_the_body(engine: Engine) {
    skip_without!(PYTHON);
    let directory = tempfile::tempdir().unwrap();
    let mut command = PYTHON.command();
    command.args(["-u", "-c", WITHOUT_LENGTH]);
    let mut python = Running::start(&mut command, directory.path());
    let proxy = Proxy::to(engine, []).and(listens(&mut python)).start();
    let mut client = proxy.client();
    for _ in 0..50 {
        let got = client.get("/");
        assert_eq!(got.status, 200);
        assert_eq!(got.text(), "0123456789".repeat(50_000));
    }
    assert_eq!(python.output().matches("connection").count(), 50);
}

fn nginx_connections_are_used_again(engine: Engine) {
    skip_without!(NGINX);
    let nginx = Nginx::start("").file("page.txt", "hello");
    let proxy = before(engine, &nginx);
    for _ in 0..10 {
        let mut client = proxy.client();
        for _ in 0..20 {
            assert_eq!(client.get("/page.txt").text(), "hello");
        }
    }
    eventually("all is logged", || nginx.log().len() == 200);
    let log = nginx.log().into_iter();
    let connections: BTreeSet<u64> = log.map(|line| line.connection).collect();
    assert!(connections.len() <= 10, "{connections:?}");
}

fn nginx_reloads_and_no_get_fails(engine: Engine) {
    skip_without!(NGINX);
    let mut nginx = Nginx::start("").file("page.txt", "hello");
    let proxy = before(engine, &nginx);
    let asked = AtomicUsize::new(0);
    let ask = || {
        let got = proxy.get("/page.txt");
        assert_eq!((got.status, got.text().as_str()), (200, "hello"));
        asked.fetch_add(1, Ordering::Relaxed);
        got.get("x-generation").is_some()
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..200).filter(|_| ask()).count());
        }
        eventually("they ask", || asked.load(Ordering::Relaxed) > 100);
        nginx.reload("keepalive_requests 5; add_header X-Generation 2;");
    });
    eventually("the new configuration is there", ask);
    assert!((0..200).all(|_| ask()));
    let asked = asked.into_inner();
    eventually("all is logged", || nginx.log().len() == asked);
    let log = nginx.log();
    assert!(log[log.len() - 200..].iter().all(|line| line.nth <= 5));
}

fn nginx_stops_and_returns(engine: Engine) {
    skip_without!(NGINX);
    for health in ["health.enabled = false", PROBES] {
        let mut nginx = Nginx::start("").file("page.txt", "hello");
        let proxy = Proxy::to(engine, []).and(nginx.address());
        let proxy = proxy.web(health).start();
        let status = || proxy.get("/page.txt").status;
        for _ in 0..3 {
            eventually("it answers", || status() == 200);
            assert!((0..50).all(|_| status() == 200));
            nginx.stop();
            for _ in 0..50 {
                assert!(matches!(status(), 502 | 503), "{health}");
            }
            nginx.restart();
        }
        eventually("it answers", || status() == 200);
    }
}

fn one_of_two_nginxes_dies_and_no_get_fails(engine: Engine) {
    skip_without!(NGINX);
    let mut nginxes = ["1", "2"].map(|text| Nginx::single(&format!("return 200 {text};")));
    let proxy = Proxy::to(engine, []).and(nginxes[0].address());
    let proxy = proxy.and(nginxes[1].address()).web(PROBES).start();
    let (asked, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let steady = || {
        let mut client = proxy.client();
        while !done.load(Ordering::Relaxed) {
            assert_eq!(client.get("/").status, 200);
            asked.fetch_add(1, Ordering::Relaxed);
        }
    };
    let reached = |n| eventually("they ask", || asked.load(Ordering::Relaxed) >= n);
    std::thread::scope(|scope| {
        let _clients = [(); 4].map(|()| scope.spawn(steady));
        let _ends_clients = SetOnDrop(&done);
        reached(400);
        assert!(nginxes[1].log().len() > 100);
        nginxes[1].kill();
        reached(1200);
    });
}
