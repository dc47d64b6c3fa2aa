//! A second attempt at another backend while the first is still waited for, and which of them answers first.
//!
//! It waits on the thread that calls: hedges are rare, and the job has a worker's place anyway. When one is due, and whether
//! it is allowed, is not decided here.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::error::Cause;
use crate::socket::Socket;
use crate::upstream::dial::{DialError, dial};
use crate::upstream::idle::Connection;
use crate::upstream::lease::Lease;

use super::call::{Call, Manner};
use super::connector::cause_of;
use super::launch::{Launched, send_over};
use super::{Attempt, Outbound, note};

/// Connecting for a hedge may take as long as was waited before it, but at least this.
const MIN_CONNECT: Duration = Duration::from_millis(20);

/// How a race between two attempts ended.
#[derive(Debug)]
pub struct Hedged {
    /// The one to go on with.
    pub launched: Launched,
    /// The other one.
    pub other: Attempt,
    /// Whether the second attempt got as far as being sent.
    pub was_sent: bool,
    /// Whether it is the one to go on with.
    pub has_won: bool,
}

/// What a connection has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// Nothing yet.
    None,
    /// Some of an answer.
    Answer,
    /// It is at its end.
    End,
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
    pub fn has_news(&self) -> bool {
        news(&self.connection.socket) != News::None
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

    /// Its connection has ended. An idle connection that does is nobody's failure.
    fn lose(self, now: Instant) -> Attempt {
        let is_reused = self.call.facts.is_reused.is_set();
        let cause = Some(Cause::BackendClosed);
        let age = self.age(now);
        let ejected = if is_reused {
            None
        } else {
            self.lease.record_failure(age, now)
        };
        Attempt {
            ejected,
            ..note(&self.lease, cause, age, is_reused)
        }
    }
}

/// Sends the request that is `first`'s to the leased backend too, and waits until one of them answers.
pub fn hedge(outbound: &Outbound, first: Launched, lease: Lease) -> Hedged {
    let waited = first.age(Instant::now());
    let second = match launch(outbound, lease, &first, waited) {
        Ok(second) => second,
        Err(other) => {
            return Hedged {
                launched: first,
                other,
                was_sent: false,
                has_won: false,
            };
        }
    };
    let ready = wait(&first, &second);
    let now = Instant::now();
    let (launched, other, has_won) = match ready {
        Ready::First if news(&first.connection.socket) == News::End => {
            (second, first.lose(now), true)
        }
        Ready::Second if news(&second.connection.socket) == News::End => {
            (first, second.lose(now), false)
        }
        Ready::First | Ready::Neither => (first, second.give_up(now), false),
        Ready::Second => (second, first.give_up(now), true),
    };
    Hedged {
        launched,
        other,
        was_sent: true,
        has_won,
    }
}

/// Sends the request again, over an idle connection or a new one.
///
/// # Errors
/// With what the log gets to know when there is no connection; a backend that is only slow to accept has not failed.
fn launch(
    outbound: &Outbound,
    lease: Lease,
    first: &Launched,
    waited: Duration,
) -> Result<Launched, Attempt> {
    let since = Instant::now();
    let call = Call::new(&lease, outbound, Manner::of(outbound));
    let reused = call
        .backend
        .idle
        .check_out(since, call.manner.tolerates_stale);
    let connection = match reused {
        Some(reused) => Ok(call.reuse(reused)),
        None => {
            let patience = waited.max(MIN_CONNECT).min(call.timeouts.connect);
            let deadline = first.limit().min(since + patience);
            dial(&call.backend, deadline).map(Connection::from)
        }
    };
    let cause = match connection {
        Ok(connection) => match send_over(&call, connection) {
            Some(connection) => {
                return Ok(Launched {
                    lease,
                    call,
                    connection,
                    since,
                });
            }
            None => Cause::BackendClosed,
        },
        Err(DialError::Name) => Cause::DnsFailed,
        Err(DialError::Connect(error)) => cause_of(&error),
    };
    let now = Instant::now();
    let after = now.saturating_duration_since(since);
    let ejected = match cause {
        Cause::DnsFailed | Cause::ConnectRefused => lease.record_failure(after, now),
        _ => None,
    };
    let is_reused = call.facts.is_reused.is_set();
    Err(Attempt {
        ejected,
        ..note(&lease, Some(cause), after, is_reused)
    })
}

/// Waits until one of them can be read.
fn wait(first: &Launched, second: &Launched) -> Ready {
    let limit = first.limit();
    loop {
        let left = limit.saturating_duration_since(Instant::now());
        let sockets = [first, second].map(|launched| &launched.connection.socket);
        let mut polled = sockets.map(|socket| PollFd::new(socket, PollFlags::IN));
        let patience = Timespec::try_from(left).ok();
        match poll(&mut polled, patience.as_ref()) {
            Ok(0) if left.is_zero() => return Ready::Neither,
            Ok(_) | Err(Errno::INTR) => (),
            // Out of memory: whoever goes on with the first finds out.
            Err(_) => return Ready::Neither,
        }
        let [first, second] = polled.map(|one| !one.revents().is_empty());
        if first {
            return Ready::First;
        }
        if second {
            return Ready::Second;
        }
    }
}

/// Looks without waiting, and takes nothing.
fn news(socket: &Socket) -> News {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    match recv(socket, &mut [0_u8], flags) {
        Ok((0, _)) => News::End,
        Ok(_) => News::Answer,
        Err(Errno::AGAIN | Errno::INTR) => News::None,
        Err(_) => News::End,
    }
}
