//! A tiny_http request as an [`Exchange`].

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;

use http::StatusCode;
use tiny_http::Request;

use crate::error::Cause;
use crate::exchange::{BodyFault, Exchange, Gathered, Peer, ResponseWriter};
use crate::message::head::{BodyLength, RequestHead, ResponseHead};

use crate::accept::answer::Shape;

use super::judge::{closes_itself, is_buffered};
use super::keeper::Keeper;
use super::writer::TinyWriter;

/// One request, from dispatch to answer.
pub(super) struct TinyExchange {
    /// `None` once answered.
    request: Option<Request>,
    head: RequestHead,
    peer: Peer,
    keeper: Arc<dyn Keeper>,
    /// What is left of the body; `None`: chunked, end not seen.
    left: Option<u64>,
}

impl TinyExchange {
    pub(super) fn new(
        request: Request,
        head: RequestHead,
        peer: Peer,
        keeper: Arc<dyn Keeper>,
    ) -> TinyExchange {
        let left = head.framing.length();
        TinyExchange {
            request: Some(request),
            head,
            peer,
            keeper,
            left,
        }
    }

    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == Some(0) || buffer.is_empty() {
            return Ok(0);
        }
        let room = self.left.map_or(buffer.len(), |left| {
            buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX))
        });
        let Some(request) = &mut self.request else {
            return Err(BodyFault::Left.into_io());
        };
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        let count = request
            .as_reader()
            .read(buffer)
            .map_err(|error| fault(&error).into_io())?;
        match &mut self.left {
            Some(_) if count == 0 => return Err(BodyFault::Left.into_io()),
            Some(left) => *left -= count as u64,
            // tiny_http's decoder gives 0 for the last chunk, and also when the connection ends within one.
            None if count == 0
                && self.keeper.hangup().is_at_end(self.peer.address) == Some(true) =>
            {
                return Err(BodyFault::Left.into_io());
            }
            None if count == 0 => self.left = Some(0),
            None => (),
        }
        Ok(count)
    }

    /// Reads what is left of a body that tiny_http holds in memory anyway; nothing is waited for.
    fn skip_buffered(&mut self) {
        if is_buffered(&self.head) {
            let mut scrap = [0; 256];
            while matches!(self.read_body(&mut scrap), Ok(count) if count > 0) {}
        }
    }

    fn shape(&self, head: &ResponseHead, length: BodyLength) -> Shape {
        let closes = head.close || self.head.wants_close();
        Shape {
            version: self.head.version,
            is_bodiless: head.is_bodiless(&self.head.method),
            length,
            announced: head.announced,
            says_close: closes,
        }
    }
}

fn fault(error: &io::Error) -> BodyFault {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => BodyFault::TooSlow,
        ErrorKind::InvalidInput => BodyFault::Malformed,
        _ => BodyFault::Left,
    }
}

impl Exchange for TinyExchange {
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

    /// The engine's threads read ahead for nobody; a worker waits for the body.
    fn gather(self: Box<Self>, _: u64, then: Gathered) {
        then(self, Ok(()));
    }

    fn start(
        mut self: Box<Self>,
        head: &ResponseHead,
        length: BodyLength,
    ) -> io::Result<Box<dyn ResponseWriter>> {
        self.skip_buffered();
        let peer = self.peer.address;
        let Some(request) = self.request.take() else {
            return Err(io::Error::other("already answered"));
        };
        let keeper = Arc::clone(&self.keeper);
        let unread = self.left.unwrap_or(0);
        if self.left != Some(0) {
            // The rest of the body must not be taken for the next request.
            self.keeper.poison(peer);
            return Ok(TinyWriter::start_unread(
                request, unread, head, peer, keeper,
            ));
        }
        let shape = self.shape(head, length);
        let hangs_up = shape.says_close && !closes_itself(&self.head);
        TinyWriter::start(request.into_writer(), head, shape, hangs_up, peer, keeper)
    }

    fn abandon(mut self: Box<Self>) {
        let Some(request) = self.request.take() else {
            return;
        };
        let peer = self.peer.address;
        self.keeper.poison(peer);
        self.keeper.discard(peer, request);
        Arc::clone(&self.keeper).ended(peer);
    }
}

impl Read for TinyExchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_body(buffer)
    }
}

impl Drop for TinyExchange {
    /// Nobody answered: a panic, most likely. The client is told, and nothing of a half-read body is left over.
    fn drop(&mut self) {
        let Some(request) = self.request.take() else {
            return;
        };
        let body: &[u8] = b"{\"message\":\"Something went wrong inside the proxy.\",\"status\":500,\"cause\":\"internal\"}\n";
        let mut head = ResponseHead::new(StatusCode::INTERNAL_SERVER_ERROR);
        head.fields.append("Content-Type", "application/json");
        head.fields.append(
            "Proxy-Status",
            format!("tollgate; error={}", Cause::Internal.proxy_status()),
        );
        let last = Box::new(TinyExchange {
            request: Some(request),
            head: self.head.clone(),
            peer: self.peer.clone(),
            keeper: Arc::clone(&self.keeper),
            left: self.left,
        });
        let length = BodyLength::Known(body.len() as u64);
        if let Ok(mut writer) = last.start(&head, length)
            && writer.write_all(body).is_ok()
        {
            let _ = writer.finish();
        }
    }
}
