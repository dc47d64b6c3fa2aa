//! The thread that has names looked up: on an interval, and at once where connections fail. It waits for no resolver.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select};

use crate::drain::Drain;
use crate::upstream::Upstream;
use crate::upstream::fleet::Fleet;

use super::Membership;
use super::lookup::{self, Look, Outcome};
use super::round::Round;

/// The thread wakes at least this often, to notice another fleet and a drain that stops it.
const GLANCE: Duration = Duration::from_millis(100);
/// Outcomes that may wait to be looked at.
const OUTCOMES: usize = 64;
/// Lookups under way at the same time. More than this only where that many names hang.
const MOST_LOOKUPS: usize = 256;

/// Somebody waits until the names of these were looked up.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) upstreams: Arc<[Arc<Upstream>]>,
    pub(super) done: Sender<()>,
    /// Then nobody waits any more.
    pub(super) until: Instant,
}

struct Names {
    fleet: Fleet,
    seen: Arc<[Arc<Upstream>]>,
    /// Those who wait; what they wait for is not in the fleet yet, perhaps.
    waiting: Vec<Ask>,
    round: Round,
    membership: Arc<dyn Membership>,
    look: Look,
    running: usize,
    bell: Sender<()>,
    results: Sender<(Arc<str>, Outcome)>,
}

/// Starts the thread.
///
/// # Errors
/// When that is not possible.
pub(super) fn start(
    fleet: Fleet,
    membership: Arc<dyn Membership>,
    look: Look,
    asks: Receiver<Ask>,
    drain: &Drain,
) -> io::Result<JoinHandle<()>> {
    let (bell, rings) = bounded(1);
    let (results, outcomes) = bounded(OUTCOMES);
    fleet.on_change(bell.clone());
    let mut names = Names {
        seen: fleet.upstreams(),
        fleet,
        waiting: Vec::new(),
        round: Round::default(),
        membership,
        look,
        running: 0,
        bell,
        results,
    };
    names.renew();
    let drain = drain.clone();
    thread::Builder::new()
        .name("discovery".into())
        .spawn(move || names.run(asks, &rings, &outcomes, &drain))
}

impl Names {
    fn run(
        mut self,
        mut asks: Receiver<Ask>,
        rings: &Receiver<()>,
        outcomes: &Receiver<(Arc<str>, Outcome)>,
        drain: &Drain,
    ) {
        while !drain.is_stopped() {
            self.follow();
            self.round.heed_doubts();
            let pause = self.begin().min(GLANCE);
            select! {
                recv(outcomes) -> outcome => if let Ok((host, outcome)) = outcome {
                    self.running = self.running.saturating_sub(1);
                    self.round.conclude(&host, outcome, Instant::now());
                },
                recv(rings) -> _ => (),
                recv(asks) -> ask => match ask {
                    Ok(ask) => {
                        self.waiting.push(ask);
                        self.renew();
                    }
                    // Nobody is left to ask.
                    Err(_) => asks = never(),
                },
                default(pause) => (),
            }
            self.round.tell(&*self.membership);
            self.answer();
        }
    }

    fn follow(&mut self) {
        let upstreams = self.fleet.upstreams();
        if !Arc::ptr_eq(&upstreams, &self.seen) {
            self.seen = upstreams;
            self.renew();
        }
    }

    fn renew(&mut self) {
        let waiting = self.waiting.iter().flat_map(|ask| ask.upstreams.iter());
        let all: Vec<Arc<Upstream>> = self.seen.iter().chain(waiting).cloned().collect();
        self.round.renew(&all, &self.bell, Instant::now());
    }

    /// Begins what is due. Gives the time until the next.
    fn begin(&mut self) -> Duration {
        let now = Instant::now();
        let (running, look, results) = (&mut self.running, &self.look, &self.results);
        let next = self.round.begin(now, |host| {
            let is_begun = *running < MOST_LOOKUPS && lookup::launch(host, look, results);
            *running += usize::from(is_begun);
            is_begun
        });
        let next = next.map_or(GLANCE, |due| due.saturating_duration_since(now));
        // What is due and could not begin waits for a thread.
        if next.is_zero() { GLANCE } else { next }
    }

    fn answer(&mut self) {
        let (round, now) = (&self.round, Instant::now());
        self.waiting.retain(|ask| {
            let is_done = round.knows(&ask.upstreams);
            if is_done {
                // Gone, when it has waited long enough.
                let _ = ask.done.try_send(());
            }
            !is_done && now < ask.until
        });
    }
}
