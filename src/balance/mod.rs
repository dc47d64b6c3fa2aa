//! Which backend, and which next: an iterator of leases that skips what is unhealthy, ejected, full or tried already.
//!
//! The strategy's state sits behind one mutex per upstream, held for a pick and its lease only. What an attempt is worth is not
//! decided here: `forward` takes the next lease, or does not.

mod fastest;
mod hash;
mod least;
mod random;
mod strategy;
mod weighted;

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::clock::nanos;
use crate::config::model;
use crate::upstream::Upstream;
use crate::upstream::lease::Lease;
use crate::upstream::member::Tier;

use fastest::Fastest;
use hash::ConsistentHash;
use least::LeastConnections;
use random::{Random, TwoChoices};
use strategy::{Field, Strategy};
use weighted::SmoothRoundRobin;

/// Picks backends for one upstream.
#[derive(Debug)]
pub struct Balancer {
    strategy: Mutex<Box<dyn Strategy>>,
}

/// What a request brings along that matters for the pick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// What it is told apart by (`balance = "hash"`).
    pub key: u64,
    /// The backend that its client sticks to, by its place in the upstream.
    pub stick: Option<usize>,
}

impl Balancer {
    /// A balancer for `upstream`'s strategy and members.
    pub fn new(upstream: &Upstream) -> Balancer {
        let strategy: Box<dyn Strategy> = match upstream.settings.balance {
            model::Strategy::RoundRobin => Box::new(SmoothRoundRobin::default()),
            model::Strategy::Random => Box::new(Random::new(upstream)),
            model::Strategy::LeastConnections => Box::new(LeastConnections::default()),
            model::Strategy::TwoChoices => Box::new(TwoChoices::new(upstream)),
            model::Strategy::Fastest => Box::new(Fastest::default()),
            model::Strategy::Hash(_) => Box::new(ConsistentHash::new(upstream)),
        };
        Balancer {
            strategy: Mutex::new(strategy),
        }
    }

    /// Backends of `upstream` in the order in which one exchange is to try them.
    pub fn candidates<'a>(&'a self, upstream: &'a Arc<Upstream>, wish: Wish) -> Candidates<'a> {
        self.candidates_but(upstream, wish, Tried::new())
    }

    /// The same without those that were [tried](Candidates::into_tried).
    pub fn candidates_but<'a>(
        &'a self,
        upstream: &'a Arc<Upstream>,
        wish: Wish,
        tried: Tried,
    ) -> Candidates<'a> {
        Candidates {
            balancer: self,
            upstream,
            wish,
            tried,
        }
    }
}

/// Leases for the attempts of one exchange; never the same backend twice.
#[derive(Debug)]
pub struct Candidates<'a> {
    balancer: &'a Balancer,
    upstream: &'a Arc<Upstream>,
    wish: Wish,
    tried: Tried,
}

/// Backends that had their turn, by their place in the upstream.
pub type Tried = SmallVec<[usize; 4]>;

impl Candidates<'_> {
    /// The next one, at a moment that is known already.
    pub fn next_at(&mut self, now: Instant) -> Option<Lease> {
        if let Some(lease) = self.stick(now) {
            return Some(lease);
        }
        for tier in [Tier::Primary, Tier::Backup] {
            if let Some(lease) = self.lease(tier, now) {
                return Some(lease);
            }
        }
        // Not for a retry: others are usable, and have had their turn.
        if self.upstream.has_usable(now) {
            return None;
        }
        self.lease(Tier::Ejected, now)
    }

    /// The next primary that is known to be well: for a request that is only made to be quicker.
    pub fn next_passing(&mut self, now: Instant) -> Option<Lease> {
        let before = self.tried.len();
        let members = self.upstream.members.iter().enumerate();
        let left_out = members.filter(|(_, member)| !member.backend.is_passing());
        self.tried.extend(left_out.map(|(index, _)| index));
        let lease = self.lease(Tier::Primary, now);
        let given = lease.as_ref().and(self.tried.last().copied());
        self.tried.truncate(before);
        self.tried.extend(given);
        lease
    }

    /// The backends that were given.
    pub fn into_tried(self) -> Tried {
        self.tried
    }

    /// The backend that the client sticks to, at the first try.
    fn stick(&mut self, now: Instant) -> Option<Lease> {
        let index = self.wish.stick.take()?;
        let member = self.upstream.members.get(index)?;
        if self.tried.contains(&index) || !member.welcomes_back(now) {
            return None;
        }
        let lease = Lease::new(self.upstream, index, Tier::Primary, now)?;
        self.tried.push(index);
        Some(lease)
    }

    fn lease(&mut self, tier: Tier, now: Instant) -> Option<Lease> {
        loop {
            let field = Field {
                upstream: self.upstream,
                tier,
                tried: &self.tried,
                now: nanos(now),
                key: self.wish.key,
            };
            let mut strategy = self.balancer.strategy.lock();
            let index = strategy.pick(&field)?;
            // With the lock held: whoever picks next sees that this one has one more request.
            let lease = Lease::new(self.upstream, index, tier, now);
            drop(strategy);
            self.tried.push(index);
            // A client that sticks to it may have got its last place in this very moment.
            if lease.is_some() {
                return lease;
            }
        }
    }
}

impl Iterator for Candidates<'_> {
    type Item = Lease;

    fn next(&mut self) -> Option<Lease> {
        self.next_at(Instant::now())
    }
}

#[cfg(test)]
mod tests;
