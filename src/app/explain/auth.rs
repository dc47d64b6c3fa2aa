//! Who would be let in, and why, in words: without any credentials.

use std::borrow::Cow;
use std::time::Instant;

use crate::admit::auth::Effort;
use crate::message::forwarded::Client;
use crate::message::head::RequestHead;
use crate::message::query;
use crate::serve::decision::{Decision, settle};
use crate::serve::snapshot::Snapshot;
use crate::serve::trace::{Auth, Trace};

/// What came of asking who it is.
pub(super) fn describe(auth: &Auth) -> String {
    match auth {
        Auth::Known(identity) => {
            format!("auth: {} is let in by {}", identity.name, identity.scheme)
        }
        Auth::Pending("forward") => {
            "auth: forward asks another server (explain does not); what follows holds if that lets it in".into()
        }
        Auth::Pending(scheme) => format!("auth: {scheme} looks closer, on a thread of its own"),
        Auth::Refused(Some(scheme), fault) => {
            format!("auth: not let in, {scheme} finds {}", fault.as_str())
        }
        Auth::Refused(None, fault) => format!("auth: not let in, {}", fault.as_str()),
        Auth::Denied(scheme) => format!("auth: not let in by {scheme}"),
    }
}

/// The decision after the check that is due, where that needs nothing but a processor: nobody else is asked here. Then what is
/// shown holds should the check let the request in.
pub(super) fn settled(
    decision: Decision,
    head: &RequestHead,
    client: &Client,
    snapshot: &Snapshot,
    trace: &mut impl Trace,
) -> Decision {
    match decision.due.map(|due| due.check.effort) {
        Some(Effort::Signature | Effort::Password) => {
            settle(decision, head, client, snapshot, Instant::now(), trace)
        }
        Some(Effort::Network) | None => decision,
    }
}

/// The query for backends, without secrets.
pub(super) fn query<'a>(
    decision: &'a Decision,
    head: &'a RequestHead,
    snapshot: &Snapshot,
) -> Cow<'a, str> {
    let own = decision.query.as_deref();
    let query = own.unwrap_or_else(|| head.target.query());
    query::covered(query, &snapshot.secret_parameters)
}
