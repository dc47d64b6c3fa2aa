//! Which side of a split a client goes to: the one it names, else the one its key falls to, else one that can take it.
//!
//! No state and no chance: the same client goes to the same side in every process. When weights change, only as many clients
//! move as the weights say, since every side keeps its place in the order.

use std::net::IpAddr;
use std::time::Instant;

use smallvec::SmallVec;

use crate::config::model::{self, Key, Side, Split};
use crate::logging::Seldom;
use crate::message::head::RequestHead;

use super::snapshot::Snapshot;
use super::trace::{Step, Trace, Why};

/// The side of one request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) upstream: usize,
    /// Those of the other sides that get clients at all, for when this one fails; best first.
    pub(super) others: SmallVec<[usize; 2]>,
    /// The upstream that was meant, if that is another one: it has no usable backend.
    pub(super) instead_of: Option<usize>,
}

/// Tells of clients that cannot go where they were meant to.
#[derive(Debug, Default)]
pub(super) struct Diversions(Seldom);

impl Diversions {
    /// Notes one, at `now`; not each has a line of its own that everybody sees.
    pub(super) fn note(
        &self,
        snapshot: &Snapshot,
        meant: usize,
        upstream: usize,
        id: &str,
        now: Instant,
    ) {
        let (meant, upstream) = (snapshot.name(meant), snapshot.name(upstream));
        log::debug!("{upstream} instead of {meant}, which has no usable backend (id={id})");
        if let Some(count) = self.0.count(now) {
            log::warn!(
                "upstream {meant} has no usable backend: its side of a split goes to {upstream} (requests since this was told last: {count})"
            );
        }
    }
}

/// Picks a side. When none has a usable backend, one that has at least an ejected one; and when there is none, the one that
/// was meant.
pub(super) fn choose(
    split: &Split,
    head: &RequestHead,
    client_ip: IpAddr,
    snapshot: &Snapshot,
    now: Instant,
    trace: &mut impl Trace,
) -> Chosen {
    let hash = split.key.hash(head, client_ip, &split.salt);
    let named = named(split, head, snapshot);
    let meant = named.or_else(|| by_weight(&split.sides, |_| true, hash));
    // A checked split has a weight above 0, so one is always meant.
    let meant = meant.map_or(0, |side| side.upstream);
    trace.step(|| Step::Side {
        upstream: snapshot.name(meant).to_owned(),
        why: match (named, &split.chosen_by) {
            (Some(_), Some(key)) => Why::Chosen(key.to_string()),
            _ => Why::Weight(told_apart_by(&split.key, head)),
        },
    });
    let upstream = |side: &Side| {
        let group = snapshot.groups.get(side.upstream);
        group.map(|group| &group.upstream)
    };
    let is_usable = |side: &Side| upstream(side).is_some_and(|upstream| upstream.has_usable(now));
    // An ejected backend is better than none.
    let can_serve = |side: &Side| upstream(side).is_some_and(|upstream| upstream.can_serve(now));
    // Those who were meant for one side have numbers close to each other: they would all fall to the same other one.
    let spread = model::hash(&split.salt, &hash.to_le_bytes());
    let has_meant = |holds: &dyn Fn(&Side) -> bool| {
        let mut sides = split.sides.iter();
        sides.any(|side| side.upstream == meant && holds(side))
    };
    let instead = if has_meant(&is_usable) {
        None
    } else if let Some(side) = by_weight(&split.sides, is_usable, spread) {
        Some(side)
    } else if has_meant(&can_serve) {
        None
    } else {
        by_weight(&split.sides, can_serve, spread)
    };
    if let Some(side) = instead {
        trace.step(|| Step::Side {
            upstream: snapshot.name(side.upstream).to_owned(),
            why: Why::Instead(snapshot.name(meant).to_owned()),
        });
    }
    let upstream = instead.map_or(meant, |side| side.upstream);
    Chosen {
        upstream,
        others: others(&split.sides, upstream, spread),
        instead_of: instead.map(|_| meant),
    }
}

/// The other sides, by `spread` the first of them and the rest as written.
fn others(sides: &[Side], chosen: usize, spread: u64) -> SmallVec<[usize; 2]> {
    let first = by_weight(sides, |side| side.upstream != chosen, spread);
    let first = first.map(|side| side.upstream);
    let is_left =
        |side: &&Side| side.weight > 0 && side.upstream != chosen && Some(side.upstream) != first;
    let rest = sides.iter().filter(is_left).map(|side| side.upstream);
    first.into_iter().chain(rest).collect()
}

/// The side that the request asks for by the name of its upstream, whatever its weight.
fn named<'a>(split: &'a Split, head: &RequestHead, snapshot: &Snapshot) -> Option<&'a Side> {
    let name = split.chosen_by.as_ref()?.value(head)?;
    split
        .sides
        .iter()
        .find(|side| snapshot.name(side.upstream).as_bytes() == name)
}

/// The side that `hash` falls to when all numbers are shared out by weight among those that are `eligible`.
fn by_weight(sides: &[Side], eligible: impl Fn(&Side) -> bool, hash: u64) -> Option<&Side> {
    let weight = |side: &Side| match eligible(side) {
        true => u64::from(side.weight),
        false => 0,
    };
    let weights: SmallVec<[u64; 4]> = sides.iter().map(weight).collect();
    let total: u64 = weights.iter().sum();
    // From 0 up to, and without, the total.
    let point = (u128::from(hash) * u128::from(total)) >> 64;
    let mut point = u64::try_from(point).unwrap_or(u64::MAX);
    sides.iter().zip(weights).find_map(|(side, weight)| {
        if point < weight {
            return Some(side);
        }
        point -= weight;
        None
    })
}

fn told_apart_by(key: &Key, head: &RequestHead) -> String {
    if *key != Key::ClientIp && key.value(head).is_none() {
        format!("client_ip, since there is no {key}")
    } else {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(weights: &[u32]) -> Vec<Side> {
        let weights = weights.iter().enumerate();
        weights
            .map(|(upstream, weight)| Side {
                upstream,
                weight: *weight,
            })
            .collect()
    }

    fn pick(sides: &[Side], hash: u64) -> Option<usize> {
        by_weight(sides, |_| true, hash).map(|side| side.upstream)
    }

    #[test]
    fn numbers_are_shared_out_by_weight() {
        let sides = sides(&[0, 90, 0, 10, 0]);
        assert_eq!(pick(&sides, 0), Some(1));
        assert_eq!(pick(&sides, u64::MAX), Some(3));
        let tenth = u64::MAX / 10;
        assert_eq!(pick(&sides, tenth * 9 - 1000), Some(1));
        assert_eq!(pick(&sides, tenth * 9 + 1000), Some(3));
        assert_eq!(pick(&[], 7), None);
    }

    #[test]
    fn nobody_moves_without_need_when_weights_change() {
        let (before, after) = (sides(&[90, 10]), sides(&[4, 1]));
        let count = 100_000;
        let moved = (0_u64..count)
            .map(|client| model::hash("split", &client.to_le_bytes()))
            .filter(|hash| pick(&before, *hash) != pick(&after, *hash))
            .inspect(|hash| assert_eq!(pick(&after, *hash), Some(1)))
            .count();
        // A tenth, and five standard deviations of it; the hashes are always the same.
        assert!(moved.abs_diff(10_000) < 475, "{moved}");
    }

    #[test]
    fn whoever_gets_clients_is_there_for_those_of_others() {
        let sides = sides(&[45, 45, 10, 0]);
        assert_eq!(others(&sides, 2, 0).as_slice(), [0, 1]);
        assert_eq!(others(&sides, 2, u64::MAX).as_slice(), [1, 0]);
        assert_eq!(others(&sides, 3, u64::MAX).as_slice(), [2, 0, 1]);
        assert!(others(&sides[..1], 0, 7).is_empty());
    }

    #[test]
    fn only_the_eligible_take_part() {
        let sides = sides(&[90, 10, 0]);
        let first = |eligible: &[usize], hash| {
            by_weight(&sides, |side| eligible.contains(&side.upstream), hash)
                .map(|side| side.upstream)
        };
        assert_eq!(first(&[1], 0), Some(1));
        assert_eq!(first(&[2], 0), None);
        assert_eq!(first(&[], u64::MAX), None);
    }
}
