//! Health in both directions: of backends, which are probed, and of this proxy, which others ask about.

use serde::Serialize;
use std::time::Duration;

/// One health endpoint on the traffic port.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct HealthPath {
    /// Exact path, starting with `/`.
    pub path: String,
    /// What it answers.
    pub kind: HealthKind,
}

/// What a health endpoint tells.
#[derive(Debug, Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum HealthKind {
    /// The process lives: always 200 `{"status": "ok"}`. Every configured path but `/_health`.
    Process,
    /// `/_health`: 200 `healthy` or 503 `unhealthy` with the list of backends.
    Backends,
}

/// `[upstream.health]`: active probes.
#[derive(Debug, Serialize, Clone)]
pub struct Health {
    /// Probes on or off. Default on.
    pub enabled: bool,
    /// `GET` this; none: a TCP connect is enough. Default none.
    pub path: Option<String>,
    /// Between probes of a backend that is up. Default 2 s.
    pub interval: Duration,
    /// For the whole probe. Default 1 s.
    pub timeout: Duration,
    /// Failed probes in a row until `unreachable`. Default 3.
    pub fall: u32,
    /// Good probes in a row until `healthy` again. Default 2.
    pub rise: u32,
    /// Status codes that count as good, ranges included at both ends. Default 200–399.
    pub expect_status: Vec<(u16, u16)>,
    /// The first 64 KiB of the body must contain this text. Default none.
    pub expect_body: Option<String>,
    /// While down, the interval doubles with every probe up to this. Default 30 s.
    pub max_interval: Duration,
}
