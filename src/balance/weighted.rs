//! Smooth weighted round robin and weighted random. Pure but for the random source that is passed in.

use rand::{Rng, RngExt};

/// Smooth weighted round robin: every pick adds its weight to each usable backend's credit, takes the largest credit, and
/// subtracts the sum of the usable weights from the winner. With weights 5, 1, 1 it gives A A B A C A A, not A A A A A B C.
#[derive(Debug)]
pub(super) struct SmoothRoundRobin {
    backends: Vec<Credit>,
}

#[derive(Debug)]
struct Credit {
    weight: i64,
    credit: i64,
}

impl SmoothRoundRobin {
    pub(super) fn new(weights: &[u32]) -> SmoothRoundRobin {
        let backends = weights
            .iter()
            .map(|weight| Credit {
                weight: i64::from(*weight),
                credit: 0,
            })
            .collect();
        SmoothRoundRobin { backends }
    }

    pub(super) fn pick(&mut self, is_usable: impl Fn(usize) -> bool) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, backend) in self
            .backends
            .iter_mut()
            .enumerate()
            .filter(|(index, _)| is_usable(*index))
        {
            total += backend.weight;
            backend.credit += backend.weight;
            if best.is_none_or(|(_, credit)| backend.credit > credit) {
                best = Some((index, backend.credit));
            }
        }
        let (winner, _) = best?;
        if let Some(backend) = self.backends.get_mut(winner) {
            backend.credit -= total;
        }
        Some(winner)
    }
}

/// Each usable backend with a probability in proportion to its weight.
#[derive(Debug)]
pub(super) struct Random {
    weights: Vec<u64>,
}

impl Random {
    pub(super) fn new(weights: &[u32]) -> Random {
        Random {
            weights: weights.iter().copied().map(u64::from).collect(),
        }
    }

    pub(super) fn pick(
        &mut self,
        is_usable: impl Fn(usize) -> bool,
        source: &mut impl Rng,
    ) -> Option<usize> {
        let usable = || {
            self.weights
                .iter()
                .enumerate()
                .filter(|(index, _)| is_usable(*index))
        };
        let total: u64 = usable().map(|(_, weight)| *weight).sum();
        if total == 0 {
            return None;
        }
        let mut point = source.random_range(0..total);
        for (index, weight) in usable() {
            if point < *weight {
                return Some(index);
            }
            point -= weight;
        }
        None
    }
}
