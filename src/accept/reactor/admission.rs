//! Lets connections in, as far as there is room for them.
//!
//! Who connects beyond a limit is told so, where that costs next to nothing.

use std::time::Duration;

use crate::error::Cause;
use crate::exchange::{HeadFault, Peer};
use crate::socket::Socket;

use super::acceptor::Door;
use super::event_loop::Reactor;
use super::expiry;
use super::greeting::first_stage;
use super::link::Link;
use super::readiness::Readiness;
use super::rules::TOO_MANY_FROM_ONE;
use super::state::Stage;

/// Idle connections closed at a time to make room.
const MAKE_ROOM: usize = 32;
/// How long nothing is accepted after descriptors ran out.
const STARVED: Duration = Duration::from_millis(100);

impl Reactor {
    /// No descriptors: idle connections give theirs, else accepting pauses.
    pub(super) fn starved(&mut self, error: rustix::io::Errno) {
        if !std::mem::replace(&mut self.has_warned, true) {
            log::warn!("cannot accept more connections: {error}; closing idle ones");
        }
        if self.make_room() == 0 {
            self.pause_until = self.home.now() + u64::try_from(STARVED.as_millis()).unwrap_or(100);
        }
    }

    /// Closes connections that wait for a further request. How many.
    fn make_room(&mut self) -> usize {
        let keys = expiry::longest_idle(&self.links, MAKE_ROOM);
        for key in &keys {
            if let Some(link) = self.links.get(*key).cloned() {
                link.hold().cut(false);
                self.look_at(&link, Readiness::default());
            }
        }
        keys.len()
    }

    pub(super) fn admit(&mut self, socket: Socket, peer: Peer, door: &Door) {
        let mut seat = self.rules.seats.take();
        if self.rules.seats.is_over() {
            self.make_room();
        }
        if self.rules.seats.is_flooded() {
            return;
        }
        let is_trusted = self.rules.is_trusted(peer.ip());
        // All that come over a Unix socket look like one address.
        let is_counted = !is_trusted && matches!(socket, Socket::Tcp(_));
        let refusal = if self.rules.seats.is_over() {
            Some("There are too many connections (server.limits.connections).")
        } else if is_counted && !seat.assign(peer.ip()) {
            Some(TOO_MANY_FROM_ONE)
        } else {
            None
        };
        let has_tls = door.tls.is_some();
        if has_tls && let Some(message) = refusal {
            // An answer would take a handshake first.
            return log::debug!("{}, over TLS, is closed at once: {message}", peer.ip());
        }
        let stage = if door.has_preamble && is_trusted {
            Stage::Preamble
        } else {
            first_stage(has_tls)
        };
        let link = Link::new(socket, peer, seat, stage, door, &self.home, &self.rules);
        if let Err(error) = self.register(&link) {
            return log::error!("a connection cannot be watched: {error}");
        }
        let timeouts = &self.rules.timeouts;
        link.set_deadline(if has_tls {
            timeouts.handshake
        } else {
            timeouts.head
        });
        if let Some(message) = refusal {
            let fault = HeadFault {
                cause: Cause::Overloaded,
                message: message.into(),
            };
            self.progress.refuse(link.hold(), fault);
        }
    }
}
