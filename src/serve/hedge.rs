//! When a request that is out gets a second attempt at another backend (`retry.hedge`): once it has taken longer than 95 of 100
//! do, at most once, and within the retry budget.
//!
//! Never for a client that sticks to a backend, which may know what others do not.

use std::time::Instant;

use crate::forward::{self, Hedged};
use crate::upstream::Upstream;
use crate::upstream::lease::Lease;
use crate::upstream::watch::Watch;

use super::errand::{Errand, First};
use super::job::Job;
use super::pass::leave;

/// When the request that has just gone out is late.
pub(super) fn due(upstream: &Upstream, errand: &Errand, now: Instant) -> Option<Instant> {
    if !matches!(errand.first, First::Launched(_)) || errand.wish.stick.is_some() {
        return None;
    }
    Some(now + upstream.slow_after(now)?)
}

/// Looks at a job that has waited for its answer, or until it was late. Gives it back unless it goes on waiting.
pub(super) fn look(mut job: Box<Job>, watch: &Watch<Box<Job>>) -> Option<Box<Job>> {
    let now = Instant::now();
    let Some(errand) = &mut job.errand else {
        return Some(job);
    };
    let (First::Launched(launched), Some(at)) = (&errand.first, errand.hedge_at.take()) else {
        return Some(job);
    };
    // Before that, it was called because something has come.
    let is_late = at <= now;
    let is_over = launched.wait().is_none_or(|(_, until)| until <= now);
    if !is_late || is_over || launched.has_news() {
        return Some(job);
    }
    match other(&mut job, now) {
        Some(lease) => Some(hedge(job, lease)),
        None => leave(job, watch),
    }
}

/// Another backend for the request, if the budget allows for it.
fn other(job: &mut Job, now: Instant) -> Option<Lease> {
    let group = job.decided.group()?;
    let errand = job.errand.as_mut()?;
    let upstream = &group.upstream;
    if upstream.members.len() <= errand.tried.len() || !upstream.withdraw_retry(now) {
        return None;
    }
    let tried = std::mem::take(&mut errand.tried);
    let mut candidates = group.balancer.candidates_but(upstream, errand.wish, tried);
    let lease = candidates.next_at(now);
    errand.tried = candidates.into_tried();
    if lease.is_none() {
        upstream.return_retry(now);
    }
    lease
}

/// Makes the second attempt, and goes on with the one that answers first.
fn hedge(mut job: Box<Job>, lease: Lease) -> Box<Job> {
    let Some(errand) = &mut job.errand else {
        return job;
    };
    let first = match std::mem::replace(&mut errand.first, First::Nowhere) {
        First::Launched(first) => first,
        other => {
            errand.first = other;
            return job;
        }
    };
    let Hedged {
        launched,
        other,
        was_sent,
        has_won,
    } = forward::hedge(&errand.outbound, first, lease);
    errand.first = First::Launched(launched);
    job.context.attempts.push(other);
    if was_sent && let Some(group) = job.decided.group() {
        group.upstream.record_hedge(has_won);
    }
    job
}
