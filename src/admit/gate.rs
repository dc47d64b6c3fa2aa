//! What one route asks of who comes: built from its configuration, with what is known about those who came before.
//!
//! The order in which it asks is in `serve/gate.rs`; nothing here knows routes or writes answers.

use std::sync::Arc;

use crate::config::model::{Cors, Route};

use super::auth::Guard;

/// The gate of one route.
#[derive(Debug)]
pub struct Gate {
    /// Who it is; none: it does not matter.
    pub guard: Option<Arc<Guard>>,
    /// What pages of other sites may do.
    pub cors: Option<Arc<Cors>>,
}

impl Gate {
    /// The gate of a route that is new.
    pub fn new(route: &Route) -> Gate {
        let guard = route.auth.as_deref().map(Guard::new);
        Gate {
            guard: guard.map(Arc::new),
            cors: route.cors.clone(),
        }
    }

    /// The gate of `after`, the new settings of the route that was `before`: what has been counted goes on.
    pub fn successor(&self, before: &Route, after: &Route) -> Gate {
        Gate {
            guard: if before.auth == after.auth {
                self.guard.clone()
            } else {
                Gate::new(after).guard
            },
            cors: after.cors.clone(),
        }
    }
}
