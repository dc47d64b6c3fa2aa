//! How many may wait for the other server at the same time, so that a server that hangs does not keep all threads from
//! questions to others.

use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// Those who ask one server.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct State {
    asking: usize,
    /// The last question was not answered: who does not get in at once need not wait.
    is_silent: bool,
}

/// One who asks. Says at its end whether there was an answer.
#[derive(Debug)]
pub(super) struct Place<'a> {
    crowd: &'a Crowd,
    is_answered: bool,
}

impl Crowd {
    /// Of at most `most`.
    pub(super) fn new(most: usize) -> Crowd {
        Crowd {
            most,
            state: Mutex::default(),
            left: Condvar::new(),
        }
    }

    /// A place. None: all are taken until `deadline`, or by those who wait for a server that did not answer the last one.
    pub(super) fn enter(&self, deadline: Instant) -> Option<Place<'_>> {
        let mut state = self.state.lock();
        while state.asking >= self.most {
            if state.is_silent || self.left.wait_until(&mut state, deadline).timed_out() {
                return None;
            }
        }
        state.asking += 1;
        Some(Place {
            crowd: self,
            is_answered: false,
        })
    }
}

impl Place<'_> {
    /// There was an answer.
    pub(super) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.crowd.state.lock();
        state.asking -= 1;
        state.is_silent = !self.is_answered;
        // All, because they may go home now.
        self.crowd.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_waits_for_a_silent_server_does_not_make_others_wait() {
        let crowd = Crowd::new(2);
        let soon = || Instant::now() + Duration::from_secs(30);
        let (first, second) = (crowd.enter(soon()).unwrap(), crowd.enter(soon()).unwrap());
        assert!(crowd.enter(Instant::now()).is_none());
        thread::scope(|scope| {
            let third = scope.spawn(|| crowd.enter(soon()).map(Place::answered).is_some());
            first.answered();
            assert!(third.join().unwrap());
        });
        let third = crowd.enter(soon()).unwrap();
        drop(second);
        let fourth = crowd.enter(soon()).unwrap();
        // Silent and full: no wait at all.
        assert!(crowd.enter(soon()).is_none());
        third.answered();
        drop(fourth);
        assert!(crowd.enter(Instant::now()).is_some());
    }
}
