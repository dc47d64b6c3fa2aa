//! A record's whole way into a file, without the process-wide logger where possible.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use log::{Level, Log, Record};
use tempfile::TempDir;

use super::*;

fn to_file(file: PathBuf) -> Settings {
    Settings {
        level: LevelFilter::Debug,
        stderr: false,
        file: Some(file),
        rotate_size: 0,
        rotate_age: Duration::ZERO,
        keep: 1,
        access: true,
    }
}

/// What a file holds after these records went through the logger.
fn written(records: &[(Level, &str, &str)]) -> String {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    let config = to_file(path.clone());
    let rotation = Rotation {
        size: 0,
        age: Duration::ZERO,
        keep: 1,
    };
    let file = RotatingFile::open(&path, rotation).unwrap();
    let sinks = vec![Sink::start("log-file", Box::new(file)).unwrap()];
    let logger = build_logger(&config, &sinks);
    for (level, target, message) in records {
        logger.log(
            &Record::builder()
                .level(*level)
                .target(target)
                .args(format_args!("{message}"))
                .build(),
        );
    }
    Logging { sinks }.shut_down();
    fs::read_to_string(&path).unwrap()
}

#[test]
fn a_line_has_time_level_target_and_message() {
    let text = written(&[(Level::Warn, "tollgate::forward", "backend b1 is slow")]);
    let (time, rest) = text.split_at(24);
    assert_eq!(rest, " [WARN] tollgate::forward: backend b1 is slow\n");
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
}

#[test]
fn a_forging_attempt_stays_one_line() {
    let text = written(&[
        (
            Level::Info,
            "tollgate",
            "path /x\r\n2026-01-01T00:00:00.000Z [INFO] access: id=forged\u{2028}\u{1b}[2J",
        ),
        (Level::Info, "odd\ntarget", "second"),
    ]);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.contains(
            "path /x\\r\\n2026-01-01T00:00:00.000Z [INFO] access: id=forged\\u{2028}\\x1b[2J\n"
        ),
        "{text}"
    );
    assert!(text.ends_with("odd\\ntarget: second\n"), "{text}");
}

#[test]
fn quiet_targets_and_low_levels_are_left_out() {
    let text = written(&[
        (Level::Debug, "ureq::run", "chatter"),
        (Level::Trace, "tollgate", "detail"),
        (Level::Warn, "ureq::run", "worth it"),
    ]);
    assert!(text.ends_with(" [WARN] ureq::run: worth it\n"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

/// The only test that installs the process-wide logger: it may do so once in a process.
#[test]
fn starting_twice_installs_once_and_is_no_error() {
    let folder = TempDir::new().unwrap();
    let first = start(&to_file(folder.path().join("logs/first.log"))).unwrap();
    let second = start(&to_file(folder.path().join("logs/second.log"))).unwrap();
    assert!(second.sinks.is_empty());
    access::record(&access::AccessRecord {
        request_id: "r1",
        client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        method: "GET",
        target: "/",
        status: 200,
        cause: None,
        bytes_in: 0,
        bytes_out: 0,
        route: None,
        upstream: None,
        backend: None,
        attempts: 0,
        duration: Duration::ZERO,
        first_byte: None,
        queued: Duration::ZERO,
        user_agent: None,
        user: None,
        tls: None,
        host: "h",
    });
    first.reopen();
    assert_eq!(first.dropped() + second.dropped(), 0);
    // Empty if something else in this process was first.
    let was_installed = !first.sinks.is_empty();
    first.shut_down();
    second.shut_down();
    let text = fs::read_to_string(folder.path().join("logs/first.log")).unwrap();
    assert_eq!(
        text.contains("Z [INFO] access: id=r1 "),
        was_installed,
        "{text}"
    );
}

#[test]
fn a_log_file_that_cannot_be_opened_is_an_error() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let error = start(&to_file(folder.path().join("file/x.log")))
        .err()
        .unwrap();
    assert!(error.to_string().contains("file/x.log"), "{error}");
}
