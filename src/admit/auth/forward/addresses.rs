//! The addresses of the server that is asked: looked up by a thread of its own, so that nobody waits for a resolver any longer
//! than for an answer, and once for all who wait.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How long addresses are used before they are looked up again; meanwhile the old ones are.
const FRESH: Duration = Duration::from_secs(30);
/// Between two lookups, when the first found nothing.
const PAUSE: Duration = Duration::from_secs(1);
/// Most addresses that are tried.
pub(super) const MOST: usize = 16;
/// The system's resolver wants some room: it loads modules.
const STACK: usize = 512 * 1024;

/// What the addresses of a host are.
#[derive(Debug)]
pub(super) struct Addresses {
    host: String,
    port: u16,
    state: Mutex<State>,
    found: Condvar,
}

#[derive(Debug, Default)]
struct State {
    addresses: Vec<SocketAddr>,
    /// When to look again. None: never.
    again: Option<Instant>,
    is_looking: bool,
}

impl Addresses {
    /// Those of `host`, which may be an address itself.
    pub(super) fn new(host: &str, port: u16, now: Instant) -> Arc<Addresses> {
        let fixed = host.parse::<IpAddr>().ok();
        let state = State {
            addresses: fixed.iter().map(|ip| SocketAddr::new(*ip, port)).collect(),
            again: fixed.is_none().then_some(now),
            is_looking: false,
        };
        Arc::new(Addresses {
            host: host.to_owned(),
            port,
            state: Mutex::new(state),
            found: Condvar::new(),
        })
    }

    /// What is known by `deadline`; empty: nothing.
    pub(super) fn get(self: &Arc<Addresses>, deadline: Instant) -> Vec<SocketAddr> {
        let mut state = self.state.lock();
        self.look(&mut state);
        while state.addresses.is_empty() && state.is_looking {
            if self.found.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state.addresses.clone()
    }

    /// No connection came about: perhaps they are old.
    pub(super) fn doubt(&self) {
        let mut state = self.state.lock();
        let soon = Instant::now() + PAUSE;
        state.again = state.again.map(|again| again.min(soon));
    }

    /// Starts a lookup, where one is due and none is under way.
    fn look(self: &Arc<Addresses>, state: &mut State) {
        let is_due = state.again.is_some_and(|again| again <= Instant::now());
        if !is_due || state.is_looking {
            return;
        }
        let this = Arc::clone(self);
        let thread = thread::Builder::new().name("lookup".into());
        state.is_looking = thread.stack_size(STACK).spawn(move || this.ask()).is_ok();
    }

    fn ask(&self) {
        let found = (&*self.host, self.port).to_socket_addrs();
        let found: Vec<SocketAddr> = found.into_iter().flatten().take(MOST).collect();
        let mut state = self.state.lock();
        let pause = if found.is_empty() { PAUSE } else { FRESH };
        if !found.is_empty() {
            state.addresses = found;
        }
        state.again = Some(Instant::now() + pause);
        state.is_looking = false;
        self.found.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_no_lookup_and_names_get_one() {
        let soon = || Instant::now() + Duration::from_secs(30);
        let literal = Addresses::new("::1", 9, Instant::now());
        assert_eq!(literal.get(Instant::now()), ["[::1]:9".parse().unwrap()]);
        literal.doubt();
        assert!(literal.state.lock().again.is_none());
        let name = Addresses::new("localhost", 9, Instant::now());
        let found = name.get(soon());
        assert!(!found.is_empty() && found.iter().all(|one| one.ip().is_loopback()));
        // Not looked up again for now, but soon if it is doubted.
        assert!(name.state.lock().again > Some(Instant::now() + PAUSE));
        name.doubt();
        assert!(name.state.lock().again <= Some(Instant::now() + PAUSE));
        let none = Addresses::new("no\0host", 9, Instant::now());
        assert_eq!(none.get(soon()), []);
    }
}
