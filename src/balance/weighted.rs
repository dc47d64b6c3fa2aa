//! Smooth weighted round robin.

use super::strategy::{Field, Strategy};

/// Every pick adds its share to each usable backend's credit, takes the largest credit, and subtracts the sum of the usable
/// shares from the winner. With weights 5, 1, 1 it gives A A B A C A A, not A A A A A B C.
#[derive(Debug, Default)]
pub(super) struct SmoothRoundRobin {
    credits: Vec<i64>,
}

impl SmoothRoundRobin {
    /// Takes turns among those of `len` members that have a share.
    pub(super) fn turn(&mut self, len: usize, share: impl Fn(usize) -> u64) -> Option<usize> {
        self.credits.resize(len, 0);
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, credit) in self.credits.iter_mut().enumerate() {
            let share = i64::try_from(share(index)).unwrap_or(i64::MAX);
            if share == 0 {
                continue;
            }
            total += share;
            *credit += share;
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((index, *credit));
            }
        }
        let (winner, _) = best?;
        if let Some(credit) = self.credits.get_mut(winner) {
            *credit -= total;
        }
        Some(winner)
    }
}

impl Strategy for SmoothRoundRobin {
    fn pick(&mut self, field: &Field<'_>) -> Option<usize> {
        self.turn(field.len(), |index| field.share(index))
    }
}
