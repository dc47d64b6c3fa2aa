//! At the gate of a route: everything that is asked before the request may go on, in the one order that holds.
//!
//! 1. who may come at all: addresses, header and query rules (403); see [`super::access`]
//! 2. what browsers ask beforehand (CORS preflight), which carries no credentials
//! 3. how many at the same time: of one client (429), and of all where nobody is asked who it is (503)
//! 4. how often, by address (429): before credentials are looked at, so that nobody can try many
//! 5. who it is (401)
//! 6. how many of all at the same time (503), and how often, by who it is, header or route (429): who has no credentials uses up
//!    nothing that others share
//!
//! A check of 5 that takes long is made later, by [`judge`]; then 6 comes after it. The checks themselves are in
//! [`crate::admit`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use crate::admit::Refusal;
use crate::admit::auth::{Asking, Found, Identity, Pending, Stop};
use crate::admit::crowd::{Crowd, Full, Presence, Share};
use crate::admit::gate::Gate;
use crate::admit::rate::{Asker, Limit, Purpose, Rates, Stage, Standing, Standings, TooMany};
use crate::error::Cause;
use crate::message::fields::Fields;
use crate::message::forwarded::Client;
use crate::message::head::RequestHead;

use super::browser;
use super::decide::Verdict;
use super::decision::Due;
use super::own_answer::OwnAnswer;
use super::trace::{Auth, Limited, Step, Trace};

/// What a request gets at the gates, for its way.
#[derive(Debug, Default)]
pub struct Passport {
    /// What rate limits have said.
    pub standings: Standings,
    /// As long as these are kept it counts as under way.
    pub presences: SmallVec<[Presence; 3]>,
}

impl Passport {
    /// Adds what rate limits say to an answer. What a backend says there stays: both fields are lists, and each item has the
    /// name of its limit.
    pub(super) fn show(&self, fields: &mut Fields) {
        if self.standings.is_empty() {
            return;
        }
        let list = |write: fn(&Standing, &mut String)| {
            let mut text = String::with_capacity(64);
            for standing in &self.standings {
                if !text.is_empty() {
                    text.push_str(", ");
                }
                write(standing, &mut text);
            }
            text
        };
        fields.append("RateLimit-Policy", list(Standing::write_policy));
        fields.append("RateLimit", list(Standing::write_state));
    }
}

/// One request before a gate.
pub(super) struct Visit<'a, T> {
    pub(super) head: &'a RequestHead,
    pub(super) client: &'a Client,
    pub(super) now: Instant,
    pub(super) trace: &'a mut T,
    pub(super) passport: &'a mut Passport,
}

/// How a request got through.
pub(super) enum Passed {
    /// The route does not ask who it is.
    Open,
    /// It is known.
    Known(Arc<Identity>),
    /// [`judge`] has to be asked before anything else happens.
    Pending(Pending),
}

impl Passed {
    /// Who it is, and the check that is due at this gate.
    pub(super) fn known_and_due(self, gate: usize) -> (Option<Arc<Identity>>, Option<Due>) {
        match self {
            Passed::Open => (None, None),
            Passed::Known(identity) => (Some(identity), None),
            Passed::Pending(check) => (None, Some(Due { gate, check })),
        }
    }
}

/// Asks the gate before all routes; `Some`: the request gets no further.
pub(super) fn enter<T: Trace>(gate: &Gate, mut visit: Visit<'_, T>) -> Option<Verdict> {
    anybody(gate, &mut visit).err()
}

/// Asks the gate of a route.
///
/// # Errors
/// What happens instead of what the route does: the request gets no further.
pub(super) fn pass<T: Trace>(gate: &Gate, mut visit: Visit<'_, T>) -> Result<Passed, Verdict> {
    let (head, client) = (visit.head, visit.client);
    let ask = |cors| browser::ask(cors, head, client, visit.trace);
    if let Some(verdict) = gate.cors.as_ref().and_then(ask) {
        return Err(verdict);
    }
    anybody(gate, &mut visit)?;
    let Some(guard) = &gate.guard else {
        return Ok(Passed::Open);
    };
    let asking = Asking {
        head,
        client,
        request_id: "",
    };
    match guard.look(asking) {
        Found::Known(identity) => {
            known(gate, &identity, &mut visit)?;
            Ok(Passed::Known(identity))
        }
        Found::Pending(check) => {
            visit.trace.step(|| Step::Auth(Auth::Pending(check.name)));
            Ok(Passed::Pending(check))
        }
        Found::Refused {
            scheme,
            fault,
            refusal,
        } => {
            visit
                .trace
                .step(|| Step::Auth(Auth::Refused(scheme, fault)));
            Err(Verdict::Refuse(refusal))
        }
    }
}

/// Makes the check that is pending, which takes its time, and asks what comes after it.
///
/// # Errors
/// As [`pass`].
pub(super) fn judge<T: Trace>(
    gate: &Gate,
    check: Pending,
    request_id: &str,
    mut visit: Visit<'_, T>,
) -> Result<Arc<Identity>, Verdict> {
    let Some(guard) = &gate.guard else {
        return Err(Verdict::Refuse(Refusal::new(Cause::Internal)));
    };
    let (head, client) = (visit.head, visit.client);
    let identity = guard
        .judge(
            check,
            Asking {
                head,
                client,
                request_id,
            },
        )
        .map_err(|stop| {
            visit.trace.step(|| Step::Auth(Auth::Denied(check.name)));
            match stop {
                Stop::Refusal(refusal) => Verdict::Refuse(refusal),
                Stop::Answer(answer) => Verdict::Own(OwnAnswer::Relayed(answer)),
            }
        })?;
    known(gate, &identity, &mut visit)?;
    Ok(identity)
}

/// What is asked before anybody knows who it is.
fn anybody<T: Trace>(gate: &Gate, visit: &mut Visit<'_, T>) -> Result<(), Verdict> {
    let (share, stage) = match gate.guard {
        Some(_) => (Share::Client, Stage::Anybody),
        None => (Share::Both, Stage::Both),
    };
    join_crowd(&gate.crowd, share, visit)
        .and_then(|()| ask_rates(&gate.rates, stage, None, visit))
        .map_err(Verdict::Refuse)
}

/// What is asked once it is known who it is.
fn known<T: Trace>(
    gate: &Gate,
    identity: &Arc<Identity>,
    visit: &mut Visit<'_, T>,
) -> Result<(), Verdict> {
    visit
        .trace
        .step(|| Step::Auth(Auth::Known(Arc::clone(identity))));
    join_crowd(&gate.crowd, Share::All, visit)
        .and_then(|()| ask_rates(&gate.rates, Stage::Named, Some(identity), visit))
        .map_err(Verdict::Refuse)
}

/// How many at the same time.
fn join_crowd<T: Trace>(
    crowd: &Crowd,
    share: Share,
    visit: &mut Visit<'_, T>,
) -> Result<(), Refusal> {
    if !crowd.is_limited() {
        return Ok(());
    }
    let ip = visit.client.ip;
    if share != Share::All {
        // Once is enough for people: it says both.
        visit
            .trace
            .step(|| Step::Limit(Limited::Crowd(crowd.occupancy(ip))));
    }
    match crowd.enter_for(share, ip) {
        Ok(presence) => {
            visit.passport.presences.extend(presence);
            Ok(())
        }
        Err(Full::All(most)) => {
            let message = format!("There are {most} requests of this route under way already.");
            Err(Refusal::with(Cause::Overloaded, message))
        }
        Err(Full::Client(most)) => {
            let message = format!("There are {most} requests of this client under way already.");
            Err(Refusal::with(Cause::RateLimited, message))
        }
    }
}

/// How often; `identity`: who it is, if that is known.
fn ask_rates<T: Trace>(
    rates: &Rates,
    stage: Stage,
    identity: Option<&Identity>,
    visit: &mut Visit<'_, T>,
) -> Result<(), Refusal> {
    if rates.limits().is_empty() {
        return Ok(());
    }
    let (ip, now) = (visit.client.ip, visit.now);
    let head = visit.head;
    let asker = Asker { ip, head, identity };
    let purpose = match T::IS_QUESTION {
        true => Purpose::Look,
        false => Purpose::Count,
    };
    let trace = &mut *visit.trace;
    let tell = |limit: &Limit, outcome: &Result<Standing, TooMany>| {
        trace.step(|| {
            let left = outcome.as_ref().map(|one| one.remaining);
            Step::Limit(Limited::Rate {
                limit: limit.settings.clone(),
                left: left.map_err(|too_many| too_many.wait),
            })
        });
        if outcome.is_err() && limit.settings.dry_run && purpose == Purpose::Count {
            tell_of_spared(limit, ip, now);
        }
    };
    let standings = &mut visit.passport.standings;
    let asked = rates.ask(stage, asker, (now, purpose), standings, tell);
    asked.map_err(|too_many| {
        let mut refusal = Refusal::with(Cause::RateLimited, too_many.to_string());
        let seconds = too_many.retry_after().to_string();
        refusal.fields.push(("Retry-After".into(), seconds));
        refusal
    })
}

/// Says now and then what a limit would refuse.
fn tell_of_spared(limit: &Limit, client: IpAddr, now: Instant) {
    if let Some(spared) = limit.untold(now) {
        log::info!(
            "rate limit {} ({}, dry run) would have refused {spared} requests so far, the last one from {client}",
            limit.settings.name,
            limit.settings
        );
    }
}
