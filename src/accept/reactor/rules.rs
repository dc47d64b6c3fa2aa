//! What holds for every connection of an engine: limits, timeouts, whom to trust, and the two bounds that all share.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::model::{ClientTimeouts, Limits, Server};

use super::budget::{self, Budget};
use super::handshake::Tally;
use super::seats::Seats;

/// Looking at deadlines is cheap, but not for nothing.
const LONGEST_SWEEP: Duration = Duration::from_millis(250);
const SHORTEST_SWEEP: Duration = Duration::from_millis(5);

/// A client that sends requests one after the other sends the next one before that.
const LONGEST_FAREWELL: Duration = Duration::from_secs(1);

/// Told to a client beyond its limit.
pub(super) const TOO_MANY_FROM_ONE: &str =
    "There are too many connections from this address (server.limits.connections_per_client).";

/// The rules.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) limits: Limits,
    pub(super) timeouts: ClientTimeouts,
    pub(super) seats: Arc<Seats>,
    pub(super) budget: Arc<Budget>,
    /// How long a drain leaves connections open that wait for a request, where another process takes the next ones.
    pub(super) farewell: Duration,
    pub(super) handshakes: Tally,
    trusted_proxies: Vec<IpNet>,
}

impl Rules {
    /// The rules of `server`, with at most `connections` clients.
    pub(super) fn new(server: &Server, connections: usize) -> Arc<Rules> {
        Arc::new(Rules {
            limits: server.limits.clone(),
            timeouts: server.timeouts.clone(),
            seats: Seats::new(connections, server.limits.connections_per_client),
            budget: Budget::new(budget::FOR_ALL),
            farewell: LONGEST_FAREWELL.min(server.drain_timeout / 2),
            handshakes: Tally::default(),
            trusted_proxies: server.trusted_proxies.clone(),
        })
    }

    /// Whether `peer` speaks for others.
    pub(super) fn is_trusted(&self, peer: IpAddr) -> bool {
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(&peer))
    }

    /// Whether a connection that has answered `served` requests has to end with the next answer.
    pub(super) fn is_last(&self, served: u64) -> bool {
        let most = self.limits.requests_per_connection;
        most > 0 && served + 1 >= most
    }

    /// How often deadlines are looked at: a fraction of the shortest.
    pub(super) fn sweep(&self) -> Duration {
        let timeouts = &self.timeouts;
        let shortest = [
            timeouts.handshake,
            timeouts.head,
            timeouts.body_idle,
            timeouts.keep_alive,
            timeouts.write_idle,
        ]
        .into_iter()
        .min()
        .unwrap_or(LONGEST_SWEEP);
        (shortest / 4).clamp(SHORTEST_SWEEP, LONGEST_SWEEP)
    }
}
