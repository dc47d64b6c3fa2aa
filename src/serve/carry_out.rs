//! From a verdict to what is done about it: an answer of our own, or a worker, once the client's body is there.

use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::exchange::{BodyFault, Exchange};

use super::Corridor;
use super::context::Context;
use super::crew::Reply;
use super::decide::Verdict;
use super::job::{Decided, Job};
use super::pass;
use super::pool::Rejected;
use super::snapshot::Snapshot;

impl Corridor {
    /// Does what was decided. `since`: from when on it waits for a worker.
    pub(super) fn carry_out(
        &self,
        exchange: Box<dyn Exchange>,
        context: Context,
        verdict: Verdict,
        snapshot: Arc<Snapshot>,
        since: Instant,
    ) {
        match verdict {
            Verdict::Refuse(refusal) => self.reply(exchange, context, Reply::Refuse(refusal)),
            Verdict::Own(answer) => self.reply(exchange, context, Reply::Own(answer)),
            Verdict::Health(kind) => {
                let upstreams = snapshot.upstreams();
                self.reply(exchange, context, Reply::Health { kind, upstreams });
            }
            Verdict::Forward(plan) if exchange.head().framing.has_body() => {
                // The client's body may take its time: no worker waits for it.
                let corridor = Weak::clone(&self.this);
                let limit = plan.max_body;
                let decided = Decided { plan, snapshot };
                let then = move |exchange, result| match corridor.upgrade() {
                    Some(corridor) => corridor.gathered(exchange, context, decided, result),
                    None => Exchange::abandon(exchange),
                };
                exchange.gather(limit, Box::new(then));
            }
            Verdict::Forward(plan) => {
                self.dispatch(exchange, context, Decided { plan, snapshot }, since);
            }
        }
    }

    /// Gives the exchange, complete since that moment, to the workers.
    pub(super) fn dispatch(
        &self,
        exchange: Box<dyn Exchange>,
        context: Context,
        decided: Decided,
        since: Instant,
    ) {
        let job = Job::new(exchange, context, decided, since);
        if let Err(Rejected(job)) = self.pool.submit(job, since) {
            self.refuse_job(job);
        }
    }

    fn gathered(
        &self,
        exchange: Box<dyn Exchange>,
        mut context: Context,
        decided: Decided,
        result: Result<(), BodyFault>,
    ) {
        match result {
            Ok(()) => self.dispatch(exchange, context, decided, Instant::now()),
            Err(BodyFault::Left) => {
                context.abandoned();
                exchange.abandon();
            }
            Err(fault) => {
                let refusal = pass::refusal(fault.into(), decided.plan.max_body);
                self.reply(exchange, context, Reply::Refuse(refusal));
            }
        }
    }
}
