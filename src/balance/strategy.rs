//! What every strategy is given and has to give: the contract of a pick.

use std::fmt;

use crate::upstream::Upstream;
use crate::upstream::backend::Backend;
use crate::upstream::member::Tier;

/// A way to pick. Its state is of its upstream alone, and a pick has it alone.
pub(super) trait Strategy: fmt::Debug + Send {
    /// One of those with a share; `None` when nobody has one.
    fn pick(&mut self, field: &Field<'_>) -> Option<usize>;
}

/// Who can be picked now, by their place in the upstream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) tier: Tier,
    /// Those that had their turn.
    pub(super) tried: &'a [usize],
    /// The moment, as [`crate::clock::nanos`].
    pub(super) now: u64,
    /// What the request is told apart by; 0 where nobody asks.
    pub(super) key: u64,
}

impl<'a> Field<'a> {
    /// How many members there are, whether they can be picked or not.
    pub(super) fn len(&self) -> usize {
        self.upstream.members.len()
    }

    /// How much a member is to get in comparison with others, [`crate::upstream::member::UNIT`] for a weight of one; 0: it
    /// cannot be picked.
    pub(super) fn share(&self, index: usize) -> u64 {
        if self.tried.contains(&index) {
            return 0;
        }
        self.upstream.share(index, self.tier, self.now)
    }

    /// A member's backend.
    pub(super) fn backend(&self, index: usize) -> Option<&'a Backend> {
        Some(&self.upstream.members.get(index)?.backend)
    }

    /// Everybody's places, beginning with `begin`: who goes round takes equals in turn.
    pub(super) fn places_from(&self, begin: usize) -> impl Iterator<Item = usize> + use<> {
        let len = self.len();
        let begin = begin.min(len);
        (begin..len).chain(0..begin)
    }
}
