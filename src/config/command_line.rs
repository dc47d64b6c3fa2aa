//! The command line form: `--listen :8080 --to :9001 --to unix:/run/app.sock`, a proxy without any file.
//!
//! Does not parse arguments (they are handed in) and has no other settings: who needs more writes a file.

use super::file::{BackendFile, ConfigFile, ListenFile, ServerFile, UpstreamFile, Written};
use super::report::{At, Report};

/// Reads the values of `--listen` and `--to`.
pub(crate) fn read(listen: &[String], to: &[String], report: &Report) -> ConfigFile {
    let place = report.add_source("command line", None);
    let backends = to.iter().map(|text| {
        let place = report.add_source(format!("--to {text}"), None);
        BackendFile {
            place,
            url: Some(At::new(backend_url(text), place)),
            ..BackendFile::default()
        }
    });
    let upstream = UpstreamFile {
        place,
        name: Some(At::new("default".to_owned(), place)),
        backends: Some(At::new(backends.collect(), place)),
        ..UpstreamFile::default()
    };
    ConfigFile {
        place,
        origin: "command line".to_owned(),
        server: ServerFile {
            listen: self::listen(listen, report),
            ..ServerFile::default()
        },
        upstreams: vec![upstream],
        ..ConfigFile::default()
    }
}

/// The values of `--listen`, if any.
pub(crate) fn listen(listen: &[String], report: &Report) -> Written<Vec<ListenFile>> {
    let entries: Vec<ListenFile> = listen
        .iter()
        .map(|text| {
            let place = report.add_source(format!("--listen {text}"), None);
            ListenFile::from(At::new(text.clone(), place))
        })
        .collect();
    let place = entries.first()?.place;
    Some(At::new(entries, place))
}

/// `:9001`, `9001` and `host:port` as URLs; a URL stays as it is, and so does the path of a Unix socket.
fn backend_url(text: &str) -> String {
    if text.contains("://") || text.starts_with("unix:") || text.starts_with('/') {
        text.to_owned()
    } else if text.starts_with(':') {
        format!("http://127.0.0.1{text}")
    } else if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
        format!("http://127.0.0.1:{text}")
    } else {
        format!("http://{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_of_backends() {
        for (text, url) in [
            (":9001", "http://127.0.0.1:9001"),
            ("9001", "http://127.0.0.1:9001"),
            ("web:9001", "http://web:9001"),
            ("[::1]:9001", "http://[::1]:9001"),
            ("http://web:1", "http://web:1"),
            ("https://web:1", "https://web:1"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("/run/app.sock", "/run/app.sock"),
        ] {
            assert_eq!(backend_url(text), url);
        }
    }

    #[test]
    fn listen_is_optional() {
        let file = read(&[], &[":9001".to_owned()], &Report::default());
        assert!(file.server.listen.is_none());
        assert_eq!(file.upstreams.len(), 1);
    }
}
