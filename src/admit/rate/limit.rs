//! One rate limit: whom it tells apart, what it has counted, and what it says.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::hash::Hasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{NotUntil, Quota, RateLimiter};
use siphasher::sip::SipHasher13;

use super::table::{Table, Unchanged};
use super::{Asker, Purpose, Stage, stage_of};
use crate::config::model::{RateKey, RateLimit};
use crate::message::network::network_of;

/// Between two lines about a limit that only counts, in nanoseconds.
const PAUSE: u64 = 10_000_000_000;

/// One rate limit, with what it knows.
#[derive(Debug)]
pub struct Limit {
    /// As configured.
    pub settings: RateLimit,
    quota: Quota,
    memory: Arc<Memory>,
}

/// What outlives a reload.
#[derive(Debug)]
struct Memory {
    table: Table,
    /// When the table's time began.
    began: Instant,
    /// So that nobody knows where in the table a key is.
    secret: (u64, u64),
    passed: AtomicU64,
    refused: AtomicU64,
    /// Refused by a limit that only counts.
    spared: AtomicU64,
    /// When and of how many of these was told last: nanoseconds since the beginning.
    told: AtomicU64,
}

/// What a limit has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Requests that it let pass.
    pub passed: u64,
    /// Requests that it refused.
    pub refused: u64,
    /// Requests that it would have refused, if it did more than count.
    pub spared: u64,
    /// Keys that have asked of late: those that may not have all of their burst at once.
    pub busy: usize,
}

/// What a limit says to a client.
#[derive(Debug, Clone)]
pub struct Standing {
    limit: Arc<Limit>,
    /// How many more may come at once.
    pub remaining: u32,
    /// Seconds, rounded up, until all of the burst is there again, or, where nothing remains, until one more may come.
    pub reset: u64,
}

/// A limit has been reached.
#[derive(Debug, Clone)]
pub struct TooMany {
    limit: Arc<Limit>,
    /// Until one more may come.
    pub wait: Duration,
}

impl Limit {
    /// A limit that nobody has come to yet.
    pub(super) fn new(settings: &RateLimit) -> Limit {
        let keys = match settings.by {
            RateKey::Route => 1,
            _ => settings.clients,
        };
        let memory = Memory {
            table: Table::new(keys),
            began: Instant::now(),
            secret: rand::random(),
            passed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            spared: AtomicU64::new(0),
            told: AtomicU64::new(0),
        };
        Limit::with(settings, Arc::new(memory))
    }

    /// The limit that goes on counting for this one. None: these settings count otherwise, so that it has to begin anew.
    pub(super) fn successor(&self, settings: &RateLimit) -> Option<Limit> {
        let own = RateLimit {
            dry_run: settings.dry_run,
            ..self.settings.clone()
        };
        (own == *settings).then(|| Limit::with(settings, Arc::clone(&self.memory)))
    }

    fn with(settings: &RateLimit, memory: Arc<Memory>) -> Limit {
        let burst = NonZeroU32::new(settings.burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(settings.interval())
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN));
        Limit {
            settings: settings.clone(),
            quota: quota.allow_burst(burst),
            memory,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        stage_of(&self.settings.by)
    }

    /// Whether a request of `asker` may pass at `now`.
    pub(super) fn ask(
        self: &Arc<Limit>,
        asker: Asker<'_>,
        now: Instant,
        purpose: Purpose,
    ) -> Result<Standing, TooMany> {
        let memory = &*self.memory;
        let (key, at) = (self.key(asker), self.time(now));
        let (outcome, tally) = match purpose {
            Purpose::Count => (self.check(&memory.table, key, at), 1),
            Purpose::Look => (self.check(Unchanged(&memory.table), key, at), 0),
        };
        let (counter, outcome) = match outcome {
            Ok(state) => (&memory.passed, Ok(self.standing(&state))),
            Err(not_until) => {
                let wait = not_until.wait_time_from(Nanos::new(at));
                let limit = Arc::clone(self);
                let counter = match self.settings.dry_run {
                    true => &memory.spared,
                    false => &memory.refused,
                };
                (counter, Err(TooMany { limit, wait }))
            }
        };
        counter.fetch_add(tally, Ordering::Relaxed);
        outcome
    }

    /// governor's arithmetic, with what `store` knows about `key`.
    fn check(
        &self,
        store: impl StateStore<Key = u64>,
        key: u64,
        at: u64,
    ) -> Result<StateSnapshot, NotUntil<Nanos>> {
        // Its time begins with zero, like that of the table.
        let limiter: RateLimiter<_, _, _, StateInformationMiddleware> =
            RateLimiter::new(self.quota, store, Told(Cell::new(0)));
        limiter.clock().0.set(at);
        limiter.check_key(&key)
    }

    fn standing(self: &Arc<Limit>, state: &StateSnapshot) -> Standing {
        let remaining = state.remaining_burst_capacity();
        let missing = match remaining {
            0 => 1,
            _ => self.settings.burst.saturating_sub(remaining),
        };
        Standing {
            limit: Arc::clone(self),
            remaining,
            reset: seconds(self.settings.interval().saturating_mul(missing)),
        }
    }

    /// A number for what the request is counted by. Those that lack it have one together.
    fn key(&self, asker: Asker<'_>) -> u64 {
        let (one, other) = self.memory.secret;
        let mut hasher = SipHasher13::new_with_keys(one, other);
        let text = match &self.settings.by {
            RateKey::Route => return 1,
            RateKey::ClientIp => {
                match network_of(asker.ip) {
                    IpAddr::V4(address) => hasher.write(&address.octets()),
                    IpAddr::V6(address) => hasher.write(&address.octets()),
                }
                return hasher.finish();
            }
            RateKey::ApiKey => asker.identity.map(|identity| {
                hasher.write(identity.scheme.as_bytes());
                identity.name.as_bytes()
            }),
            RateKey::Header(name) => asker.head.fields.get(name),
        };
        match text {
            Some(text) => {
                hasher.write_u8(1);
                hasher.write(text);
            }
            None => hasher.write_u8(0),
        }
        hasher.finish()
    }

    fn time(&self, now: Instant) -> u64 {
        let time = now.saturating_duration_since(self.memory.began);
        // Half of what fits, so that no sum of governor's can be too large: that is in 292 years.
        u64::try_from(time.as_nanos()).map_or(u64::MAX / 2, |time| time.min(u64::MAX / 2))
    }

    /// What it has counted.
    pub fn counts(&self, now: Instant) -> Counts {
        let memory = &*self.memory;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            passed: read(&memory.passed),
            refused: read(&memory.refused),
            spared: read(&memory.spared),
            busy: memory.table.busy(self.time(now)),
        }
    }

    /// How many a limit that only counts would have refused by now, if it is time to tell of that again.
    pub fn untold(&self, now: Instant) -> Option<u64> {
        let (memory, now) = (&*self.memory, self.time(now).max(1));
        let told = memory.told.load(Ordering::Relaxed);
        let is_time = told == 0 || now.saturating_sub(told) >= PAUSE;
        let order = Ordering::Relaxed;
        let is_mine = is_time
            && memory
                .told
                .compare_exchange(told, now, order, order)
                .is_ok();
        is_mine.then(|| memory.spared.load(order))
    }
}

/// A clock that shows what it was told.
#[derive(Debug)]
struct Told(Cell<u64>);

impl Clock for Told {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.get())
    }
}

impl Standing {
    /// The item of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10 section 3): `"name";q=100;w=1`.
    pub fn write_policy(&self, text: &mut String) {
        let RateLimit {
            name,
            requests,
            period,
            ..
        } = &self.limit.settings;
        // Writing into a string cannot fail.
        let _ = write!(text, "\"{name}\";q={requests};w={}", period.as_secs());
    }

    /// The item of `RateLimit` (section 4 there): `"name";r=20;t=1`.
    pub fn write_state(&self, text: &mut String) {
        let (name, remaining, reset) = (&self.limit.settings.name, self.remaining, self.reset);
        let _ = write!(text, "\"{name}\";r={remaining};t={reset}");
    }
}

impl TooMany {
    /// Whole seconds until one more may come, rounded up; at least 1.
    pub fn retry_after(&self) -> u64 {
        seconds(self.wait).max(1)
    }

    pub(super) fn standing(&self) -> Standing {
        Standing {
            limit: Arc::clone(&self.limit),
            remaining: 0,
            reset: self.retry_after(),
        }
    }
}

/// For the client.
impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.limit.settings;
        write!(
            f,
            "There are too many requests: the limit is {settings} ({}).",
            settings.name
        )
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
impl Limit {
    /// Keys and bytes of its memory.
    pub(super) fn size(&self, now: Instant) -> (usize, usize) {
        let table = &self.memory.table;
        (table.busy(self.time(now)), table.bytes())
    }

    pub(super) fn began(&self) -> Instant {
        self.memory.began
    }
}
