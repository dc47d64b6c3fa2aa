//! A request on a link as an [`Exchange`].

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;

use crate::accept::answer::{self, Shape};
use crate::error::Cause;
use crate::exchange::{BodyFault, Exchange, Gathered, Peer, ResponseWriter, Upgraded};
use crate::message::fields::Fields;
use crate::message::head::{BodyLength, RequestHead, ResponseHead, Version};

use super::body::{Ahead, Body};
use super::conduit::ClientConduit;
use super::link::{Held, Link};
use super::pace::Pace;
use super::state::{After, Stage};
use super::writer::{self, LinkWriter};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// One request, from its head to its answer.
pub(super) struct LinkExchange {
    link: Arc<Link>,
    head: Box<RequestHead>,
    peer: Peer,
    body: Body,
    /// Not even the framing of the request is known.
    is_broken: bool,
    is_open: bool,
}

/// An exchange whose small body is still coming.
pub(super) struct Waiting {
    exchange: Box<LinkExchange>,
    limit: u64,
    pub(super) pace: Pace,
    then: Gathered,
}

impl LinkExchange {
    /// An exchange for a good head. The link is busy with it from now on.
    pub(super) fn new(held: &mut Held<'_>, head: Box<RequestHead>) -> Box<LinkExchange> {
        let asks = head.version == Version::Http11 && head.framing.has_body();
        let owes_continue = asks && head.fields.has_member("expect", "100-continue");
        held.make_busy();
        Box::new(LinkExchange {
            link: Arc::clone(held.link),
            peer: held.peer.clone(),
            body: Body::new(head.framing, owes_continue),
            head,
            is_broken: false,
            is_open: true,
        })
    }

    /// An exchange that can only be refused.
    pub(super) fn broken(held: &mut Held<'_>, head: Box<RequestHead>) -> Box<LinkExchange> {
        let mut exchange = LinkExchange::new(held, head);
        exchange.body.owes_continue = false;
        exchange.is_broken = true;
        exchange
    }

    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.body.owes_continue) && !self.body.is_over() {
            writer::put_some(&self.link, &[CONTINUE], true)
                .map_err(|_| BodyFault::Left.into_io())?;
        }
        self.body.read(&self.link, buffer)
    }

    /// Whether the connection ends with the answer.
    fn closes(&mut self, head: &ResponseHead, held: &mut Held<'_>) -> bool {
        self.body.skip(&mut held.input);
        let is_body_left = !self.body.is_over();
        head.close
            || self.head.wants_close()
            || self.is_broken
            || is_body_left
            || self.link.rules.is_last(held.served)
    }
}

impl Waiting {
    /// Takes what has come. `None`: more has to come first.
    pub(super) fn go_on(&mut self, input: &mut BytesMut) -> Option<Result<(), BodyFault>> {
        let before = input.len();
        let result = self.exchange.body.read_ahead(input, self.limit);
        self.pace.add(before - input.len());
        match result {
            Ok(Ahead::More) => None,
            Ok(Ahead::Enough) => Some(Ok(())),
            Err(fault) => Some(Err(fault)),
        }
    }

    /// Gives the exchange back. The link must be busy again, and not be held.
    pub(super) fn finish(self, result: Result<(), BodyFault>) {
        (self.then)(self.exchange, result);
    }
}

impl Exchange for LinkExchange {
    fn head(&self) -> &RequestHead {
        &self.head
    }

    fn head_mut(&mut self) -> &mut RequestHead {
        &mut self.head
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }

    fn body(&mut self) -> &mut dyn Read {
        self
    }

    fn gather(mut self: Box<Self>, limit: u64, then: Gathered) {
        if !self.body.is_small() {
            return then(self, Ok(()));
        }
        let link = Arc::clone(&self.link);
        let mut held = link.hold();
        match self.body.read_ahead(&mut held.input, limit) {
            Ok(Ahead::More) => (),
            result => {
                drop(held);
                return then(self, result.map(|_| ()));
            }
        }
        // Twenty-five bytes fit into an empty socket buffer; a client that reads nothing gets no more than it asks for.
        if std::mem::take(&mut self.body.owes_continue)
            && (held.outbox.is_some()
                || !matches!(held.send(&[CONTINUE], 0), Ok(count) if count == CONTINUE.len()))
        {
            drop(held);
            return then(self, Err(BodyFault::Left));
        }
        held.stage = Stage::Body(Box::new(Waiting {
            exchange: self,
            limit,
            pace: Pace::begin(link.home.now()),
            then,
        }));
        link.set_deadline(link.rules.timeouts.body_idle);
        if held.is_readable {
            link.home.revisit(&link);
        }
    }

    fn is_gone(&self) -> bool {
        self.link.is_gone.load(Ordering::Relaxed)
    }

    fn has_successor(&self) -> bool {
        self.link.succession.is_arranged()
    }

    fn has_gathered(&self) -> bool {
        self.body.has_begin()
    }

    fn is_nonblocking(&self) -> bool {
        true
    }

    fn can_upgrade(&self) -> bool {
        true
    }

    fn upgrade(mut self: Box<Self>, head: &ResponseHead) -> io::Result<Upgraded> {
        let mut bytes = Vec::new();
        answer::render_switch(head, &mut bytes);
        let mut held = self.link.hold();
        let received = held.input.split().to_vec();
        held.stage = Stage::GivenAway;
        self.is_open = false;
        self.link.home.revisit(&self.link);
        drop(held);
        Ok(Upgraded {
            conduit: Box::new(ClientConduit::new(Arc::clone(&self.link), bytes)),
            received,
        })
    }

    fn start(
        mut self: Box<Self>,
        head: &ResponseHead,
        length: BodyLength,
    ) -> io::Result<Box<dyn ResponseWriter>> {
        self.is_open = false;
        let link = Arc::clone(&self.link);
        let closes = {
            let mut held = link.hold();
            self.closes(head, &mut held)
        };
        let mut shape = Shape {
            version: self.head.version,
            is_bodiless: head.is_bodiless(&self.head.method),
            length,
            announced: head.announced,
            says_close: closes,
        };
        let framing = shape.framing();
        shape.says_close |= framing == answer::Framing::UntilClose;
        let after = if shape.says_close {
            After::Close
        } else {
            After::Keep
        };
        let mut bytes = Vec::new();
        answer::render(head, &shape, &mut bytes);
        Ok(Box::new(LinkWriter::new(link, bytes, framing, after)))
    }

    fn abandon(mut self: Box<Self>) {
        self.is_open = false;
        self.link.hold().cut(false);
    }
}

impl Read for LinkExchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_body(buffer)
    }
}

impl Drop for LinkExchange {
    /// Lost on the way, by a panic most likely: the client still gets an answer.
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        let cause = Cause::Internal;
        let head = ResponseHead {
            status: cause.status_code(),
            reason: String::new(),
            fields: Fields::new(),
            announced: None,
            close: true,
        };
        let body = format!(
            "{{\"message\":\"{}\",\"status\":{},\"cause\":\"{cause}\"}}\n",
            cause.message(),
            cause.status()
        );
        let shape = Shape {
            version: self.head.version,
            is_bodiless: head.is_bodiless(&self.head.method),
            length: BodyLength::Known(body.len() as u64),
            announced: None,
            says_close: true,
        };
        let mut bytes = Vec::new();
        answer::render(&head, &shape, &mut bytes);
        let body = if shape.is_bodiless { "" } else { &body };
        if writer::put_last(&self.link, &[&bytes, body.as_bytes()], After::Close).is_err() {
            self.link.hold().cut(false);
        }
    }
}
