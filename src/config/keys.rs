//! Every key of the TOML form, table by table, and the ones that people will look for but this version lacks.
//!
//! Does not say what a key means: see [`super::model`]. A test keeps this list and the shipped file in step.

mod auth;

use super::suggest;

/// Tables (dotted, as in a header; empty for the top of the file) and their keys.
pub(crate) const TABLES: &[(&str, &[&str])] = &[
    ("", &["server", "admin", "log", "upstream", "route"]),
    (
        "server",
        &[
            "listen",
            "engine",
            "trusted_network",
            "listener_threads",
            "reuse_port",
            "workers",
            "queue",
            "queue_timeout",
            "drain_timeout",
            "drain_delay",
            "state_file",
            "watch_config",
            "trusted_proxies",
            "health_paths",
            "backend_header",
            "rate_limit",
            "rate_limits",
            "tls",
            "security_headers",
            "redirect_https",
            "hosts",
            "methods",
            "paths",
            "limits",
            "timeouts",
        ],
    ),
    (
        "server.tls",
        &["cert", "key", "certificates", "min_version", "client_auth"],
    ),
    ("server.tls.certificates", &["cert", "key"]),
    ("server.tls.client_auth", &["ca", "mode", "header"]),
    (
        "server.listen",
        &["address", "proxy_protocol", "tls", "allow", "deny"],
    ),
    (
        "server.limits",
        &[
            "head",
            "headers",
            "target",
            "body",
            "connections",
            "connections_per_client",
            "requests_per_connection",
            "tunnels",
            "requests_per_client",
        ],
    ),
    (
        "server.rate_limit",
        &["rate", "burst", "clients", "dry_run", "name"],
    ),
    (
        "server.timeouts",
        &[
            "handshake",
            "head",
            "body_idle",
            "keep_alive",
            "write_idle",
            "min_rate",
            "tunnel_idle",
        ],
    ),
    ("admin", &["listen", "token", "token_file"]),
    (
        "log",
        &[
            "level",
            "stderr",
            "file",
            "rotate_size",
            "rotate_age",
            "keep",
            "access",
        ],
    ),
    (
        "upstream",
        &[
            "name",
            "balance",
            "hash_key",
            "backends",
            "slow_start",
            "max_connections",
            "max_wait",
            "discovery",
            "sticky",
            "health",
            "ejection",
            "retry",
            "timeouts",
            "tls",
        ],
    ),
    (
        "upstream.backends",
        &[
            "id",
            "url",
            "resolve",
            "weight",
            "backup",
            "max_connections",
        ],
    ),
    (
        "upstream.discovery",
        &["dns_interval", "file", "file_interval"],
    ),
    (
        "upstream.sticky",
        &["cookie", "secret", "secret_file", "max_age", "secure"],
    ),
    (
        "upstream.health",
        &[
            "enabled",
            "path",
            "interval",
            "timeout",
            "fall",
            "rise",
            "expect_status",
            "expect_body",
            "max_interval",
        ],
    ),
    (
        "upstream.ejection",
        &[
            "failures",
            "window",
            "cooldown",
            "max_cooldown",
            "error_percent",
            "min_requests",
            "slow_factor",
            "slow_floor",
        ],
    ),
    (
        "upstream.retry",
        &[
            "attempts",
            "slow",
            "budget_percent",
            "budget_floor",
            "hedge",
        ],
    ),
    (
        "upstream.timeouts",
        &["connect", "response", "idle", "total"],
    ),
    ("upstream.tls", TLS),
    (
        "route",
        &[
            "name",
            "match",
            "upstream",
            "services",
            "split",
            "split_key",
            "split_override",
            "mirror",
            "redirect",
            "answer",
            "maintenance",
            "allow",
            "deny",
            "allow_if",
            "deny_if",
            "paths",
            "strip_prefix",
            "add_prefix",
            "rewrite",
            "headers",
            "auth",
            "max_body",
            "upgrade",
            "rate_limit",
            "rate_limits",
            "max_concurrent",
            "max_concurrent_per_client",
            "cors",
            "security_headers",
        ],
    ),
    (
        "route.match",
        &[
            "host",
            "path",
            "path_exact",
            "method",
            "header",
            "query",
            "cookie",
            "client_ip",
        ],
    ),
    ("route.allow_if", CONDITIONS),
    ("route.deny_if", CONDITIONS),
    ("route.split", &["upstream", "weight"]),
    ("route.mirror", &["upstream", "percent"]),
    ("route.redirect", &["to", "status"]),
    (
        "route.answer",
        &["status", "body", "body_file", "content_type"],
    ),
    (
        "route.maintenance",
        &["enabled", "retry_after", "except", "page"],
    ),
    (
        "route.rate_limit",
        &["by", "rate", "burst", "clients", "dry_run", "name"],
    ),
    ("route.headers", &["request", "response"]),
    ("route.headers.request", &["set", "add", "remove"]),
    ("route.headers.response", &["set", "add", "remove"]),
    (
        "route.cors",
        &[
            "origins",
            "methods",
            "headers",
            "expose",
            "credentials",
            "max_age",
        ],
    ),
    ("route.security_headers", SECURITY_HEADERS),
    ("server.security_headers", SECURITY_HEADERS),
    ("server.redirect_https", &["port", "except"]),
    ("route.auth", auth::AUTH),
    ("route.auth.api_keys", &["header", "query", "keys", "file"]),
    ("route.auth.bearer", &["tokens", "file"]),
    ("route.auth.jwt", auth::JWT),
    ("route.auth.forward", auth::FORWARD),
    ("route.auth.forward.tls", TLS),
    ("route.auth.basic", &["users", "file"]),
    (BACKENDS_FILE, &["backends"]),
];

const SECURITY_HEADERS: &[&str] = &[
    "nosniff",
    "frame_options",
    "referrer_policy",
    "content_security_policy",
    "permissions_policy",
    "hsts",
    "include_subdomains",
    "preload",
];
/// How TLS is spoken with others.
const TLS: &[&str] = &["ca", "verify", "server_name", "cert", "key"];
/// What an entry of `allow_if` and `deny_if` can ask for.
const CONDITIONS: &[&str] = &["method", "header", "query", "cookie", "client_ip"];
/// The tables with them.
const CONDITION_TABLES: [&str; 2] = ["route.allow_if", "route.deny_if"];

/// Stands for the top of a file of backends.
pub(crate) const BACKENDS_FILE: &str = "backends file";

const LATER: &str = "is not available in this version";

/// Keys that this version lacks, and why.
const ABSENT: [(&str, &[&str], &str); 4] = [
    ("", &["access_log"], LATER),
    ("upstream.backends", &["tls"], LATER),
    ("route", &["cache", "compress", "timeouts"], LATER),
    ("admin", &["tls"], LATER),
];

/// The keys of `table`.
pub(crate) fn of(table: &str) -> &'static [&'static str] {
    TABLES
        .iter()
        .find(|(name, _)| *name == table)
        .map_or(&[], |(_, keys)| keys)
}

/// What a person calls `table`.
pub(crate) fn title(table: &str) -> String {
    match table {
        "" => "at the top of the file".to_owned(),
        "server.listen" => "in an entry of `listen`".to_owned(),
        "upstream.backends" => "in a backend".to_owned(),
        "server.tls.certificates" => "in an entry of `certificates`".to_owned(),
        "server.tls.client_auth" => "in `client_auth`".to_owned(),
        "route.split" => "in an entry of `split`".to_owned(),
        "route.allow_if" => "in an entry of `allow_if`".to_owned(),
        "route.deny_if" => "in an entry of `deny_if`".to_owned(),
        BACKENDS_FILE => "in a file of backends".to_owned(),
        "upstream" | "route" => format!("in [[{table}]]"),
        table => format!("in [{table}]"),
    }
}

/// Message and hint for a key that `table` does not have.
pub(crate) fn unknown(table: &str, key: &str) -> (String, String) {
    let title = title(table);
    let absent = ABSENT
        .iter()
        .find(|(name, keys, _)| *name == table && keys.contains(&key));
    if let Some((_, _, why)) = absent {
        return (format!("`{key}` {title} {why}"), "leave it out".to_owned());
    }
    let message = format!("unknown key `{key}` {title}");
    if CONDITION_TABLES.contains(&table) && matches!(key, "path" | "path_exact" | "host") {
        let hint = "give it a route of its own, with it in `match` and, to bar all, `answer = { status = 403 }`";
        return (message, hint.to_owned());
    }
    let known = of(table).iter().copied();
    if suggest::nearest(key, known.clone()).is_none()
        && let Some((owner, _)) = TABLES.iter().find(|(_, keys)| keys.contains(&key))
    {
        let hint = format!("`{key}` belongs {}", self::title(owner));
        return (message, hint);
    }
    (message, suggest::hint(key, "the keys here are", known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_get_the_best_hint() {
        let (_, hint) = unknown("route.deny_if", "path");
        assert!(hint.starts_with("give it a route of its own"), "{hint}");
        assert_eq!(
            unknown("server", "lisen"),
            (
                "unknown key `lisen` in [server]".to_owned(),
                "did you mean `listen`?".to_owned()
            )
        );
        assert_eq!(
            unknown("", "queue_timeout").1,
            "`queue_timeout` belongs in [server]"
        );
        assert_eq!(
            unknown("upstream.retry", "zebra").1,
            "the keys here are: `attempts`, `slow`, `budget_percent`, `budget_floor`, `hedge`"
        );
        assert_eq!(
            unknown("admin", "tls").0,
            "`tls` in [admin] is not available in this version"
        );
    }

    #[test]
    fn absent_keys_are_not_keys() {
        for (table, absent, _) in ABSENT {
            assert!(!of(table).is_empty(), "{table}");
            assert!(absent.iter().all(|key| !of(table).contains(key)), "{table}");
        }
    }
}
