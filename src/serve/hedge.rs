//! When a request that is out gets a second attempt at another backend (`retry.hedge`): once it has taken longer than 95 of 100
//! do, at most once, within the retry budget, and only where that changes nothing (GET, HEAD, OPTIONS). It is never what shows
//! whether a backend is back, never a backup's, and takes no place that somebody waits for.
//!
//! Never for a client that sticks to a backend, which may know what others do not.

use std::time::Instant;

use crate::forward;
use crate::upstream::Upstream;
use crate::upstream::lease::Lease;
use crate::upstream::watch::Watch;

use super::errand::{Errand, First};
use super::job::Job;
use super::pass::leave;

/// When the request that has just gone out is late.
pub(super) fn due(upstream: &Upstream, errand: &Errand, now: Instant) -> Option<Instant> {
    let may_go_twice = errand.outbound.is_safe() && errand.wish.stick.is_none();
    if !may_go_twice || !matches!(errand.first, First::Launched(_)) {
        return None;
    }
    Some(now + upstream.slow_after(now)?)
}

/// Whether it may be no answer that ended the wait: the request is late, or what came was for TLS only.
pub(super) fn is_uncertain(errand: &Errand) -> bool {
    let is_secured = matches!(&errand.first, First::Launched(launched) if launched.is_secured());
    errand.hedge_at.is_some() || is_secured
}

/// Looks at a job that has waited for its answer, or until it was late. Gives it back unless it goes on waiting.
pub(super) fn look(mut job: Box<Job>, watch: &Watch<Box<Job>>) -> Option<Box<Job>> {
    let now = Instant::now();
    let Some(errand) = &mut job.errand else {
        return Some(job);
    };
    let First::Launched(launched) = &mut errand.first else {
        return Some(job);
    };
    let is_over = launched.wait().is_none_or(|(_, until)| until <= now);
    if is_over || launched.has_news() {
        return Some(job);
    }
    if errand.hedge_at.take_if(|at| *at <= now).is_none() {
        return leave(job, watch);
    }
    let lease = other(&mut job, now);
    if lease.is_some_and(|lease| hedge(&mut job, lease, now)) {
        Some(job)
    } else {
        leave(job, watch)
    }
}

/// Another backend for the request, if the budget allows for it.
pub(super) fn other(job: &mut Job, now: Instant) -> Option<Lease> {
    let group = job.decided.group()?;
    let errand = job.errand.as_mut()?;
    let upstream = &group.upstream;
    let has_others = upstream.members.len() > errand.tried.len();
    if !has_others || upstream.waiting() > 0 || !upstream.withdraw_retry(now) {
        return None;
    }
    let tried = std::mem::take(&mut errand.tried);
    let mut candidates = group.balancer.candidates_but(upstream, errand.wish, tried);
    let lease = candidates.next_passing(now);
    errand.tried = candidates.into_tried();
    if lease.is_none() {
        upstream.return_retry(now);
    }
    lease
}

/// Makes the second attempt, and goes on with the one that answers first. False: it was not made, and the first has to be
/// waited for as before.
fn hedge(job: &mut Job, lease: Lease, now: Instant) -> bool {
    let (Some(group), Some(errand)) = (job.decided.group(), &mut job.errand) else {
        return true;
    };
    let first = match std::mem::replace(&mut errand.first, First::Nowhere) {
        First::Launched(first) => first,
        other => {
            errand.first = other;
            return true;
        }
    };
    let hedged = forward::hedge(&errand.outbound, first, lease);
    errand.first = First::Launched(hedged.launched);
    let Some(other) = hedged.other else {
        // That backend has not had its turn.
        errand.tried.pop();
        group.upstream.return_retry(now);
        return false;
    };
    job.context.attempts.push(other);
    group.upstream.record_hedge(hedged.has_won);
    true
}
