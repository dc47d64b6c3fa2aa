//! How an upstream spreads its requests, over whom, and when it tries again or looks elsewhere.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::super::secret::Secret;
use super::{BackendAddress, Key, Resolve};

/// How the next backend is picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// `round_robin`: in turn, smoothly by weight.
    RoundRobin,
    /// `random`: by chance and weight.
    Random,
    /// `least_connections`: the fewest requests under way for the weight.
    LeastConnections,
    /// `p2c`: the less busy of two that are drawn by weight.
    TwoChoices,
    /// `fastest`: the shortest time to first byte lately, times what is under way.
    Fastest,
    /// `hash`: the same key goes to the same backend, as long as it is there (`hash_key`).
    Hash(Key),
}

impl Strategy {
    /// All that need nothing else; a hash needs its key.
    pub const KEYLESS: [Strategy; 5] = [
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::LeastConnections,
        Strategy::TwoChoices,
        Strategy::Fastest,
    ];
}

impl Serialize for Strategy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As it is written, and for a hash its key.
impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Strategy::RoundRobin => f.write_str("round_robin"),
            Strategy::Random => f.write_str("random"),
            Strategy::LeastConnections => f.write_str("least_connections"),
            Strategy::TwoChoices => f.write_str("p2c"),
            Strategy::Fastest => f.write_str("fastest"),
            Strategy::Hash(key) => write!(f, "hash by {key}"),
        }
    }
}

/// One server of an upstream.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct Backend {
    /// As given, else `host:port` or `unix:PATH`.
    pub id: String,
    /// Where it listens.
    #[serde(rename = "url", serialize_with = "super::as_text")]
    pub at: BackendAddress,
    /// What the addresses of its name are to it. Default one.
    pub resolve: Resolve,
    /// Share of the traffic, 1 to 1000. Default 1.
    pub weight: u32,
    /// Used only when no backend that is none is usable. Default false.
    #[serde(rename = "backup")]
    pub is_backup: bool,
    /// Most requests at the same time; `usize::MAX`: no limit, which is the default.
    pub max_connections: usize,
    /// Whether it takes requests. Default enabled.
    pub duty: Duty,
}

impl Backend {
    /// A backend that is like any other.
    pub fn new(id: impl Into<String>, at: BackendAddress) -> Backend {
        Backend {
            id: id.into(),
            at,
            resolve: Resolve::One,
            weight: 1,
            is_backup: false,
            max_connections: usize::MAX,
            duty: Duty::Enabled,
        }
    }

    /// The backend that this one stands for at `address` (`resolve = "all"`): the same but for its id, `NAME@ADDRESS`.
    pub fn at_address(&self, address: IpAddr) -> Backend {
        Backend {
            id: format!("{}@{address}", self.id),
            resolve: Resolve::At {
                template: self.id.clone(),
                address,
            },
            ..self.clone()
        }
    }
}

/// Whether a backend is to take requests.
#[derive(Debug, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// It is.
    #[default]
    Enabled,
    /// It gets nothing new but from clients that stick to it.
    Draining,
    /// It gets nothing.
    Disabled,
}

impl Duty {
    /// The word for it, in status and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Duty::Enabled => "enabled",
            Duty::Draining => "draining",
            Duty::Disabled => "disabled",
        }
    }

    /// The duty that `word` stands for.
    pub fn parse(word: &str) -> Option<Duty> {
        [Duty::Enabled, Duty::Draining, Duty::Disabled]
            .into_iter()
            .find(|duty| duty.as_str() == word)
    }
}

/// `[upstream.sticky]`: a client stays with its backend, by a signed cookie.
#[derive(Debug, Serialize, Clone)]
pub struct Sticky {
    /// Name of the cookie. Default `tollgate_` and the upstream's name.
    pub cookie: String,
    /// Signs the cookie; none: made anew at every start, so that clients may be moved then. Default none.
    pub secret: Option<Secret>,
    /// How long the client keeps the cookie; zero: as long as the browser is open. Default zero.
    pub max_age: Duration,
    /// Sent over TLS only (`Secure`). Default false.
    #[serde(rename = "secure")]
    pub is_secure: bool,
}

/// `[upstream.ejection]`: judged from live traffic.
#[derive(Debug, Serialize, Clone, Copy)]
pub struct Ejection {
    /// Failures in a row, within `window`, that eject a backend; 0 = never. Default 3.
    pub failures: u32,
    /// Also how long errors and times are counted together. Default 10 s.
    pub window: Duration,
    /// First time out of the rotation; doubles with each ejection in a row. Default 10 s.
    pub cooldown: Duration,
    /// Bound of that doubling; never below `cooldown`. Default 60 s.
    pub max_cooldown: Duration,
    /// Failed attempts and 5xx answers among all attempts of a window, in percent, that eject a backend; 0 = never. Default 0.
    pub error_percent: u32,
    /// A window with fewer attempts says nothing about errors and times. Default 20.
    pub min_requests: u32,
    /// A backend whose mean time to first byte is more than this many times the median of the others is ejected; 0 = never.
    /// Default 0.
    pub slow_factor: u32,
    /// Faster than this is fast enough, whatever the others do. Default 100 ms.
    pub slow_floor: Duration,
}

/// `[upstream.retry]`.
#[derive(Debug, Serialize, Clone, Copy)]
pub struct Retry {
    /// Attempts after the first. Default 2.
    pub attempts: u32,
    /// Also retry idempotent requests when a backend is too slow to answer. Default false.
    pub slow: bool,
    /// Most retries and hedges in percent of the requests of the last 10 s; 100 = one for each. Default 20.
    pub budget_percent: u32,
    /// Retries and hedges per second that are always allowed. Default 3.
    pub budget_floor: u32,
    /// Ask a second backend when the first takes longer than 95 of 100 answers do; idempotent requests without a body only.
    /// Default false.
    pub hedge: bool,
}
