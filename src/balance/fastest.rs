//! The shortest time to first byte lately, times what is under way; those that nobody has asked for a while are asked now and
//! then, so that one which was slow or is new is not forgotten.

use super::strategy::{Field, Strategy};

/// A backend that was not picked for this long may be asked out of turn.
const FORGOTTEN: u64 = 500_000_000;

/// At most one pick in so many is out of turn.
const REGULAR: u32 = 20;

/// Compares all by their times.
#[derive(Debug, Default)]
pub(super) struct Fastest {
    /// When each was picked last, as [`crate::clock::nanos`].
    picked: Vec<u64>,
    /// Picks since the last one out of turn.
    regular: u32,
    /// The mean time of those whose time is known, as of the last pick: what a new one is taken for.
    typical: f64,
    /// Where the next search begins.
    next: usize,
}

impl Strategy for Fastest {
    fn pick(&mut self, field: &Field<'_>) -> Option<usize> {
        self.picked.resize(field.len(), 0);
        self.regular = self.regular.saturating_add(1);
        let is_due = self.regular >= REGULAR;
        let mut best: Option<(usize, f64)> = None;
        let mut forgotten: Option<(usize, u64)> = None;
        let (mut sum, mut count) = (0.0, 0.0);
        for index in field.places_from(self.next) {
            let share = field.share(index);
            let Some(backend) = field.backend(index).filter(|_| share > 0) else {
                continue;
            };
            let mean = backend.speed.mean();
            if let Some(mean) = mean {
                sum += mean;
                count += 1.0;
            }
            let active = backend.active() as f64 + 1.0;
            let cost = mean.unwrap_or(self.typical).max(1.0) * active / share as f64;
            if best.is_none_or(|(_, least)| cost < least) {
                best = Some((index, cost));
            }
            let at = self.picked.get(index).copied().unwrap_or_default();
            if is_due
                && field.now.saturating_sub(at) >= FORGOTTEN
                && forgotten.is_none_or(|(_, earliest)| at < earliest)
            {
                forgotten = Some((index, at));
            }
        }
        if count > 0.0 {
            self.typical = sum / count;
        }
        let (best, _) = best?;
        let out_of_turn = forgotten.map(|(index, _)| index).filter(|one| *one != best);
        if out_of_turn.is_some() {
            self.regular = 0;
        }
        let index = out_of_turn.unwrap_or(best);
        if let Some(at) = self.picked.get_mut(index) {
            *at = field.now;
        }
        self.next = best + 1;
        Some(index)
    }
}
