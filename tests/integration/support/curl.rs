//! curl as a client.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use super::client::Response;
use super::patience;
use super::program::CURL;
use super::wire::Head;

/// What one run of curl brought.
#[derive(Debug)]
pub struct Fetched {
    /// The last final answer; the body is everything that went to curl's output.
    pub response: Response,
    /// New connections, for each URL.
    pub connects: Vec<u32>,
}

/// Runs curl with these arguments; fails the test when curl does.
#[track_caller]
pub fn curl(arguments: &[&str]) -> Fetched {
    run(arguments, Stdio::null())
}

/// The same with this file on its standard input.
#[track_caller]
pub fn curl_from(input: &Path, arguments: &[&str]) -> Fetched {
    run(arguments, Stdio::from(File::open(input).unwrap()))
}

#[track_caller]
fn run(arguments: &[&str], input: Stdio) -> Fetched {
    let heads = tempfile::NamedTempFile::new().unwrap();
    let output = CURL
        .command()
        // No file or variable of the user's has a say; -q has to be the first.
        .args(["-q", "--noproxy", "*", "--silent", "--show-error"])
        .args(["--max-time", &patience().as_secs().to_string()])
        .args(["--write-out", "%{stderr}%{num_connects}\\n"])
        .arg("--dump-header")
        .arg(heads.path())
        .args(arguments)
        .stdin(input)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let heads = std::fs::read_to_string(heads.path()).unwrap();
    assert!(
        output.status.success(),
        "curl {arguments:?}: {} {said}\n{heads}",
        output.status
    );
    let (last, _) = heads.rsplit_once("\r\n\r\n").expect("a head");
    let last = last.rsplit("\r\n\r\n").next().unwrap_or(last);
    let head = Head::parse(format!("{last}\r\n\r\n").into_bytes()).unwrap();
    Fetched {
        response: Response {
            status: head.line[1].parse().unwrap(),
            head,
            body: output.stdout,
        },
        connects: said.lines().map(|line| line.parse().unwrap()).collect(),
    }
}
