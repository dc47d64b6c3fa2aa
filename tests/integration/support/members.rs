//! Who the backends of a program are, and load that must not suffer while that changes.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use super::client::get;
use super::{Engine, Process, Proxy, SetOnDrop, eventually};

/// Backends of the upstream `web`, as the status page shows them.
pub fn members(process: &Process) -> Vec<Value> {
    let status = get(process.admin(), "/_proxy/status").json();
    status["upstreams"][0]["backends"]
        .as_array()
        .unwrap()
        .clone()
}

/// Their ids and addresses and states: `b1 127.0.0.1:80 healthy`.
pub fn shown(process: &Process) -> Vec<String> {
    let line = |member: &Value| {
        let addresses = member["addresses"].as_array().unwrap();
        let addresses: Vec<&str> = addresses.iter().map(|one| one.as_str().unwrap()).collect();
        let (id, state) = (&member["id"], &member["state"]);
        format!(
            "{} {} {}",
            id.as_str().unwrap(),
            addresses.join(","),
            state.as_str().unwrap()
        )
    };
    members(process).iter().map(line).collect()
}

/// Their ids.
pub fn ids(process: &Process) -> Vec<String> {
    let id = |member: &Value| member["id"].as_str().unwrap().to_owned();
    members(process).iter().map(id).collect()
}

/// Runs `work` while four clients send one request after another, none of which may fail.
pub fn under_load(process: &Process, work: impl FnOnce(&AtomicUsize)) {
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = process.client();
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.get("/");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _stop = SetOnDrop(&stop);
        eventually("requests are answered", || {
            answered.load(Ordering::Relaxed) > 20
        });
        work(&answered);
        let before = answered.load(Ordering::Relaxed);
        eventually("requests are still answered", || {
            answered.load(Ordering::Relaxed) > before + 100
        });
    });
}

/// A configuration whose upstream `web` has these lines in the place of `backends`, and these.
pub fn config(engine: Engine, backends: &str, lines: &str) -> String {
    let setup = Proxy::to(engine, []).web(lines).text();
    assert!(setup.contains("backends = []"));
    setup.replace("backends = []", backends)
}

/// Writes a file as it should be done: whole or not at all.
pub fn replace(process: &Process, name: &str, text: &str) {
    let directory: &Path = process.directory();
    fs::write(directory.join("new"), text).unwrap();
    fs::rename(directory.join("new"), directory.join(name)).unwrap();
}
