//! Keys and passwords show up nowhere: the program is asked everything it can be asked, and all that it says is searched.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::{Backend, Engine, Process, on_each_engine};

on_each_engine!(no_secret_is_written_anywhere);

fn login(user: &str, password: &str) -> String {
    let encoded = STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {encoded}\r\n")
}

/// Runs the program with this on its standard input; gives what it printed, and whether it succeeded.
fn piped(arguments: &[&str], input: &str) -> (String, bool) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (text, output.status.success())
}

/// What each secret looks like where it must not be.
const SECRETS: [&str; 7] = [
    "plain-key-0123456789",
    "file-key-0123456789",
    "token-0123456789abc",
    "hunter2-the-password",
    "guessed-0123456789",
    "aHVudGVyMi10aGUtcGFzc3dvcmQ",
    "0123456789",
];

/// A line of keys and one of users, as the program prints them.
fn hashed() -> (String, String) {
    let (users, _) = piped(
        &["hash-password", "--user", "alice"],
        "hunter2-the-password\n",
    );
    let users = users.trim().to_owned();
    assert!(
        users.starts_with("alice:$argon2id$v=19$m=19456,t=2,p=1$"),
        "{users}"
    );
    let (bcrypt, _) = piped(&["hash-password", "--bcrypt"], "x");
    assert!(bcrypt.starts_with("$2b$11$"), "{bcrypt}");
    let (key, _) = piped(&["hash-key", "--name", "ci"], "file-key-0123456789\r\n");
    assert!(
        key.starts_with("ci:sha256:") && key.len() == 10 + 64 + 1,
        "{key}"
    );
    assert!(!piped(&["hash-password"], "\n").1 && !piped(&["hash-key"], "a b\n").1);
    (key.trim().to_owned(), users)
}

/// Shows good and bad credentials of every kind.
fn show_all(process: &Process) {
    let mut client = process.client();
    for (target, fields, status) in [
        ("/?key=plain-key-0123456789&x=1", "", 200),
        ("/?%6bey=guessed-0123456789", "", 401),
        ("/?key=file-key-0123456789", "Accept: text/html\r\n", 200),
        ("/", "X-Key: plain-key-0123456789\r\n", 200),
        ("/", "X-Key: guessed-0123456789\r\n", 401),
        ("/", "Authorization: Bearer token-0123456789abc\r\n", 200),
        ("/", "Authorization: Bearer guessed-0123456789\r\n", 401),
        ("/", &login("alice", "hunter2-the-password"), 200),
        ("/", &login("alice", "guessed-0123456789"), 401),
        ("/", &login("guessed-0123456789", "x"), 401),
    ] {
        let answer = client.ask(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        assert_eq!(answer.status, status, "{target} {fields}");
        let told = String::from_utf8_lossy(&answer.head.raw).into_owned() + &answer.text();
        assert!(!told.contains("0123456789"), "{told}");
    }
}

/// What the program's commands say, with a good file of keys and with a bad one.
fn commands(process: &Process, key: &str) -> String {
    let file = process.directory().join("tollgate.toml");
    let password = login("alice", "hunter2-the-password");
    let (in_file, guessed) = ("/?key=file-key-0123456789", "X-Key: guessed-0123456789");
    let explain = ["explain", "GET"];
    let mut said = String::new();
    for keys in [key, "guessed-0123456789"] {
        fs::write(process.directory().join("keys"), keys).unwrap();
        for arguments in [
            vec!["check"],
            vec!["reload", "--ask"],
            [&explain[..], &[in_file, "--header", guessed]].concat(),
            [&explain[..], &["/?key=other-key-0123456789&y"]].concat(),
            [&explain[..], &["/", "--header", password.trim()]].concat(),
        ] {
            let more = ["--config", file.to_str().unwrap()];
            let mut command = Process::with(&[&arguments[..], &more].concat())
                .env("BOT", &"token-0123456789abc")
                .start();
            command.wait();
            said += &command.lines().join("\n");
        }
    }
    said
}

fn no_secret_is_written_anywhere(engine: Engine) {
    let backend = Backend::fixed("in");
    let (key, users) = hashed();
    let more = if engine == Engine::TinyHttp {
        "engine = \"tiny_http\"\n"
    } else {
        ""
    };
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n{more}[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"debug\"\n\
         [[upstream]]\nname = \"web\"\nbackends = [\"{}\"]\n[[route]]\nname = \"r\"\nupstream = \"web\"\n[route.auth]\n\
         user_header = \"X-User\"\nrealm = \"one\"\n\
         api_keys = {{ header = \"X-Key\", query = \"key\", file = \"keys\", keys = {{ plain = \"plain-key-0123456789\" }} }}\n\
         bearer = {{ tokens = {{ bot = \"${{BOT}}\" }} }}\nbasic = {{ file = \"users\" }}\n",
        backend.url()
    );
    let process = Process::config(&text)
        .file("keys", &key)
        .file("users", &users)
        .env("BOT", &"token-0123456789abc")
        .start();
    show_all(&process);
    assert!(
        process
            .line_with("target=\"/?key=***&x=1\"")
            .contains("user=plain")
    );
    process.line_with("target=\"/?%6bey=***\"");
    process.line_with("user=alice");
    let file = process.directory().join("tollgate.toml");
    let text = text
        .replace("plain-key", "other-key")
        .replace("\"one\"", "\"two\"");
    let admin = process.admin().port();
    let text = text.replace(
        "[admin]\nlisten = \"127.0.0.1:0\"",
        &format!("[admin]\nlisten = \"127.0.0.1:{admin}\""),
    );
    fs::write(&file, text).unwrap();
    let mut said = commands(&process, &key);
    for page in ["/_proxy/status", "/_proxy/upstreams"] {
        said += &crate::support::client::get(process.admin(), page).text();
    }
    process.line_with("credentials stay as they were");
    said += &process.lines().join("\n");
    for expected in [
        "alice is let in by basic",
        "plain is let in by api_keys",
        "not let in, api_keys finds credentials that are not well-formed",
        "asking for /?y",
        "realm: \"one\"",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let digest = key.trim_start_matches("ci:sha256:");
    let stored = users.rsplit('$').next().unwrap();
    for secret in SECRETS.into_iter().chain([digest, stored]) {
        let place = said.find(secret);
        let around = place.map(|at| said.split_at(at).0.lines().last());
        assert_eq!(around, None, "{secret}");
    }
}
