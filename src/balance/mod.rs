//! Which backend, and which next: an iterator of leases that skips what is unhealthy, ejected or tried already.
//!
//! The strategy's state sits behind one mutex per upstream, held for a pick only. What an attempt is worth is not decided
//! here: `forward` takes the next lease, or does not.

mod least;
mod weighted;

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::config::model::Strategy;
use crate::upstream::Upstream;
use crate::upstream::backend::Backend;
use crate::upstream::lease::Lease;

use least::{LeastConnections, TwoChoices};
use weighted::{Random, SmoothRoundRobin};

/// Picks backends for one upstream.
#[derive(Debug)]
pub struct Balancer {
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    RoundRobin(SmoothRoundRobin),
    Random(Random),
    LeastConnections(LeastConnections),
    TwoChoices(TwoChoices),
}

impl Balancer {
    /// A balancer for `upstream`'s strategy and weights.
    pub fn new(upstream: &Upstream) -> Balancer {
        let weights: Vec<u32> = upstream
            .backends
            .iter()
            .map(|backend| backend.weight)
            .collect();
        let state = match upstream.settings.balance {
            Strategy::RoundRobin => State::RoundRobin(SmoothRoundRobin::new(&weights)),
            Strategy::Random => State::Random(Random::new(&weights)),
            Strategy::LeastConnections => State::LeastConnections(LeastConnections::default()),
            Strategy::TwoChoices => State::TwoChoices(TwoChoices::new(&weights)),
        };
        Balancer {
            state: Mutex::new(state),
        }
    }

    /// Backends of `upstream` in the order in which one exchange is to try them.
    pub fn candidates<'a>(&'a self, upstream: &'a Arc<Upstream>) -> Candidates<'a> {
        self.candidates_but(upstream, Tried::new())
    }

    /// The same without those that were [tried](Candidates::into_tried).
    pub fn candidates_but<'a>(
        &'a self,
        upstream: &'a Arc<Upstream>,
        tried: Tried,
    ) -> Candidates<'a> {
        Candidates {
            balancer: self,
            upstream,
            tried,
        }
    }

    fn pick(&self, backends: &[Arc<Backend>], is_usable: impl Fn(usize) -> bool) -> Option<usize> {
        match &mut *self.state.lock() {
            State::RoundRobin(state) => state.pick(is_usable),
            State::Random(state) => state.pick(is_usable, &mut rand::rng()),
            State::LeastConnections(state) => state.pick(backends, is_usable),
            State::TwoChoices(state) => state.pick(backends, is_usable, &mut rand::rng()),
        }
    }
}

/// Leases for the attempts of one exchange; never the same backend twice.
#[derive(Debug)]
pub struct Candidates<'a> {
    balancer: &'a Balancer,
    upstream: &'a Arc<Upstream>,
    tried: Tried,
}

/// Backends that had their turn, by their place in the upstream.
pub type Tried = SmallVec<[usize; 4]>;

impl Candidates<'_> {
    /// The next one, at a moment that is known already.
    pub fn next_at(&mut self, now: Instant) -> Option<Lease> {
        let is_usable =
            |index: usize| !self.tried.contains(&index) && self.upstream.skip(index, now).is_none();
        let index = self.balancer.pick(&self.upstream.backends, is_usable)?;
        self.tried.push(index);
        Lease::new(self.upstream, index)
    }

    /// The backends that were given.
    pub fn into_tried(self) -> Tried {
        self.tried
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
