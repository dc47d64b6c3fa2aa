//! The JSON form: `{"backends": [{"id": …, "url": …}]}`, perhaps with a `"port"`.
//!
//! Has no other settings: who needs more writes TOML.

use serde_json::{Map, Value};

use super::file::{BackendFile, ConfigFile, ListenFile, ServerFile, UpstreamFile, Written};
use super::report::{At, Place, Report};
use super::{keys, suggest};

const SHAPE: &str =
    "write {\"backends\": [{\"id\": \"backend1\", \"url\": \"http://127.0.0.1:9001\"}]}";

/// Answered by itself in this form, as its origin does.
const HEALTH_PATH: &str = "/_health";

/// Reads `text`. None: it is no JSON object.
pub(crate) fn read(origin: &str, text: &str, report: &Report) -> Option<ConfigFile> {
    let place = report.add_source(origin, Some(text));
    let Value::Object(root) = parse(text, place, report)? else {
        report.problem_hint(place, "this is JSON, but not an object", SHAPE);
        return None;
    };
    let form = Form {
        origin,
        report,
        keys: &["id", "url"],
    };
    form.check_keys(&root, place, "at the top", &["backends", "port"]);
    let upstream = UpstreamFile {
        place,
        name: Some(At::new("default".to_owned(), place)),
        backends: Some(At::new(form.backends(&root, place), place)),
        ..UpstreamFile::default()
    };
    let broken = root
        .get("backends")
        .is_none_or(|backends| !backends.is_array());
    Some(ConfigFile {
        place,
        origin: origin.to_owned(),
        server: ServerFile {
            listen: form.port(&root),
            health_paths: Some(At::new(vec![At::new(HEALTH_PATH.to_owned(), place)], place)),
            ..ServerFile::default()
        },
        upstreams: if broken { Vec::new() } else { vec![upstream] },
        upstreams_broken: broken,
        ..ConfigFile::default()
    })
}

/// Reads a file of backends: such an object, or the list alone; its entries may be URLs, and have the keys that they have in
/// TOML. None: it is neither.
pub(crate) fn read_backends(origin: &str, text: &str, report: &Report) -> Option<Vec<BackendFile>> {
    let place = report.add_source(origin, Some(text));
    let form = Form {
        origin,
        report,
        keys: keys::of("upstream.backends"),
    };
    let root = match parse(text, place, report)? {
        Value::Object(root) => root,
        list @ Value::Array(_) => Map::from_iter([("backends".to_owned(), list)]),
        _ => {
            let message = "this is JSON, but neither a list nor an object";
            report.problem_hint(place, message, SHAPE);
            return None;
        }
    };
    form.check_keys(&root, place, "at the top", &["backends"]);
    Some(form.backends(&root, place))
}

/// None: it is no JSON; where that shows is in the report.
fn parse(text: &str, place: Place, report: &Report) -> Option<Value> {
    match serde_json::from_str::<Value>(text) {
        Ok(value) => Some(value),
        Err(error) => {
            let at = offset(text, error.line(), error.column());
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or(&message);
            report.problem(
                place.at(&(at..at + 1)),
                format!("not valid JSON: {message}"),
            );
            None
        }
    }
}

struct Form<'a> {
    origin: &'a str,
    report: &'a Report,
    /// Of a backend. Where these are more than id and address, a URL alone will do as well.
    keys: &'static [&'static str],
}

impl Form<'_> {
    /// JSON values carry no positions, so a place is named by its path.
    fn place(&self, path: &str) -> Place {
        self.report
            .add_source(format!("{}: {path}", self.origin), None)
    }

    fn check_keys(&self, map: &Map<String, Value>, place: Place, title: &str, known: &[&str]) {
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            let hint = suggest::hint(key, "the keys here are", known.iter().copied());
            self.report
                .problem_hint(place, format!("unknown key `{key}` {title}"), hint);
        }
    }

    fn port(&self, root: &Map<String, Value>) -> Written<Vec<ListenFile>> {
        let value = root.get("port")?;
        let place = self.place("port");
        match value.as_u64().and_then(|port| u16::try_from(port).ok()) {
            Some(port) => {
                let address = At::new(format!("127.0.0.1:{port}"), place);
                Some(At::new(vec![ListenFile::from(address)], place))
            }
            None => {
                let message = format!(
                    "`port` must be a whole number from 0 to 65535, not {}",
                    kind(value)
                );
                self.report
                    .problem_hint(place, message, "write it as in \"port\": 8080");
                None
            }
        }
    }

    fn backends(&self, root: &Map<String, Value>, place: Place) -> Vec<BackendFile> {
        let Some(value) = root.get("backends") else {
            self.report
                .problem_hint(place, "`backends` is missing", SHAPE);
            return Vec::new();
        };
        let Value::Array(entries) = value else {
            let message = format!("`backends` must be a list, not {}", kind(value));
            self.report
                .problem_hint(self.place("backends"), message, SHAPE);
            return Vec::new();
        };
        let numbered = entries.iter().enumerate();
        numbered
            .map(|(index, entry)| self.backend(index, entry))
            .collect()
    }

    fn backend(&self, index: usize, entry: &Value) -> BackendFile {
        let path = format!("backends[{index}]");
        let place = self.place(&path);
        let mut backend = BackendFile {
            place,
            ..BackendFile::default()
        };
        if let (Value::String(url), true) = (entry, self.takes("weight")) {
            backend.url = Some(At::new(url.clone(), place));
            return backend;
        }
        let Value::Object(map) = entry else {
            let message = format!("a backend must be an object, not {}", kind(entry));
            let hint = "write {\"id\": \"backend1\", \"url\": \"http://127.0.0.1:9001\"}";
            self.report.problem_hint(place, message, hint);
            backend.broken = true;
            return backend;
        };
        self.check_keys(map, place, "in a backend", self.keys);
        backend.id = self.string(map, &path, "id");
        backend.url = self.string(map, &path, "url");
        backend.broken = map.contains_key("url") && backend.url.is_none();
        if self.takes("weight") {
            backend.resolve = self.string(map, &path, "resolve");
            backend.weight = self.integer(map, &path, "weight");
            backend.backup = self.boolean(map, &path, "backup");
            backend.max_connections = self.integer(map, &path, "max_connections");
        }
        backend
    }

    fn takes(&self, key: &str) -> bool {
        self.keys.contains(&key)
    }

    fn integer(&self, map: &Map<String, Value>, path: &str, key: &str) -> Written<i64> {
        let value = map.get(key)?;
        let place = self.place(&format!("{path}.{key}"));
        if let Some(number) = value.as_i64() {
            return Some(At::new(number, place));
        }
        let message = format!("`{key}` must be a whole number, not {}", kind(value));
        self.report.problem(place, message);
        None
    }

    fn boolean(&self, map: &Map<String, Value>, path: &str, key: &str) -> Written<bool> {
        let value = map.get(key)?;
        let place = self.place(&format!("{path}.{key}"));
        if let Some(value) = value.as_bool() {
            return Some(At::new(value, place));
        }
        let message = format!("`{key}` must be true or false, not {}", kind(value));
        self.report.problem(place, message);
        None
    }

    fn string(&self, map: &Map<String, Value>, path: &str, key: &str) -> Written<String> {
        let value = map.get(key)?;
        let place = self.place(&format!("{path}.{key}"));
        let Value::String(text) = value else {
            let message = format!("`{key}` must be a string, not {}", kind(value));
            self.report.problem(place, message);
            return None;
        };
        Some(At::new(text.clone(), place))
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "true or false".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Byte position of a line and a column in bytes, both counted from 1, as serde_json gives them.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    (before + column.saturating_sub(1)).min(text.len().saturating_sub(1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::config::check;
    use crate::config::model::{Config, Engine, HealthKind};
    use proptest::prelude::*;

    fn load(text: &str) -> (Option<Config>, Vec<String>) {
        let report = Report::default();
        let config = read("config.json", text, &report).map(|file| check::check(&file, &report));
        let (problems, _) = report.finish();
        (config, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_form() {
        let (config, problems) = load(
            r#"{"backends": [{"id": "backend1", "url": "http://localhost:3001"}, {"url": "http://localhost:3002"}]}"#,
        );
        assert_eq!(problems, Vec::<String>::new());
        let config = config.unwrap();
        let ids: Vec<_> = config.upstreams[0]
            .backends
            .iter()
            .map(|b| b.id.as_str())
            .collect();
        assert_eq!(ids, ["backend1", "localhost:3002"]);
        assert_eq!(
            config.server.listen[0].address.to_string(),
            "127.0.0.1:8080"
        );
        assert_eq!(config.server.engine, Engine::Reactor);
        assert_eq!(config.server.health_paths[0].kind, HealthKind::Backends);
        let (config, _) =
            load(r#"{"port": 9, "backends": [{"url": "http://a"}, {"url": "unix:/a"}]}"#);
        assert_eq!(
            config.unwrap().server.listen[0].address.to_string(),
            "127.0.0.1:9"
        );
    }

    #[test]
    fn syntax_problems_have_a_position() {
        let (config, problems) = load("{\n  \"backends\": [,]\n}");
        assert!(config.is_none());
        assert!(
            problems[0].starts_with("config.json:2:16: not valid JSON: "),
            "{problems:?}"
        );
        for text in ["", "{", "[]", "nonsense", "{\"a\":\u{e4}"] {
            assert_eq!(load(text).1.len(), 1, "{text}");
        }
    }

    #[test]
    fn all_problems_name_their_place() {
        let (_, problems) = load(
            r#"{"prot": 1, "port": 70000, "backends": [1, {"id": 2, "url": "x"}, {"id": "c", "weight": 1}]}"#,
        );
        let all = problems.join("\n");
        for part in [
            "config.json: unknown key `prot` at the top",
            "config.json: port: `port` must be a whole number from 0 to 65535, not 70000",
            "config.json: backends[0]: a backend must be an object, not 1",
            "config.json: backends[1].id: `id` must be a string, not 2",
            "config.json: backends[1].url: backend \"x\" is not a URL",
            "config.json: backends[2]: unknown key `weight` in a backend",
            "config.json: backends[2]: this backend has no `url`",
        ] {
            assert!(all.contains(part), "{part}\n{all}");
        }
        assert_eq!(problems.len(), 7);
    }

    #[test]
    fn backends_must_be_there() {
        for text in ["{}", r#"{"backends": 1}"#, r#"{"backends": []}"#] {
            assert_eq!(load(text).1.len(), 1, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}|[\\{\\}\\[\\]\",:a-z0-9\n]{0,60}") {
            load(&text);
        }
    }
}
