//! Certificates that are made here, at the start and by the command; and what is said when there is none that can be used.

use std::fs;
use std::net::SocketAddr;

use crate::support::certificates::When;
use crate::support::curl::curl;
use crate::support::desk::Desk;
use crate::support::openssl::{OPENSSL, openssl, s_client};
use crate::support::program::{CURL, skip_without};
use crate::support::{Backend, Engine, Process, Proxy, on_reactor};

on_reactor!(
    a_self_signed_certificate_is_told_and_stays,
    what_the_command_made_is_served,
    what_is_wrong_is_told_before_anything_listens,
);

/// The fingerprint of what is served there.
fn served(proxy: SocketAddr) -> String {
    let said = s_client(proxy, &[]);
    let begin = said.text.find("-----BEGIN CERTIFICATE-----").unwrap();
    let end = said.text.find("-----END CERTIFICATE-----").unwrap() + 26;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &said.text[begin..end]).unwrap();
    let path = file.path().to_str().unwrap();
    let said = openssl(&["x509", "-noout", "-fingerprint", "-sha256", "-in", path]);
    let (_, print) = said.text.trim().split_once('=').unwrap();
    print.to_owned()
}

fn a_self_signed_certificate_is_told_and_stays(engine: Engine) {
    skip_without!(OPENSSL);
    let backend = Backend::fixed("x");
    let setup = Proxy::to(engine, [&backend])
        .listen("{ address = \"127.0.0.1:0\", tls = \"self-signed\" }");
    let process = Process::config(&setup.text()).start();
    let line = process.line_with("SHA256 Fingerprint=");
    let (_, print) = line.trim().split_once('=').unwrap();
    let names = process.line_with("self-signed certificate for");
    for name in ["localhost", "127.0.0.1", "::1"] {
        assert!(names.contains(name), "{names}");
    }
    let to = process.traffic();
    assert_eq!(served(to), print);
    process.signal(rustix::process::Signal::HUP);
    process.line_with("reloaded, nothing is different");
    assert_eq!(served(to), print);
}

fn what_the_command_made_is_served(engine: Engine) {
    skip_without!(CURL);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("made").display().to_string();
    let mut made = Process::with(&[
        "cert",
        "--host",
        "localhost",
        "--host",
        "127.0.0.1",
        "--out",
        &out,
    ])
    .start();
    assert_eq!(made.wait(), 0);
    // The lines that it has printed are all that it takes.
    let lines = made.lines().join("\n");
    let (_, tables) = lines.split_once("In the configuration:\n").unwrap();
    let backend = Backend::fixed("x");
    let tables = tables.replace("127.0.0.1:8443", "127.0.0.1:0");
    let web = format!(
        "[[upstream]]\nname = \"web\"\nbackends = [\"{}\"]\nhealth.enabled = false\n",
        backend.url()
    );
    let text = format!("{tables}\n{web}");
    assert_eq!(engine, Engine::Reactor);
    let process = Process::config(&text).start();
    let url = format!("https://localhost:{}/", process.traffic().port());
    let ca = format!("{out}/cert.pem");
    let got = curl(&["--cacert", &ca, &url]).response;
    assert_eq!((got.status, got.text()), (200, "x".to_owned()));
    // A relative path starts at the configuration file, wherever the command is given.
    let file = folder.path().join("t.toml");
    assert_eq!(text.matches(&out).count(), 2);
    fs::write(&file, text.replace(&out, "made")).unwrap();
    let mut checked = Process::with(&["check", "--config", file.to_str().unwrap()]).start();
    assert_eq!(checked.wait(), 0);
    let line = checked.line_with("  tls      ");
    assert!(
        line.contains("made/cert.pem: localhost, 127.0.0.1, 364 days left (until 20"),
        "{line}"
    );
}

fn what_is_wrong_is_told_before_anything_listens(engine: Engine) {
    let (desk, backend) = (Desk::new(), Backend::fixed("x"));
    desk.sign("b", &["b.example"], When::Now);
    fs::copy(desk.path().join("b.key"), desk.path().join("a.key")).unwrap();
    let text = desk.setup(engine, &backend, &["a"], "").text();
    let mut process = Process::config(&text).start();
    assert_eq!(process.wait(), 78);
    let line = process.line_with("a.pem: ");
    assert!(
        line.contains("does not belong to this certificate"),
        "{line}"
    );
    assert!(
        !process
            .lines()
            .iter()
            .any(|line| line.contains("listening"))
    );
    let file = desk.path().join("t.toml");
    fs::write(&file, &text).unwrap();
    let mut check = Process::with(&["check", "--config", file.to_str().unwrap()]).start();
    assert_eq!(check.wait(), 78);
    check.line_with("[server.tls]: ");
}
