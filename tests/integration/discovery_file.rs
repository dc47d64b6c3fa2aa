//! Where backends come from: a file that somebody else writes. And what looks at it without running.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::support::members::{config, ids, members, replace, under_load};
use crate::support::{Backend, Client, Engine, Process, eventually, on_each_engine};

on_each_engine!(
    a_file_adds_and_removes_backends,
    a_file_that_is_bad_or_missing_changes_nothing,
);

const FILE: &str = "discovery.file = \"backends.json\"\ndiscovery.file_interval = \"100ms\"";

fn a_file_adds_and_removes_backends(engine: Engine) {
    let [one, two, three] = ["one", "two", "three"].map(Backend::fixed);
    let backends = format!("backends = [{{ id = \"one\", url = \"{}\" }}]", one.url());
    let two_alone = format!(
        "[{{ \"id\": \"two\", \"url\": \"{}\", \"weight\": 3 }}]",
        two.url()
    );
    let text = config(engine, &backends, FILE);
    let process = Process::config(&text)
        .file("backends.json", &two_alone)
        .start();
    assert_eq!(ids(&process), ["one", "two"], "from the first request on");
    assert_eq!(members(&process)[1]["weight"], 3);
    under_load(&process, |_| {
        eventually("both have work", || one.count() > 10 && two.count() > 10);
        let three_alone = format!(
            "{{ \"backends\": [{{ \"id\": \"three\", \"url\": \"{}\" }}, {{ \"id\": \"one\", \"url\": \"http://127.0.0.1:1\" }}] }}",
            three.url()
        );
        replace(&process, "backends.json", &three_alone);
        eventually("two has left", || ids(&process) == ["one", "three"]);
        process.line_with("backend one is configured already: the one found is left out");
        eventually("three has work", || three.count() > 20);
        eventually("nobody is with two", || two.open_connections() == 0);
        // In place, as an editor might do it.
        fs::write(process.directory().join("backends.json"), "[]").unwrap();
        eventually("one is alone", || ids(&process) == ["one"]);
    });
    // What is found is there to be changed, not to be removed, as what is configured.
    replace(&process, "backends.json", &two_alone);
    eventually("two is back", || ids(&process) == ["one", "two"]);
    let ask = |method: &str, body: &str| {
        let (to, length) = (process.admin(), body.len());
        Client::connect(to).ask(format!(
            "{method} /_proxy/upstreams/web/backends/two HTTP/1.1\r\nHost: {to}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    };
    let draining = json!({ "state": "draining" }).to_string();
    assert_eq!(ask("PUT", &draining).json()["duty"], "draining");
    // That undoes what was set by hand; once nothing is, there is nothing to remove.
    assert_eq!(ask("DELETE", "").status, 200);
    assert_eq!(members(&process)[1]["duty"], "enabled");
    assert_eq!(ask("DELETE", "").status, 409);
    assert_eq!(ask("PUT", &draining).json()["duty"], "draining");
    process.signal(Signal::HUP);
    process.line_with("reloaded, nothing is different");
    assert_eq!(ids(&process), ["one", "two"]);
    assert_eq!(members(&process)[1]["duty"], "draining");
}

fn a_file_that_is_bad_or_missing_changes_nothing(engine: Engine) {
    let [one, two] = ["one", "two"].map(Backend::fixed);
    let text = config(engine, "", FILE);
    let process = Process::config(&text).start();
    process.get("/").refused(503, "no_backend");
    process.line_with("backends.json does not exist; it is looked for again and again");
    replace(&process, "backends.json", &format!("[\"{}\"]", one.url()));
    eventually("it is found", || process.get("/").status == 200);
    under_load(&process, |_| {
        replace(
            &process,
            "backends.json",
            "[\n\"http://127.0.0.1:1\", \"http://\"]",
        );
        let line = process.line_with("has no usable host");
        assert!(
            line.contains("backends.json: backends[1]: backend"),
            "{line}"
        );
        replace(&process, "backends.json", "[\n  nonsense]");
        process.line_with("backends.json:2:");
        fs::remove_file(process.directory().join("backends.json")).unwrap();
        process.line_with("backends.json does not exist; the backends that it had stay");
        assert_eq!(ids(&process).len(), 1);
        replace(&process, "backends.json", &format!("[\"{}\"]", two.url()));
        eventually("two has taken over", || two.count() > 10);
    });
}

#[test]
fn check_and_explain_look_up_nothing_and_read_the_file() {
    let text = "[[upstream]]\nname = \"web\"\nbackends = [{ url = \"http://nowhere.invalid\", resolve = \"all\" }]\n\
        discovery.file = \"more.toml\"\n";
    let run = |command: &[&str], file: &str| {
        let mut arguments = command.to_vec();
        arguments.extend(["--config", "tollgate.toml"]);
        let start = Process::with(&arguments).file("tollgate.toml", text);
        let mut process = start.file("more.toml", file).start();
        (process.wait(), process.lines().join("\n"))
    };
    let (code, said) = run(&["check"], "backends = [\"http://elsewhere.invalid\"]");
    assert_eq!(code, 0, "{said}");
    for part in [
        "http://nowhere.invalid:80, weight 1, one for each of its addresses",
        "elsewhere.invalid:80",
        "more.toml",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, said) = run(&["check"], "backends = [\"elsewhere\"]");
    assert_eq!(code, 0, "it may be good tomorrow: {said}");
    assert!(
        said.contains("more.toml:1:13: backend \"elsewhere\" is not a URL"),
        "{said}"
    );
    let (code, said) = run(
        &["explain", "GET", "/"],
        "backends = [\"http://elsewhere.invalid\"]",
    );
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("backend web/nowhere.invalid:80: usable"),
        "{said}"
    );
    assert!(
        said.contains("backend web/elsewhere.invalid:80: usable"),
        "{said}"
    );
}
