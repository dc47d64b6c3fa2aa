//! What an exchange has to tell about its connection. It knows no requests and no answers.

use std::net::SocketAddr;
use std::sync::Arc;

use tiny_http::Request;

use super::disposal::Leftover;
use super::hangup::Hangup;

/// Whoever keeps the order of the exchanges of a connection; [`super::connections`] does.
pub(super) trait Keeper: Send + Sync {
    /// The exchange of `peer` has ended: the next one may begin.
    fn ended(self: Arc<Self>, peer: SocketAddr);

    /// Nothing more of this connection is to be honoured.
    fn poison(&self, peer: SocketAddr);

    /// The answer to a request with an unread body is out: ends the connection without cutting the answer off.
    fn linger(&self, peer: SocketAddr, leftover: Leftover);

    /// Closes the connection of `peer` and lets go of a request of it without an answer.
    fn discard(&self, peer: SocketAddr, request: Request);

    /// The way to close connections.
    fn hangup(&self) -> &Hangup;
}
