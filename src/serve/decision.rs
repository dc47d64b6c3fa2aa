//! What a decision is: a verdict, with what is known about the request beside it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use crate::admit::auth::{Identity, Pending};
use crate::config::model::{HeaderChanges, Route};
use crate::message::forwarded::Client;
use crate::message::head::RequestHead;
use crate::message::query;

use super::browser::Browser;
use super::decide::Verdict;
use super::gate::{self, Passport, Visit};
use super::snapshot::Snapshot;
use super::trace::Trace;

/// What is to become of a request.
#[derive(Debug)]
pub struct Decision {
    /// Name of the route that was found, also when the request is refused after that.
    pub route: Option<Arc<str>>,
    /// What that route changes in heads.
    pub headers: Option<Arc<HeaderChanges>>,
    /// Who was let in, if the route asks for that and knows it already.
    pub identity: Option<Arc<Identity>>,
    /// A check that has to be made before anything of the verdict is shown or done.
    pub due: Option<Due>,
    /// The query for backends and templates, where it is not the one that came: a secret stays here.
    pub query: Option<String>,
    /// What its answers say to browsers; none: what all answers do.
    pub browser: Option<Browser>,
    /// What it got at the gates.
    pub passport: Passport,
    /// What happens now.
    pub verdict: Verdict,
}

impl Decision {
    /// A verdict about a request of which nothing else is known.
    pub(super) fn without_route(verdict: Verdict, passport: Passport) -> Decision {
        Decision {
            route: None,
            headers: None,
            identity: None,
            due: None,
            query: None,
            browser: None,
            passport,
            verdict,
        }
    }
}

/// A check that takes too long for the thread of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Index of the gate that makes it.
    pub gate: usize,
    /// Which one.
    pub check: Pending,
}

/// The same decision after the check that is due, which is made here and now and takes its time.
pub fn settle(
    mut decision: Decision,
    head: &RequestHead,
    client: &Client,
    snapshot: &Snapshot,
    now: Instant,
    trace: &mut impl Trace,
) -> Decision {
    if let Some(due) = decision.due.take()
        && let Some(gate) = snapshot.gates.get(due.gate)
    {
        let visit = Visit {
            head,
            client,
            now,
            trace,
            passport: &mut decision.passport,
        };
        match gate::judge(gate, due.check, "", visit) {
            Ok(identity) => decision.identity = Some(identity),
            Err(verdict) => decision.verdict = verdict,
        }
    }
    decision
}

/// The query without the parameter that is for us alone; `None`: there is none.
pub(super) fn own_query(route: &Route, head: &RequestHead) -> Option<String> {
    let name = route.kept_parameter()?;
    match query::without(head.target.query(), name) {
        Cow::Borrowed(rest) if rest == head.target.query() => None,
        rest => Some(rest.into_owned()),
    }
}
