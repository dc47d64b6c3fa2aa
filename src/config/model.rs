//! The configuration as it is true: checked, with every default filled in.
//!
//! Rooms read only these types. How they were written (TOML, JSON, environment) and what was wrong with them
//! is the business of [`super::file`] and [`super::check`]; nothing here parses or validates.

mod access;
mod action;
mod address;
mod auth;
mod balance;
mod condition;
mod cors;
mod discovery;
mod forward_auth;
mod health;
mod https;
mod jwt;
mod key;
mod limit;
mod password;
mod security_headers;
mod split;
mod template;
mod tls;
mod upstream_tls;

use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::secret::Secret;

pub use access::{
    AddressLists, Barred, Hosts, ListenerAccess, Networks, RequestRules, RouteAccess, ServerAccess,
    Spelling,
};
pub use action::{
    Change, Content, FieldChanges, FixedAnswer, HeaderChanges, Maintenance, Redirect,
};
pub use address::{Address, BackendAddress, Listen};
pub use auth::{ApiKeys, Auth, Basic, Bearer, CredentialFile, KeyDigest, NamedDigest, NamedHash};
pub use balance::{Backend, Duty, Ejection, Retry, Sticky, Strategy};
pub use condition::{Conditions, HostMatch, NamedValue, PathMatch, Segment, ValueMatch};
pub use cors::{Cors, Names, OriginPattern, Origins};
pub use discovery::{Discovery, Resolve, WatchedFile};
pub use forward_auth::ForwardAuth;
pub use health::{Health, HealthKind, HealthPath};
pub use https::RedirectHttps;
pub use jwt::{ClaimHeader, ClaimValue, Expiry, Jwt, JwtKeys, KeyFormat, RequiredClaim};
pub use key::{Key, hash};
pub use limit::{Concurrency, Limits, RateKey, RateLimit};
#[cfg(test)]
pub(crate) use password::tests::quick_hash;
pub use password::{BadHash, HashKind, PasswordHash};
pub use security_headers::{FrameOptions, Hsts, SecurityHeaders};
pub use split::{Mirror, Side, Split};
pub use template::{Piece, Template, Values, Variable};
pub use tls::{
    CertificateFiles, Certificates, ClientAuth, ClientAuthMode, ListenTls, ServerTls, TlsVersion,
};
pub use upstream_tls::{CertificateList, Identity, UpstreamTls, Verify};

/// Everything a running tollgate was told.
#[derive(Debug, Serialize, Clone)]
pub struct Config {
    /// Where the configuration came from, for people: a path, `environment`, `command line`.
    pub origin: String,
    /// `[server]`: the traffic side.
    pub server: Server,
    /// `[admin]`: absent means no admin listener.
    pub admin: Option<Admin>,
    /// `[log]`.
    pub log: Log,
    /// `[[upstream]]`, in the order written; never empty.
    pub upstreams: Vec<Upstream>,
    /// `[[route]]`, in the order written; a config without routes gets one catch-all to the first upstream.
    pub routes: Vec<Route>,
}

/// Which listener engine accepts connections.
#[derive(Debug, Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// `reactor`: our own; readiness instead of threads.
    Reactor,
    /// `tiny_http`: one thread per connection; for trusted networks.
    TinyHttp,
}

/// `[server]`.
#[derive(Debug, Serialize, Clone)]
pub struct Server {
    /// Where to listen; never empty. Default `127.0.0.1:8080`.
    pub listen: Vec<Listen>,
    /// Default [`Engine::Reactor`].
    pub engine: Engine,
    /// Threads that own connections (reactor engine). Default 1.
    pub listener_threads: usize,
    /// Several processes may listen on the same address and port (SO_REUSEPORT; reactor engine). Default false.
    pub reuse_port: bool,
    /// Allows the tiny_http engine on a non-loopback address. Default false.
    pub trusted_network: bool,
    /// Worker threads. Default 256.
    pub workers: usize,
    /// Requests that may wait for a worker. Default 1024.
    pub queue: usize,
    /// How long one request may wait there. Default 5 s.
    pub queue_timeout: Duration,
    /// How long a drain may take before what is left is cut. Default 9 s.
    pub drain_timeout: Duration,
    /// After the signal: how long `/readyz` already fails while requests are still taken. Default 0 s.
    pub drain_delay: Duration,
    /// Where what would be lost with the process is kept: registered backends, what was set by hand, totals. Default none.
    pub state_file: Option<PathBuf>,
    /// Whether a change of the configuration file is a reason to reload. Default false.
    pub watch_config: bool,
    /// Peers whose X-Forwarded-*, Forwarded and X-Request-ID are believed. Default none.
    pub trusted_proxies: Vec<IpNet>,
    /// Health endpoints answered on the traffic port, also with no backend up. Default none.
    pub health_paths: Vec<HealthPath>,
    /// Adds `X-Backend-Server: ID` to answers that came from a backend. Default false.
    pub backend_header: bool,
    /// `[server.tls]`; there where a listener speaks TLS.
    pub tls: Option<ServerTls>,
    /// `server.security_headers`: what browsers are told about all answers. Default none.
    pub security_headers: Option<Arc<SecurityHeaders>>,
    /// `server.redirect_https`: who comes without TLS is sent to where it is. Default off.
    pub redirect_https: Option<RedirectHttps>,
    /// Who may come.
    #[serde(flatten)]
    pub access: ServerAccess,
    /// `[server.rate_limit]`: for everything but health paths, by `client_ip`. Default none.
    pub rate_limits: Vec<RateLimit>,
    /// `[server.limits]`.
    pub limits: Limits,
    /// `[server.timeouts]`.
    pub timeouts: ClientTimeouts,
}

/// `[server.timeouts]`: what a client may take its time for.
#[derive(Debug, Serialize, Clone)]
pub struct ClientTimeouts {
    /// From the connect until TLS is agreed on (reactor engine). Default 10 s.
    pub handshake: Duration,
    /// From the connect, or from the first byte of a later request, to the end of the head (reactor engine). Default 10 s.
    pub head: Duration,
    /// Between two parts of a request body. The tiny_http engine has only this one for all reads. Default 30 s.
    pub body_idle: Duration,
    /// Until the next request begins on a kept connection (reactor engine). Default 75 s.
    pub keep_alive: Duration,
    /// Until a slow reader takes more of an answer. Default 30 s.
    pub write_idle: Duration,
    /// Bytes per second that a body must move at least, in both directions, on average after 10 s of waiting for the client
    /// (reactor engine); 0 = no minimum. Default 1 KiB.
    pub min_rate: u64,
    /// Without a byte in either direction a tunnel ends (reactor engine). Default 1 h.
    pub tunnel_idle: Duration,
}

/// `[admin]`.
#[derive(Debug, Serialize, Clone)]
pub struct Admin {
    /// Default `127.0.0.1:9180`. A Unix socket is for the user that runs tollgate alone (mode 0600).
    pub listen: Address,
    /// Bearer token for status, upstreams, changes and reloads; none means open.
    pub token: Option<Secret>,
}

/// `[log]`.
#[derive(Debug, Serialize, Clone)]
pub struct Log {
    /// Lines below this level are not written. Default `info`.
    #[serde(serialize_with = "as_text")]
    pub level: log::LevelFilter,
    /// Write to standard error. Default true.
    pub stderr: bool,
    /// Write to this file too. Default none.
    pub file: Option<PathBuf>,
    /// Rotate when the file reaches this many bytes; 0 = never. Default 10 MiB.
    pub rotate_size: u64,
    /// Rotate when the file is this old; zero = never. Default zero.
    pub rotate_age: Duration,
    /// Rotated files kept. Default 5.
    pub keep: usize,
    /// One line per exchange. Default true.
    pub access: bool,
}

/// `[[upstream]]`: a named group of backends.
#[derive(Debug, Serialize, Clone)]
pub struct Upstream {
    /// Unique name.
    pub name: String,
    /// Default round robin.
    pub balance: Strategy,
    /// Ids are unique within the upstream. May be empty where backends come from elsewhere.
    pub backends: Vec<Backend>,
    /// `[upstream.discovery]`.
    pub discovery: Discovery,
    /// How long a backend that joins or comes back takes to get its whole share; zero: it gets it at once. Default zero.
    pub slow_start: Duration,
    /// How long a request waits while every backend has as many requests as it may have (`max_connections`). Default 1 s.
    pub max_wait: Duration,
    /// `[upstream.sticky]`; none: no stickiness.
    pub sticky: Option<Sticky>,
    /// `[upstream.health]`.
    pub health: Health,
    /// `[upstream.ejection]`.
    pub ejection: Ejection,
    /// `[upstream.retry]`.
    pub retry: Retry,
    /// `[upstream.timeouts]`.
    pub timeouts: UpstreamTimeouts,
    /// `[upstream.tls]`.
    pub tls: UpstreamTls,
}

/// `[upstream.timeouts]`.
#[derive(Debug, Serialize, Clone, Copy)]
pub struct UpstreamTimeouts {
    /// Until connected. Default 1 s.
    pub connect: Duration,
    /// From the last request byte until the response head. Default 30 s.
    pub response: Duration,
    /// Between body bytes, both directions. Default 60 s.
    pub idle: Duration,
    /// One attempt as a whole, body included; none = no limit. Default none.
    pub total: Option<Duration>,
}

/// `[[route]]`.
#[derive(Debug, Serialize, Clone)]
pub struct Route {
    /// Unique name; `route-N` when none was given.
    pub name: Arc<str>,
    /// Which hosts match.
    pub host: HostMatch,
    /// Which paths match.
    pub path: PathMatch,
    /// All that has to hold beside these.
    pub conditions: Conditions,
    /// Where matching requests go.
    pub to: RouteTo,
    /// Where copies of them go. Default nowhere.
    pub mirror: Option<Mirror>,
    /// Removed from the front of the path before forwarding, with a `/` kept. Default none.
    pub strip_prefix: Option<String>,
    /// Put in front of the path after that; starts with `/` and does not end with one. Default none.
    pub add_prefix: Option<String>,
    /// The whole path for the backend, instead of both. Default none.
    pub rewrite: Option<Template>,
    /// Who may come. Default everybody.
    #[serde(flatten)]
    pub access: RouteAccess,
    /// None: not in maintenance.
    pub maintenance: Option<Arc<Maintenance>>,
    /// How often requests may come; all of these have to let one pass. Default none.
    pub rate_limits: Vec<RateLimit>,
    /// How many requests may be under way.
    pub concurrency: Concurrency,
    /// None: header fields are not changed.
    pub headers: Option<Arc<HeaderChanges>>,
    /// `[route.cors]`: what other sites may do with it. Default: it is not looked at, backends see to it.
    pub cors: Option<Arc<Cors>>,
    /// `route.security_headers`: what browsers are told about its answers. None: what the server says.
    pub security_headers: Option<Arc<SecurityHeaders>>,
    /// None: everybody is let in.
    pub auth: Option<Arc<Auth>>,
    /// Bytes of a request body on this route; none = the server's limit.
    pub max_body: Option<u64>,
    /// Whether connections may be upgraded, to WebSocket for one (reactor engine). Default true.
    pub upgrade: bool,
}

impl Route {
    /// The parameter of a query that stays here, since a secret is in it.
    pub fn kept_parameter(&self) -> Option<&str> {
        let auth = self.auth.as_ref().filter(|auth| auth.strip_credentials);
        auth?.secret_parameter()
    }
}

/// Where a route leads.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum RouteTo {
    /// To the upstream with this index in [`Config::upstreams`].
    Upstream(usize),
    /// The path parameter picks the upstream: `services = { books = "web" }`.
    Services {
        /// Name of the parameter in the pattern.
        parameter: String,
        /// Service name and index of its upstream.
        table: Vec<(String, usize)>,
    },
    /// To one of several upstreams, by client.
    Split(Split),
    /// Nowhere: the client is sent elsewhere.
    Redirect(Redirect),
    /// Nowhere: the answer is known.
    Answer(Arc<FixedAnswer>),
}

/// For values that are no serde types.
pub(super) fn as_text<T: ToString, S: serde::Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}
