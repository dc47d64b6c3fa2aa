//! What is different between two configurations, in words; and what of it can be had without a restart.
//!
//! Works on values, not on how they were written: a default that is written out is no difference.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use super::model::{Config, Limits, Log, Server};
use super::units;

/// Longest value that is shown whole.
const LONGEST: usize = 80;

/// Settings outside of upstreams and routes that are looked up for every request. Everything else there was given to sockets
/// and threads when they were made.
const LIVE: [&str; 4] = [
    "server.health_paths",
    "server.backend_header",
    "server.limits.body",
    "log.access",
];

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// In words.
    pub text: String,
    /// It takes effect at the next start only.
    pub needs_restart: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.needs_restart {
            f.write_str(" (needs a restart)")?;
        }
        Ok(())
    }
}

/// What `new` has otherwise than `old`, in the order of the configuration.
pub fn diff(old: &Config, new: &Config) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (name, old, new) in [
        ("server", value(&old.server), value(&new.server)),
        ("admin", value(&old.admin), value(&new.admin)),
        ("log", value(&old.log), value(&new.log)),
    ] {
        let mut found = Vec::new();
        compare(name, &old, &new, &mut found);
        differences.extend(found.into_iter().map(|(path, text)| Difference {
            needs_restart: !LIVE.iter().any(|live| path.starts_with(live)),
            text,
        }));
    }
    let mut found = Vec::new();
    let (old_list, new_list) = (value(&old.upstreams), value(&new.upstreams));
    compare_named("upstream", "name", &old_list, &new_list, &mut found);
    // Routes point at upstreams by place.
    let routes = |config: &Config| name_upstreams(value(&config.routes), config);
    compare_named("route", "name", &routes(old), &routes(new), &mut found);
    differences.extend(found.into_iter().map(|(_, text)| Difference {
        needs_restart: false,
        text,
    }));
    differences
}

/// `new`, but for what a running process cannot change: that stays as it is in `old`.
pub fn without_restart(old: &Config, new: Config) -> Config {
    Config {
        server: Server {
            health_paths: new.server.health_paths,
            backend_header: new.server.backend_header,
            limits: Limits {
                body: new.server.limits.body,
                ..old.server.limits.clone()
            },
            ..old.server.clone()
        },
        admin: old.admin.clone(),
        log: Log {
            access: new.log.access,
            ..old.log.clone()
        },
        ..new
    }
}

fn value(part: &impl serde::Serialize) -> Value {
    serde_json::to_value(part).unwrap_or_default()
}

/// Path and text of each difference.
type Found = Vec<(String, String)>;

fn compare(path: &str, old: &Value, new: &Value, found: &mut Found) {
    match (old, new) {
        (Value::Object(one), Value::Object(other))
            if duration(old).is_none() && one.keys().eq(other.keys()) =>
        {
            for ((key, one), (_, other)) in one.iter().zip(other) {
                compare(&join(path, key), one, other, found);
            }
        }
        (Value::Array(_), Value::Array(_)) if path.ends_with("backends") => {
            let owner = path
                .trim_end_matches("backends")
                .trim_end_matches([':', ' ']);
            compare_named(&format!("{owner}, backend"), "id", old, new, found);
        }
        _ if old == new => (),
        _ if is_secret(path) => {
            found.push((
                path.to_owned(),
                format!("{path} is another one (it is not shown)"),
            ));
        }
        _ => {
            let text = format!("{path}: {} → {}", show(old), show(new));
            found.push((path.to_owned(), text));
        }
    }
}

/// Compares lists whose entries are known by a name.
fn compare_named(kind: &str, key: &str, old: &Value, new: &Value, found: &mut Found) {
    let entries = |list: &Value| -> Vec<(String, Value)> {
        let list = list.as_array().cloned().unwrap_or_default();
        let name = |entry: &Value| {
            entry
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        list.into_iter()
            .map(|entry| (name(&entry), entry))
            .collect()
    };
    let (old, new) = (entries(old), entries(new));
    for (name, before) in &old {
        let path = format!("{kind} {name}");
        match new.iter().find(|(other, _)| other == name) {
            Some((_, after)) => compare(&path, before, after, found),
            None => found.push((path.clone(), format!("{path} is removed"))),
        }
    }
    for (name, entry) in &new {
        if !old.iter().any(|(other, _)| other == name) {
            let path = format!("{kind} {name}");
            let at = entry.get("url").and_then(Value::as_str);
            let at = at.map(|at| format!(" ({at})")).unwrap_or_default();
            found.push((path.clone(), format!("{path} is added{at}")));
        }
    }
    let order = |list: &[(String, Value)], other: &[(String, Value)]| -> Vec<String> {
        let names = list.iter().map(|(name, _)| name.clone());
        names
            .filter(|name| other.iter().any(|(other, _)| other == name))
            .collect()
    };
    if order(&old, &new) != order(&new, &old) {
        let text = format!("{kind}: the order is another one");
        found.push((kind.to_owned(), text));
    }
}

/// After the name of an upstream, route or backend comes a colon, after any other table a dot.
fn join(path: &str, key: &str) -> String {
    let is_named = path.contains(' ') && !path.contains(": ");
    let sign = if is_named { ": " } else { "." };
    format!("{path}{sign}{key}")
}

fn is_secret(path: &str) -> bool {
    ["token", "secret", "password"]
        .iter()
        .any(|word| path.ends_with(word))
}

fn show(value: &Value) -> String {
    if let Some(duration) = duration(value) {
        return units::format_duration(duration);
    }
    match value {
        Value::Null => "none".to_owned(),
        Value::Number(number) if number.as_u64() == Some(u64::MAX) => "no limit".to_owned(),
        other => {
            let text = other.to_string();
            match text.char_indices().nth(LONGEST) {
                Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
                None => text,
            }
        }
    }
}

/// How serde writes a duration.
fn duration(value: &Value) -> Option<Duration> {
    let object: &Map<String, Value> = value.as_object().filter(|object| object.len() == 2)?;
    let seconds = object.get("secs")?.as_u64()?;
    let nanos = u32::try_from(object.get("nanos")?.as_u64()?).ok()?;
    Some(Duration::new(seconds, nanos))
}

/// Routes with the names of upstreams instead of their places, which say nothing.
fn name_upstreams(mut routes: Value, config: &Config) -> Value {
    let name = |place: u64| {
        let upstream = config.upstreams.get(usize::try_from(place).ok()?)?;
        Some(Value::String(upstream.name.clone()))
    };
    name_places(&mut routes, &name);
    routes
}

fn name_places(value: &mut Value, name: &impl Fn(u64) -> Option<Value>) {
    match value {
        Value::Object(entries) => {
            for (key, entry) in entries.iter_mut() {
                match entry.as_u64() {
                    Some(place) if key.eq_ignore_ascii_case("upstream") => {
                        *entry = name(place).unwrap_or_default();
                    }
                    _ if key == "table" => name_table(entry, name),
                    _ => name_places(entry, name),
                }
            }
        }
        Value::Array(entries) => entries
            .iter_mut()
            .for_each(|entry| name_places(entry, name)),
        _ => (),
    }
}

/// Services: pairs of a name and a place.
fn name_table(table: &mut Value, name: &impl Fn(u64) -> Option<Value>) {
    for pair in table.as_array_mut().into_iter().flatten() {
        if let Some(Value::Array(pair)) = Some(pair)
            && let Some(entry) = pair.get_mut(1)
            && let Some(place) = entry.as_u64()
        {
            *entry = name(place).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        super::super::load_str("t.toml", text).unwrap().config
    }

    fn texts(old: &str, new: &str) -> Vec<String> {
        let differences = diff(&config(old), &config(new));
        differences.iter().map(ToString::to_string).collect()
    }

    const OLD: &str = r#"
        [server]
        workers = 4
        [[upstream]]
        name = "web"
        backends = [{ id = "a", url = "http://127.0.0.1:1" }, { id = "b", url = "http://127.0.0.1:2" }]
        [[upstream]]
        name = "old"
        backends = ["http://127.0.0.1:3"]
        [[route]]
        name = "all"
        upstream = "web"
    "#;

    #[test]
    fn nothing_is_different_from_itself_however_it_is_written() {
        assert_eq!(texts(OLD, OLD), [] as [&str; 0]);
        assert_eq!(
            texts(
                OLD,
                &OLD.replace("workers = 4", "workers = 4\nqueue = 8192")
            ),
            [] as [&str; 0]
        );
    }

    #[test]
    fn every_difference_is_said_in_words() {
        let new = r#"
            [server]
            workers = 8
            backend_header = true
            [[upstream]]
            name = "new"
            backends = ["http://127.0.0.1:4"]
            [[upstream]]
            name = "web"
            balance = "random"
            backends = [{ id = "b", url = "http://127.0.0.1:2", weight = 5, max_connections = 3 }, "http://127.0.0.1:9"]
            retry = { attempts = 7 }
            timeouts = { connect = "250ms", total = "3s" }
            [[route]]
            name = "all"
            upstream = "new"
            [[route]]
            name = "api"
            match = { path = "/api" }
            upstream = "web"
        "#;
        assert_eq!(
            texts(OLD, new),
            [
                "server.workers: 4 → 8 (needs a restart)",
                "server.backend_header: false → true",
                "upstream web: balance: \"round_robin\" → \"random\"",
                "upstream web, backend a is removed",
                "upstream web, backend b: weight: 1 → 5",
                "upstream web, backend b: max_connections: no limit → 3",
                "upstream web, backend 127.0.0.1:9 is added (http://127.0.0.1:9)",
                "upstream web: retry.attempts: 2 → 7",
                "upstream web: timeouts.connect: 1s → 250ms",
                "upstream web: timeouts.total: none → 3s",
                "upstream old is removed",
                "upstream new is added",
                "route all: to.upstream: \"web\" → \"new\"",
                "route api is added",
            ]
        );
    }

    #[test]
    fn secrets_are_compared_and_not_shown() {
        let with = |token: &str| format!("{OLD}\n[admin]\ntoken = \"{token}\"");
        let found = texts(&with("one"), &with("other"));
        assert_eq!(
            found,
            ["admin.token is another one (it is not shown) (needs a restart)"]
        );
    }

    #[test]
    fn what_needs_a_restart_stays_and_the_rest_is_taken() {
        let new = format!(
            "[server]\nworkers = 9\nbackend_header = true\nhealth_paths = [\"/up\"]\nlimits = {{ body = \"1KiB\", head = \"9KiB\" }}\n\
             [log]\naccess = false\nlevel = \"debug\"\n{}",
            OLD.replace("[server]\n        workers = 4", "")
                .replace("\"old\"", "\"other\"")
        );
        let (old, new) = (config(OLD), config(&new));
        let all = diff(&old, &new);
        let taken = without_restart(&old, new);
        let live: Vec<Difference> = all.into_iter().filter(|one| !one.needs_restart).collect();
        assert_eq!(diff(&old, &taken), live);
        assert_eq!(live.len(), 6, "{live:#?}");
    }

    #[test]
    fn conditions_and_splits_are_told_as_they_are_written() {
        let route = |header: &str, weight: u32| {
            format!(
                "[[upstream]]\nname = \"a\"\nbackends = [\"http://h:1\"]\n[[upstream]]\nname = \"b\"\nbackends = [\"http://h:2\"]\n\
                 [[route]]\nname = \"r\"\nmatch = {{ method = \"GET\", header = {{ X-Beta = \"{header}\" }} }}\n\
                 split = [{{ upstream = \"a\", weight = 90 }}, {{ upstream = \"b\", weight = {weight} }}]\n"
            )
        };
        assert!(texts(&route("1", 10), &route("1", 10)).is_empty());
        let differences = texts(&route("1", 10), &route("2*", 20));
        assert_eq!(
            differences[0],
            "route r: conditions.headers: [\"x-beta = \\\"1\\\"\"] → [\"x-beta = \\\"2*\\\"\"]"
        );
        assert!(
            differences[1].starts_with("route r: to.split.sides: "),
            "{differences:?}"
        );
        assert_eq!(differences.len(), 2);
    }
}
