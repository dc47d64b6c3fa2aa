//! What one route asks of who comes: built from its configuration, with what is known about those who came before.
//!
//! The order in which it asks is in `serve/gate.rs`; nothing here knows routes or writes answers.

use std::sync::Arc;

use crate::config::model::{Concurrency, Cors, Route, Server};

use super::auth::Guard;
use super::crowd::Crowd;
use super::rate::Rates;

/// The gate of one route, or the one before all routes.
#[derive(Debug)]
pub struct Gate {
    /// Who it is; none: it does not matter.
    pub guard: Option<Arc<Guard>>,
    /// What pages of other sites may do.
    pub cors: Option<Arc<Cors>>,
    /// How often.
    pub rates: Rates,
    /// How many at the same time.
    pub crowd: Crowd,
}

impl Gate {
    /// The gate of a route that is new.
    pub fn new(route: &Route) -> Gate {
        Gate {
            guard: guard(route),
            cors: route.cors.clone(),
            rates: Rates::new(&route.rate_limits),
            crowd: Crowd::new(route.concurrency),
        }
    }

    /// The gate of `after`, the new settings of the route that was `before`: what has been counted goes on.
    pub fn successor(&self, before: &Route, after: &Route) -> Gate {
        Gate {
            guard: if before.auth == after.auth {
                self.guard.clone()
            } else {
                guard(after)
            },
            cors: after.cors.clone(),
            rates: self.rates.successor(&after.rate_limits),
            crowd: self.crowd.successor(after.concurrency),
        }
    }

    /// The gate before all routes.
    pub fn first(server: &Server) -> Gate {
        Gate {
            guard: None,
            cors: None,
            rates: Rates::new(&server.rate_limits),
            crowd: Crowd::new(of_server(server)),
        }
    }

    /// The first gate with the settings `after`: what has been counted goes on.
    pub fn first_successor(&self, after: &Server) -> Gate {
        Gate {
            guard: None,
            cors: None,
            rates: self.rates.successor(&after.rate_limits),
            crowd: self.crowd.successor(of_server(after)),
        }
    }
}

fn guard(route: &Route) -> Option<Arc<Guard>> {
    route.auth.as_deref().map(Guard::new).map(Arc::new)
}

fn of_server(server: &Server) -> Concurrency {
    Concurrency {
        most: None,
        most_per_client: server.limits.requests_per_client,
    }
}
