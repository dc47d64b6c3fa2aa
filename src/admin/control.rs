//! What the admin side can have changed, in its own words; somebody else does it.

use std::fmt;
use std::time::{Duration, Instant};

use crate::config::model::{BackendAddress, Duty};

/// Does what is asked for through the admin side.
pub trait Control: Send + Sync {
    /// Places a backend into an upstream, or changes one that is there.
    ///
    /// # Errors
    /// When that makes no sense; nothing has changed then.
    fn put_backend(&self, upstream: &str, id: &str, order: &Order) -> Result<Placed, Objection>;

    /// Removes a backend that was placed so; of one that is configured, what was set by hand about it.
    ///
    /// # Errors
    /// When there is neither; nothing has changed then.
    fn remove_backend(&self, upstream: &str, id: &str) -> Result<Removed, Objection>;

    /// When a backend's registration ends, unless it is renewed.
    fn expiry(&self, upstream: &str, id: &str) -> Option<Instant>;

    /// Reads the configuration again and, unless it is only asked about, has it take effect. What is different, in words.
    ///
    /// # Errors
    /// All problems of the new configuration; nothing has changed then.
    fn reload(&self, how: Reload) -> Result<Vec<String>, Vec<String>>;
}

/// How much of a reload is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// All of it.
    Apply,
    /// To know what would happen.
    Ask,
}

/// What is to hold for a backend; `None`: what holds now, or the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    /// Where it listens.
    pub at: Option<BackendAddress>,
    /// Share of the traffic, 1 to 1000.
    pub weight: Option<u32>,
    /// Used only when no other is usable.
    pub backup: Option<bool>,
    /// Most requests at the same time.
    pub max_connections: Option<usize>,
    /// Whether it takes requests.
    pub duty: Option<Duty>,
    /// It vanishes, unless it is placed again within this time.
    pub ttl: Option<Duration>,
}

/// What it says, in words.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.at.as_ref().map(|at| format!("url {at}")),
            self.weight.map(|weight| format!("weight {weight}")),
            self.backup.map(|backup| format!("backup {backup}")),
            self.max_connections.map(|most| match most {
                usize::MAX => "no max_connections".to_owned(),
                most => format!("max_connections {most}"),
            }),
            self.duty.map(|duty| duty.as_str().to_owned()),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

/// What came of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It was not there before.
    New,
    /// Something about it is different now.
    Changed,
    /// Nothing is, but its time to live began anew.
    Same,
}

/// What is not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// The backend.
    Backend,
    /// What was set by hand about it: what the configuration says holds again.
    Settings,
}

/// Why an order was not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    /// There is no such upstream.
    NoUpstream,
    /// There is no such backend.
    NoBackend,
    /// There is none, and the order does not say enough for a new one.
    Unplaced(String),
    /// Something stands against it.
    Conflict(String),
    /// The order itself makes no sense.
    Bad(String),
}
