//! What one route asks of who comes: built from its configuration, with what is known about those who came before.
//!
//! The order in which it asks is in `serve/gate.rs`; nothing here knows routes or writes answers.

use crate::config::model::Route;

/// The gate of one route.
#[derive(Debug)]
pub struct Gate {}

impl Gate {
    /// The gate of a route that is new.
    pub fn new(_route: &Route) -> Gate {
        Gate {}
    }

    /// The gate of `after`, the new settings of the route that was `before`: what has been counted goes on.
    pub fn successor(&self, _before: &Route, after: &Route) -> Gate {
        Gate::new(after)
    }
}
