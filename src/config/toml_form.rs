//! The TOML form: text to [`ConfigFile`], with every problem of syntax, key and type.
//!
//! Does not check meaning or fill in defaults: see [`super::check`].

mod access;
mod action;
mod auth;
mod browser;
mod jwt;
mod limits;
mod route;
mod tls;
mod upstream_tls;

use toml::Spanned;
use toml::de::DeTable;

use super::file::{
    AdminFile, BackendFile, ClientTimeoutsFile, ConfigFile, EjectionFile, HealthFile, LimitsFile,
    ListenFile, LogFile, RetryFile, ServerFile, StickyFile, TimeoutsFile, UpstreamFile, Written,
};
use super::keys;
use super::reader::{Document, Item, Table};
use super::report::At;
use super::secret_source;
use super::toml_backends;

/// A file that is no TOML at all (a picture, say) would yield thousands of these.
const MOST_SYNTAX_PROBLEMS: usize = 10;

/// The tree of a document. None: its syntax is so broken that a look at the rest would only mislead.
fn parse<'a>(document: &Document<'_>, text: &'a str) -> Option<Spanned<DeTable<'a>>> {
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
    (!misleading).then_some(root)
}

/// Reads a file of backends; see [`parse`] for None.
pub(crate) fn read_backends(document: &Document<'_>, text: &str) -> Option<Vec<BackendFile>> {
    let root = parse(document, text)?;
    let place = document.source;
    let table = Table::open(document, keys::BACKENDS_FILE, root.get_ref(), place);
    if table.item("backends").is_none() {
        let hint = "write `backends = [\"http://127.0.0.1:9001\"]`; an empty list is fine";
        let report = document.report;
        report.problem_hint(place, "`backends` is missing", hint);
    }
    toml_backends::backends(&table).map(|written| written.value)
}

/// Reads a configuration; see [`parse`] for None.
pub(crate) fn read(document: &Document<'_>, text: &str) -> Option<ConfigFile> {
    let root = parse(document, text)?;
    let meant = |key: &str| key.to_ascii_lowercase().contains("upstream");
    let upstreams_broken = root.get_ref().iter().any(|(key, _)| meant(key.get_ref()));
    let root = Table::open(document, "", root.get_ref(), document.source);
    Some(ConfigFile {
        upstreams_broken,
        path: None,
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
        routes: root
            .tables("route", "route")
            .iter()
            .map(route::read)
            .collect(),
    })
}

fn server(table: &Table<'_>) -> ServerFile {
    ServerFile {
        listen: listen(table),
        engine: table.string("engine"),
        trusted_network: table.boolean("trusted_network"),
        listener_threads: table.integer("listener_threads"),
        reuse_port: table.boolean("reuse_port"),
        workers: table.integer("workers"),
        queue: table.integer("queue"),
        queue_timeout: table.duration("queue_timeout"),
        drain_timeout: table.duration("drain_timeout"),
        drain_delay: table.duration("drain_delay"),
        state_file: table.string("state_file"),
        watch_config: table.boolean("watch_config"),
        trusted_proxies: table.strings("trusted_proxies"),
        health_paths: table.strings("health_paths"),
        backend_header: table.boolean("backend_header"),
        tls: tls::server_tls(table),
        security_headers: browser::security_headers(table, "server.security_headers"),
        redirect_https: browser::redirect_https(table),
        hosts: table.strings("hosts"),
        methods: table.strings("methods"),
        paths: table.string("paths"),
        rates: limits::rates(table, "server.rate_limit"),
        limits: table
            .table("limits", "server.limits")
            .map(|table| sizes(&table))
            .unwrap_or_default(),
        timeouts: table
            .table("timeouts", "server.timeouts")
            .map(|table| client_timeouts(&table))
            .unwrap_or_default(),
    }
}

fn sizes(table: &Table<'_>) -> LimitsFile {
    LimitsFile {
        head: table.size("head"),
        headers: table.integer("headers"),
        target: table.size("target"),
        body: table.size("body"),
        connections: table.integer("connections"),
        connections_per_client: table.integer("connections_per_client"),
        requests_per_connection: table.integer("requests_per_connection"),
        tunnels: table.integer("tunnels"),
        requests_per_client: table.integer("requests_per_client"),
    }
}

fn client_timeouts(table: &Table<'_>) -> ClientTimeoutsFile {
    ClientTimeoutsFile {
        handshake: table.duration("handshake"),
        head: table.duration("head"),
        body_idle: table.duration("body_idle"),
        keep_alive: table.duration("keep_alive"),
        write_idle: table.duration("write_idle"),
        min_rate: table.size("min_rate"),
        tunnel_idle: table.duration("tunnel_idle"),
    }
}

/// An address, a table with one, or a list of those.
fn listen(table: &Table<'_>) -> Written<Vec<ListenFile>> {
    let item = table.item("listen")?;
    let entries = item.items().unwrap_or_else(|| vec![item]);
    if entries.is_empty() {
        let hint = "write an address, or leave `listen` out for 127.0.0.1:8080";
        table
            .document
            .report
            .problem_hint(item.place, "`listen` is empty", hint);
    }
    let entries = entries.iter();
    let entries = entries.filter_map(|entry| listen_entry(table.document, entry));
    Some(At::new(entries.collect(), item.place))
}

fn listen_entry(document: &Document<'_>, entry: &Item<'_>) -> Option<ListenFile> {
    let forms = "a string, a table or a list of those";
    if entry.is_table() {
        let table = entry.table("`listen`", "server.listen")?;
        let address = table.string("address");
        return Some(ListenFile {
            place: entry.place,
            broken: table.item("address").is_some() && address.is_none(),
            address,
            proxy_protocol: table.boolean("proxy_protocol"),
            tls: tls::listen_tls(&table),
            lists: access::lists(&table),
        });
    }
    if entry.is_integer() {
        document.report.problem_hint(
            entry.place,
            format!("`listen` must be {forms}, not a whole number"),
            "write an address with a port, as in \"127.0.0.1:8080\" or \":8080\"",
        );
        return None;
    }
    match entry.is_string() {
        true => entry.string("`listen`").map(ListenFile::from),
        false => entry.wrong("`listen`", forms),
    }
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
        hash_key: table.string("hash_key"),
        backends: toml_backends::backends(table),
        slow_start: table.duration("slow_start"),
        max_connections: table.integer("max_connections"),
        max_wait: table.duration("max_wait"),
        discovery: toml_backends::discovery(table),
        sticky: table
            .table("sticky", "upstream.sticky")
            .map(|table| sticky(&table)),
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
                error_percent: table.integer("error_percent"),
                min_requests: table.integer("min_requests"),
                slow_factor: table.integer("slow_factor"),
                slow_floor: table.duration("slow_floor"),
            })
            .unwrap_or_default(),
        retry: table
            .table("retry", "upstream.retry")
            .map(|table| RetryFile {
                attempts: table.integer("attempts"),
                slow: table.boolean("slow"),
                budget_percent: table.integer("budget_percent"),
                budget_floor: table.integer("budget_floor"),
                hedge: table.boolean("hedge"),
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
        tls: upstream_tls::read(table, "upstream.tls"),
    }
}

fn sticky(table: &Table<'_>) -> StickyFile {
    let secret = secret_source::find(table, "secret", "secret_file", "TOLLGATE_STICKY_SECRET");
    StickyFile {
        cookie: table.string("cookie"),
        secret: secret.ok().flatten(),
        max_age: table.duration("max_age"),
        secure: table.boolean("secure"),
    }
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
