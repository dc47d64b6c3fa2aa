//! The fewest requests under way, in proportion to the share; equals take turns by it.

use super::strategy::{Field, Strategy};
use super::weighted::SmoothRoundRobin;

/// Asks everybody.
#[derive(Debug, Default)]
pub(super) struct LeastConnections {
    turns: SmoothRoundRobin,
}

impl Strategy for LeastConnections {
    fn pick(&mut self, field: &Field<'_>) -> Option<usize> {
        let loads = (0..field.len()).filter_map(|index| Some((index, Load::of(field, index)?)));
        let (first, least) = loads.reduce(|best, other| {
            if other.1.is_less_than(best.1) {
                other
            } else {
                best
            }
        })?;
        let share = |index| match Load::of(field, index) {
            Some(load) if !least.is_less_than(load) => load.share,
            _ => 0,
        };
        // What is under way changes all the time, so that there may be nobody who has that little any more.
        self.turns.turn(field.len(), share).or(Some(first))
    }
}

/// How busy a backend is.
#[derive(Debug, Clone, Copy)]
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
