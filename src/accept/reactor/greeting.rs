//! What comes before the first request: a PROXY protocol header, and the handshake of TLS.
//!
//! Runs on the reactor's thread and never waits.

use bytes::Buf;

use crate::error::Cause;
use crate::exchange::HeadFault;
use crate::message::head::RequestHead;

use super::handshake::{self, Gathered, Turn};
use super::link::Held;
use super::progress::{Look, Progress, refuse};
use super::proxy_protocol::{self, Addresses, Preamble};
use super::rules::TOO_MANY_FROM_ONE;
use super::state::Stage;

impl Progress {
    /// Reads a PROXY protocol header.
    pub(super) fn read_preamble(&mut self, held: &mut Held<'_>) -> Look {
        let count = match self.receive(held) {
            Ok(count) => count,
            Err(look) => return look,
        };
        held.input
            .extend_from_slice(self.buffer.get(..count).unwrap_or_default());
        match proxy_protocol::parse(&held.input) {
            Preamble::Incomplete => Look::Again,
            Preamble::Bad => {
                log::warn!("{} sent no PROXY protocol header", held.peer.ip());
                Look::End
            }
            Preamble::Header { length, addresses } => {
                held.input.advance(length);
                held.stage = first_stage(held.link.tls.is_some());
                match addresses {
                    Some(addresses) => introduce(held, addresses),
                    None => Look::Again,
                }
            }
        }
    }

    /// Gathers what the client has to say about keys; what is laborious about it is for the crew.
    pub(super) fn shake_hands(&mut self, held: &mut Held<'_>) -> Look {
        match handshake::gathered(&held.input, held.session.is_none()) {
            Gathered::Incomplete => {
                let count = match self.receive(held) {
                    Ok(count) => count,
                    Err(Look::End) => {
                        handshake::failed(held, &"the client has left");
                        return Look::End;
                    }
                    Err(look) => return look,
                };
                let received = self.buffer.get(..count).unwrap_or_default();
                held.input.extend_from_slice(received);
            }
            Gathered::Records(whole) if handshake::is_cheap(held) => handshake::step(held, whole),
            Gathered::Records(_) => {
                held.stage = Stage::Handshake(Turn::Crew);
                let crew = self.crew.as_ref();
                let is_taken = crew.is_some_and(|crew| crew.take(held.link));
                return if is_taken { Look::Wait } else { Look::End };
            }
            Gathered::Plain => {
                handshake::failed(held, &"the client speaks HTTP without TLS");
                let fault = HeadFault {
                    cause: Cause::BadRequest,
                    message: "This port speaks HTTPS, and the request came without TLS.".into(),
                };
                return refuse(held, Box::new(RequestHead::unknown()), fault);
            }
        }
        Look::Again
    }
}

/// What a connection begins with, behind a PROXY protocol header.
pub(super) fn first_stage(has_tls: bool) -> Stage {
    if has_tls {
        Stage::Handshake(Turn::Client)
    } else {
        Stage::Head
    }
}

/// The client is somebody else than the peer, and counts as such.
fn introduce(held: &mut Held<'_>, addresses: Addresses) -> Look {
    held.peer.address = addresses.source;
    held.peer.local = addresses.destination;
    let client = held.peer.ip();
    if held.link.rules.is_trusted(client) || held.seat.assign(client) {
        return Look::Again;
    }
    if held.link.tls.is_some() {
        // An answer would take a handshake first.
        log::debug!("{client} has too many connections, one more over TLS is closed");
        return Look::End;
    }
    let fault = HeadFault {
        cause: Cause::Overloaded,
        message: TOO_MANY_FROM_ONE.into(),
    };
    refuse(held, Box::new(RequestHead::unknown()), fault)
}
