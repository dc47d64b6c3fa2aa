//! A backend's part in its upstream: how much it is to do, and whether it may do anything now.
//!
//! What is known about the backend itself is in [`super::backend`] and outlives this.

use std::sync::Arc;
use std::time::Instant;

use crate::config::model::{self, Duty};

use super::backend::{Backend, Gate, Skip};

/// A whole unit of weight, as [`Member::share`] counts.
pub const UNIT: u64 = 1000;

/// A backend's part in its upstream.
#[derive(Debug, Clone)]
pub struct Member {
    /// The backend.
    pub backend: Arc<Backend>,
    /// As configured, or as changed since.
    pub settings: model::Backend,
}

/// Who is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Those that are no backups.
    Primary,
    /// Backups, when no primary is usable.
    Backup,
    /// Those that are ejected, when nobody else is there: a bad answer is better than none.
    Ejected,
}

impl Member {
    /// Why it gets nothing at `now`; `None`: it may be used.
    pub fn skip(&self, now: Instant) -> Option<Skip> {
        match self.settings.duty {
            Duty::Disabled => return Some(Skip::Disabled),
            Duty::Draining => return Some(Skip::Draining),
            Duty::Enabled => (),
        }
        let skip = self.backend.skip(now);
        skip.or_else(|| self.is_full().then_some(Skip::Full))
    }

    /// How much it is to get in comparison with others of its tier at `now` (see [`crate::clock::nanos`]): its weight in
    /// thousandths, less during a slow start of `slow_start` nanoseconds; 0: nothing.
    pub fn share(&self, tier: Tier, now: u64, slow_start: u64) -> u64 {
        if self.settings.duty != Duty::Enabled {
            return 0;
        }
        let is_asked = match (tier, self.backend.gate(now)) {
            (Tier::Primary, Gate::Open) => !self.settings.is_backup,
            (Tier::Backup, Gate::Open) => self.settings.is_backup,
            (Tier::Ejected, gate) => gate != Gate::Closed,
            _ => false,
        };
        if !is_asked || self.is_full() {
            return 0;
        }
        let weight = u64::from(self.settings.weight);
        if slow_start == 0 {
            weight * UNIT
        } else {
            weight * self.backend.ramp(now, slow_start)
        }
    }

    /// Whether it can get requests at all at `now`, if only in need or once others have ended.
    pub fn can_serve(&self, now: u64) -> bool {
        self.settings.duty == Duty::Enabled && self.backend.gate(now) != Gate::Closed
    }

    /// Whether a client that was here before may come again: it may while the backend is being emptied.
    pub fn welcomes_back(&self, now: Instant) -> bool {
        self.settings.duty != Duty::Disabled && self.backend.skip(now).is_none() && !self.is_full()
    }

    fn is_full(&self) -> bool {
        self.backend.active() >= self.settings.max_connections
    }
}
