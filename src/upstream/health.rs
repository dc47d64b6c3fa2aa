//! What active probes found out about a backend. Plain data; the rules for changing it are in `health::threshold`.

use std::time::SystemTime;

/// What a backend is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// No verdict yet; used as if healthy.
    #[default]
    NotChecked,
    /// The last probes were good.
    Healthy,
    /// The last probes failed; not used.
    Unreachable,
    /// No address is known for its name; not used and not probed.
    Unresolved,
}

impl Status {
    /// The word that people and programs see.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::NotChecked => "not_checked",
            Status::Healthy => "healthy",
            Status::Unreachable => "unreachable",
            Status::Unresolved => "unresolved",
        }
    }
}

/// The state of one backend as its probes see it.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// The verdict.
    pub status: Status,
    /// Failed probes in a row.
    pub failures: u32,
    /// When a probe was last good.
    pub last_healthy: Option<SystemTime>,
    /// The last probe.
    pub last_probe: Option<ProbeReport>,
}

/// One finished probe.
#[derive(Debug, Clone)]
pub struct ProbeReport {
    /// When it ended.
    pub at: SystemTime,
    /// Whether it was good.
    pub is_good: bool,
    /// Why, in words: `200 in 3 ms`, `connection refused`.
    pub reason: String,
}
