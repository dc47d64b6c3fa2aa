//! The admin side, on an address of its own: is the process alive, is it ready, what is its state.
//!
//! It takes exchanges like the traffic side does, but answers them itself, one after another. What each page says is in
//! `pages`, what can be changed in `backends`; who changes it is somebody else ([`Control`]).

mod backends;
mod control;
mod guesses;
mod limits;
mod order;
mod pages;
mod status;
mod tls;

use std::borrow::Cow;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Sender, TrySendError, bounded};
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::config::model;
use crate::drain::Drain;
use crate::exchange::{BodyFault, Exchange, HeadFault, Intake};
use crate::message::head::{BodyLength, ResponseHead};
use crate::tls::server::Terminator;
use crate::upstream::fleet::Fleet;

use guesses::Guesses;

pub use control::{Control, Objection, Order, Placed, Reload, Removed};
pub use limits::{ConcurrencyView, LimitsView, RateLimitView};
pub use status::{LoadView, MirrorView, View};

/// Bytes of a request body.
const LONGEST_BODY: u64 = 64 * 1024;

/// Requests that may wait for the admin thread; beyond that connections are closed.
const WAITING: usize = 64;

/// What the admin side answers from.
pub struct Admin {
    settings: model::Admin,
    view: View,
    control: Arc<dyn Control>,
    guesses: Guesses,
}

/// One request, or what could not be read as one.
struct Visit {
    exchange: Box<dyn Exchange>,
    fault: Option<HeadFault>,
}

/// The admin intake: a queue and one thread.
pub struct AdminIntake {
    this: Weak<AdminIntake>,
    sender: Mutex<Option<Sender<Visit>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Admin {
    /// An admin side over `view`, which has things changed through `control`.
    pub fn new(settings: model::Admin, view: View, control: Arc<dyn Control>) -> Admin {
        Admin {
            settings,
            view,
            control,
            guesses: Guesses::default(),
        }
    }

    /// Starts the thread that answers.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(self) -> io::Result<Arc<AdminIntake>> {
        let (sender, visits) = bounded::<Visit>(WAITING);
        let work = move || {
            for visit in visits {
                if catch_unwind(AssertUnwindSafe(|| self.answer(visit))).is_err() {
                    log::error!("an admin request panicked; the next one goes on");
                }
            }
        };
        let thread = thread::Builder::new().name("admin".into()).spawn(work)?;
        Ok(Arc::new_cyclic(|this| AdminIntake {
            this: Weak::clone(this),
            sender: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
        }))
    }

    fn answer(&self, visit: Visit) {
        let Visit {
            mut exchange,
            fault,
        } = visit;
        let mut head = ResponseHead::new(StatusCode::OK);
        let (status, body) = match &fault {
            None => self.page(&mut *exchange, &mut head),
            Some(fault) => refusal(fault),
        };
        head.status = status;
        head.close = fault.is_some();
        head.fields.append("Content-Type", "application/json");
        head.fields.append("Cache-Control", "no-store");
        head.close |= self.view.drain.is_draining();
        let is_bodiless = head.is_bodiless(&exchange.head().method);
        let body = format!("{body}\n");
        let sent = exchange
            .start(&head, BodyLength::Known(body.len() as u64))
            .and_then(|mut writer| {
                if !is_bodiless {
                    writer.write_all(body.as_bytes())?;
                }
                writer.finish()
            });
        if let Err(error) = sent {
            log::debug!("an admin client left: {error}");
        }
    }
}

fn fault(kind: BodyFault) -> HeadFault {
    HeadFault {
        cause: kind.into(),
        message: Cow::Borrowed(""),
    }
}

fn refusal(fault: &HeadFault) -> (StatusCode, Value) {
    let message = match &*fault.message {
        "" => fault.cause.message(),
        message => message,
    };
    let status = fault.cause.status_code();
    (
        status,
        json!({ "message": message, "status": status.as_u16(), "cause": fault.cause.code() }),
    )
}

impl AdminIntake {
    fn queue(&self, visit: Visit) {
        let result = match &*self.sender.lock() {
            Some(sender) => sender.try_send(visit).map_err(TrySendError::into_inner),
            None => Err(visit),
        };
        if let Err(visit) = result {
            visit.exchange.abandon();
        }
    }

    /// Answers what is queued, then ends the thread.
    pub fn shut_down(&self) {
        self.sender.lock().take();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Intake for AdminIntake {
    fn take(&self, exchange: Box<dyn Exchange>) {
        if !exchange.head().framing.has_body() {
            return self.queue(Visit {
                exchange,
                fault: None,
            });
        }
        let length = exchange.head().framing.length();
        if length.is_some_and(|length| length > LONGEST_BODY) {
            return self.refuse(exchange, fault(BodyFault::TooBig));
        }
        // The one thread must not wait for a slow client's body.
        let intake = Weak::clone(&self.this);
        let then = move |exchange: Box<dyn Exchange>, result: Result<(), BodyFault>| {
            let fault = match result {
                Ok(()) => None,
                Err(BodyFault::Left) => return exchange.abandon(),
                Err(kind) => Some(fault(kind)),
            };
            match intake.upgrade() {
                Some(intake) => intake.queue(Visit { exchange, fault }),
                None => exchange.abandon(),
            }
        };
        exchange.gather(LONGEST_BODY, Box::new(then));
    }

    fn refuse(&self, exchange: Box<dyn Exchange>, fault: HeadFault) {
        self.queue(Visit {
            exchange,
            fault: Some(fault),
        });
    }
}

/// A view for `drain` and `fleet`; `load` is asked for workers and queue.
pub fn view(
    drain: &Drain,
    fleet: Fleet,
    load: Box<dyn Fn() -> LoadView + Send + Sync>,
    terminator: Option<Arc<Terminator>>,
) -> View {
    View {
        drain: drain.clone(),
        fleet,
        load,
        terminator,
        started: Instant::now(),
    }
}
