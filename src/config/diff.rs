//! What is different between two configurations, in words; and what of it can be had without a restart.
//!
//! Works on values, not on how they were written: a default that is written out is no difference.

mod shown;

use std::fmt;

use serde_json::Value;

use super::model::{Address, Config, HeaderChanges, Limits, Log, Server, ServerAccess};
use shown::{HIDDEN, duration, is_secret, show, without_secrets};

/// Settings outside of upstreams and routes that are looked up for every request. Everything else there was given to sockets
/// and threads when they were made.
const LIVE: &[&str] = &[
    // With the dot: what there is now can change, but it takes listeners to have TLS, or none.
    "server.tls.",
    "server.health_paths",
    "server.backend_header",
    "server.security_headers",
    "server.redirect_https",
    "server.listeners",
    "server.hosts",
    "server.methods",
    "server.paths",
    "server.limits.body",
    "server.limits.requests_per_client",
    "server.rate_limits",
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
    let routes = |config: &Config| {
        let mut routes = value(&config.routes);
        no_change_is_an_empty_one(&mut routes);
        name_upstreams(routes, config)
    };
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
            access: access_without_restart(&old.server, &new.server),
            health_paths: new.server.health_paths,
            backend_header: new.server.backend_header,
            security_headers: new.server.security_headers,
            redirect_https: new.server.redirect_https,
            tls: match (&old.server.tls, new.server.tls) {
                (Some(_), Some(new)) => Some(new),
                (old, _) => old.clone(),
            },
            rate_limits: new.server.rate_limits,
            limits: Limits {
                body: new.server.limits.body,
                requests_per_client: new.server.limits.requests_per_client,
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

/// Lists belong to listeners: they change by themselves only where those stay.
fn access_without_restart(old: &Server, new: &Server) -> ServerAccess {
    let addresses = |server: &Server| -> Vec<Address> {
        let listen = server.listen.iter();
        listen.map(|listen| listen.address.clone()).collect()
    };
    let mut access = new.access.clone();
    if addresses(old) != addresses(new) {
        access.listeners.clone_from(&old.access.listeners);
    }
    access
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
        (Value::Array(one), Value::Array(other)) if has_hidden(one) || has_hidden(other) => {
            compare_hidden(path, one, other, found);
        }
        _ => {
            let owner = path.strip_suffix(HIDDEN).unwrap_or(path);
            let (was, is) = (without_secrets(path, old), without_secrets(path, new));
            let text = if is_secret(path) || was == is {
                format!("{owner} is another one (it is not shown)")
            } else {
                format!("{path}: {} → {}", show(&was), show(&is))
            };
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

/// Whether the list is one of names with values that are not shown.
fn has_hidden(list: &[Value]) -> bool {
    list.iter().any(|entry| entry.get("hidden").is_some())
}

/// Compares such lists. A name may be there more than once.
fn compare_hidden(path: &str, old: &[Value], new: &[Value], found: &mut Found) {
    let name = |entry: &Value| -> String {
        let name = entry.get("name").and_then(Value::as_str);
        name.unwrap_or_default().to_owned()
    };
    let mut names: Vec<String> = Vec::new();
    for entry in old.iter().chain(new) {
        let name = name(entry);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let before = found.len();
    for wanted in names {
        let of = |list: &[Value]| -> Vec<Value> {
            let entries = list.iter().filter(|entry| name(entry) == wanted);
            entries.cloned().collect()
        };
        let (old, new) = (of(old), of(new));
        let what = match (old.is_empty(), new.is_empty()) {
            _ if old == new => continue,
            (true, _) => "is added",
            (_, true) => "is removed",
            _ => "is another one (it is not shown)",
        };
        found.push((path.to_owned(), format!("{path}.{wanted} {what}")));
    }
    if found.len() == before {
        let text = format!("{path}: the order is another one");
        found.push((path.to_owned(), text));
    }
}

/// After the name of an upstream, route or backend comes a colon, after any other table a dot.
fn join(path: &str, key: &str) -> String {
    let is_named = path.contains(' ') && !path.contains(": ");
    let sign = if is_named { ": " } else { "." };
    format!("{path}{sign}{key}")
}

/// Routes where changes of header fields can be compared one by one, though there are none.
fn no_change_is_an_empty_one(routes: &mut Value) {
    for route in routes.as_array_mut().into_iter().flatten() {
        if let Some(headers) = route.get_mut("headers").filter(|headers| headers.is_null()) {
            *headers = value(&HeaderChanges::default());
        }
    }
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
            "route r: conditions.headers.x-beta is another one (it is not shown)"
        );
        assert!(
            differences[1].starts_with("route r: to.split.sides: "),
            "{differences:?}"
        );
        assert_eq!(differences.len(), 2);
    }

    #[test]
    fn values_of_header_fields_and_cookies_are_not_shown() {
        let with = |of_route: &str| {
            format!("{OLD}\n{}", of_route.trim()).replace("s3cret", "hunter2-s3cret")
        };
        let none = with("");
        let one = with(
            r#"
            match = { header = { X-Key = "s3cret" }, cookie = { pass = "s3cret" } }
            headers.request.set = { Authorization = "Bearer s3cret", X-Old = "s3cret" }
            headers.response.add = { X-Two = "s3cret" }
            "#,
        );
        let other = one.replace("-s3cret", "-s3cret2").replace("X-Old", "X-New");
        let texts_of = |old: &str, new: &str| {
            let found = texts(old, new);
            assert!(!found.join("\n").contains("hunter2"), "{found:#?}");
            found
        };
        assert_eq!(texts_of(&none, &one).len(), 5);
        assert_eq!(texts_of(&one, &none).len(), 5);
        assert_eq!(
            texts_of(&one, &other),
            [
                "route all: conditions.headers.x-key is another one (it is not shown)",
                "route all: conditions.cookies.pass is another one (it is not shown)",
                "route all: headers.request.set.Authorization is another one (it is not shown)",
                "route all: headers.request.set.X-Old is removed",
                "route all: headers.request.set.X-New is added",
                "route all: headers.response.add.X-Two is another one (it is not shown)",
            ]
        );
    }

    #[test]
    fn what_stands_for_hidden_values_is_not_shown_either() {
        let with = |lines: &str| {
            format!(
                "{OLD}\ndeny_if = [{{ method = \"PUT\", header = {{ X-Key = \"s3cret\" }} }}]\n[route.auth]\n{lines}"
            )
        };
        let jwt = with("jwt = { secret = \"0123456789-0123456789-0123456789\" }");
        let other = jwt.replace("s3cret", "other").replace("9-0", "9+0");
        assert_eq!(
            texts(&jwt, &other),
            [
                "route all: rules.deny_if is another one (it is not shown)",
                "route all: auth.jwt.keys is another one (it is not shown)",
            ]
        );
        let asked = |query: &str, path: &str| {
            with(&format!(
                "forward = {{ url = \"http://127.0.0.1:9{path}?secret={query}\" }}"
            ))
        };
        assert_eq!(
            texts(&asked("AAAA", "/a"), &asked("BBBB", "/b")),
            [
                "route all: auth.forward.target.path: \"/a\" → \"/b\"",
                "route all: auth.forward.target is another one (it is not shown)",
            ]
        );
        for (old, new) in [
            (OLD, &*jwt),
            (&jwt, OLD),
            (OLD, &asked("AAAA", "/")),
            (&jwt, &asked("AAAA", "/")),
            (&jwt, &other.replace("PUT", "GET")),
        ] {
            let found = texts(old, new).join("\n");
            let mut digits = found.split(|c: char| !c.is_ascii_digit());
            assert!(!digits.any(|number| number.len() > 6), "{found}");
            assert!(!found.contains("AAAA"), "{found}");
        }
    }

    #[test]
    fn bodies_are_compared_byte_for_byte() {
        let with = |body: &[u8]| {
            let mut config = config(
                "[[upstream]]\nname = \"web\"\nbackends = [\"http://h:1\"]\n\
                 [[route]]\nname = \"r\"\nanswer = { body = \"x\" }\n",
            );
            for route in &mut config.routes {
                if let crate::config::model::RouteTo::Answer(answer) = &mut route.to {
                    std::sync::Arc::make_mut(answer).content.body = body.into();
                }
            }
            config
        };
        // Neither is text, and both would be the same replacement characters.
        let found = diff(&with(&[0xfe, 0xff]), &with(&[0xff, 0xfe]));
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["route r: to.answer.content.body is another one (it is not shown)"]
        );
        assert_eq!(diff(&with(&[0xfe]), &with(&[0xfe])), []);
    }
}
