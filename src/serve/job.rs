//! One exchange on its way to a backend, and how far it is: what is handed from worker to worker while it waits in between.
//!
//! What happens to it is in [`super::pass`].

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use crate::admit::Refusal;
use crate::error::Cause;
use crate::exchange::Exchange;
use crate::upstream::Upstream;

use super::context::Context;
use super::decide::Plan;
use super::errand::{Errand, wishes};
use super::lobby::{Denied, Guest, Ticket};
use super::snapshot::{Group, Snapshot};

/// One exchange on its way to a backend.
pub(super) struct Job {
    pub(super) exchange: Box<dyn Exchange>,
    pub(super) context: Context,
    pub(super) decided: Decided,
    pub(super) since: Instant,
    /// What a worker has made of it.
    pub(super) errand: Option<Errand>,
    /// Since all backends were full when its turn came.
    ticket: Option<Ticket>,
}

/// What is to become of it, and what it was decided by, which holds until its end.
pub(super) struct Decided {
    pub(super) plan: Plan,
    pub(super) snapshot: Arc<Snapshot>,
}

impl Decided {
    /// The upstream that the request goes to.
    pub(super) fn group(&self) -> Option<&Group> {
        self.snapshot.groups.get(self.plan.upstream)
    }
}

impl Job {
    pub(super) fn new(
        exchange: Box<dyn Exchange>,
        context: Context,
        decided: Decided,
        since: Instant,
    ) -> Box<Job> {
        Box::new(Job {
            exchange,
            context,
            decided,
            since,
            errand: None,
            ticket: None,
        })
    }

    pub(super) fn into_parts(mut self) -> (Box<dyn Exchange>, Context) {
        self.end_wait(Instant::now());
        (self.exchange, self.context)
    }

    /// Whether it has waited for a place, and was called.
    pub(super) fn is_called(&self) -> bool {
        self.ticket.is_some()
    }

    pub(super) fn take_ticket(&mut self) -> Option<Ticket> {
        self.ticket.take()
    }

    /// Ends its wait for a place, if there was one: it has found one, or gives up.
    pub(super) fn end_wait(&mut self, now: Instant) {
        if let Some(ticket) = self.ticket.take() {
            self.context.queued += now.saturating_duration_since(ticket.since);
        }
    }

    /// Goes on by `snapshot`, if that has its upstream too. For jobs that have no backend yet: a new one may have places.
    pub(super) fn follow(&mut self, snapshot: &Arc<Snapshot>) -> Option<Arc<Upstream>> {
        let name = Arc::clone(&self.decided.group()?.upstream.name);
        let mut groups = snapshot.groups.iter().enumerate();
        let (index, group) = groups.find(|(_, group)| group.upstream.name == name)?;
        let errand = self.errand.as_mut()?;
        let (head, client_ip) = (self.exchange.head(), self.context.client.ip);
        errand.wish = group.wish(head, client_ip);
        let others = &self.decided.plan.others;
        let others: SmallVec<[usize; 2]> = others
            .iter()
            .filter_map(|other| place_in(snapshot, &self.decided.snapshot, *other))
            .collect();
        errand.others = wishes(&others, head, client_ip, snapshot);
        self.decided.plan.others = others;
        self.decided.plan.upstream = index;
        self.decided.snapshot = Arc::clone(snapshot);
        Some(Arc::clone(&group.upstream))
    }

    /// What the client is told when it cannot wait for a place, or not any longer.
    pub(super) fn no_place(&self, denied: Denied) -> Refusal {
        let name = match self.decided.group() {
            Some(group) => &*group.upstream.name,
            None => return Refusal::new(Cause::Internal),
        };
        let why = match denied {
            Denied::Closed => return Refusal::new(Cause::Draining),
            Denied::Late => "none got free within max_wait",
            Denied::Crowded => "as many as may wait for a place do (server.queue)",
        };
        let message =
            format!("Upstream {name}: all backends have max_connections requests, and {why}.");
        Refusal::with(Cause::Overloaded, message)
    }
}

/// Where the upstream that is at `index` of `before` is now.
fn place_in(now: &Snapshot, before: &Snapshot, index: usize) -> Option<usize> {
    let name = &before.groups.get(index)?.upstream.name;
    now.groups
        .iter()
        .position(|group| group.upstream.name == *name)
}

impl Guest for Box<Job> {
    fn give(&mut self, ticket: Ticket) {
        self.ticket = Some(ticket);
    }

    fn is_gone(&self) -> bool {
        self.exchange.is_gone()
    }
}
