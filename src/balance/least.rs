//! The fewest requests under way, in proportion to the share; equals take turns by it.

use super::strategy::{Field, Strategy};
use super::weighted::SmoothRoundRobin;

/// Asks everybody.
#[derive(Debug, Default)]
pub(super) struct LeastConnections {
    turns: SmoothRoundRobin,
    /// Everybody's load at this pick: it changes all the time, so that it is read once.
    loads: Vec<Load>,
}

impl Strategy for LeastConnections {
    fn pick(&mut self, field: &Field<'_>) -> Option<usize> {
        self.loads.clear();
        let loads = (0..field.len()).map(|index| Load::of(field, index).unwrap_or_default());
        self.loads.extend(loads);
        let usable = self.loads.iter().filter(|load| load.share > 0);
        let least = *usable.reduce(|best, other| {
            if other.is_less_than(*best) {
                other
            } else {
                best
            }
        })?;
        let share = |index| match self.loads.get(index) {
            Some(load) if !least.is_less_than(*load) => load.share,
            _ => 0,
        };
        self.turns.turn(field.len(), share)
    }
}

/// How busy a backend is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    active: u64,
    share: u64,
}

impl Load {
    /// `None`: it cannot be picked.
    pub(super) fn of(field: &Field<'_>, index: usize) -> Option<Load> {
        let share = field.share(index);
        let active = field.backend(index)?.active() as u64;
        (share > 0).then_some(Load { active, share })
    }

    pub(super) fn is_less_than(self, other: Load) -> bool {
        // Shares are below 2^20, and nobody has 2^44 requests.
        self.active.saturating_mul(other.share) < other.active.saturating_mul(self.share)
    }
}
