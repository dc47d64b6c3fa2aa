//! A second attempt at another backend while the first is still waited for, and which of them answers first.
//!
//! It waits on the thread that calls: hedges are rare, and the job has a worker's place anyway. When one is due, and whether
//! it is allowed, is not decided here.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use smallvec::SmallVec;

use crate::error::Cause;
use crate::upstream::lease::Lease;
use crate::upstream::stream::{News, Stream};

use super::call::{Call, Manner};
use super::launch::{Launched, send_over};
use super::{Attempt, Outbound, note};

/// How a race between two attempts ended.
#[derive(Debug)]
pub struct Hedged {
    /// The one to go on with.
    pub launched: Launched,
    /// The other one; `None`: the second one was not made, for want of an idle connection.
    pub other: Option<Attempt>,
    /// Whether the second one is the one to go on with.
    pub has_won: bool,
}

/// Who can be read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    First,
    Second,
    /// The first attempt's time is over.
    Neither,
}

impl Launched {
    /// Whether there is something to read, be it the end.
    pub fn has_news(&mut self) -> bool {
        self.news() != News::None
    }

    fn news(&mut self) -> News {
        self.connection.stream.news()
    }

    /// Whether it is out over TLS, which has things to say of its own.
    pub fn is_secured(&self) -> bool {
        matches!(self.connection.stream, Stream::Secure(_))
    }

    /// How long it has been out.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    fn limit(&self) -> Instant {
        self.call.limit(self.since, self.call.timeouts.response)
    }

    /// It is not waited for any more, because the other one answers. That is no failure, but not forgotten either.
    fn give_up(self, now: Instant) -> Attempt {
        let age = self.age(now);
        self.lease.record_overtaken(age, now);
        Attempt {
            is_overtaken: true,
            ..note(&self.lease, None, age, self.call.facts.is_reused.is_set())
        }
    }

    /// It was answered with an error, `at` that moment, which nobody gets.
    fn refuse(self, at: Instant) -> Attempt {
        let age = self.age(at);
        self.lease.record_answer(true, age, at);
        Attempt {
            is_overtaken: true,
            ..note(&self.lease, None, age, self.call.facts.is_reused.is_set())
        }
    }

    /// Its connection has ended. An idle connection that does is nobody's failure.
    fn lose(self, now: Instant) -> Attempt {
        let is_reused = self.call.facts.is_reused.is_set();
        let cause = Some(Cause::BackendClosed);
        let age = self.age(now);
        if !is_reused {
            self.lease.record_failure(age, now);
        }
        note(&self.lease, cause, age, is_reused)
    }
}

/// Sends the request that is `first`'s to the leased backend too, over an idle connection, and waits until one of them
/// answers. An error of the second one's is no answer as long as the first is out. Without an idle connection there is no second
/// one: while a new one is made, the first may answer, and nobody would know.
pub fn hedge(outbound: &Outbound, mut first: Launched, lease: Lease) -> Hedged {
    let Some(mut second) = launch(outbound, lease) else {
        return Hedged {
            launched: first,
            other: None,
            has_won: false,
        };
    };
    let mut ready = wait(&mut first, Some(&mut second));
    let mut refused_at = None;
    if ready == Ready::Second && is_error(&mut second.connection.stream) {
        refused_at = Some(Instant::now());
        ready = match wait(&mut first, None) {
            Ready::First => Ready::First,
            Ready::Second | Ready::Neither => Ready::Second,
        };
    }
    let now = Instant::now();
    let (launched, other, has_won) = match ready {
        Ready::First if first.news() == News::End => (second, first.lose(now), true),
        Ready::Second if second.news() == News::End => (first, second.lose(now), false),
        Ready::First | Ready::Neither => {
            let other = match refused_at {
                Some(at) => second.refuse(at),
                None => second.give_up(now),
            };
            (first, other, false)
        }
        Ready::Second => (second, first.give_up(now), true),
    };
    Hedged {
        launched,
        other: Some(other),
        has_won,
    }
}

/// Sends the request again, over an idle connection; `None`: there is none that takes it.
fn launch(outbound: &Outbound, lease: Lease) -> Option<Launched> {
    let since = Instant::now();
    let call = Call::new(&lease, outbound, Manner::of(outbound));
    let idle = &call.backend.idle;
    let reused = idle.check_out(since, call.manner.tolerates_stale)?;
    let connection = send_over(&call, call.reuse(reused))?;
    Some(Launched {
        lease,
        call,
        connection,
        since,
    })
}

/// Waits until one of them can be read, or until the first one's time is over.
fn wait(first: &mut Launched, mut second: Option<&mut Launched>) -> Ready {
    let limit = first.limit();
    loop {
        // With TLS not all that can be read is an answer, and some of an answer may have been read already.
        if first.has_news() {
            return Ready::First;
        }
        if second.as_mut().is_some_and(|second| second.has_news()) {
            return Ready::Second;
        }
        let left = limit.saturating_duration_since(Instant::now());
        let launched = [Some(&*first), second.as_deref()].into_iter().flatten();
        let mut polled: SmallVec<[PollFd<'_>; 2]> = launched
            .map(|launched| PollFd::new(&launched.connection.stream, PollFlags::IN))
            .collect();
        let patience = Timespec::try_from(left).ok();
        match poll(&mut polled, patience.as_ref()) {
            Ok(0) if left.is_zero() => return Ready::Neither,
            Ok(_) | Err(Errno::INTR) => (),
            // Out of memory: whoever goes on with the first finds out.
            Err(_) => return Ready::Neither,
        }
    }
}

/// Whether what has come begins like an answer with 5xx.
fn is_error(stream: &mut Stream) -> bool {
    let mut begin = [0_u8; 10];
    stream.peek(&mut begin) == 10 && begin.starts_with(b"HTTP/1.") && begin.ends_with(b" 5")
}
