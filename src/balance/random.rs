//! Weighted random, and the better of two that are drawn so.

use rand::{Rng, RngExt};

use crate::upstream::Upstream;
use crate::upstream::member::UNIT;

use super::least::Load;
use super::strategy::{Field, Strategy};

/// Draws among all before the usable ones are counted out: mostly the first draw will do.
const DRAWS: usize = 4;

/// Each usable backend with a probability in proportion to its share.
#[derive(Debug)]
pub(super) struct Random {
    /// Sums of the weights up to and with each member.
    sums: Vec<u64>,
}

impl Random {
    pub(super) fn new(upstream: &Upstream) -> Random {
        let weights = upstream.members.iter();
        let sums = weights.scan(0, |sum, member| {
            *sum += u64::from(member.settings.weight);
            Some(*sum)
        });
        Random {
            sums: sums.collect(),
        }
    }

    /// Draws from all, and again if that one may not be taken (a part of what it stands for, in a slow start); this is as good
    /// as drawing from the usable ones alone, and needs no look at each.
    fn draw(&self, field: &Field<'_>, source: &mut impl Rng) -> Option<usize> {
        let total = *self.sums.last()?;
        for _ in 0..DRAWS {
            let point = source.random_range(0..total);
            let index = self.sums.partition_point(|sum| *sum <= point);
            let weight = u64::from(field.upstream.members.get(index)?.settings.weight);
            let share = field.share(index);
            let is_taken = share >= weight * UNIT || source.random_range(0..weight * UNIT) < share;
            if is_taken {
                return Some(index);
            }
        }
        count_out(field, source)
    }
}

/// Draws from the usable ones.
fn count_out(field: &Field<'_>, source: &mut impl Rng) -> Option<usize> {
    let total: u64 = (0..field.len()).map(|index| field.share(index)).sum();
    if total == 0 {
        return None;
    }
    let mut point = source.random_range(0..total);
    let mut last = None;
    for index in 0..field.len() {
        let share = field.share(index);
        if point < share {
            return Some(index);
        }
        point -= share;
        last = last.max((share > 0).then_some(index));
    }
    // Shares can shrink while they are counted.
    last
}

impl Strategy for Random {
    fn pick(&mut self, field: &Field<'_>) -> Option<usize> {
        self.draw(field, &mut rand::rng())
    }
}

/// Draws two backends, by share, and takes the less busy one.
#[derive(Debug)]
pub(super) struct TwoChoices {
    random: Random,
}

impl TwoChoices {
    pub(super) fn new(upstream: &Upstream) -> TwoChoices {
        TwoChoices {
            random: Random::new(upstream),
        }
    }
}

impl Strategy for TwoChoices {
    fn pick(&mut self, field: &Field<'_>) -> Option<usize> {
        let source = &mut rand::rng();
        let first = self.random.draw(field, source)?;
        let mut but_first: smallvec::SmallVec<[usize; 4]> = field.tried.into();
        but_first.push(first);
        let others = Field {
            tried: &but_first,
            ..*field
        };
        let Some(second) = self.random.draw(&others, source) else {
            return Some(first);
        };
        match (Load::of(field, first), Load::of(field, second)) {
            (Some(one), Some(other)) if other.is_less_than(one) => Some(second),
            _ => Some(first),
        }
    }
}
