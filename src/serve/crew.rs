//! Two threads that write the answers which need no backend: refusals, health, and what routes answer by themselves.
//!
//! There are two such pairs, so that large answers, which a slow client can hold up, hold up none of the others.
//!
//! A listener must not block, and an engine whose writes can block (tiny_http) would make it. Workers are not asked: these
//! answers must come even when every worker waits for a backend.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Sender, TrySendError, bounded};
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::json;

use crate::admit::Refusal;
use crate::config::model::HealthKind;
use crate::exchange::Exchange;
use crate::message::head::ResponseHead;
use crate::respond;
use crate::upstream::{Upstream, report};

use super::context::Context;
use super::own_answer::{self, OwnAnswer};
use super::pass;

/// Answers that may wait. Beyond that connections are closed without one.
const WAITING: usize = 1024;
const THREADS: usize = 2;
/// A client that takes nothing can hold up a larger body, whatever the engine. A head and this much it cannot: every engine has
/// 4 KiB for each client.
const LARGE: usize = 3 * 1024;

/// The threads and the way to them.
pub(super) struct Crew {
    sender: Mutex<Option<Sender<Task>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What to answer.
pub(super) enum Reply {
    Refuse(Refusal),
    Own(OwnAnswer),
    Health {
        kind: HealthKind,
        upstreams: Vec<Arc<Upstream>>,
    },
}

impl Reply {
    /// Whether sending it may have to wait for the client, so that nobody else should wait behind it.
    pub(super) fn is_large(&self) -> bool {
        matches!(self, Reply::Own(answer) if answer.configured_length() > LARGE)
    }
}

struct Task {
    exchange: Box<dyn Exchange>,
    context: Context,
    reply: Reply,
}

impl Task {
    fn answer(self) {
        answer(self.exchange, self.context, self.reply);
    }
}

impl Crew {
    /// Starts the threads; `name` is what they are called.
    pub(super) fn start(name: &str) -> io::Result<Crew> {
        let (sender, tasks) = bounded::<Task>(WAITING);
        let mut threads = Vec::with_capacity(THREADS);
        for number in 0..THREADS {
            let tasks = tasks.clone();
            let name = format!("{name}-{number}");
            let own_name = name.clone();
            let work = move || {
                for task in tasks {
                    if catch_unwind(AssertUnwindSafe(|| task.answer())).is_err() {
                        log::error!("{own_name} panicked on an answer; it goes on");
                    }
                }
            };
            threads.push(thread::Builder::new().name(name).spawn(work)?);
        }
        Ok(Crew {
            sender: Mutex::new(Some(sender)),
            threads: Mutex::new(threads),
        })
    }

    /// Queues an answer; when even that queue is full, or the crew has gone, the connection is closed.
    pub(super) fn submit(&self, exchange: Box<dyn Exchange>, context: Context, reply: Reply) {
        let task = Task {
            exchange,
            context,
            reply,
        };
        let result = match &*self.sender.lock() {
            Some(sender) => sender.try_send(task).map_err(TrySendError::into_inner),
            None => Err(task),
        };
        if let Err(mut task) = result {
            task.context.abandoned();
            task.exchange.abandon();
        }
    }

    /// Writes what is queued, then ends the threads.
    pub(super) fn shut_down(&self) {
        self.sender.lock().take();
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
    }
}

/// Answers on the thread that calls.
pub(super) fn answer(exchange: Box<dyn Exchange>, mut context: Context, reply: Reply) {
    match reply {
        Reply::Refuse(refusal) => pass::refuse(exchange, context, &refusal),
        Reply::Own(answer) => own_answer::send(exchange, context, &answer),
        Reply::Health { kind, upstreams } => {
            let (is_good, body) = match kind {
                HealthKind::Process => (true, json!({ "status": "ok" })),
                HealthKind::Backends => report::backends(&upstreams, Instant::now()),
            };
            let status = if is_good {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            let mut head = ResponseHead::new(status);
            head.close = context.close;
            head.fields.append("Content-Type", "application/json");
            head.fields.append("Cache-Control", "no-store");
            context.decorate(exchange.head(), &mut head.fields, None);
            let end = respond::send_own(exchange, &head, format!("{body}\n").as_bytes());
            context.finish(status.as_u16(), None, &end);
        }
    }
}
