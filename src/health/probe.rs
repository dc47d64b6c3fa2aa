//! One probe: a TCP connect, or a GET with an expected status and perhaps a text in the body.
//!
//! It has an agent and a connection of its own, which end with it.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ureq::Agent;

use crate::config::model::Health;
use crate::upstream::backend::Backend;

/// Most bytes of a body that are searched for the expected text.
const MAX_BODY: u64 = 64 * 1024;

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) is_good: bool,
    /// For people.
    pub(super) reason: String,
}

pub(super) fn run(backend: &Backend, settings: &Health) -> Outcome {
    let started = Instant::now();
    let result = match &settings.path {
        None => connect(backend, settings.timeout),
        Some(path) => get(backend, path, settings),
    };
    let millis = started.elapsed().as_millis();
    match result {
        Ok(what) => Outcome {
            is_good: true,
            reason: format!("{what} in {millis} ms"),
        },
        Err(why) => Outcome {
            is_good: false,
            reason: format!("{why} after {millis} ms"),
        },
    }
}

fn connect(backend: &Backend, timeout: Duration) -> Result<String, String> {
    let addresses = backend
        .addresses()
        .map_err(|error| format!("the name does not resolve: {error}"))?;
    let mut last = String::new();
    for address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(_) => return Ok("connected".into()),
            Err(error) => last = describe_io(&error),
        }
    }
    Err(last)
}

fn get(backend: &Backend, path: &str, settings: &Health) -> Result<String, String> {
    let config = Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .user_agent(concat!(
            "tollgate/",
            env!("CARGO_PKG_VERSION"),
            " (health check)"
        ))
        .timeout_global(Some(settings.timeout))
        .build();
    let url = format!("http://{}{path}", backend.authority);
    let response = Agent::new_with_config(config)
        .get(&url)
        .header("Connection", "close")
        .call()
        .map_err(|error| describe(&error))?;
    let status = response.status().as_u16();
    if !settings
        .expect_status
        .iter()
        .any(|(from, to)| (*from..=*to).contains(&status))
    {
        return Err(unexpected_status(status));
    }
    let Some(wanted) = &settings.expect_body else {
        return Ok(status.to_string());
    };
    let mut body = Vec::new();
    response
        .into_body()
        .into_reader()
        .take(MAX_BODY)
        .read_to_end(&mut body)
        .map_err(|error| describe_io(&error))?;
    if body
        .windows(wanted.len().max(1))
        .any(|window| window == wanted.as_bytes())
        || wanted.is_empty()
    {
        Ok(status.to_string())
    } else {
        Err(format!(
            "{status}, but the body does not contain {wanted:?}"
        ))
    }
}

/// A status that was not expected, with the usual reason for it.
fn unexpected_status(status: u16) -> String {
    let hint = match status {
        300..=399 => " (a redirect: probe the address it leads to, or expect it)",
        401 | 403 => " (the path needs credentials: probe one that does not)",
        404 => " (is health.path right?)",
        _ => "",
    };
    format!("status {status}{hint}")
}

fn describe(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => describe_io(error),
        ureq::Error::Timeout(_) => "no answer in time".into(),
        ureq::Error::HostNotFound => "the name does not resolve".into(),
        other => other.to_string(),
    }
}

fn describe_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".into(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
            "closed without an answer".into()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model;
    use std::io::Write;
    use std::net::TcpListener;

    fn probe(answer: &'static str, adjust: impl FnOnce(&mut Health)) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(answer.as_bytes());
        });
        let backend = Backend::new(&model::Backend {
            id: "b".into(),
            host: "127.0.0.1".into(),
            port,
            weight: 1,
        });
        let text = "[[upstream]]\nname = \"u\"\nbackends = [\"http://127.0.0.1:1\"]\n[upstream.health]\npath = \"/up\"";
        let mut health = crate::config::load_str("test", text)
            .unwrap()
            .config
            .upstreams
            .remove(0)
            .health;
        health.timeout = Duration::from_secs(20);
        adjust(&mut health);
        let outcome = run(&backend, &health);
        server.join().unwrap();
        outcome
    }

    #[test]
    fn a_good_answer_is_good() {
        let outcome = probe("HTTP/1.1 204 No Content\r\n\r\n", |_| ());
        assert!(
            outcome.is_good && outcome.reason.starts_with("204 in "),
            "{outcome:?}"
        );
    }

    #[test]
    fn status_and_body_are_compared() {
        let moved = probe("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", |_| ());
        assert!(
            !moved.is_good && moved.reason.starts_with("status 500"),
            "{moved:?}"
        );
        let body = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready";
        assert!(probe(body, |health| health.expect_body = Some("ready".into())).is_good);
        assert!(!probe(body, |health| health.expect_body = Some("steady".into())).is_good);
    }

    #[test]
    fn a_connect_is_enough_without_a_path() {
        assert!(probe("", |health| health.path = None).is_good);
    }

    #[test]
    fn a_closed_port_is_named() {
        let backend = Backend::new(&model::Backend {
            id: "b".into(),
            host: "127.0.0.1".into(),
            port: 1,
            weight: 1,
        });
        assert_eq!(
            connect(&backend, Duration::from_secs(1)),
            Err("connection refused".into())
        );
    }
}
