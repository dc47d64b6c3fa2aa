//! Where configurations are looked for, what the whole way from text to value yields, and that nothing panics.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::model::{
    Address, BackendAddress, Engine, HostMatch, Listen, ListenTls, PathMatch, RouteTo, Segment,
    Strategy as Balance,
};
use super::*;

const MINIMAL: &str = "[[upstream]]\nname = \"web\"\nbackends = [\"http://127.0.0.1:9001\"]\n";

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A directory with files in it, and a request that looks there.
fn place(files: &[(&str, &str)]) -> (tempfile::TempDir, Request) {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let working_dir = directory.path().to_owned();
    (
        directory,
        Request {
            working_dir,
            ..Request::default()
        },
    )
}

/// The TCP port of the first listener.
fn port_of(config: &model::Config) -> u16 {
    config.server.listen[0].address.ip().unwrap().port()
}

fn problems(text: &str) -> String {
    load_str("t.toml", text).unwrap_err().to_string()
}

#[test]
fn every_default() {
    let loaded = load_str("t.toml", MINIMAL).unwrap();
    assert!(loaded.warnings.is_empty());
    let config = loaded.config;
    assert_eq!(config.origin, "t.toml");
    let server = &config.server;
    let address = Address::Ip("127.0.0.1:8080".parse().unwrap());
    let proxy_protocol = false;
    assert_eq!(
        server.listen,
        [Listen {
            address,
            proxy_protocol,
            tls: ListenTls::Plain,
            is_private: false,
        }]
    );
    assert_eq!(server.engine, Engine::Reactor);
    assert_eq!((server.listener_threads, server.reuse_port), (1, false));
    assert_eq!((server.workers, server.queue), (256, 8192));
    assert_eq!(server.queue_timeout, Duration::from_secs(5));
    assert_eq!(server.drain_timeout, Duration::from_secs(9));
    assert_eq!(server.drain_delay, Duration::ZERO);
    assert!(!server.trusted_network && !server.backend_header);
    assert!(server.trusted_proxies.is_empty() && server.health_paths.is_empty());
    assert_eq!((server.limits.head, server.limits.headers), (32 << 10, 100));
    assert_eq!(
        (server.limits.target, server.limits.body),
        (8 << 10, 64 << 20)
    );
    assert!(config.admin.is_none());
    assert_eq!(config.log.level, log::LevelFilter::Info);
    assert!(config.log.stderr && config.log.access && config.log.file.is_none());
    assert_eq!((config.log.rotate_size, config.log.keep), (10 << 20, 5));
    assert_eq!(config.log.rotate_age, Duration::ZERO);
}

#[test]
fn every_default_of_what_clients_may_take() {
    let server = load_str("t.toml", MINIMAL).unwrap().config.server;
    let limits = &server.limits;
    assert_eq!(
        (limits.connections, limits.connections_per_client),
        (10_000, 1000)
    );
    assert_eq!(
        (limits.requests_per_connection, limits.tunnels),
        (10_000, 1024)
    );
    let timeouts = &server.timeouts;
    for (timeout, seconds) in [
        (timeouts.handshake, 10),
        (timeouts.head, 10),
        (timeouts.body_idle, 30),
        (timeouts.keep_alive, 75),
        (timeouts.write_idle, 30),
        (timeouts.tunnel_idle, 3600),
    ] {
        assert_eq!(timeout, Duration::from_secs(seconds));
    }
    assert_eq!(timeouts.min_rate, 1024);
}

#[test]
fn what_the_reactor_engine_takes() {
    let text = format!(
        "[server]\nlisten = [{{ address = \"0.0.0.0:80\", proxy_protocol = true }}, \"unix:/run/t.sock\"]\n\
         listener_threads = 4\nreuse_port = true\ntrusted_proxies = [\"10.0.0.7\"]\ntrusted_network = true\n\
         [server.limits]\nconnections = 5\nconnections_per_client = 4\nrequests_per_connection = 0\ntunnels = 0\n\
         [server.timeouts]\nhead = \"1s\"\nkeep_alive = \"2s\"\nmin_rate = \"0B\"\ntunnel_idle = \"3s\"\n\
         [admin]\nlisten = \"0.0.0.0:9180\"\ntoken = \"0123456789abcdef\"\n{MINIMAL}\
         [[upstream]]\nname = \"app\"\nbackends = [\"unix:/run/a\", {{ id = \"b\", url = \"unix:/run/b\" }}]\n\
         [[route]]\nupstream = \"app\"\nupgrade = false\n"
    );
    let loaded = load_str("t.toml", &text).unwrap();
    assert!(loaded.warnings.is_empty());
    let server = &loaded.config.server;
    let listen: Vec<(String, bool)> = server
        .listen
        .iter()
        .map(|listen| (listen.address.to_string(), listen.proxy_protocol))
        .collect();
    let unix = ("unix:/run/t.sock".to_owned(), false);
    assert_eq!(listen, [("0.0.0.0:80".to_owned(), true), unix]);
    assert_eq!((server.listener_threads, server.reuse_port), (4, true));
    let limits = &server.limits;
    assert_eq!((limits.connections, limits.connections_per_client), (5, 4));
    assert_eq!((limits.requests_per_connection, limits.tunnels), (0, 0));
    let timeouts = &server.timeouts;
    let seconds = [timeouts.head, timeouts.keep_alive, timeouts.tunnel_idle];
    assert_eq!(seconds, [1, 2, 3].map(Duration::from_secs));
    assert_eq!(timeouts.min_rate, 0);
    let [a, b] = loaded.config.upstreams[1].backends.as_slice() else {
        panic!("two backends");
    };
    assert_eq!((a.id.as_str(), b.id.as_str()), ("unix:/run/a", "b"));
    assert_eq!(a.at, BackendAddress::Unix(PathBuf::from("/run/a")));
    assert_eq!(b.at, BackendAddress::Unix(PathBuf::from("/run/b")));
    assert!(!loaded.config.routes[0].upgrade);
}

#[test]
fn what_the_tiny_http_engine_refuses() {
    let tiny = "[server]\nengine = \"tiny_http\"\n";
    let lines = [
        "listen = \"unix:/run/t.sock\"",
        "trusted_proxies = [\"10.0.0.7\"]\nlisten = { address = \":80\", proxy_protocol = true }",
        "listener_threads = 2",
        "reuse_port = true",
        "limits.connections = 10000",
        "limits.connections_per_client = 1000",
        "limits.requests_per_connection = 10000",
        "limits.tunnels = 1024",
        "timeouts.head = \"10s\"",
        "timeouts.keep_alive = \"75s\"",
        "timeouts.min_rate = 0",
        "timeouts.tunnel_idle = \"1h\"",
        "[[route]]\nupstream = \"web\"\nupgrade = true",
    ];
    for line in lines {
        let text = problems(&format!("{tiny}{line}\n{MINIMAL}"));
        assert!(text.contains(" the reactor engine\n"), "{text}");
        let hint = "hint: remove it, or write `engine = \"reactor\"` in [server]\n1 problem";
        assert!(text.ends_with(hint), "{text}");
        let reactor = format!("[server]\n{line}\n{MINIMAL}");
        assert!(load_str("t.toml", &reactor).is_ok(), "{line}");
    }
    for line in [
        "listen = { address = \":80\", proxy_protocol = false }",
        "listener_threads = 1\nreuse_port = false",
        "limits.head = \"8KiB\"\ntimeouts.body_idle = \"1s\"",
        "[[route]]\nupstream = \"web\"\nupgrade = false",
    ] {
        let config = load_str("t.toml", &format!("{tiny}{line}\n{MINIMAL}"));
        assert_eq!(config.unwrap().config.server.engine, Engine::TinyHttp);
    }
}

#[test]
fn every_default_of_an_upstream() {
    let config = load_str("t.toml", MINIMAL).unwrap().config;
    let upstream = &config.upstreams[0];
    assert_eq!(upstream.balance, Balance::RoundRobin);
    assert_eq!(upstream.backends[0].id, "127.0.0.1:9001");
    assert_eq!(upstream.backends[0].weight, 1);
    let health = &upstream.health;
    assert!(health.enabled && health.path.is_none() && health.expect_body.is_none());
    assert_eq!(
        (health.interval, health.timeout),
        (Duration::from_secs(2), Duration::from_secs(1))
    );
    assert_eq!((health.fall, health.rise), (3, 2));
    assert_eq!(health.expect_status, [(200, 399)]);
    assert_eq!(health.max_interval, Duration::from_secs(30));
    let ejection = upstream.ejection;
    assert_eq!(
        (ejection.failures, ejection.window),
        (3, Duration::from_secs(10))
    );
    assert_eq!(ejection.cooldown, Duration::from_secs(10));
    assert_eq!(ejection.max_cooldown, Duration::from_secs(60));
    assert_eq!((upstream.retry.attempts, upstream.retry.slow), (2, false));
    let timeouts = upstream.timeouts;
    assert_eq!(
        (timeouts.connect, timeouts.response),
        (Duration::from_secs(1), Duration::from_secs(30))
    );
    assert_eq!(
        (timeouts.idle, timeouts.total),
        (Duration::from_secs(60), None)
    );
    let route = &config.routes[0];
    assert_eq!((&*route.name, &route.host), ("default", &HostMatch::Any));
    assert!(route.upgrade);
    assert_eq!(
        (&route.path, &route.to),
        (&PathMatch::Prefix("/".to_owned()), &RouteTo::Upstream(0))
    );
}

#[test]
fn routes_become_true() {
    let text = format!(
        "{MINIMAL}[[upstream]]\nname = \"api\"\nbackends = [\"http://h:1\"]\n\
         [[route]]\nmatch = {{ host = \"*.Example.com\", path = \"/api/\" }}\nupstream = \"api\"\n\
         strip_prefix = \"/api/\"\nmax_body = \"1GiB\"\n\
         [[route]]\nname = \"items\"\nmatch = {{ path = \"/v1/items/{{service}}\" }}\nstrip_prefix = \"/v1\"\n\
         services = {{ zoo = \"web\", books = \"api\" }}\n"
    );
    let config = load_str("t.toml", &text).unwrap().config;
    let [api, items] = config.routes.as_slice() else {
        panic!("two routes");
    };
    assert_eq!(&*api.name, "route-1");
    assert_eq!(api.host, HostMatch::Suffix(".example.com".to_owned()));
    assert_eq!(api.strip_prefix.as_deref(), Some("/api"));
    assert_eq!(
        (api.max_body, &api.to),
        (Some(1 << 30), &RouteTo::Upstream(1))
    );
    let PathMatch::Pattern(segments) = &items.path else {
        panic!("a pattern");
    };
    assert_eq!(segments[2], Segment::Parameter("service".to_owned()));
    let table = vec![("zoo".to_owned(), 0), ("books".to_owned(), 1)];
    let parameter = "service".to_owned();
    assert_eq!(items.to, RouteTo::Services { parameter, table });
}

#[test]
fn order_of_places() {
    let port = |port: u16| format!("[server]\nlisten = \":{port}\"\n{MINIMAL}");
    let env = "PROXY_PORT=4\nBACKEND_1=http://127.0.0.1:9001\n";
    let json = "{\"port\": 5, \"backends\": [{\"url\": \"http://127.0.0.1:9001\"}]}";
    let (_directory, mut request) = place(&[
        ("a.toml", &port(1)),
        ("b.toml", &port(2)),
        ("tollgate.toml", &port(3)),
        (".env", env),
        ("c.json", json),
    ]);
    let found = |request: &Request| {
        let config = load(request).unwrap().config;
        (port_of(&config), config.origin)
    };
    assert_eq!(found(&request), (3, "tollgate.toml".to_owned()));
    request.environment = environment(&[("TOLLGATE_CONFIG", "b.toml"), ("BACKEND_1", "http://x")]);
    assert_eq!(found(&request), (2, "b.toml".to_owned()));
    request.env_file = Some(PathBuf::from(".env"));
    assert_eq!(found(&request), (4, ".env".to_owned()));
    request.config = Some(PathBuf::from("a.toml"));
    assert_eq!(found(&request), (1, "a.toml".to_owned()));
    request.config = Some(PathBuf::from("c.json"));
    assert_eq!(found(&request), (5, "c.json".to_owned()));
    request.listen = strings(&[":6"]);
    assert_eq!(found(&request).0, 6);
    request.to = strings(&[":9001"]);
    assert!(
        load(&request)
            .unwrap_err()
            .to_string()
            .contains("cannot be used together")
    );
    (request.config, request.env_file) = (None, None);
    assert_eq!(found(&request), (6, "command line".to_owned()));
}

#[test]
fn environment_as_the_last_place() {
    let (directory, mut request) = place(&[(".env", "OTHER=1\nnot a line\n")]);
    let text = load(&request).unwrap_err().to_string();
    assert!(
        text.contains("looked for --config") && text.contains("hint: "),
        "{text}"
    );
    request.environment = environment(&[("BACKEND_7", "http://127.0.0.1:9007")]);
    let config = load(&request).unwrap().config;
    assert_eq!(
        (
            config.origin.as_str(),
            config.upstreams[0].backends[0].id.as_str()
        ),
        ("environment", "backend7")
    );
    fs::write(
        directory.path().join(".env"),
        "BACKEND_1=http://127.0.0.1:9001\n",
    )
    .unwrap();
    let config = load(&request).unwrap().config;
    assert_eq!(
        (config.origin.as_str(), config.upstreams[0].backends.len()),
        (".env", 2)
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let (_directory, mut request) = place(&[]);
    fs::create_dir(request.working_dir.join("folder.toml")).unwrap();
    fs::write(request.working_dir.join("bytes.toml"), b"a = 1\n\xff").unwrap();
    for (file, why) in [
        ("none.toml", "--config: \"none.toml\" does not exist"),
        ("folder.toml", "--config: \"folder.toml\" is a directory"),
        (
            "bytes.toml",
            "--config: \"bytes.toml\" is not UTF-8 text (line 2)",
        ),
    ] {
        request.config = Some(PathBuf::from(file));
        let text = load(&request).unwrap_err().to_string();
        assert!(text.contains(why), "{text}");
    }
    request.config = None;
    request.environment = environment(&[("TOLLGATE_CONFIG", "gone.toml")]);
    let text = load(&request).unwrap_err().to_string();
    assert!(
        text.starts_with("environment variable TOLLGATE_CONFIG: \"gone.toml\" does not exist"),
        "{text}"
    );
    request.env_file = Some(PathBuf::from("gone.env"));
    let text = load(&request).unwrap_err().to_string();
    assert!(
        text.starts_with("--env-file: \"gone.env\" does not exist"),
        "{text}"
    );
}

/// A key or a page that is a pipe would keep its reader waiting for who writes into it.
#[test]
fn files_that_are_none_are_not_opened() {
    let (_directory, mut request) = place(&[]);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    let pipe = request.working_dir.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
    let upstream = |more: &str| {
        format!("[[upstream]]\nname = \"web\"\nbackends = [\"https://127.0.0.1:1\"]\n{more}\n")
    };
    let route = |more: &str| {
        let upstream = upstream("");
        format!("{upstream}[[route]]\nupstream = \"web\"\n{more}\n")
    };
    request.config = Some(PathBuf::from("t.toml"));
    for text in [
        upstream("tls.ca = \"pipe\""),
        upstream("tls.cert = \"pipe\"\ntls.key = \"pipe\""),
        upstream("tls.ca = \"/dev/zero\""),
        upstream("[admin]\ntoken_file = \"pipe\""),
        upstream("sticky = { secret_file = \"pipe\" }"),
        route("auth.api_keys.file = \"pipe\""),
        route("auth.bearer.file = \"pipe\""),
        route("auth.basic.file = \"pipe\""),
        route("auth.jwt = { jwks = \"pipe\" }"),
        route("auth.jwt = { secret_file = \"pipe\" }"),
        route("auth.jwt = { key = \"pipe\" }"),
        upstream("[[route]]\nanswer = { body_file = \"pipe\" }"),
    ] {
        fs::write(request.working_dir.join("t.toml"), &text).unwrap();
        let told = load(&request).unwrap_err().to_string();
        assert!(told.contains("is not a regular file"), "{text}: {told}");
    }
    request.config = None;
    request.env_file = Some(PathBuf::from("pipe"));
    let told = load(&request).unwrap_err().to_string();
    assert!(told.contains("\"pipe\" is not a regular file"), "{told}");
}

#[test]
fn command_line_alone() {
    let request = Request {
        listen: strings(&[":8080", "localhost:0", "unix:/run/t.sock", "0.0.0.0:80"]),
        to: strings(&[
            ":9001",
            "web:9002",
            "http://[::1]:9003",
            "unix:/run/app.sock",
        ]),
        ..Request::default()
    };
    let config = load(&request).unwrap().config;
    let listen: Vec<String> = config
        .server
        .listen
        .iter()
        .map(|listen| listen.address.to_string())
        .collect();
    assert_eq!(
        listen,
        [
            "127.0.0.1:8080",
            "127.0.0.1:0",
            "unix:/run/t.sock",
            "0.0.0.0:80"
        ]
    );
    assert_eq!(config.server.engine, Engine::Reactor);
    let ids: Vec<&str> = config.upstreams[0]
        .backends
        .iter()
        .map(|b| b.id.as_str())
        .collect();
    assert_eq!(
        ids,
        [
            "127.0.0.1:9001",
            "web:9002",
            "[::1]:9003",
            "unix:/run/app.sock"
        ]
    );
    let request = Request {
        listen: strings(&["unix:t.sock"]),
        to: strings(&["ftp://web", "/run/app.sock"]),
        ..Request::default()
    };
    let text = load(&request).unwrap_err().to_string();
    assert!(
        text.contains("--listen unix:t.sock: ") && text.contains("--to ftp://web: "),
        "{text}"
    );
    assert!(text.contains("a unix socket is written \"unix:/run/app.sock\""));
    assert!(text.ends_with("3 problems"));
}

#[test]
fn variables_and_tokens() {
    let text = format!(
        "[server]\nlisten = \":${{PORT:-8085}}\"\nworkers = \"${{WORKERS}}\"\n[admin]\ntoken_file = \"t/token\"\n{MINIMAL}"
    );
    let (directory, mut request) = place(&[("x.env", "WORKERS=7\nPORT=1\n")]);
    fs::create_dir(directory.path().join("sub")).unwrap();
    fs::create_dir(directory.path().join("sub/t")).unwrap();
    fs::write(directory.path().join("sub/x.toml"), &text).unwrap();
    fs::write(directory.path().join("sub/t/token"), "hunter2\n").unwrap();
    request.config = Some(PathBuf::from("sub/x.toml"));
    request.environment = environment(&[("WORKERS", "5"), ("TOLLGATE_ADMIN_TOKEN", "other")]);
    let config = load(&request).unwrap().config;
    assert_eq!((port_of(&config), config.server.workers), (8085, 5));
    assert!(config.admin.unwrap().token.unwrap().matches(b"hunter2"));
    request.environment.remove("WORKERS");
    request.env_file = Some(PathBuf::from("x.env"));
    let config = load(&request).unwrap().config;
    assert_eq!((port_of(&config), config.server.workers), (1, 7));

    fs::write(
        directory.path().join("sub/x.toml"),
        format!("[admin]\n{MINIMAL}"),
    )
    .unwrap();
    let config = load(&request).unwrap().config;
    assert!(config.admin.unwrap().token.unwrap().matches(b"other"));
    request.environment = environment(&[("TOLLGATE_ADMIN_TOKEN", " ")]);
    let text = load(&request).unwrap_err().to_string();
    assert!(
        text.starts_with("environment variable TOLLGATE_ADMIN_TOKEN: `token` is empty"),
        "{text}"
    );
}

#[test]
fn secrets_are_never_printed() {
    for line in [
        "token = \"hunter2\"\ntoken = \"hunter2\"",
        "token = \"hunter2",
        "token = [\"hunter2\"]",
        "token = \"hun ter2\"",
        "token = \"\"\"\nhunter2\\q\"\"\"",
        "tokn = 1\nlisten = \"0.0.0.0:1\"\ntoken = \"${NONE:-hunter2}${NONE}\"",
        "token = \"hunter2\"\ntoken_file = \"x\"",
    ] {
        let text = problems(&format!("[admin]\n{line}\n{MINIMAL}"));
        assert!(
            !text.contains("hunter2") && !text.contains("hun ter2"),
            "{text}"
        );
    }
    let text = problems(&MINIMAL.replace("127", "me:hunter2@127"));
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn what_may_be_more_than_is_meant_is_told() {
    let text = format!(
        "[server]\ntrusted_proxies = [\"0.0.0.0/0\", \"10.0.0.1/8\", \"10.0.0.1\", \"::1/128\"]\n\
         [admin]\ntoken = \"not-to-be-told\"\n{MINIMAL}\
         [[route]]\nupstream = \"app\"\nallow = [\"192.168.1.7/24\"]\nmatch.client_ip = \"192.168.0.1/16\"\n\
         [[upstream]]\nname = \"app\"\nbackends = [\"http://127.0.0.1:1\"]\n"
    );
    let loaded = load_str("t.toml", &text).map_err(|problems| problems.to_string());
    let warnings = loaded.unwrap().warnings;
    let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let wanted = [
        "\"0.0.0.0/0\" trusts everybody",
        "\"10.0.0.1/8\" is the whole network 10.0.0.0/8",
        "the admin token is shorter than 16 characters",
        "\"192.168.1.7/24\" is the whole network 192.168.1.0/24",
        "\"192.168.0.1/16\" is the whole network 192.168.0.0/16",
    ];
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    for (told, wanted) in told.iter().zip(wanted) {
        assert!(told.contains(wanted), "{told}");
        assert!(!told.contains("not-to-be-told"), "{told}");
    }
}

#[test]
fn warnings_do_no_harm() {
    let text = format!(
        "[server]\nlisten = \":9001\"\n{MINIMAL}[upstream.health]\ninterval = \"1s\"\ntimeout = \"3s\"\n[upstream.retry]\nattempts = 1\n"
    );
    let warnings = load_str("t.toml", &text).unwrap().warnings;
    let messages: Vec<&str> = warnings
        .iter()
        .map(|warning| warning.message.as_str())
        .collect();
    assert_eq!(
        messages,
        [
            "backend 127.0.0.1:9001 is this proxy itself, which listens on 127.0.0.1:9001",
            "the health `interval` is shorter than the `timeout`: a slow backend is probed late",
            "1 retries need 2 backends, and there is 1",
        ]
    );
}

#[test]
fn a_binary_file_gives_few_problems() {
    let text = "\u{1}=\u{2}\n".repeat(10_000);
    assert!(load_str("t.toml", &text).unwrap_err().0.len() <= 10);
    for text in [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("a{} = 1", ".a".repeat(100_000)),
        (0..100_000).map(|n| format!("a{n} = 1\n")).collect(),
    ] {
        assert!(load_str("t.toml", &text).unwrap_err().0.len() <= 201);
    }
}

fn shipped() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/tollgate.toml")).unwrap()
}

#[test]
fn the_shipped_file_shows_every_key() {
    let text = shipped();
    for (table, known) in keys::TABLES {
        for key in *known {
            let shown = text.contains(&format!("{key} = "))
                || text.contains(&format!("{table}.{key}]"))
                || text.contains(&format!("{table}.{key}."))
                || text.contains(&format!("[{key}]"));
            assert!(
                shown,
                "`{key}` of [{table}] is missing in config/tollgate.toml"
            );
        }
    }
}

#[test]
fn the_shipped_file_shows_the_defaults_of_the_server() {
    let text = shipped();
    let server = &text[text.find("[server]").unwrap()..text.find("# Without this").unwrap()];
    let uncommented = format!("{}{MINIMAL}", server.replace("\n# ", "\n"));
    let shown = load_str("t.toml", &uncommented).unwrap().config.server;
    let default = load_str("t.toml", MINIMAL).unwrap().config.server;
    assert_eq!(format!("{shown:#?}"), format!("{default:#?}"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = load_str("t.toml", &String::from_utf8_lossy(&bytes)).map_err(|problems| problems.to_string());
    }

    #[test]
    fn mutated_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..6usize, "[\\[\\]{}=\"'.,#$a-z0-9\n/:-]{0,6}"), 1..6),
    ) {
        let mut text: Vec<char> = shipped().replace("\n# ", "\n").replace("\n#", "\n").chars().collect();
        for (index, removed, added) in changes {
            let at = index.index(text.len());
            let end = (at + removed).min(text.len());
            text.splice(at..end, added.chars());
        }
        let text: String = text.into_iter().collect();
        let _ = load_str("t.toml", &text).map_err(|problems| problems.to_string());
        let changed = format!("{MINIMAL}{text}");
        let _ = load_str("t.toml", &changed).map_err(|problems| problems.to_string());
    }
}
