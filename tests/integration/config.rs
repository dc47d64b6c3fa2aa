//! All the ways to configure a proxy, and what a bad configuration says.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::support::{Backend, Engine, Process, Proxy};

#[test]
fn five_lines_are_a_proxy() {
    let backend = Backend::fixed("five lines");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[[upstream]]\nname = \"web\"\nbackends = [\"http://{}\"]\n",
        backend.address()
    );
    let process = Process::config(&text).start();
    assert_eq!(process.get("/").text(), "five lines");
}

#[test]
fn the_command_line_is_a_proxy() {
    let [one, two] = ["1", "2"].map(Backend::fixed);
    let (first, second) = (
        format!("http://{}", one.address()),
        format!("http://{}", two.address()),
    );
    let arguments = [
        "run",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &first,
        "--to",
        &second,
    ];
    let process = Process::with(&arguments).start();
    for _ in 0..4 {
        assert_eq!(process.get("/").status, 200);
    }
    assert_eq!((one.count(), two.count()), (2, 2));
}

#[test]
fn the_environment_alone_is_a_proxy() {
    let [one, two] = ["1", "2"].map(Backend::fixed);
    let process = Process::with(&["run"])
        .env("PROXY_PORT", &0)
        .env("BACKEND_1", &format!("http://{}", one.address()))
        .env("BACKEND_2", &format!("http://{}", two.address()))
        .env("MAX_RETRIES", &2)
        .env("FAILURE_THRESHOLD", &3)
        .env("HEALTH_COOLDOWN", &20)
        .env("REQUEST_TIMEOUT_TOTAL", &"1.5")
        .env("REQUEST_TIMEOUT_CONNECT", &"0.5")
        .env("LOG_DIR", &"logs")
        .env("LOG_LEVEL", &"INFO")
        .start();
    for _ in 0..4 {
        assert_eq!(process.get("/").status, 200);
    }
    assert_eq!((one.count(), two.count()), (2, 2));
    assert!(process.directory().join("logs").is_dir());
}

#[test]
fn an_env_file_is_a_proxy() {
    let backend = Backend::fixed("env file");
    let text = format!(
        "# local\nPROXY_PORT=0\nBACKEND_1=\"http://{}\"\n",
        backend.address()
    );
    let start = Process::with(&["run", "--env-file", "my.env"]).file("my.env", &text);
    assert_eq!(start.start().get("/").text(), "env file");
}

#[test]
fn a_list_of_backends_in_json_is_a_proxy() {
    let backend = Backend::fixed("json");
    let text = format!(
        "{{\"backends\": [{{\"id\": \"one\", \"url\": \"http://{}\"}}]}}",
        backend.address()
    );
    let arguments = [
        "run",
        "--config",
        "backends.json",
        "--listen",
        "127.0.0.1:0",
    ];
    let process = Process::with(&arguments)
        .file("backends.json", &text)
        .start();
    assert_eq!(process.get("/").text(), "json");
}

#[test]
fn variables_are_filled_in() {
    let backend = Backend::fixed("filled in");
    let text = "[server]\nlisten = \"${LISTEN:-127.0.0.1:0}\"\n[[upstream]]\nname = \"web\"\nbackends = [\"http://${TO}\"]\n";
    let process = Process::config(text).env("TO", &backend.address()).start();
    assert_eq!(process.get("/").text(), "filled in");
}

/// Runs `check` on this text and gives the exit code and what it wrote.
fn check(text: &str) -> (i32, String) {
    let start = Process::with(&["check", "--config", "t.toml"]).file("t.toml", text);
    let mut process = start.start();
    let code = process.wait();
    (code, process.lines().join("\n"))
}

#[test]
fn a_good_configuration_passes_the_check() {
    let backend = Backend::fixed("x");
    let (code, said) = check(&Proxy::to(Engine::TinyHttp, [&backend]).text());
    assert_eq!(code, 0, "{said}");
}

#[test]
fn all_problems_are_told_at_once_with_place_and_hint() {
    let text = "[server]\nlisten = \"127.0.0.1:0\"\nworkres = 5\nqueue_timeout = \"5 parsecs\"\n\
                [[upstream]]\nname = \"web\"\nbackends = [\"ftp://127.0.0.1:1\"]\n\
                [[route]]\nupstream = \"wbe\"\n";
    let (code, said) = check(text);
    assert_eq!(code, 78, "{said}");
    for part in [
        "workres",
        "workers",
        "t.toml:3",
        "queue_timeout",
        "t.toml:4",
        "ftp",
        "wbe",
    ] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
    let mut run = Process::with(&["run", "--config", "t.toml"])
        .file("t.toml", text)
        .start();
    assert_eq!(run.wait(), 78);
}

#[test]
fn broken_files_say_so() {
    for text in [
        "[server\n",
        "",
        "listen = 1\n",
        "[[upstream]]\nname = \"web\"\nbackends = []\n",
    ] {
        let (code, said) = check(text);
        assert_eq!(code, 78, "{text:?}: {said}");
        assert!(said.contains("t.toml"), "{text:?}: {said}");
    }
    let mut missing = Process::with(&["run", "--config", "nowhere.toml"]).start();
    assert_eq!(missing.wait(), 78);
    assert!(missing.lines().join("\n").contains("nowhere.toml"));
}

#[test]
fn tiny_http_stays_at_home_unless_the_network_is_trusted() {
    let text = "[server]\nlisten = \"0.0.0.0:0\"\nengine = \"tiny_http\"\n\
                [[upstream]]\nname = \"web\"\nbackends = [\"http://127.0.0.1:1\"]\n";
    let (code, said) = check(text);
    assert_eq!(code, 78);
    assert!(said.contains("trusted_network"), "{said}");
    let trusted = text.replace("[server]", "[server]\ntrusted_network = true");
    assert_eq!(check(&trusted).0, 0);
}

#[test]
fn wrong_usage_is_2_and_a_taken_port_is_1() {
    assert_eq!(Process::with(&["run", "--no-such-flag"]).start().wait(), 2);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let arguments = ["run", "--listen", &listen, "--to", "http://127.0.0.1:1"];
    let mut process = Process::with(&arguments).start();
    assert_eq!(process.wait(), 1);
    assert!(process.lines().join("\n").contains(&listen));
}

/// The same file, but on ports that the system picks.
fn on_free_ports(text: &str) -> String {
    let line = |line: &str| {
        let bare = line.trim_start();
        if bare.starts_with("listen =") {
            "listen = \"127.0.0.1:0\"\n".to_owned()
        } else if bare.starts_with("PROXY_PORT") {
            "PROXY_PORT=0\n".to_owned()
        } else {
            format!("{line}\n")
        }
    };
    text.lines().map(line).collect()
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = {
            let e = entry.unwrap();
            (e.path(), to.join(e.file_name()))
        };
        if path.is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_all(&path, &target);
        } else {
            match fs::read_to_string(&path) {
                Ok(text) => fs::write(&target, on_free_ports(&text)).unwrap(),
                Err(_) => drop(fs::copy(&path, &target).unwrap()),
            }
        }
    }
}

#[test]
fn every_example_starts() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let mut started = 0;
    for entry in fs::read_dir(&examples).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let kind = name.rsplit('.').next().unwrap_or_default();
        let arguments: &[&str] = match kind {
            "toml" => &["run", "--config", &name],
            "json" => &["run", "--config", &name, "--listen", "127.0.0.1:0"],
            "env" => &["run", "--env-file", &name],
            _ => continue,
        };
        // One of them wants it.
        let start = Process::with(arguments).env("TOLLGATE_TOKEN", &"f00dfeedf00dfeed");
        copy_all(&examples, start.directory());
        let mut process = start.start();
        assert!(process.get("/").status >= 200, "{name}");
        process.signal(rustix::process::Signal::TERM);
        assert_eq!(process.wait(), 0, "{name}");
        started += 1;
    }
    assert!(started > 0, "no example in config/examples");
}
