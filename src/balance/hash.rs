//! Consistent hashing on a ring: the same key goes to the same backend, and when one leaves or joins, only its keys move.

use crate::config::model::hash;
use crate::upstream::Upstream;
use crate::upstream::member::UNIT;

use super::strategy::{Field, Strategy};

/// Points on the ring for a backend of mean weight. The share of one backend differs from what it should be by about one in
/// the square root of this: 6 %.
const POINTS: u64 = 256;

/// Most points that one backend gets, however heavy it is.
const MOST_POINTS: u64 = 16 * POINTS;

/// Points looked at before all are compared: only when most backends are out.
const STEPS: usize = 64;

/// The ring.
#[derive(Debug)]
pub(super) struct ConsistentHash {
    /// Where a point is, and whose it is.
    ring: Vec<(u64, usize)>,
    /// Each member's number, made of its id.
    names: Vec<u64>,
}

impl ConsistentHash {
    pub(super) fn new(upstream: &Upstream) -> ConsistentHash {
        let members = &upstream.members;
        let total: u64 = members
            .iter()
            .map(|member| u64::from(member.settings.weight))
            .sum();
        let count = members.len().max(1) as u64;
        let mut ring = Vec::new();
        for (index, member) in members.iter().enumerate() {
            let weight = u64::from(member.settings.weight);
            let points = (weight * count * POINTS / total.max(1)).clamp(1, MOST_POINTS);
            let id = member.settings.id.as_bytes();
            ring.extend((0..points).map(|point| (hash(&format!("ring {point}"), id), index)));
        }
        ring.sort_unstable();
        let names = members.iter();
        ConsistentHash {
            ring,
            names: names
                .map(|member| hash("name", member.settings.id.as_bytes()))
                .collect(),
        }
    }

    /// Whether a member takes the key: during its slow start it takes part of its keys, always the same ones.
    fn takes(&self, field: &Field<'_>, index: usize) -> bool {
        let share = field.share(index);
        let weight = field
            .upstream
            .members
            .get(index)
            .map_or(1, |member| u64::from(member.settings.weight));
        let ramp = share / weight.max(1);
        share > 0 && (ramp >= UNIT || self.score(field, index) % UNIT < ramp)
    }

    /// A number for a key and a member together.
    fn score(&self, field: &Field<'_>, index: usize) -> u64 {
        let name = self.names.get(index).copied().unwrap_or_default();
        hash("score", &(field.key ^ name).to_be_bytes())
    }
}

impl Strategy for ConsistentHash {
    fn pick(&mut self, field: &Field<'_>) -> Option<usize> {
        let begin = self.ring.partition_point(|(point, _)| *point < field.key);
        let (before, after) = self.ring.split_at_checked(begin)?;
        let mut walk = after
            .iter()
            .chain(before)
            .map(|(_, index)| *index)
            .take(STEPS);
        if let Some(index) = walk.find(|index| self.takes(field, *index)) {
            return Some(index);
        }
        // Whoever has the highest number for this key: that moves only the keys of who leaves, too.
        (0..field.len())
            .filter(|index| field.share(*index) > 0)
            .max_by_key(|index| self.score(field, *index))
    }
}
