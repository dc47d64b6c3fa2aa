//! Reloads of the program itself: by signal, by command and by a file that is watched; and reloads that hang.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use crate::support::admin;
use crate::support::backend::reserve;
use crate::support::certificates::Authority;
use crate::support::{Backend, Client, Engine, Process, Proxy, eventually, on_reactor};

on_reactor!(
    hangup_and_the_command_reload,
    the_command_says_what_helps_when_it_is_refused,
    a_watched_file_is_read_again,
    a_reload_that_hangs_keeps_nobody_from_stopping,
    a_reload_that_hangs_keeps_nothing_else_from_being_done,
    a_reload_does_not_wait_for_a_pipe_in_the_place_of_a_file,
);

fn hangup_and_the_command_reload(_engine: Engine) {
    let (first, second) = (Backend::fixed("first"), Backend::fixed("second"));
    let text = |backend: &Backend, port: u16| {
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:{port}\"\n[[upstream]]\nname = \"web\"\n\
             backends = [{{ id = \"b\", url = \"{}\" }}]\nhealth.enabled = false\n",
            backend.url()
        )
    };
    let process = Process::config(&text(&first, 0)).start();
    assert_eq!(process.get("/").text(), "first");
    let file = process.directory().join("tollgate.toml");
    // The command finds the admin address in the file; the port that was picked needs a restart to be another one.
    let admin = process.admin().port();
    fs::write(&file, text(&second, admin)).unwrap();
    process.signal(Signal::HUP);
    eventually("it is reloaded", || process.get("/").text() == "second");
    process.line_with("backend b: url");

    let reload = |more: &[&str]| {
        let mut arguments = vec!["reload", "--config", file.to_str().unwrap()];
        arguments.extend(more);
        let mut command = Process::with(&arguments).start();
        let code = command.wait();
        (code, command.lines().join("\n"))
    };
    assert_eq!(reload(&["--ask"]).0, 0);
    fs::write(&file, text(&first, admin)).unwrap();
    let (code, told) = reload(&["--ask"]);
    assert!(code == 0 && told.contains("backend b: url"), "{told}");
    assert_eq!(process.get("/").text(), "second");
    let (code, told) = reload(&[]);
    assert!(code == 0 && told.contains("reloaded"), "{told}");
    assert_eq!(process.get("/").text(), "first");
    fs::write(&file, "[server]\nworker = 1").unwrap();
    let (code, told) = reload(&[]);
    assert!(code == 78 && told.contains("did you mean"), "{told}");
    assert_eq!(process.get("/").text(), "first");
}

fn the_command_says_what_helps_when_it_is_refused(_engine: Engine) {
    let backend = Backend::fixed("x");
    let (_reserved, nobody) = reserve();
    let text = |token: &str, port: u16| {
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:{port}\"\ntoken = \"{token}\"\n\
             [[upstream]]\nname = \"web\"\nbackends = [\"{}\"]\nhealth.enabled = false\n",
            backend.url()
        )
    };
    let process = Process::config(&text("s3cret-t0ken", 0)).start();
    let file = process.directory().join("tollgate.toml");
    for (written, word) in [
        (
            text("an0ther-t0ken", process.admin().port()),
            "refused with status 401",
        ),
        (text("s3cret-t0ken", nobody.port()), "no answer from"),
    ] {
        fs::write(&file, written).unwrap();
        let mut command = Process::with(&["reload", "--config", file.to_str().unwrap()]).start();
        assert_eq!(command.wait(), 1);
        command.line_with(word);
        command.line_with("send it HUP instead");
    }
}

fn a_watched_file_is_read_again(_engine: Engine) {
    let (first, second) = (Backend::fixed("first"), Backend::fixed("second"));
    let text = |backend: &Backend| {
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nwatch_config = true\n[[upstream]]\nname = \"web\"\n\
             backends = [\"{}\"]\nhealth.enabled = false\n",
            backend.url()
        )
    };
    let process = Process::config(&text(&first)).start();
    assert_eq!(process.get("/").text(), "first");
    let file = process.directory().join("tollgate.toml");
    fs::write(&file, "nonsense").unwrap();
    process.line_with("nothing has changed");
    assert_eq!(process.get("/").text(), "first");
    fs::write(&file, text(&second)).unwrap();
    eventually("it is reloaded", || process.get("/").text() == "second");
}

/// Puts something in the place of the configuration that cannot be read to its end.
fn hang_readers_of(file: &Path) {
    fs::remove_file(file).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, file, kind, mode, 0).unwrap();
}

fn a_reload_that_hangs_keeps_nobody_from_stopping(engine: Engine) {
    let backend = Backend::fixed("x");
    let mut process = Process::config(&Proxy::to(engine, [&backend]).text()).start();
    assert_eq!(process.get("/").text(), "x");
    hang_readers_of(&process.directory().join("tollgate.toml"));
    for _ in 0..20 {
        process.signal(Signal::HUP);
    }
    process.signal(Signal::TERM);
    assert_eq!(process.wait(), 0);
}

fn a_reload_does_not_wait_for_a_pipe_in_the_place_of_a_file(engine: Engine) {
    let backend = Backend::fixed("x");
    let authority = Authority::new("theirs");
    let text = Proxy::to(engine, [&backend])
        .more("[[upstream]]\nname = \"far\"\nbackends = [\"https://127.0.0.1:1\"]\nhealth.enabled = false\ntls.ca = \"ca.pem\"")
        .text();
    let mut process = Process::config(&text)
        .file("ca.pem", authority.pem())
        .start();
    // It has read the file once it says this.
    let to = process.admin();
    hang_readers_of(&process.directory().join("ca.pem"));
    let order = format!("POST /_proxy/reload HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let answer = Client::connect(to).ask(&order);
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("is not a regular file"));
    assert_eq!(process.get("/").text(), "x");
    process.signal(Signal::TERM);
    assert_eq!(process.wait(), 0);
}

/// The thread that looks at the file is also the one that ends registrations.
fn a_reload_that_hangs_keeps_nothing_else_from_being_done(engine: Engine) {
    let (first, second) = (Backend::fixed("first"), Backend::fixed("second"));
    let text = Proxy::to(engine, [&first])
        .server("watch_config = true")
        .text();
    let process = Process::config(&text).start();
    assert_eq!(process.get("/").text(), "first");
    hang_readers_of(&process.directory().join("tollgate.toml"));
    process.line_with("the configuration file has changed");
    let order = json!({ "url": second.url(), "ttl": "1s" }).to_string();
    let path = admin::path("web", "late");
    let to = process.admin();
    let length = order.len();
    let put =
        format!("PUT {path} HTTP/1.1\r\nHost: {to}\r\nContent-Length: {length}\r\n\r\n{order}");
    assert_eq!(Client::connect(to).ask(put).status, 201);
    process.line_with("it has not renewed its registration");
}
