//! How large requests may be, how often they may come, and how many at the same time. Settings only: who counts is in `admit`.

use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// `[server.limits]`.
#[derive(Debug, Serialize, Clone)]
pub struct Limits {
    /// Bytes of request line and header fields together. Default 32 KiB.
    pub head: u64,
    /// Number of header fields. Default 100.
    pub headers: usize,
    /// Bytes of the request-target. Default 8 KiB.
    pub target: usize,
    /// Bytes of a request body. Default 64 MiB. A route's `max_body` wins.
    pub body: u64,
    /// Client connections in all (reactor engine). Default 10,000.
    pub connections: usize,
    /// Client connections from one address, an IPv6 address counting by its /64; trusted proxies are not counted (reactor
    /// engine). Default 1,000.
    pub connections_per_client: usize,
    /// Requests on one connection before it is closed (reactor engine); 0 = no limit. Default 10,000.
    pub requests_per_connection: u64,
    /// Upgraded connections (WebSocket) at the same time (reactor engine). Default 1,024.
    pub tunnels: usize,
    /// Requests of one client address that may be under way, an IPv6 address counting by its /64; none: no limit. Default none.
    pub requests_per_client: Option<usize>,
}

/// One rate limit, of a route or of the whole server.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// What people and the `RateLimit` field call it; unique in its route. Default: as its key is written; `server` for the whole server.
    pub name: Arc<str>,
    /// What is counted apart.
    pub by: RateKey,
    /// How many in each `period`, from 1 to 1,000,000.
    pub requests: u32,
    /// A second, a minute, an hour or a day.
    pub period: Duration,
    /// How many may come at once; at least 1. Default: what comes to one second, rounded up.
    pub burst: u32,
    /// How many keys are kept apart at the same time; memory is 16 bytes for each. Default 65,536.
    pub clients: usize,
    /// Only counts and logs. Default false.
    pub dry_run: bool,
}

impl RateLimit {
    /// Time from one request to the next at the even rate, to the nanosecond.
    pub fn interval(&self) -> Duration {
        self.period / self.requests.max(1)
    }
}

/// As the rate is written in the configuration: `100/s`.
impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.period.as_secs() {
            1 => "s",
            60 => "m",
            3600 => "h",
            _ => "d",
        };
        write!(f, "{}/{unit}", self.requests)
    }
}

/// What a rate limit counts apart.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum RateKey {
    /// `client_ip`; an IPv6 address counts by its /64.
    ClientIp,
    /// `api_key`: who it is, as authentication has found, whatever the scheme.
    ApiKey,
    /// `header:NAME`: the first field of that name. Requests without one count together.
    Header(String),
    /// `route`: all requests together.
    Route,
}

/// As it is written in the configuration.
impl fmt::Display for RateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RateKey::ClientIp => f.write_str("client_ip"),
            RateKey::ApiKey => f.write_str("api_key"),
            RateKey::Header(name) => write!(f, "header:{name}"),
            RateKey::Route => f.write_str("route"),
        }
    }
}

/// How many requests of a route may be under way.
#[derive(Debug, Serialize, Clone, Copy, Default, PartialEq, Eq)]
pub struct Concurrency {
    /// In all; none: no limit. Default none.
    pub most: Option<usize>,
    /// Of one client address, an IPv6 address counting by its /64; none: no limit. Default none.
    pub most_per_client: Option<usize>,
}
