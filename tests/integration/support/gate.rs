//! A gate that a backend waits at until the test lets it pass.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A shared handle; clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    inner: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    passes: usize,
    arrived: usize,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Lets everybody pass from now on.
    pub fn open(&self) {
        self.inner.0.lock().unwrap().passes = usize::MAX;
        self.inner.1.notify_all();
    }

    /// Lets one more pass.
    pub fn pass_one(&self) {
        self.pass(1);
    }

    /// Lets so many more pass.
    pub fn pass(&self, count: usize) {
        let mut state = self.inner.0.lock().unwrap();
        state.passes = state.passes.saturating_add(count);
        self.inner.1.notify_all();
    }

    /// How many have come to the gate so far, those that have passed included.
    pub fn arrived(&self) -> usize {
        self.inner.0.lock().unwrap().arrived
    }

    /// Waits for its pass, or until `given_up` says so. Returns whether it may pass.
    pub fn wait(&self, given_up: impl Fn() -> bool) -> bool {
        let mut state = self.inner.0.lock().unwrap();
        state.arrived += 1;
        while state.passes == 0 {
            if given_up() {
                return false;
            }
            state = self
                .inner
                .1
                .wait_timeout(state, Duration::from_millis(20))
                .unwrap()
                .0;
        }
        if state.passes != usize::MAX {
            state.passes -= 1;
        }
        true
    }
}
