//! One exchange per connection at a time, in order, and nothing after a broken one.
//!
//! tiny_http reads ahead: the requests of a pipelining client arrive all at once, and whoever answers the second one blocks
//! until the first is answered. Here the later ones wait without a thread. A connection is known by its peer address.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tiny_http::Request;

use crate::exchange::{Intake, Peer};

use super::disposal::{self, Bin, Leftover};
use super::exchange::TinyExchange;
use super::hangup::Hangup;
use super::judge;
use super::keeper::Keeper;
use super::linger::Linger;
use super::refuser::Refuser;

/// Requests that may wait behind another one of the same connection.
const MAX_PIPELINED: usize = 256;
/// How long an address stays refused after its connection was broken off: what tiny_http had read ahead comes at once, and
/// a new connection from the same port rarely does.
const POISONED: Duration = Duration::from_secs(5);
/// The same where connections cannot be closed.
const POISONED_WITHOUT_HANGUP: Duration = Duration::from_secs(300);

/// All connections that have a request under way.
pub(super) struct Connections {
    intake: Arc<dyn Intake>,
    local: SocketAddr,
    /// Which entry of `listen` they came by.
    listener: usize,
    open: Mutex<HashMap<SocketAddr, VecDeque<Request>>>,
    poisoned: Mutex<HashMap<SocketAddr, Instant>>,
    /// Peers whose requests were seen lately, and how many of them were new.
    recent: Mutex<HashSet<SocketAddr>>,
    newcomers: AtomicU64,
    hangup: Hangup,
    refuser: Refuser,
    linger: Linger,
    bin: Bin,
}

impl Connections {
    pub(super) fn new(
        intake: Arc<dyn Intake>,
        local: SocketAddr,
        listener: usize,
    ) -> io::Result<Connections> {
        Ok(Connections {
            intake,
            local,
            listener,
            open: Mutex::default(),
            poisoned: Mutex::default(),
            recent: Mutex::default(),
            newcomers: AtomicU64::new(0),
            hangup: Hangup::new(local.port()),
            refuser: Refuser::start()?,
            linger: Linger::start()?,
            bin: Bin::start()?,
        })
    }

    /// A request came out of tiny_http.
    pub(super) fn arrived(self: &Arc<Connections>, request: Request) {
        // Only Unix sockets have no address, and we open none.
        let Some(peer) = request.remote_addr().copied() else {
            return;
        };
        {
            let mut open = self.open.lock();
            match open.entry(peer) {
                Entry::Vacant(entry) => {
                    entry.insert(VecDeque::new());
                }
                Entry::Occupied(mut entry) => {
                    let waiting = entry.get_mut();
                    waiting.push_back(request);
                    let is_flood = waiting.len() > MAX_PIPELINED;
                    // Whoever ends the exchange before them throws them away, in order; a flood goes right away.
                    let surplus = (waiting.len() > 2 * MAX_PIPELINED)
                        .then(|| waiting.pop_back())
                        .flatten();
                    drop(open);
                    if is_flood {
                        self.poison(peer);
                        self.hangup.close(peer);
                    }
                    if let Some(request) = surplus {
                        self.bin.take(request);
                    }
                    return;
                }
            }
        }
        if self.recent.lock().insert(peer) {
            self.newcomers.fetch_add(1, Ordering::Relaxed);
        }
        self.begin(request, peer);
    }

    fn begin(self: &Arc<Connections>, request: Request, peer: SocketAddr) {
        if self.is_poisoned(peer) {
            self.discard(peer, request);
            return Arc::clone(self).ended(peer);
        }
        match judge::head(&request, self.hangup.is_available()) {
            Ok(head) => {
                let peer = Peer {
                    address: peer,
                    local: self.local,
                    listener: self.listener,
                    tls: None,
                };
                let keeper: Arc<dyn Keeper> = Arc::<Connections>::clone(self);
                self.intake
                    .take(Box::new(TinyExchange::new(request, head, peer, keeper)));
            }
            Err(bad) => {
                self.poison(peer);
                let keeper: Arc<dyn Keeper> = Arc::<Connections>::clone(self);
                self.refuser.refuse(request, peer, bad, keeper);
            }
        }
    }

    fn is_poisoned(&self, peer: SocketAddr) -> bool {
        self.poisoned
            .lock()
            .get(&peer)
            .is_some_and(|until| *until > Instant::now())
    }

    /// How many peers have been new so far. One that was forgotten counts again.
    pub(super) fn newcomers(&self) -> u64 {
        self.newcomers.load(Ordering::Relaxed)
    }

    /// Forgets who was seen; called now and then, so that the list stays as small as the traffic.
    pub(super) fn forget_recent(&self) {
        self.recent.lock().clear();
    }

    /// Closes the connections whose exchange is still under way, and ends the refuser's thread.
    pub(super) fn shut_down(&self) {
        let peers: Vec<SocketAddr> = self.open.lock().keys().copied().collect();
        for peer in peers {
            self.poison(peer);
            self.hangup.close(peer);
        }
        self.refuser.shut_down();
        self.linger.shut_down();
    }
}

impl Keeper for Connections {
    fn ended(self: Arc<Connections>, peer: SocketAddr) {
        let next = {
            let mut open = self.open.lock();
            if self.is_poisoned(peer) {
                // All at once: one after the other would take a stack frame each.
                let rest = open.remove(&peer).unwrap_or_default();
                rest.into_iter().for_each(|request| self.bin.take(request));
                return;
            }
            let next = open.get_mut(&peer).and_then(VecDeque::pop_front);
            if next.is_none() {
                open.remove(&peer);
            }
            next
        };
        if let Some(request) = next {
            self.begin(request, peer);
        }
    }

    fn poison(&self, peer: SocketAddr) {
        let now = Instant::now();
        let duration = if self.hangup.is_available() {
            POISONED
        } else {
            POISONED_WITHOUT_HANGUP
        };
        let mut poisoned = self.poisoned.lock();
        poisoned.retain(|_, until| *until > now);
        poisoned.insert(peer, now + duration);
    }

    fn discard(&self, peer: SocketAddr, request: Request) {
        self.hangup.close(peer);
        self.bin.take(request);
    }

    fn linger(&self, peer: SocketAddr, leftover: Leftover) {
        if let Some(socket) = self.hangup.find(peer) {
            return self.linger.take(peer, socket, leftover);
        }
        // Without a handle nothing can be closed: letting go of the body waits for it, on a thread that nobody misses.
        let wait = move || disposal::dispose(leftover);
        let _ = thread::Builder::new()
            .name("listener-drain".into())
            .spawn(wait);
    }

    fn hangup(&self) -> &Hangup {
        &self.hangup
    }
}
