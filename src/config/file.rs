//! The configuration as it was written: nothing filled in, every value with the place it came from.
//!
//! All forms (TOML, JSON, environment, command line) end up here; [`super::check`] turns this into
//! [`super::model`]. Types only: no reading, no checking, no defaults.

mod access;
mod actions;
mod auth;
mod browser;
mod jwt;
mod limits;
mod tls;
mod upstream_tls;

use std::path::PathBuf;
use std::time::Duration;

use super::report::{At, Place};
use super::secret::Secret;

pub(crate) use access::{ListsFile, RuleFile, RulesFile};
pub(crate) use actions::{
    ActionsFile, AnswerFile, ContentFile, FieldsFile, MaintenanceFile, RedirectFile,
};
pub(crate) use browser::{CorsFile, RedirectHttpsFile, SecurityHeadersFile, TextOrOff};
pub(crate) use upstream_tls::{PemFile, UpstreamTlsFile};

pub(crate) use auth::{
    ApiKeysFile, AuthFile, BasicFile, BearerFile, CredentialFile, CredentialsFile, Origin,
};
pub(crate) use jwt::{ForwardAuthFile, JwtFile, KeysFile};
pub(crate) use tls::{CertificateFile, ClientAuthFile, ListenTlsFile, ServerTlsFile};

pub(crate) use limits::{RateLimitFile, RouteLimitsFile};

/// A value that may have been written.
pub(crate) type Written<T> = Option<At<T>>;

/// Names that the user chose and their values, in the order written.
pub(crate) type Pairs = Written<Vec<(String, At<String>)>>;

/// A whole configuration.
#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    /// Stands for the source as a whole.
    pub(crate) place: Place,
    /// Where the configuration came from, for people.
    pub(crate) origin: String,
    /// The file it was read from.
    pub(crate) path: Option<PathBuf>,
    /// `[server]`.
    pub(crate) server: ServerFile,
    /// `[admin]`.
    pub(crate) admin: Option<AdminFile>,
    /// `[log]`.
    pub(crate) log: LogFile,
    /// `[[upstream]]`.
    pub(crate) upstreams: Vec<UpstreamFile>,
    /// Upstreams were meant, but what was written is a problem that is already reported.
    pub(crate) upstreams_broken: bool,
    /// `[[route]]`.
    pub(crate) routes: Vec<RouteFile>,
}

/// `[server]`.
#[derive(Debug, Default)]
pub(crate) struct ServerFile {
    pub(crate) listen: Written<Vec<ListenFile>>,
    pub(crate) engine: Written<String>,
    pub(crate) listener_threads: Written<i64>,
    pub(crate) reuse_port: Written<bool>,
    pub(crate) trusted_network: Written<bool>,
    pub(crate) workers: Written<i64>,
    pub(crate) queue: Written<i64>,
    pub(crate) queue_timeout: Written<Duration>,
    pub(crate) drain_timeout: Written<Duration>,
    pub(crate) drain_delay: Written<Duration>,
    pub(crate) state_file: Written<String>,
    pub(crate) watch_config: Written<bool>,
    pub(crate) trusted_proxies: Written<Vec<At<String>>>,
    pub(crate) health_paths: Written<Vec<At<String>>>,
    pub(crate) backend_header: Written<bool>,
    pub(crate) tls: Option<ServerTlsFile>,
    pub(crate) security_headers: Option<SecurityHeadersFile>,
    pub(crate) redirect_https: Option<RedirectHttpsFile>,
    pub(crate) hosts: Written<Vec<At<String>>>,
    pub(crate) methods: Written<Vec<At<String>>>,
    pub(crate) paths: Written<String>,
    pub(crate) rates: Vec<RateLimitFile>,
    pub(crate) limits: LimitsFile,
    pub(crate) timeouts: ClientTimeoutsFile,
}

/// One entry of `listen`.
#[derive(Debug, Default)]
pub(crate) struct ListenFile {
    pub(crate) place: Place,
    pub(crate) address: Written<String>,
    pub(crate) proxy_protocol: Written<bool>,
    pub(crate) tls: Written<ListenTlsFile>,
    pub(crate) lists: ListsFile,
    /// What was written is a problem that is already reported.
    pub(crate) broken: bool,
}

/// The short form: an address and nothing else.
impl From<At<String>> for ListenFile {
    fn from(address: At<String>) -> ListenFile {
        ListenFile {
            place: address.place,
            address: Some(address),
            ..ListenFile::default()
        }
    }
}

/// `[server.limits]`.
#[derive(Debug, Default)]
pub(crate) struct LimitsFile {
    pub(crate) head: Written<u64>,
    pub(crate) headers: Written<i64>,
    pub(crate) target: Written<u64>,
    pub(crate) body: Written<u64>,
    pub(crate) connections: Written<i64>,
    pub(crate) connections_per_client: Written<i64>,
    pub(crate) requests_per_connection: Written<i64>,
    pub(crate) tunnels: Written<i64>,
    pub(crate) requests_per_client: Written<i64>,
}

/// `[server.timeouts]`.
#[derive(Debug, Default)]
pub(crate) struct ClientTimeoutsFile {
    pub(crate) handshake: Written<Duration>,
    pub(crate) head: Written<Duration>,
    pub(crate) body_idle: Written<Duration>,
    pub(crate) keep_alive: Written<Duration>,
    pub(crate) write_idle: Written<Duration>,
    pub(crate) min_rate: Written<u64>,
    pub(crate) tunnel_idle: Written<Duration>,
}

/// `[admin]`.
#[derive(Debug, Default)]
pub(crate) struct AdminFile {
    pub(crate) place: Place,
    pub(crate) listen: Written<String>,
    pub(crate) token: Written<Secret>,
    /// A token was asked for, but what was written is a problem that is already reported.
    pub(crate) token_broken: bool,
}

/// `[log]`.
#[derive(Debug, Default)]
pub(crate) struct LogFile {
    pub(crate) level: Written<String>,
    pub(crate) stderr: Written<bool>,
    pub(crate) file: Written<String>,
    pub(crate) rotate_size: Written<u64>,
    pub(crate) rotate_age: Written<Duration>,
    pub(crate) keep: Written<i64>,
    pub(crate) access: Written<bool>,
}

/// `[[upstream]]`.
#[derive(Debug, Default)]
pub(crate) struct UpstreamFile {
    pub(crate) place: Place,
    pub(crate) name: Written<String>,
    pub(crate) balance: Written<String>,
    pub(crate) hash_key: Written<String>,
    pub(crate) backends: Written<Vec<BackendFile>>,
    pub(crate) slow_start: Written<Duration>,
    pub(crate) max_connections: Written<i64>,
    pub(crate) max_wait: Written<Duration>,
    pub(crate) discovery: DiscoveryFile,
    pub(crate) sticky: Option<StickyFile>,
    pub(crate) health: HealthFile,
    pub(crate) ejection: EjectionFile,
    pub(crate) retry: RetryFile,
    pub(crate) timeouts: TimeoutsFile,
    pub(crate) tls: Option<UpstreamTlsFile>,
}

/// One entry of `backends`.
#[derive(Debug, Default)]
pub(crate) struct BackendFile {
    pub(crate) place: Place,
    pub(crate) id: Written<String>,
    pub(crate) url: Written<String>,
    pub(crate) weight: Written<i64>,
    pub(crate) resolve: Written<String>,
    pub(crate) backup: Written<bool>,
    pub(crate) max_connections: Written<i64>,
    /// What was written is a problem that is already reported.
    pub(crate) broken: bool,
}

/// `[upstream.discovery]`.
#[derive(Debug, Default)]
pub(crate) struct DiscoveryFile {
    pub(crate) dns_interval: Written<Duration>,
    /// Relative paths start at the configuration file already.
    pub(crate) file: Written<PathBuf>,
    pub(crate) file_interval: Written<Duration>,
}

/// `[upstream.sticky]`.
#[derive(Debug, Default)]
pub(crate) struct StickyFile {
    pub(crate) cookie: Written<String>,
    pub(crate) secret: Written<Secret>,
    pub(crate) max_age: Written<Duration>,
    pub(crate) secure: Written<bool>,
}

/// `[upstream.health]`.
#[derive(Debug, Default)]
pub(crate) struct HealthFile {
    pub(crate) enabled: Written<bool>,
    pub(crate) path: Written<String>,
    pub(crate) interval: Written<Duration>,
    pub(crate) timeout: Written<Duration>,
    pub(crate) fall: Written<i64>,
    pub(crate) rise: Written<i64>,
    pub(crate) expect_status: Written<Vec<At<String>>>,
    pub(crate) expect_body: Written<String>,
    pub(crate) max_interval: Written<Duration>,
}

/// `[upstream.ejection]`.
#[derive(Debug, Default)]
pub(crate) struct EjectionFile {
    pub(crate) failures: Written<i64>,
    pub(crate) window: Written<Duration>,
    pub(crate) cooldown: Written<Duration>,
    pub(crate) max_cooldown: Written<Duration>,
    pub(crate) error_percent: Written<i64>,
    pub(crate) min_requests: Written<i64>,
    pub(crate) slow_factor: Written<i64>,
    pub(crate) slow_floor: Written<Duration>,
}

/// `[upstream.retry]`.
#[derive(Debug, Default)]
pub(crate) struct RetryFile {
    pub(crate) attempts: Written<i64>,
    pub(crate) slow: Written<bool>,
    pub(crate) budget_percent: Written<i64>,
    pub(crate) budget_floor: Written<i64>,
    pub(crate) hedge: Written<bool>,
}

/// `[upstream.timeouts]`.
#[derive(Debug, Default)]
pub(crate) struct TimeoutsFile {
    pub(crate) connect: Written<Duration>,
    pub(crate) response: Written<Duration>,
    pub(crate) idle: Written<Duration>,
    pub(crate) total: Written<Duration>,
}

/// `[[route]]`.
#[derive(Debug, Default)]
pub(crate) struct RouteFile {
    pub(crate) place: Place,
    pub(crate) name: Written<String>,
    pub(crate) host: Written<String>,
    pub(crate) path: Written<String>,
    pub(crate) path_exact: Written<String>,
    pub(crate) conditions: ConditionsFile,
    pub(crate) upstream: Written<String>,
    /// Service name and upstream name, in the order written.
    pub(crate) services: Pairs,
    pub(crate) split: Written<Vec<SideFile>>,
    pub(crate) split_key: Written<String>,
    pub(crate) split_override: Written<String>,
    pub(crate) mirror: Option<MirrorFile>,
    pub(crate) strip_prefix: Written<String>,
    pub(crate) lists: ListsFile,
    pub(crate) rules: RulesFile,
    pub(crate) paths: Written<String>,
    pub(crate) max_body: Written<u64>,
    pub(crate) upgrade: Written<bool>,
    pub(crate) cors: Option<CorsFile>,
    pub(crate) security_headers: Option<SecurityHeadersFile>,
    /// More than matching and forwarding.
    pub(crate) actions: ActionsFile,
    pub(crate) auth: Option<AuthFile>,
    /// How often, and how many at once.
    pub(crate) limits: RouteLimitsFile,
    /// The destination or the match was written, but is a problem that is already reported.
    pub(crate) broken: bool,
}

/// The conditions of a route beside host and path.
#[derive(Debug, Default)]
pub(crate) struct ConditionsFile {
    pub(crate) method: Written<Vec<At<String>>>,
    pub(crate) header: Pairs,
    pub(crate) query: Pairs,
    pub(crate) cookie: Pairs,
    pub(crate) client_ip: Written<Vec<At<String>>>,
}

/// One entry of `split`.
#[derive(Debug)]
pub(crate) struct SideFile {
    pub(crate) place: Place,
    pub(crate) upstream: Written<String>,
    pub(crate) weight: Written<i64>,
    /// What was written is a problem that is already reported.
    pub(crate) broken: bool,
}

/// `mirror`.
#[derive(Debug)]
pub(crate) struct MirrorFile {
    pub(crate) place: Place,
    pub(crate) upstream: Written<String>,
    pub(crate) percent: Written<i64>,
    /// What was written is a problem that is already reported.
    pub(crate) broken: bool,
}
