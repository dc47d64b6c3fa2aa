//! The demonstration: a proxy and its backends from one command.

use std::collections::BTreeSet;

use crate::support::Process;
use crate::support::client::get;
use crate::support::process::address_in;

#[test]
fn one_command_is_a_proxy_with_backends() {
    let process = Process::with(&["demo", "--backends", "3", "--port", "0"]).start();
    let mut client = process.client();
    let answers: Vec<_> = (0..6).map(|_| client.get("/")).collect();
    assert!(answers.iter().all(|answer| answer.status == 200));
    let backends: BTreeSet<String> = answers.iter().map(|answer| answer.backend()).collect();
    assert_eq!(backends.len(), 3, "{backends:?}");
}

#[test]
fn a_demo_backend_alone() {
    let process = Process::with(&["demo", "backend", "--port", "0"]).start();
    let address = address_in(&process.line_with("demo backend"));
    assert_eq!(get(address, "/").status, 200);
    assert_eq!(get(address, "/any/path?x=1").status, 200);
}
