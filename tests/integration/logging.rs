//! The log of the program: one line per exchange, no secrets, no control characters, rotation.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::process::address_in;
use crate::support::{Backend, Client, Engine, Process, Proxy, eventually, on_each_engine};

on_each_engine!(
    every_exchange_has_a_line,
    refusals_are_logged_with_their_cause,
    secrets_never_get_in,
    control_characters_are_escaped,
    the_file_rotates,
    a_pipe_that_nobody_reads_holds_up_nothing,
);

/// Everything in the log directory.
fn logged(directory: &Path) -> String {
    let Ok(files) = fs::read_dir(directory.join("logs")) else {
        return String::new();
    };
    files
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap_or_default())
        .collect()
}

fn start(engine: Engine, backend: &Backend, more: &str) -> Process {
    let log = format!("[log]\nfile = \"DIR/logs/tollgate.log\"\n{more}");
    Process::config(&Proxy::to(engine, [backend]).more(&log).text()).start()
}

fn every_exchange_has_a_line(engine: Engine) {
    let backend = Backend::fixed("hello");
    let process = start(engine, &backend, "");
    let answer = process.client().post("/path?query=1", "body");
    let id = answer.get("x-request-id").unwrap();
    let line = || {
        logged(process.directory())
            .lines()
            .find(|l| l.contains(&id))
            .map(str::to_owned)
    };
    eventually("it is logged", || line().is_some());
    let line = line().unwrap();
    for part in ["POST", "/path?query=1", "200", "b1", "127.0.0.1"] {
        assert!(line.contains(part), "{part} is missing: {line}");
    }
}

fn refusals_are_logged_with_their_cause(engine: Engine) {
    let backend = Backend::resetting();
    let mut process = start(engine, &backend, "");
    process
        .client()
        .post("/gone", "x")
        .refused(502, "backend_closed");
    process.signal(Signal::TERM);
    process.wait();
    let log = logged(process.directory());
    let line = log
        .lines()
        .find(|line| line.contains("/gone") && line.contains("502"));
    assert!(
        line.is_some_and(|line| line.contains("backend_closed")),
        "{log}"
    );
}

fn secrets_never_get_in(engine: Engine) {
    let backend = Backend::start(|conn| {
        conn.reply(200, &[("Set-Cookie", "session=hidden-three")], "x");
    });
    let mut process = start(engine, &backend, "level = \"debug\"\n");
    let request = "GET /seen HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer hidden-one\r\n\
                   Proxy-Authorization: Basic hidden-four\r\nCookie: session=hidden-two\r\n\r\n";
    assert_eq!(process.client().ask(request).status, 200);
    process.signal(Signal::TERM);
    assert_eq!(process.wait(), 0);
    let all = logged(process.directory()) + &process.lines().join("\n");
    assert!(all.contains("/seen"));
    assert!(!all.contains("hidden"), "{all}");
}

fn control_characters_are_escaped(engine: Engine) {
    let backend = Backend::fixed("x");
    let mut process = start(engine, &backend, "");
    let request = "GET /u?\u{7f} HTTP/1.1\r\nHost: test\r\n\r\n";
    process.client().send(request).receive();
    let fields = "GET /seen HTTP/1.1\r\nHost: test\r\nUser-Agent: a\"\t\\\r\n\r\n";
    process.client().send(fields).receive();
    process.signal(Signal::TERM);
    process.wait();
    let all = logged(process.directory()) + &process.lines().join("\n");
    assert!(all.contains("/seen"));
    let bad = all.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(bad, None, "{all:?}");
}

fn the_file_rotates(engine: Engine) {
    let backend = Backend::fixed("x");
    let process = start(engine, &backend, "rotate_size = \"4KiB\"\nkeep = 2\n");
    let mut client = process.client();
    let padding = "p".repeat(200);
    for n in 0..100 {
        assert_eq!(client.get(&format!("/{n}?{padding}")).status, 200);
    }
    let log = || logged(process.directory());
    eventually("the last line is there", || log().contains("/99?"));
    let files = fs::read_dir(process.directory().join("logs")).unwrap();
    let sizes: Vec<u64> = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    assert_eq!(
        sizes.len(),
        3,
        "the file and the two that are kept: {sizes:?}"
    );
    assert!(sizes.iter().all(|size| *size < 8 << 10), "{sizes:?}");
    assert!(!log().contains("/0?"), "what is too old goes");
}

/// Also not the end: the last words of a process that drains go to the same pipe.
fn a_pipe_that_nobody_reads_holds_up_nothing(engine: Engine) {
    let backend = Backend::fixed("x");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tollgate.toml");
    fs::write(&file, Proxy::to(engine, [&backend]).text()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["run", "--config"])
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::with_capacity(64, child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening on") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended early");
    }
    let mut client = Client::connect(address_in(&line));
    // A pipe takes 64 KiB; an access line has some 250 bytes.
    for _ in 0..600 {
        assert_eq!(client.get("/").status, 200);
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    eventually("it has ended", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
