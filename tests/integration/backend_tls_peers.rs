//! TLS to backends that others wrote: nginx and `openssl s_server`. What is not installed is skipped.

use std::net::{SocketAddr, TcpStream};

use crate::support::authority::{Authority, Issued};
use crate::support::backend::reserve;
use crate::support::openssl::OPENSSL;
use crate::support::program::{NGINX, Running, skip_without};
use crate::support::{Engine, Nginx, Proxy, eventually, on_each_engine, pattern};

on_each_engine!(
    nginx_is_spoken_to_over_tls,
    nginx_sees_our_certificate,
    openssl_is_satisfied,
);

const MB: u64 = 1_000_000;

/// A server block that also listens there, with TLS.
fn server(to: SocketAddr, shown: &Issued, more: &str) -> String {
    let (cert, key) = (shown.cert.display(), shown.key.display());
    format!("listen {to} ssl; ssl_certificate {cert}; ssl_certificate_key {key}; {more}")
}

fn nginx_is_spoken_to_over_tls(engine: Engine) {
    skip_without!(NGINX);
    let authority = Authority::new();
    let (_reserve, address) = reserve();
    let shown = authority.server(&["origin.test"]);
    for version in ["TLSv1.2", "TLSv1.3"] {
        let more = format!(
            "ssl_protocols {version}; client_max_body_size 1m;
             location /seen {{ return 200 \"$ssl_protocol $ssl_server_name $connection_requests\"; }}"
        );
        let nginx = Nginx::start(&server(address, &shown, &more));
        let nginx = nginx.file("large", pattern::bytes(5 * MB));
        let proxy = Proxy::to(engine, [])
            .and_url(format!("https://{address}"))
            .web(&authority.trust())
            .web("tls.server_name = \"origin.test\"")
            .start();
        let mut client = proxy.client();
        assert_eq!(
            client.get("/seen").text(),
            format!("{version} origin.test 1")
        );
        assert_eq!(
            client.get("/seen").text(),
            format!("{version} origin.test 2")
        );
        let large = client.get("/large");
        assert_eq!((large.status, large.body.len() as u64), (200, 5 * MB));
        assert!(pattern::matches(0, &large.body));
        // nginx answers before it has the body.
        let mut client = proxy.client();
        client.send("POST /large HTTP/1.1\r\nHost: test\r\nContent-Length: 5000000\r\n\r\n");
        let upload = client.upload(5 * MB);
        assert_eq!(client.read().status, 413);
        client.reset();
        let _ = upload.join();
        drop(nginx);
    }
}

fn nginx_sees_our_certificate(engine: Engine) {
    skip_without!(NGINX);
    let authority = Authority::new();
    let (_reserve, address) = reserve();
    let (shown, own) = (authority.server(&["127.0.0.1"]), authority.client());
    let more = format!(
        "ssl_client_certificate {}; ssl_verify_client optional;
         location / {{ return 200 $ssl_client_verify; }}",
        authority.path().display()
    );
    let _nginx = Nginx::start(&server(address, &shown, &more));
    let (cert, key) = (own.cert.display(), own.key.display());
    for (lines, seen) in [
        (String::new(), "NONE"),
        (
            format!("tls.cert = \"{cert}\"\ntls.key = \"{key}\""),
            "SUCCESS",
        ),
    ] {
        let proxy = Proxy::to(engine, [])
            .and_url(format!("https://{address}"))
            .web(&authority.trust())
            .web(&lines)
            .start();
        assert_eq!(proxy.get("/").text(), seen);
    }
}

fn openssl_is_satisfied(engine: Engine) {
    skip_without!(OPENSSL);
    let authority = Authority::new();
    let (shown, own) = (authority.server(&["127.0.0.1"]), authority.client());
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let (_reserve, address) = reserve();
        let folder = tempfile::tempdir().unwrap();
        let mut command = OPENSSL.command();
        command.args(["s_server", "-www", version, "-accept", &address.to_string()]);
        command.args(["-Verify", "1", "-verify_return_error", "-CAfile"]);
        command.arg(authority.path());
        command
            .arg("-cert")
            .arg(&shown.cert)
            .arg("-key")
            .arg(&shown.key);
        let mut server = Running::start(&mut command, folder.path());
        eventually("s_server listens", || {
            assert!(server.is_alive(), "{}", server.output());
            TcpStream::connect(address).is_ok()
        });
        let ask = |lines: &str| {
            let proxy = Proxy::to(engine, [])
                .and_url(format!("https://{address}"))
                .web("retry.attempts = 0")
                .web(&authority.trust())
                .web(lines)
                .start();
            proxy.get("/")
        };
        let (cert, key) = (own.cert.display(), own.key.display());
        let answer = ask(&format!("tls.cert = \"{cert}\"\ntls.key = \"{key}\""));
        assert_eq!(answer.status, 200);
        let text = answer.text();
        assert!(
            text.contains(name) && text.contains("Client certificate"),
            "{text}"
        );
        ask("").refused(502, "backend_tls");
    }
}
