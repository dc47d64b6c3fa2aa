//! One probe: a connect (with the handshake, where TLS is spoken), or a GET with an expected status and perhaps a text in the body.
//!
//! It has an agent and a connection of its own, which end with it (see [`super::line`]).

use std::io::{self, Read};
use std::time::Instant;

use ureq::Agent;

use crate::config::model::Health;
use crate::upstream::backend::Backend;
use crate::upstream::dial::{DialError, dial};
use crate::upstream::stream::Stream;

use super::line::{Anywhere, Once};

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
    let deadline = started + settings.timeout;
    let result = connect(backend, deadline).and_then(|stream| match &settings.path {
        None => Ok("connected".into()),
        Some(path) => get(backend, stream, path, settings, deadline),
    });
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

fn connect(backend: &Backend, deadline: Instant) -> Result<Stream, String> {
    dial(backend, deadline).map_err(|error| match error {
        DialError::Name => "the name does not resolve".into(),
        DialError::Connect(error) => describe_io(&error),
        DialError::Tls(failure) => failure.reason,
    })
}

fn get(
    backend: &Backend,
    stream: Stream,
    path: &str,
    settings: &Health,
    deadline: Instant,
) -> Result<String, String> {
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
        .build();
    let connector = Once::new(stream, deadline);
    let url = format!("http://{}{path}", backend.authority);
    let response = Agent::with_parts(config, connector, Anywhere)
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
        other => other.to_string(),
    }
}

fn describe_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::NotFound => "there is no such socket".into(),
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
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    fn tcp(port: u16) -> Backend {
        let host = "127.0.0.1".into();
        backend(model::BackendAddress::Tcp { host, port })
    }

    fn backend(at: model::BackendAddress) -> Backend {
        Backend::new(&model::Backend::new("b", at))
    }

    fn settings(adjust: impl FnOnce(&mut Health)) -> Health {
        let text = "[[upstream]]\nname = \"u\"\nbackends = [\"http://127.0.0.1:1\"]\n[upstream.health]\npath = \"/up\"";
        let loaded = crate::config::load_str("test", text).unwrap();
        let mut health = loaded.config.upstreams[0].health.clone();
        health.timeout = Duration::from_secs(20);
        adjust(&mut health);
        health
    }

    fn probe(answer: &'static str, adjust: impl FnOnce(&mut Health)) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(answer.as_bytes());
        });
        let outcome = run(&tcp(port), &settings(adjust));
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
        let outcome = run(&tcp(1), &settings(|_| ()));
        assert!(
            !outcome.is_good && outcome.reason.starts_with("connection refused after"),
            "{outcome:?}"
        );
    }

    #[test]
    fn a_unix_socket_is_asked_like_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let backend = backend(model::BackendAddress::Unix(path.clone()));
        let get = settings(|health| health.expect_body = Some("ready".into()));
        let connect = settings(|health| health.path = None);
        let nobody = run(&backend, &connect);
        assert!(
            !nobody.is_good && nobody.reason.starts_with("there is no such socket"),
            "{nobody:?}"
        );

        let listener = UnixListener::bind(&path).unwrap();
        assert!(run(&backend, &connect).is_good);
        let server = std::thread::spawn(move || {
            drop(listener.accept().unwrap());
            let mut stream = listener.accept().unwrap().0;
            let mut request = vec![0; 1024];
            let count = stream.read(&mut request).unwrap();
            let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nre\r\n3\r\nady\r\n0\r\n\r\n";
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        let outcome = run(&backend, &get);
        let request = server.join().unwrap().to_lowercase();
        assert!(
            outcome.is_good && outcome.reason.starts_with("200 in "),
            "{outcome:?}"
        );
        assert!(request.starts_with("get /up http/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nhost: localhost\r\n"), "{request}");
    }

    #[test]
    fn a_probe_ends_in_time_whatever_the_backend_does() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let timeout = Duration::from_millis(300);
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            // One field at a time, for ever: each read makes progress, the probe as a whole must not.
            while stopped.recv_timeout(Duration::from_millis(20))
                == Err(crossbeam_channel::RecvTimeoutError::Timeout)
            {
                let _ = stream.write_all(b"X: y\r\n");
            }
        });
        let begun = Instant::now();
        let outcome = run(&tcp(port), &settings(|health| health.timeout = timeout));
        drop(stop);
        server.join().unwrap();
        assert!(
            !outcome.is_good && outcome.reason.starts_with("no answer in time"),
            "{outcome:?}"
        );
        assert!(begun.elapsed() >= timeout && begun.elapsed() < 20 * timeout);
    }
}
