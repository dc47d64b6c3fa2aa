//! What happens when a connection's time is over, and which idle connections go first when room is needed.

use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use crate::error::Cause;
use crate::exchange::{BodyFault, HeadFault};

use super::handshake;
use super::link::{GLANCE, Held, Link};
use super::progress::{Fate, Progress, log_broken};
use super::readiness::Readiness;
use super::state::Stage;

/// The deadline of `link` has passed.
pub(super) fn expire(link: &Arc<Link>, progress: &Progress) -> Fate {
    // Somebody is at it right now: it is not idle, and the next sweep comes soon.
    let Some(mut held) = link.try_hold(Readiness::default()) else {
        return Fate::Stays;
    };
    // It may have moved on meanwhile.
    let deadline = link.deadline();
    if deadline == 0 || deadline > link.home.now() {
        // This look may have taken somebody's call back.
        link.home.revisit(link);
        return Fate::Stays;
    }
    // Whether there is room is told late, when a good part of it is free: a try finds it sooner.
    if matches!(held.stage, Stage::Delivering(..)) {
        match held.flush() {
            Err(error) => {
                log_broken(&held, &error);
                return progress.end(held);
            }
            Ok(true) => {
                link.home.revisit(link);
                return Fate::Stays;
            }
            Ok(false) => (),
        }
    }
    match &held.stage {
        Stage::Head if held.has_begun() => {
            let message = "The request head did not arrive in time (server.timeouts.head).".into();
            let cause = Cause::ClientTimeout;
            progress.refuse(held, HeadFault { cause, message });
            Fate::Stays
        }
        Stage::Body(_) => {
            progress.give_up_body(held, BodyFault::TooSlow);
            Fate::Stays
        }
        Stage::Delivering(..) if !is_stuck(&held) => {
            link.set_deadline(GLANCE.min(link.rules.timeouts.write_idle));
            Fate::Stays
        }
        Stage::Delivering(..) => {
            let left = held.outbox.as_ref().map_or(0, |outbox| outbox.len());
            let client = held.peer.ip();
            log::info!("{client} takes its answer too slowly: {left} bytes are dropped");
            held.cut(true);
            Fate::Ended
        }
        Stage::Handshake(_) => {
            let why = "it took too long (server.timeouts.handshake)";
            handshake::failed(&held, &why);
            progress.end(held)
        }
        Stage::Preamble | Stage::Head | Stage::Lingering => progress.end(held),
        Stage::Busy | Stage::Ended | Stage::GivenAway => {
            link.clear_deadline();
            Fate::Stays
        }
    }
}

/// Whether the client takes nothing of its answer any more, or too little.
fn is_stuck(held: &Held<'_>) -> bool {
    let timeouts = &held.link.rules.timeouts;
    let now = held.link.home.now();
    held.outbox.as_ref().is_some_and(|outbox| {
        let idle = Duration::from_millis(now.saturating_sub(outbox.moved));
        idle >= timeouts.write_idle || outbox.pace.is_too_slow(timeouts.min_rate, now)
    })
}

/// Whether it waits for a further request. A newcomer does not: it gets its chance.
pub(super) fn is_idle(link: &Arc<Link>) -> bool {
    link.peek().is_some_and(|held| {
        matches!(held.stage, Stage::Head)
            && held.served > 0
            && !held.has_begun()
            && !held.is_readable
    })
}

/// The keys of up to `count` connections that wait for a further request, those first that have waited longest.
pub(super) fn longest_idle(links: &Slab<Arc<Link>>, count: usize) -> Vec<usize> {
    let mut idle: Vec<(u64, usize)> = links
        .iter()
        .filter(|(_, link)| is_idle(link))
        .map(|(key, link)| (link.deadline(), key))
        .collect();
    idle.sort_unstable();
    idle.into_iter().take(count).map(|(_, key)| key).collect()
}
