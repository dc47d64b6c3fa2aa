//! How often requests may come: rate limits by GCRA, the generic cell rate algorithm.
//!
//! The arithmetic is governor's, the memory is ours ([`table`]). Which limits are asked when, and what a refusal looks like, is
//! not known here.

mod limit;
mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use crate::admit::auth::Identity;
use crate::config::model::{RateKey, RateLimit};
use crate::message::head::RequestHead;

pub use limit::{Counts, Limit, Standing, TooMany};

/// What limits have said about one request, for the `RateLimit` field.
pub type Standings = SmallVec<[Standing; 1]>;

/// The rate limits of a route, or of the server.
#[derive(Debug, Default)]
pub struct Rates {
    limits: Vec<Arc<Limit>>,
}

/// Limits that are asked together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Those by address: before credentials are looked at, so that nobody can try many.
    Anybody,
    /// All others: once credentials were found good, so that those who have none cannot use up what others share.
    Named,
    /// All of them together, where nobody is asked who it is.
    Both,
}

/// Who asks, as far as limits tell requests apart.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The client's address.
    pub ip: IpAddr,
    /// The request.
    pub head: &'a RequestHead,
    /// Who it is, if authentication has found out.
    pub identity: Option<&'a Identity>,
}

/// Whether the request is there, or only asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is there, and counts.
    Count,
    /// Nothing is counted.
    Look,
}

impl Rates {
    /// The limits with these settings; nobody has come yet.
    pub fn new(settings: &[RateLimit]) -> Rates {
        let limits = settings.iter().map(Limit::new).map(Arc::new);
        Rates {
            limits: limits.collect(),
        }
    }

    /// Limits with these settings. Those that count as one of these does, under the same name, know what that has counted.
    pub fn successor(&self, settings: &[RateLimit]) -> Rates {
        let limit = |settings: &RateLimit| {
            let mut known = self.limits.iter();
            let known = known.find(|known| known.settings.name == settings.name);
            match known.and_then(|known| known.successor(settings)) {
                Some(successor) => Arc::new(successor),
                None => Arc::new(Limit::new(settings)),
            }
        };
        Rates {
            limits: settings.iter().map(limit).collect(),
        }
    }

    /// Asks the limits of `stage` whether a request of `asker` may pass at `now`, and counts it if all of them say so. What they
    /// say is added to `standings`, but for those that only count. `tell` hears what each said.
    ///
    /// # Errors
    /// The first limit that says no.
    pub fn ask(
        &self,
        stage: Stage,
        asker: Asker<'_>,
        (now, purpose): (Instant, Purpose),
        standings: &mut Standings,
        mut tell: impl FnMut(&Limit, &Result<Standing, TooMany>),
    ) -> Result<(), TooMany> {
        let is_asked = |limit: &&Arc<Limit>| stage == Stage::Both || limit.stage() == stage;
        let limits = || self.limits.iter().filter(is_asked);
        if purpose == Purpose::Count && limits().nth(1).is_some() {
            // What one of them refuses is not to count at the others.
            let mut strict = limits().filter(|limit| !limit.settings.dry_run);
            if let Some(limit) = strict.find(|limit| limit.ask(asker, now, Purpose::Look).is_err())
            {
                return pass_one(limit, (asker, now, purpose), standings, &mut tell);
            }
        }
        limits().try_for_each(|limit| pass_one(limit, (asker, now, purpose), standings, &mut tell))
    }

    /// The limits, for those who show them.
    pub fn limits(&self) -> &[Arc<Limit>] {
        &self.limits
    }
}

fn pass_one(
    limit: &Arc<Limit>,
    (asker, now, purpose): (Asker<'_>, Instant, Purpose),
    standings: &mut Standings,
    tell: &mut impl FnMut(&Limit, &Result<Standing, TooMany>),
) -> Result<(), TooMany> {
    let outcome = limit.ask(asker, now, purpose);
    tell(limit, &outcome);
    if limit.settings.dry_run {
        return Ok(());
    }
    match outcome {
        Ok(standing) => {
            standings.push(standing);
            Ok(())
        }
        Err(too_many) => {
            standings.push(too_many.standing());
            Err(too_many)
        }
    }
}

/// When a limit is asked.
fn stage_of(by: &RateKey) -> Stage {
    match by {
        RateKey::ClientIp => Stage::Anybody,
        RateKey::Header(_) | RateKey::Route | RateKey::ApiKey => Stage::Named,
    }
}

#[cfg(test)]
mod tests;
