//! The corridor: takes exchanges from the listeners, decides about each, and brings it to a worker or to an answer.
//!
//! Read [`pass`] first: it is the road of one request. [`mod@decide`] is the decision, which `explain` shows; `pool` are the
//! workers; in the `lobby` requests wait for a place at a backend; `crew` answers what needs no backend; `mirror` sends copies
//! of requests.

pub mod access;
pub mod browser;
mod carry_out;
mod checks;
mod context;
mod crew;
pub mod decide;
pub mod decision;
mod errand;
pub mod gate;
mod hedge;
mod job;
mod lobby;
mod mirror;
pub mod own_answer;
mod pass;
mod pool;
pub mod snapshot;
pub mod spelling;
mod split;
mod sticky;
pub mod trace;
mod upgrade;
pub(crate) mod vouch;

use std::io;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::admit::Refusal;
use crate::config::model::Engine;
use crate::drain::{Drain, Phase};
use crate::error::Cause;
use crate::exchange::{Exchange, HeadFault, Intake, Sideline};
use crate::tunnel::Tunnels;
use crate::upstream::fleet::Fleet;
use crate::upstream::watch::Watch;

use checks::{Check, Checks};
use context::Context;
use crew::{Crew, Reply};
use decide::decide;
use job::Job;
use lobby::{Denied, Guest, Lobby};
use mirror::Mirrors;
use pass::Tools;
use pool::Pool;
use snapshot::Snapshot;
use split::Diversions;
use trace::NoTrace;

pub use mirror::Mirrored;
pub use pool::Load;

/// Everything behind the traffic listeners.
pub struct Corridor {
    this: Weak<Corridor>,
    /// What requests that come now are decided by; those that came before keep theirs.
    snapshot: Arc<ArcSwap<Snapshot>>,
    fleet: Fleet,
    pool: Pool<Box<Job>>,
    watch: Watch<Box<Job>>,
    /// Those who wait for a place at a backend.
    lobby: Arc<Lobby<Box<Job>>>,
    /// Those who wait for backends, until a listener's thread looks after them.
    sideline: Mutex<Option<Arc<dyn Sideline>>>,
    /// The thread that looks after them where listeners cannot.
    watcher: Mutex<Option<JoinHandle<()>>>,
    crew: Crew,
    /// The same for answers that slow clients can hold up.
    pages: Crew,
    /// Those who wait to be let in.
    checks: Checks,
    tunnels: Arc<Tunnels>,
    mirrors: Arc<Mirrors>,
    drain: Drain,
}

impl Corridor {
    /// Starts the workers and the crew.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(snapshot: Arc<Snapshot>, drain: &Drain) -> io::Result<Arc<Corridor>> {
        let current = Arc::new(ArcSwap::new(snapshot));
        let snapshot = current.load_full();
        let server = &snapshot.config.server;
        let limit = server.limits.tunnels;
        let tunnels = Arc::new(Tunnels::start(limit, server.timeouts.tunnel_idle)?);
        let mirrors = Arc::new(Mirrors::new());
        let (watch, poll) = Watch::new()?;
        let lobby = Lobby::new(server.queue);
        let fleet = Fleet::new(snapshot.upstreams());
        let tools = Tools {
            drain: drain.clone(),
            tunnels: Arc::clone(&tunnels),
            watch: watch.clone(),
            mirrors: Arc::clone(&mirrors),
            diversions: Diversions::default(),
            lobby: Arc::clone(&lobby),
            snapshot: Arc::clone(&current),
        };
        let run = move |job| pass::pass(job, &tools);
        let pool = Pool::start(server.workers, server.queue, server.queue_timeout, run)?;
        lobby.open(pool.door());
        let door = pool.door();
        let watcher = Arc::new(watch.watcher(poll, move |jobs| door.resume(jobs)));
        let (sideline, thread) = match server.engine {
            Engine::Reactor => (Some(watcher as Arc<dyn Sideline>), None),
            Engine::TinyHttp => {
                let thread = thread::Builder::new().name("watch".into());
                (None, Some(thread.spawn(move || watcher.run())?))
            }
        };
        let (crew, pages) = (Crew::start("answer")?, Crew::start("page")?);
        Ok(Arc::new_cyclic(|this| Corridor {
            this: Weak::clone(this),
            fleet,
            snapshot: current,
            pool,
            watch,
            lobby,
            sideline: Mutex::new(sideline),
            watcher: Mutex::new(thread),
            crew,
            pages,
            checks: Checks::new(server.queue, server.queue_timeout),
            tunnels,
            mirrors,
            drain: drain.clone(),
        }))
    }

    /// What requests that come now are decided by.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Requests that come from now on are decided by `snapshot`.
    pub fn replace(&self, snapshot: Arc<Snapshot>) {
        self.fleet.replace(snapshot.upstreams());
        self.snapshot.store(snapshot);
        let current = self.snapshot();
        self.lobby.renew(|job| job.follow(&current));
    }

    /// The upstreams as they are at any time.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Workers and queue right now.
    pub fn load(&self) -> Load {
        self.pool.load()
    }

    /// What became of copies of requests so far.
    pub fn mirrored(&self) -> Mirrored {
        self.mirrors.totals()
    }

    /// Refuses what has waited for too long, for a worker or for a place at a backend, and looks whether there is a place: a
    /// backend may have come back. To be called several times a second.
    pub fn expire(&self, now: Instant) {
        for job in self.pool.expire(now) {
            self.refuse_job(job);
        }
        for check in self.checks.expire(now) {
            self.refuse_busy(check.exchange, check.context);
        }
        for job in self.lobby.expire(now) {
            self.refuse_guest(job, Denied::Late);
        }
        self.lobby.look(now);
    }

    /// Ends what has no end of its own that could be waited for, at once: what is upgraded, and copies that wait.
    pub fn cut_off(&self) {
        self.tunnels.shut_down();
        self.mirrors.stop();
    }

    /// Ends the workers and the crew after what they are doing, and waits for them; for copies of requests a second at most.
    pub fn shut_down(&self) {
        for job in self.lobby.close() {
            self.refuse_guest(job, Denied::Closed);
        }
        self.checks.shut_down();
        self.pool.shut_down();
        self.watch.stop();
        if let Some(watcher) = self.watcher.lock().take() {
            let _ = watcher.join();
        }
        self.crew.shut_down();
        self.pages.shut_down();
        self.tunnels.shut_down();
        self.mirrors.shut_down();
    }

    fn refuse_job(&self, job: Box<Job>) {
        let (exchange, context) = job.into_parts();
        self.refuse_busy(exchange, context);
    }

    /// One for whom nobody had the time.
    fn refuse_busy(&self, exchange: Box<dyn Exchange>, context: Context) {
        let cause = if self.drain.is_draining() {
            Cause::Draining
        } else {
            Cause::Overloaded
        };
        self.reply(exchange, context, Reply::Refuse(Refusal::new(cause)));
    }

    /// One that waited for a place at a backend.
    fn refuse_guest(&self, job: Box<Job>, denied: Denied) {
        let refusal = if job.is_gone() {
            Refusal::new(Cause::ClientGone)
        } else if self.drain.is_draining() {
            Refusal::new(Cause::Draining)
        } else {
            job.no_place(denied)
        };
        let (exchange, context) = job.into_parts();
        self.reply(exchange, context, Reply::Refuse(refusal));
    }

    fn reply(&self, exchange: Box<dyn Exchange>, mut context: Context, reply: Reply) {
        if reply.is_large() {
            // It stays in flight: a drain waits for it, and does not wait for ever.
            return self.pages.submit(exchange, context, reply);
        }
        if exchange.is_nonblocking() {
            return crew::answer(exchange, context, reply);
        }
        // The crew is waited for at the end; what it answers must not hold up a drain under load.
        context.leave();
        self.crew.submit(exchange, context, reply);
    }
}

impl Intake for Corridor {
    fn take(&self, mut exchange: Box<dyn Exchange>) {
        let snapshot = self.snapshot();
        let mut context = Context::new(&*exchange, &snapshot);
        vouch::vouch(&mut *exchange, &context.client, &snapshot.config.server);
        // Before the phase is read: either this sees that the proxy is draining, or the drain sees this.
        context.enter(&self.drain);
        // Refusing makes sense where asking again leads elsewhere only later.
        let phase = if exchange.has_successor() {
            Phase::Serving
        } else {
            self.drain.phase()
        };
        let mut decision = decide(
            exchange.head(),
            &context.client,
            &snapshot,
            phase,
            context.started(),
            &mut NoTrace,
        );
        context.close = self.drain.is_draining();
        context.route = decision.route.take();
        context.headers = decision.headers.take();
        context.identity = decision.identity.take();
        context.own_query = decision.query.take();
        if let Some(browser) = decision.browser.take() {
            context.browser = browser;
        }
        context.passport = std::mem::take(&mut decision.passport);
        match decision.due {
            None => {
                let since = context.started();
                self.carry_out(exchange, context, decision.verdict, snapshot, since);
            }
            Some(due) => self.look_closer(Check {
                exchange,
                context,
                due,
                verdict: decision.verdict,
                snapshot,
                place: None,
            }),
        }
    }

    fn sideline(&self) -> Option<Arc<dyn Sideline>> {
        self.sideline.lock().take()
    }

    fn refuse(&self, exchange: Box<dyn Exchange>, fault: HeadFault) {
        let context = Context::new(&*exchange, &self.snapshot.load());
        let refusal = Refusal::with(fault.cause, fault.message);
        self.reply(exchange, context, Reply::Refuse(refusal));
    }
}

#[cfg(test)]
mod tests;
