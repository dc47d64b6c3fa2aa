//! The TOML form: text to [`ConfigFile`], with every problem of syntax, key and type.
//!
//! Does not check meaning or fill in defaults: see [`super::check`].

use toml::de::DeTable;

use super::file::{
    AdminFile, BackendFile, ConfigFile, EjectionFile, HealthFile, LimitsFile, LogFile, RetryFile,
    RouteFile, ServerFile, TimeoutsFile, UpstreamFile, Written,
};
use super::reader::{Document, Item, Table};
use super::report::At;
use super::secret_source;

/// A file that is no TOML at all (a picture, say) would yield thousands of these.
const MOST_SYNTAX_PROBLEMS: usize = 10;

/// Reads a document. None: its syntax is so broken that a look at the rest would only mislead.
pub(crate) fn read(document: &Document<'_>, text: &str) -> Option<ConfigFile> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut misleading = false;
    for error in errors.iter().take(MOST_SYNTAX_PROBLEMS) {
        let place = error
            .span()
            .map_or(document.source, |span| document.source.at(&span));
        if error.message() == "duplicate key" {
            // The rest of the tree is intact, unlike after anything else.
            let message = "this key is given twice";
            document
                .report
                .problem_hint(place, message, "keep one of them");
        } else {
            // The parser takes a missing value for a string without quotes.
            let nothing = error.span().is_some_and(|span| span.is_empty());
            let message = match error.message() {
                text if nothing && text.starts_with("string values") => "the value is missing",
                text => text,
            };
            let message = format!("not valid TOML: {message}");
            document.report.problem(place, message);
            misleading = true;
        }
    }
    if misleading {
        return None;
    }
    let meant = |key: &str| key.to_ascii_lowercase().contains("upstream");
    let upstreams_broken = root.get_ref().iter().any(|(key, _)| meant(key.get_ref()));
    let root = Table::open(document, "", root.get_ref(), document.source);
    Some(ConfigFile {
        upstreams_broken,
        place: document.source,
        origin: document.report.name(document.source),
        server: root
            .table("server", "server")
            .map(|table| server(&table))
            .unwrap_or_default(),
        admin: root.table("admin", "admin").map(|table| admin(&table)),
        log: root
            .table("log", "log")
            .map(|table| log(&table))
            .unwrap_or_default(),
        upstreams: root
            .tables("upstream", "upstream")
            .iter()
            .map(upstream)
            .collect(),
        routes: root.tables("route", "route").iter().map(route).collect(),
    })
}

fn server(table: &Table<'_>) -> ServerFile {
    let limits = table.table("limits", "server.limits");
    let timeouts = table.table("timeouts", "server.timeouts");
    ServerFile {
        listen: listen(table),
        engine: table.string("engine"),
        trusted_network: table.boolean("trusted_network"),
        workers: table.integer("workers"),
        queue: table.integer("queue"),
        queue_timeout: table.duration("queue_timeout"),
        drain_timeout: table.duration("drain_timeout"),
        drain_delay: table.duration("drain_delay"),
        trusted_proxies: table.strings("trusted_proxies"),
        health_paths: table.strings("health_paths"),
        backend_header: table.boolean("backend_header"),
        limits: limits
            .map(|limits| self::limits(&limits))
            .unwrap_or_default(),
        body_idle: timeouts
            .as_ref()
            .and_then(|table| table.duration("body_idle")),
        write_idle: timeouts
            .as_ref()
            .and_then(|table| table.duration("write_idle")),
    }
}

fn limits(table: &Table<'_>) -> LimitsFile {
    LimitsFile {
        head: table.size("head"),
        headers: table.integer("headers"),
        target: table.size("target"),
        body: table.size("body"),
    }
}

/// A string, or a list in which a table asks for TLS.
fn listen(table: &Table<'_>) -> Written<Vec<At<String>>> {
    let item = table.item("listen")?;
    let entries = item.items().unwrap_or_else(|| vec![item]);
    if entries.is_empty() {
        let hint = "write an address, or leave `listen` out for 127.0.0.1:8080";
        table
            .document
            .report
            .problem_hint(item.place, "`listen` is empty", hint);
    }
    let mut addresses = Vec::new();
    for entry in entries {
        if entry.is_table() {
            table.document.report.problem_hint(
                entry.place,
                "`listen` with `tls` is not available in this version",
                "write the address as a string, and let a TLS terminator in front connect to it",
            );
        } else if entry.is_integer() {
            table.document.report.problem_hint(
                entry.place,
                "`listen` must be a string or a list of strings, not a whole number",
                "write an address with a port, as in \"127.0.0.1:8080\" or \":8080\"",
            );
        } else {
            addresses.extend(entry.string("`listen`"));
        }
    }
    Some(At::new(addresses, item.place))
}

fn admin(table: &Table<'_>) -> AdminFile {
    let token = secret_source::find(table, "token", "token_file", "TOLLGATE_ADMIN_TOKEN");
    AdminFile {
        place: table.place,
        listen: table.string("listen"),
        token_broken: token.is_err(),
        token: token.ok().flatten(),
    }
}

fn log(table: &Table<'_>) -> LogFile {
    LogFile {
        level: table.string("level"),
        stderr: table.boolean("stderr"),
        file: table.string("file"),
        rotate_size: table.size("rotate_size"),
        rotate_age: table.duration("rotate_age"),
        keep: table.integer("keep"),
        access: table.boolean("access"),
    }
}

fn upstream(table: &Table<'_>) -> UpstreamFile {
    UpstreamFile {
        place: table.place,
        name: table.string("name"),
        balance: table.string("balance"),
        backends: backends(table),
        health: table
            .table("health", "upstream.health")
            .map(|table| health(&table))
            .unwrap_or_default(),
        ejection: table
            .table("ejection", "upstream.ejection")
            .map(|table| EjectionFile {
                failures: table.integer("failures"),
                window: table.duration("window"),
                cooldown: table.duration("cooldown"),
                max_cooldown: table.duration("max_cooldown"),
            })
            .unwrap_or_default(),
        retry: table
            .table("retry", "upstream.retry")
            .map(|table| RetryFile {
                attempts: table.integer("attempts"),
                slow: table.boolean("slow"),
            })
            .unwrap_or_default(),
        timeouts: table
            .table("timeouts", "upstream.timeouts")
            .map(|table| TimeoutsFile {
                connect: table.duration("connect"),
                response: table.duration("response"),
                idle: table.duration("idle"),
                total: table.duration("total"),
            })
            .unwrap_or_default(),
    }
}

fn backends(table: &Table<'_>) -> Written<Vec<BackendFile>> {
    let item = table.item("backends")?;
    let entries = item.items().unwrap_or_else(|| vec![item]);
    let backends = entries.iter().map(backend).collect();
    Some(At::new(backends, item.place))
}

fn backend(item: &Item<'_>) -> BackendFile {
    let mut backend = BackendFile {
        place: item.place,
        ..BackendFile::default()
    };
    if item.is_table() {
        if let Some(table) = item.table("a backend", "upstream.backends") {
            backend.id = table.string("id");
            backend.url = table.string("url");
            backend.weight = table.integer("weight");
            backend.broken = table.item("url").is_some() && backend.url.is_none();
        }
    } else {
        backend.url = match item.is_string() {
            true => item.string("a backend"),
            false => item.wrong("a backend", "a URL or a table"),
        };
        backend.broken = backend.url.is_none();
    }
    backend
}

fn health(table: &Table<'_>) -> HealthFile {
    HealthFile {
        enabled: table.boolean("enabled"),
        path: table.string("path"),
        interval: table.duration("interval"),
        timeout: table.duration("timeout"),
        fall: table.integer("fall"),
        rise: table.integer("rise"),
        expect_status: expect_status(table),
        expect_body: table.string("expect_body"),
        max_interval: table.duration("max_interval"),
    }
}

/// `200`, `"2xx"`, `"200-399"` or a list of those; numbers become text here.
fn expect_status(table: &Table<'_>) -> Written<Vec<At<String>>> {
    let item = table.item("expect_status")?;
    let entries = item.items().unwrap_or_else(|| vec![item]);
    let codes = entries.iter().filter_map(|entry| {
        if entry.is_integer() {
            let number = entry.integer("`expect_status`")?;
            Some(At::new(number.value.to_string(), number.place))
        } else {
            entry.string("`expect_status`")
        }
    });
    Some(At::new(codes.collect(), item.place))
}

fn route(table: &Table<'_>) -> RouteFile {
    let matching = table.table("match", "route.match");
    let host = matching.as_ref().and_then(|table| table.string("host"));
    let path = matching.as_ref().and_then(|table| table.string("path"));
    let upstream = table.string("upstream");
    let services = services(table);
    let asked = |table: Option<&Table<'_>>, key: &str| table.is_some_and(|t| t.item(key).is_some());
    let broken = (table.item("match").is_some() && matching.is_none())
        || (asked(matching.as_ref(), "host") && host.is_none())
        || (asked(matching.as_ref(), "path") && path.is_none())
        || (asked(Some(table), "upstream") && upstream.is_none())
        || (asked(Some(table), "services") && services.is_none())
        || asked(Some(table), "split");
    RouteFile {
        place: table.place,
        name: table.string("name"),
        host,
        path,
        upstream,
        services,
        strip_prefix: table.string("strip_prefix"),
        max_body: table.size("max_body"),
        broken,
    }
}

fn services(table: &Table<'_>) -> Written<Vec<(String, At<String>)>> {
    let item = table.item("services")?;
    let pairs = Table::pairs(&item, "`services`")?;
    let services = pairs.into_iter().filter_map(|(service, item)| {
        let upstream = item.string(&format!("the upstream of service `{service}`"))?;
        Some((service, upstream))
    });
    Some(At::new(services.collect(), item.place))
}
