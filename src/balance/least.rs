//! Strategies that look at how busy backends are: least connections, and the better of two drawn at random.
//!
//! What counts is the number of requests under way for each unit of weight. It is read without a lock and may be a moment old;
//! that is why the better of two spreads a burst more evenly than the best of all.

use std::sync::Arc;

use rand::Rng;

use crate::upstream::backend::Backend;

use super::weighted::Random;

/// The least busy of all; among equals, each in turn.
#[derive(Debug, Default)]
pub(super) struct LeastConnections {
    /// Where the next search begins.
    next: usize,
}

impl LeastConnections {
    pub(super) fn pick(
        &mut self,
        backends: &[Arc<Backend>],
        is_usable: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let begin = self.next.min(backends.len());
        let mut best: Option<(usize, Load)> = None;
        for index in (begin..backends.len()).chain(0..begin) {
            if !is_usable(index) {
                continue;
            }
            let load = Load::of(backends.get(index)?);
            if best.is_none_or(|(_, least)| load.is_less_than(least)) {
                best = Some((index, load));
            }
        }
        let (index, _) = best?;
        self.next = index + 1;
        Some(index)
    }
}

/// Draws two backends, by weight, and takes the less busy one.
#[derive(Debug)]
pub(super) struct TwoChoices {
    random: Random,
}

impl TwoChoices {
    pub(super) fn new(weights: &[u32]) -> TwoChoices {
        TwoChoices {
            random: Random::new(weights),
        }
    }

    pub(super) fn pick(
        &mut self,
        backends: &[Arc<Backend>],
        is_usable: impl Fn(usize) -> bool,
        source: &mut impl Rng,
    ) -> Option<usize> {
        let first = self.random.pick(&is_usable, source)?;
        let is_other = |index| index != first && is_usable(index);
        let Some(second) = self.random.pick(is_other, source) else {
            return Some(first);
        };
        let load = |index: usize| backends.get(index).map(|backend| Load::of(backend));
        match (load(first), load(second)) {
            (Some(one), Some(other)) if other.is_less_than(one) => Some(second),
            _ => Some(first),
        }
    }
}

/// How busy a backend would be with one request more.
#[derive(Debug, Clone, Copy)]
struct Load {
    active: u128,
    weight: u128,
}

impl Load {
    fn of(backend: &Backend) -> Load {
        Load {
            active: backend.active() as u128 + 1,
            weight: u128::from(backend.weight),
        }
    }

    fn is_less_than(self, other: Load) -> bool {
        self.active * other.weight < other.active * self.weight
    }
}
