//! A connection that becomes a tunnel: WebSocket and whatever else client and backend agree on.
//!
//! Here it is only decided and begun; the bytes are moved by [`crate::tunnel`]. The access line is written at the end, and until
//! then the exchange counts as in flight.

use crate::admit::Refusal;
use crate::error::Cause;
use crate::exchange::Exchange;
use crate::forward::BackendConduit;
use crate::message::head::ResponseHead;
use crate::respond::End;
use crate::tunnel::{Place, Tunnel, Tunnels};
use crate::upstream::lease::Lease;

use super::context::Context;
use super::decide::Plan;

/// A backend's 101, and what comes with it.
pub(super) struct Switch {
    pub(super) head: ResponseHead,
    pub(super) conduit: BackendConduit,
    /// Active as long as the tunnel.
    pub(super) lease: Lease,
    pub(super) shows_backend: bool,
}

/// A place for the tunnel that the client asks for; `None`: it does not ask, or may not.
///
/// # Errors
/// When there are too many already.
pub(super) fn reserve(
    exchange: &dyn Exchange,
    plan: &Plan,
    tunnels: &Tunnels,
) -> Result<Option<Place>, Refusal> {
    if !plan.upgrade || !exchange.can_upgrade() || !exchange.head().asks_for_upgrade() {
        return Ok(None);
    }
    let place = tunnels.reserve().ok_or_else(|| {
        let message = "There are too many upgraded connections (server.limits.tunnels).";
        Refusal::with(Cause::Overloaded, message)
    })?;
    Ok(Some(place))
}

/// Passes the 101 on, and gives both connections to the tunnels.
pub(super) fn open(
    exchange: Box<dyn Exchange>,
    mut context: Context,
    switch: Switch,
    tunnels: &Tunnels,
    place: Place,
) {
    let Switch {
        mut head,
        conduit,
        lease,
        shows_backend,
    } = switch;
    let backend = lease.backend().id.clone();
    let shown = shows_backend.then_some(&*backend);
    context.backend = Some(backend.clone());
    context.decorate_switch(exchange.head(), &mut head.fields, shown);
    let status = head.status.as_u16();
    let client = match exchange.upgrade(&head) {
        Ok(client) => client,
        Err(error) => {
            log::debug!("the client of an upgrade has left: {error}");
            return context.abandoned();
        }
    };
    lease.record_success();
    let on_end = move |end: crate::tunnel::End| {
        context.bytes_in = end.bytes_in;
        log::debug!(
            "a tunnel has ended: {:?} (id={})",
            end.reason,
            context.request_id
        );
        let end = End {
            bytes: end.bytes_out,
            first_byte: None,
            result: Ok(()),
        };
        context.finish(status, None, &end);
        drop(lease);
    };
    let tunnel = Tunnel {
        client: client.conduit,
        backend: Box::new(conduit.stream),
        to_client: conduit.received,
        to_backend: client.received,
        on_end: Box::new(on_end),
    };
    tunnels.open(place, tunnel);
}
