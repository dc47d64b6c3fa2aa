//! Threads for checks of who it is that take too long for a listener: hashes of passwords, questions to other servers.
//!
//! They have threads of their own, those for each kind of check too, so that whoever sends many wrong passwords keeps neither the
//! workers from their work, nor signatures from being verified, nor the processor from all else. The threads begin with the first
//! check. Of passwords one client can have only so many compared at the same time: the others' turn comes soon, however many it sends.

use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::admit::Refusal;
use crate::admit::auth::Effort;
use crate::admit::crowd::{Crowd, Presence};
use crate::config::model::Concurrency;
use crate::error::Cause;
use crate::exchange::Exchange;

use super::Corridor;
use super::context::Context;
use super::decide::Verdict;
use super::decision::Due;
use super::gate::{self, Visit};
use super::pool::{Pool, Ran, Rejected};
use super::snapshot::Snapshot;
use super::trace::NoTrace;

/// Questions to other servers that are under way at the same time.
const QUESTIONS: usize = 64;
/// Passwords of one client address that are compared, or wait for it, at the same time.
const MOST_PASSWORDS: usize = 32;

/// One request that waits to be let in.
pub(super) struct Check {
    pub(super) exchange: Box<dyn Exchange>,
    pub(super) context: Context,
    pub(super) due: Due,
    /// What is to become of it then.
    pub(super) verdict: Verdict,
    pub(super) snapshot: Arc<Snapshot>,
    /// Among those of its client, once it waits.
    pub(super) place: Option<Presence>,
}

/// The threads, for each kind of effort.
pub(super) struct Checks {
    signatures: OnceLock<Option<Pool<Box<Check>>>>,
    passwords: OnceLock<Option<Pool<Box<Check>>>>,
    /// Whose passwords they are.
    guessers: Crowd,
    network: OnceLock<Option<Pool<Box<Check>>>>,
    queue: usize,
    patience: Duration,
}

impl Checks {
    /// None are under way. At most `queue` of a kind wait, each no longer than `patience`.
    pub(super) fn new(queue: usize, patience: Duration) -> Checks {
        Checks {
            signatures: OnceLock::new(),
            passwords: OnceLock::new(),
            guessers: Crowd::new(Concurrency {
                most: None,
                most_per_client: Some(MOST_PASSWORDS),
            }),
            network: OnceLock::new(),
            queue,
            patience,
        }
    }

    /// Has `check` made by `run`, on another thread. Never waits. Gives it back when too many wait already, in all or of its
    /// client.
    pub(super) fn submit(
        &self,
        mut check: Check,
        run: impl Fn(Check) + Send + Sync + 'static,
    ) -> Result<(), Box<Check>> {
        let (pool, threads) = match check.due.check.effort {
            Effort::Signature => (&self.signatures, computing_threads()),
            Effort::Password => match self.guessers.enter(check.context.client.ip) {
                Ok(place) => {
                    check.place = place;
                    (&self.passwords, computing_threads())
                }
                Err(_) => return Err(Box::new(check)),
            },
            Effort::Network => (&self.network, QUESTIONS),
        };
        let check = Box::new(check);
        let start = || {
            let run = move |check: Box<Check>| {
                run(*check);
                Ran::ToTheEnd
            };
            Pool::start(threads, self.queue, self.patience, run)
                .inspect_err(|error| log::error!("no threads for checks of who it is: {error}"))
                .ok()
        };
        match pool.get_or_init(start) {
            Some(pool) => pool
                .submit(check, Instant::now())
                .map_err(|Rejected(check)| check),
            None => Err(check),
        }
    }

    /// Takes out what has waited too long.
    pub(super) fn expire(&self, now: Instant) -> Vec<Check> {
        let pools = [&self.signatures, &self.passwords, &self.network].into_iter();
        let pools = pools.filter_map(|pool| pool.get()?.as_ref());
        let expired = pools.flat_map(|pool| pool.expire(now));
        expired.map(|check| *check).collect()
    }

    /// Ends the threads after what they are doing, and waits for them.
    pub(super) fn shut_down(&self) {
        for pool in [&self.signatures, &self.passwords, &self.network] {
            if let Some(Some(pool)) = pool.get() {
                pool.shut_down();
            }
        }
    }
}

impl Corridor {
    /// Has the check made that is due, on a thread that may take its time; until then nothing of the verdict is carried out.
    pub(super) fn look_closer(&self, check: Check) {
        let corridor = Weak::clone(&self.this);
        let run = move |check: Check| match corridor.upgrade() {
            Some(corridor) => corridor.judge(check),
            None => check.exchange.abandon(),
        };
        if let Err(check) = self.checks.submit(check, run) {
            self.refuse_busy(check.exchange, check.context);
        }
    }

    /// Makes the check, and carries out what was decided if that lets the request in.
    fn judge(&self, check: Check) {
        let Check {
            exchange,
            mut context,
            due,
            verdict,
            snapshot,
            place,
        } = check;
        if exchange.is_gone() {
            context.abandoned();
            return exchange.abandon();
        }
        let gate = snapshot.gates.get(due.gate);
        let judged = gate.map(|gate| {
            let visit = Visit {
                head: exchange.head(),
                client: &context.client,
                now: Instant::now(),
                trace: &mut NoTrace,
                passport: &mut context.passport,
            };
            gate::judge(gate, due.check, &context.request_id, visit)
        });
        drop(place);
        let verdict = match judged {
            Some(Ok(identity)) => {
                context.identity = Some(identity);
                verdict
            }
            Some(Err(verdict)) => verdict,
            None => Verdict::Refuse(Refusal::new(Cause::Internal)),
        };
        self.carry_out(exchange, context, verdict, snapshot, Instant::now());
    }
}

/// Half of the processors, at least one: the others go on with the traffic.
fn computing_threads() -> usize {
    thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}
