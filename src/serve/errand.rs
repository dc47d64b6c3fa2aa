//! The request of one exchange as the backends get it: how far it is, and asking them, one after another.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use crate::balance::{Tried, Wish};
use crate::exchange::Exchange;
use crate::forward::{self, Client, Forwarded, GaveUp, Launched, Outbound, RequestBody};
use crate::message::head::RequestHead;
use crate::tunnel::Place;
use crate::upstream::lease::Lease;

use super::context::Context;
use super::job::Decided;
use super::mirror::{Destination, Mirrors};
use super::snapshot::Snapshot;

thread_local! {
    /// Each worker's own ureq agent: a shared one would cost every request a lock.
    static CLIENT: RefCell<Option<Client>> = const { RefCell::new(None) };
}

/// The request as the backends get it, and how far that is.
pub(super) struct Errand {
    pub(super) outbound: Outbound,
    /// Kept for the tunnel that the client asks for.
    pub(super) place: Option<Place>,
    pub(super) first: First,
    /// When a second attempt is to be made if the first is not answered by then, if one may be.
    pub(super) hedge_at: Option<Instant>,
    pub(super) wish: Wish,
    /// Backends that have had their turn.
    pub(super) tried: Tried,
    /// Where to go when the upstream of the plan fails.
    pub(super) others: Others,
    /// Where a copy goes.
    pub(super) copy: Option<Destination>,
}

/// Upstreams, and what the request brings along for the pick there.
pub(super) type Others = SmallVec<[(usize, Wish); 2]>;

/// The first attempt.
pub(super) enum First {
    /// It is out.
    Launched(Launched),
    /// It has a backend.
    Leased(Lease),
    /// It has none yet.
    Nowhere,
}

/// Asks the backend that the request is with already, then others of its upstream, then other upstreams.
pub(super) fn ask(
    exchange: &mut dyn Exchange,
    context: &mut Context,
    errand: Errand,
    Decided { plan, snapshot }: &Decided,
    mirrors: &Mirrors,
) -> Result<Forwarded, GaveUp> {
    let group = |index: usize| snapshot.groups.get(index);
    let Errand {
        outbound,
        first,
        wish,
        tried,
        others,
        copy,
        ..
    } = errand;
    let is_at_hand = exchange.has_gathered();
    let mut body =
        RequestBody::new(exchange.body(), outbound.framing(), plan.max_body).at_hand(is_at_hand);
    let (launched, leased) = match first {
        First::Launched(launched) => (Some(launched), None),
        First::Leased(lease) => (None, Some(lease)),
        First::Nowhere => (None, None),
    };
    let rest = group(plan.upstream)
        .into_iter()
        .flat_map(|group| (group.balancer).candidates_but(&group.upstream, wish, tried.clone()));
    let mut elsewhere = others
        .iter()
        .filter_map(|(index, wish)| Some((group(*index)?, *wish)))
        .flat_map(|(group, wish)| group.balancer.candidates(&group.upstream, wish));
    let mut leases = leased.into_iter().chain(rest);
    let forwarded = with_client(|client| {
        forward::send(
            client,
            &outbound,
            &mut body,
            launched,
            &mut leases,
            &mut elsewhere,
            &mut context.attempts,
        )
    });
    context.bytes_in = body.taken();
    if let (Ok(forwarded), false) = (&forwarded, others.is_empty()) {
        context.upstream = Some(Arc::clone(&forwarded.lease.upstream().name));
    }
    if let Some(to) = copy {
        mirrors.offer(to, outbound, body, context);
    }
    forwarded
}

/// What the request brings along for each of these upstreams.
pub(super) fn wishes(
    upstreams: &[usize],
    head: &RequestHead,
    client_ip: IpAddr,
    snapshot: &Snapshot,
) -> Others {
    let known = upstreams
        .iter()
        .filter_map(|index| Some((*index, snapshot.groups.get(*index)?)));
    known
        .map(|(index, group)| (index, group.wish(head, client_ip)))
        .collect()
}

fn with_client<T>(work: impl FnOnce(&Client) -> T) -> T {
    let client = CLIENT.take().unwrap_or_default();
    let result = work(&client);
    CLIENT.set(Some(client));
    result
}
