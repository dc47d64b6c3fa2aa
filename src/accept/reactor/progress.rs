//! What a connection does next: called when something has come, when there is room to send, or when it was asked for.
//!
//! Runs on the reactor's thread and never waits. What comes before the first request is [`super::greeting`]'s, deadlines are
//! [`super::expiry`]'s.

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Buf;

use crate::exchange::{BodyFault, HeadFault, Intake};
use crate::message::head::RequestHead;

use super::crew::Crew;
use super::exchange::{LinkExchange, Waiting};
use super::handshake::Turn;
use super::link::{Held, Link};
use super::parse::{self, Parsed};
use super::readiness::Readiness;
use super::state::{After, Stage, State};

/// Bytes received at a time.
const BUFFER: usize = 64 * 1024;
/// Requests of one connection that are begun before others get their turn.
const TURN: usize = 16;
/// Bytes that are thrown away before others get their turn.
const DISCARDED: usize = 8 * BUFFER;

/// Whether the reactor still has to know a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    Ended,
    GivenAway,
}

/// What to do once the link is not held any more.
pub(super) enum Deed {
    Take(Box<LinkExchange>),
    Refuse(Box<LinkExchange>, HeadFault),
    Finish(Box<Waiting>, Result<(), BodyFault>),
}

/// What comes of looking at a link that is held.
pub(super) enum Look {
    Do(Deed),
    /// There is more to look at.
    Again,
    /// Nothing to be done before something happens.
    Wait,
    End,
}

/// Reads requests and hands them on.
pub(super) struct Progress {
    pub(super) buffer: Box<[u8]>,
    intake: Arc<dyn Intake>,
    /// Where TLS is spoken.
    pub(super) crew: Option<Arc<Crew>>,
}

impl Progress {
    pub(super) fn new(intake: Arc<dyn Intake>, crew: Option<Arc<Crew>>) -> Progress {
        Progress {
            buffer: vec![0; BUFFER].into_boxed_slice(),
            intake,
            crew,
        }
    }

    /// Brings `link` as far as it gets.
    pub(super) fn make(&mut self, link: &Arc<Link>, ready: Readiness) -> Fate {
        // Whoever holds it calls us back.
        let Some(mut held) = link.try_hold(ready) else {
            return Fate::Stays;
        };
        if let Err(error) = held.flush() {
            log_broken(&held, &error);
            return self.end(held);
        }
        for _ in 0..TURN {
            match self.look(&mut held) {
                Look::Again => (),
                Look::Wait => return fate(&held),
                Look::End => return self.end(held),
                Look::Do(deed) => {
                    drop(held);
                    self.perform(deed);
                    held = match link.try_hold(Readiness::default()) {
                        Some(held) => held,
                        None => return Fate::Stays,
                    };
                }
            }
        }
        link.home.revisit(link);
        fate(&held)
    }

    /// Does what needs others, who must not find the link held. A panic costs this request only.
    fn perform(&self, deed: Deed) {
        let intake = &self.intake;
        let work = AssertUnwindSafe(|| match deed {
            Deed::Take(exchange) => intake.take(exchange),
            Deed::Refuse(exchange, fault) => intake.refuse(exchange, fault),
            Deed::Finish(waiting, result) => waiting.finish(result),
        });
        if catch_unwind(work).is_err() {
            log::error!("the listener panicked on a request; the next one goes on");
        }
    }

    /// Refuses what has come so far, for `fault`.
    pub(super) fn refuse(&self, mut held: Held<'_>, fault: HeadFault) {
        let exchange = LinkExchange::broken(&mut held, Box::new(RequestHead::unknown()));
        drop(held);
        self.perform(Deed::Refuse(exchange, fault));
    }

    /// Gives up waiting for a body.
    pub(super) fn give_up_body(&self, mut held: Held<'_>, fault: BodyFault) {
        if let Stage::Body(waiting) = held.make_busy() {
            drop(held);
            self.perform(Deed::Finish(waiting, Err(fault)));
        }
    }

    /// Forgets a link. A body that was waited for will not come.
    pub(super) fn end(&self, mut held: Held<'_>) -> Fate {
        held.link.clear_deadline();
        if matches!(held.stage, Stage::Head) && held.outbox.is_none() {
            // Nobody is owed an answer: the client may know that this is an end and no accident.
            let _ = held.say_end();
        }
        if let Stage::Body(waiting) = std::mem::replace(&mut held.stage, Stage::Ended) {
            drop(held);
            self.perform(Deed::Finish(waiting, Err(BodyFault::Left)));
        }
        Fate::Ended
    }

    fn look(&mut self, held: &mut Held<'_>) -> Look {
        match &held.stage {
            Stage::Busy => Look::Wait,
            Stage::Ended => Look::End,
            Stage::GivenAway => Look::Wait,
            Stage::Preamble => self.read_preamble(held),
            Stage::Handshake(Turn::Crew) => Look::Wait,
            Stage::Handshake(Turn::Client) => self.shake_hands(held),
            Stage::Head => self.read_head(held),
            Stage::Body(_) => self.read_body(held),
            Stage::Delivering(after, _) => {
                let after = *after;
                deliver(held, after)
            }
            Stage::Lingering => self.discard(held),
        }
    }

    /// Receives into the buffer; `Err`: what to do instead.
    pub(super) fn receive(&mut self, held: &mut Held<'_>) -> Result<usize, Look> {
        if !held.is_readable {
            return Err(Look::Wait);
        }
        let is_raw = matches!(held.stage, Stage::Handshake(_) | Stage::Lingering);
        let is_sealed = held.session.is_some() && !is_raw;
        let received = if is_sealed {
            held.receive(&mut self.buffer)
        } else {
            held.link.receive(&mut self.buffer)
        };
        match received {
            Ok(0) => Err(Look::End),
            Ok(count) if is_sealed => Ok(count),
            Ok(count) => {
                // Less than asked for: that was all, and what comes later is told anew. The end of the stream is told once.
                held.is_readable = count == self.buffer.len() || held.is_read_closed;
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                held.is_readable = false;
                Err(Look::Wait)
            }
            Err(_) => Err(Look::End),
        }
    }

    fn read_head(&mut self, held: &mut Held<'_>) -> Look {
        let link = held.link;
        let limits = &link.rules.limits;
        if !held.input.is_empty() {
            let state: &mut State = held;
            match parse::request(&state.input, &mut state.scanned, limits) {
                Parsed::Incomplete => (),
                Parsed::Head { head, length } => {
                    held.input.advance(length);
                    return begin(held, head);
                }
                Parsed::Bad { head, fault } => return refuse(held, head, fault),
            }
        }
        let count = match self.receive(held) {
            Ok(count) => count,
            Err(look) => return look,
        };
        let received = self.buffer.get(..count).unwrap_or_default();
        if !held.input.is_empty() {
            held.input.extend_from_slice(received);
            return Look::Again;
        }
        // The usual case: one whole request, which is read where it lies.
        held.scanned = 0;
        match parse::request(received, &mut held.scanned, limits) {
            Parsed::Incomplete => {
                held.input.extend_from_slice(received);
                if held.served > 0 && held.has_begun() {
                    held.link.set_deadline(held.link.rules.timeouts.head);
                }
                Look::Again
            }
            Parsed::Head { head, length } => {
                held.input
                    .extend_from_slice(received.get(length..).unwrap_or_default());
                begin(held, head)
            }
            Parsed::Bad { head, fault } => refuse(held, head, fault),
        }
    }

    fn read_body(&mut self, held: &mut Held<'_>) -> Look {
        let count = match self.receive(held) {
            Ok(count) => count,
            Err(look) => return look,
        };
        held.input
            .extend_from_slice(self.buffer.get(..count).unwrap_or_default());
        let Stage::Body(mut waiting) = held.make_busy() else {
            return Look::Again;
        };
        let timeouts = &held.link.rules.timeouts;
        let mut result = waiting.go_on(&mut held.input);
        if result.is_none()
            && waiting
                .pace
                .is_too_slow(timeouts.min_rate, held.link.home.now())
        {
            result = Some(Err(BodyFault::TooSlow));
        }
        match result {
            Some(result) => Look::Do(Deed::Finish(waiting, result)),
            None => {
                held.stage = Stage::Body(waiting);
                held.link.set_deadline(timeouts.body_idle);
                Look::Again
            }
        }
    }

    /// Throws away what comes, until the end.
    fn discard(&mut self, held: &mut Held<'_>) -> Look {
        held.input.clear();
        let mut count = 0;
        while count < DISCARDED {
            match self.receive(held) {
                Ok(more) => count += more,
                Err(look) => return look,
            }
        }
        Look::Again
    }
}

/// The access line of an answer that is delivered has been written: this is what tells that it did not arrive.
pub(super) fn log_broken(held: &Held<'_>, error: &io::Error) {
    if let (Stage::Delivering(..), Some(outbox)) = (&held.stage, &held.outbox) {
        let (client, left) = (held.peer.ip(), outbox.len());
        log::info!("{client} left before it had its answer: {error}; {left} bytes are dropped");
    }
}

fn fate(held: &Held<'_>) -> Fate {
    match held.stage {
        Stage::GivenAway => Fate::GivenAway,
        _ => Fate::Stays,
    }
}

fn begin(held: &mut Held<'_>, head: Box<RequestHead>) -> Look {
    held.scanned = 0;
    Look::Do(Deed::Take(LinkExchange::new(held, head)))
}

pub(super) fn refuse(held: &mut Held<'_>, head: Box<RequestHead>, fault: HeadFault) -> Look {
    Look::Do(Deed::Refuse(LinkExchange::broken(held, head), fault))
}

/// Goes on once the client has taken everything. (What there was room for has been sent; deadlines are watched elsewhere.)
fn deliver(held: &mut Held<'_>, after: After) -> Look {
    if held.outbox.is_some() {
        return Look::Wait;
    }
    held.proceed(after);
    Look::Again
}
