//! What the decision looked at, step by step. The hot path passes [`NoTrace`], which compiles to nothing; `explain` and
//! tests pass a [`Recorder`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::admit::Refusal;
use crate::admit::auth::{Fault, Identity};
use crate::admit::crowd::Occupancy;
use crate::config::model::RateLimit;
use crate::route::Miss;
use crate::upstream::backend::Skip;

use super::access::Access;

/// Hears of every step of a decision, in order.
pub trait Trace {
    /// Whether the request is only asked about: nothing is counted then.
    const IS_QUESTION: bool;

    /// One step; the closure runs only if somebody listens.
    fn step(&mut self, step: impl FnOnce() -> Step);
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The general checks of the head passed, or did not.
    Admitted(Result<(), Refusal>),
    /// Who may come was looked at.
    Access(Access),
    /// The proxy is shutting down.
    Draining,
    /// A health path on the traffic port.
    HealthPath(String),
    /// A route was compared: the first condition that failed, or none.
    Route {
        /// Its name.
        name: String,
        /// What failed.
        miss: Option<Miss<'static>>,
    },
    /// A page of some site wants to use a route that has `cors`.
    Origin {
        /// Which one.
        origin: String,
        /// Whether its pages may.
        is_listed: bool,
        /// It is only asked about.
        is_preflight: bool,
    },
    /// The request came without TLS, which is sent to https.
    WithoutTls {
        /// But not this path.
        is_spared: bool,
    },
    /// A limit of how often or how many was asked.
    Limit(Limited),
    /// A split sent the client to one of its sides.
    Side {
        /// Its upstream.
        upstream: String,
        /// Why that one.
        why: Why,
    },
    /// Copies of such requests go somewhere else too.
    Mirror {
        /// Name of that upstream.
        upstream: String,
        /// Share of the requests.
        percent: u8,
    },
    /// The route asked who it is.
    Auth(Auth),
    /// The route is in maintenance.
    Maintenance {
        /// Who asks.
        client: IpAddr,
        /// Whether that client is served all the same.
        lets_through: bool,
    },
    /// A path parameter named no service.
    UnknownService(String),
    /// The body limit that holds for the route.
    BodyLimit {
        /// Bytes.
        limit: u64,
        /// Whether the announced length is within it.
        fits: bool,
    },
    /// A backend of the chosen upstream: why it is skipped, or not.
    Candidate {
        /// Upstream and backend id.
        name: String,
        /// Share of the traffic.
        weight: u32,
        /// Whether it is only used when no other is usable.
        is_backup: bool,
        /// How TLS is spoken with it, in words; none: it is not.
        tls: Option<String>,
        /// Why it is not used.
        skip: Option<Skip>,
    },
}

/// What came of asking who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Let in.
    Known(Arc<Identity>),
    /// That scheme has to look closer, which takes time.
    Pending(&'static str),
    /// Not let in, by that scheme; without one: nothing came that any of them knows.
    Refused(Option<&'static str>, Fault),
    /// Not let in after a closer look, by that scheme.
    Denied(&'static str),
}

/// Why a client goes to a side of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// By weight, for what it is told apart by: `client_ip`, `cookie:NAME`.
    Weight(String),
    /// It asked for this side, here: `header:NAME`.
    Chosen(String),
    /// The side that was meant has no usable backend.
    Instead(String),
}

/// What a limit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limited {
    /// How many requests are under way.
    Crowd(Occupancy),
    /// How often they may come.
    Rate {
        /// As configured.
        limit: RateLimit,
        /// How many more may come after this one; or how long until one more may.
        left: Result<u32, Duration>,
    },
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTrace;

impl Trace for NoTrace {
    const IS_QUESTION: bool = false;

    #[inline(always)]
    fn step(&mut self, _: impl FnOnce() -> Step) {}
}

/// Keeps every step.
#[derive(Debug, Default)]
pub struct Recorder {
    /// In order.
    pub steps: Vec<Step>,
}

impl Trace for Recorder {
    const IS_QUESTION: bool = true;

    fn step(&mut self, step: impl FnOnce() -> Step) {
        self.steps.push(step());
    }
}
