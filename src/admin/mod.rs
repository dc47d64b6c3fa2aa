//! The admin side, on an address of its own: is the process alive, is it ready, what is its state.
//!
//! It reads; it changes nothing. It takes exchanges like the traffic side does, but answers them itself, at once.

mod status;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Sender, TrySendError, bounded};
use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::config::model;
use crate::drain::{Drain, Phase};
use crate::exchange::{Exchange, HeadFault, Intake};
use crate::message::head::{BodyLength, RequestHead, ResponseHead};
use crate::upstream::fleet::Fleet;
use crate::upstream::{Upstream, report};

pub use status::{LoadView, MirrorView, View};

/// Requests that may wait for the admin thread; beyond that connections are closed.
const WAITING: usize = 64;

/// What the admin side answers from.
pub struct Admin {
    settings: model::Admin,
    view: View,
}

/// One request, or what could not be read as one.
struct Visit {
    exchange: Box<dyn Exchange>,
    fault: Option<HeadFault>,
}

/// The admin intake: a queue and one thread.
pub struct AdminIntake {
    sender: Mutex<Option<Sender<Visit>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Admin {
    /// An admin side over `view`.
    pub fn new(settings: model::Admin, view: View) -> Admin {
        Admin { settings, view }
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
        Ok(Arc::new(AdminIntake {
            sender: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
        }))
    }

    fn answer(&self, visit: Visit) {
        let Visit { exchange, fault } = visit;
        let mut head = ResponseHead::new(StatusCode::OK);
        let (status, body) = match &fault {
            None => self.page(exchange.head(), &mut head),
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

    fn page(&self, request: &RequestHead, head: &mut ResponseHead) -> (StatusCode, Value) {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            head.fields.append("Allow", "GET, HEAD");
            return (
                StatusCode::METHOD_NOT_ALLOWED,
                json!({ "message": "Only GET and HEAD are available here.", "status": 405 }),
            );
        }
        match request.target.path() {
            "/livez" => (StatusCode::OK, json!({ "status": "ok" })),
            "/readyz" | "/healthz" => self.readiness(),
            "/_proxy/health" | "/_proxy/health_check" => backends(&self.view.fleet.upstreams()),
            "/_proxy/status" if self.is_authorized(request) => {
                (StatusCode::OK, self.view.render(Instant::now()))
            }
            "/_proxy/status" => {
                head.fields
                    .append("WWW-Authenticate", "Bearer realm=\"tollgate\"");
                (
                    StatusCode::UNAUTHORIZED,
                    json!({ "message": "Not authenticated", "status": 401 }),
                )
            }
            _ => (
                StatusCode::NOT_FOUND,
                json!({ "message": "No such page.", "status": 404, "pages": PAGES }),
            ),
        }
    }

    /// Ready: not shutting down, and at least one backend is usable.
    fn readiness(&self) -> (StatusCode, Value) {
        if self.view.drain.phase() > Phase::Serving {
            return (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({ "status": "draining" }),
            );
        }
        let now = Instant::now();
        let upstreams = self.view.fleet.upstreams();
        if upstreams.iter().any(|upstream| upstream.can_serve(now)) {
            (StatusCode::OK, json!({ "status": "ok" }))
        } else {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({ "status": "no_backend" }),
            )
        }
    }

    fn is_authorized(&self, request: &RequestHead) -> bool {
        let Some(token) = &self.settings.token else {
            return true;
        };
        let credentials = request.fields.get("authorization").unwrap_or_default();
        match credentials.split_at_checked(7) {
            Some((scheme, given)) => {
                scheme.eq_ignore_ascii_case(b"bearer ") && token.matches(given.trim_ascii())
            }
            None => false,
        }
    }
}

const PAGES: &[&str] = &[
    "/livez",
    "/readyz",
    "/healthz",
    "/_proxy/health",
    "/_proxy/health_check",
    "/_proxy/status",
];

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

fn backends(upstreams: &[Arc<Upstream>]) -> (StatusCode, Value) {
    let (is_healthy, body) = report::backends(upstreams, Instant::now());
    (
        if is_healthy {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        body,
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
        self.queue(Visit {
            exchange,
            fault: None,
        });
    }

    fn refuse(&self, exchange: Box<dyn Exchange>, fault: HeadFault) {
        self.queue(Visit {
            exchange,
            fault: Some(fault),
        });
    }
}

/// A view for `drain` and `fleet`; `load` is asked for workers and queue.
pub fn view(drain: &Drain, fleet: Fleet, load: Box<dyn Fn() -> LoadView + Send + Sync>) -> View {
    View {
        drain: drain.clone(),
        fleet,
        load,
        started: Instant::now(),
    }
}
