//! How long connections to one backend may lie idle before the backend closes them: learned from what became of them.
//!
//! Most backends do not say it, and the usual settings lie between 2 s (gunicorn) and 75 s (nginx). A connection that is
//! used when its backend has just closed it costs a retry, and a failed request where a retry would not be safe. Pure: idle
//! times come in, ages come out.

use std::time::Duration;

/// Assumed until something is known: below the 5 s after which Node, Apache and uvicorn close.
const FIRST: Duration = Duration::from_secs(4);
/// No backend is taken to close sooner; a connection that is closed within it ended for another reason (a restart, say).
pub(super) const SHORTEST: Duration = Duration::from_secs(1);
/// No connection is kept longer, whatever its backend says.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
/// Between the longest idle time that was survived and the longest that is relied upon: a request is on its way for a while.
const MARGIN: Duration = Duration::from_secs(1);
/// Idle connections are looked at once a second, so that one that is found closed may have been so for this long.
const GLANCE: Duration = Duration::from_secs(1);
/// How much longer than relied upon a connection is kept, to see whether it survives: enough for the margin and for two looks.
const BEYOND: Duration = Duration::from_secs(3);

/// What is known of one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeepAlive {
    trusted: Duration,
}

impl Default for KeepAlive {
    fn default() -> KeepAlive {
        KeepAlive { trusted: FIRST }
    }
}

impl KeepAlive {
    /// A connection that was idle for less may be used for any request. Between 1 s and 60 s.
    pub(super) fn trusted(self) -> Duration {
        self.trusted
    }

    /// A connection that was idle for less is kept, for requests that can be repeated and to learn from.
    pub(super) fn kept(self) -> Duration {
        (self.trusted + BEYOND).min(LONGEST)
    }

    /// A connection was alive after `idle`.
    pub(super) fn survived(&mut self, idle: Duration) {
        let proven = idle.saturating_sub(MARGIN).min(LONGEST);
        self.trusted = self.trusted.max(proven);
    }

    /// A connection was found closed after `idle`.
    pub(super) fn closed(&mut self, idle: Duration) {
        if idle >= SHORTEST {
            let safe = idle.saturating_sub(GLANCE + MARGIN).max(SHORTEST);
            self.trusted = self.trusted.min(safe);
        }
    }
}

/// How long a connection is used whose backend says `Keep-Alive: timeout=N`: one second less, because the clocks start at
/// different ends of the wire. Zero: not at all.
pub(super) fn announced(timeout: Duration) -> Duration {
    timeout.saturating_sub(MARGIN).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: f64) -> Duration {
        Duration::from_secs_f64(count)
    }

    /// What is trusted after connections to a backend that closes after `limit` were looked at every second for a while.
    fn learn(limit: f64) -> Duration {
        let mut known = KeepAlive::default();
        for round in 0..40 {
            let mut idle = f64::from(round % 10) / 10.0;
            while seconds(idle) <= known.kept() {
                if idle >= limit {
                    known.closed(seconds(idle));
                    break;
                }
                known.survived(seconds(idle));
                idle += 1.0;
            }
        }
        known.trusted()
    }

    #[test]
    fn it_settles_below_what_the_backend_does() {
        for limit in [2.5, 3.0, 5.0, 7.3, 20.0, 45.0] {
            let trusted = learn(limit).as_secs_f64();
            assert!(
                trusted <= limit - 1.0 && trusted >= limit - 2.5,
                "{limit}: {trusted}"
            );
        }
        assert!(learn(75.0) >= seconds(57.0) && learn(75.0) <= LONGEST);
    }

    #[test]
    fn it_never_leaves_its_bounds() {
        assert_eq!(learn(0.5), SHORTEST);
        let mut known = KeepAlive::default();
        known.survived(seconds(1e6));
        assert_eq!((known.trusted(), known.kept()), (LONGEST, LONGEST));
    }

    #[test]
    fn a_closed_connection_lowers_what_is_trusted() {
        let mut known = KeepAlive::default();
        known.survived(seconds(30.0));
        assert_eq!(known.trusted(), seconds(29.0));
        known.closed(seconds(10.0));
        assert_eq!(known.trusted(), seconds(8.0));
        known.closed(seconds(20.0));
        assert_eq!(known.trusted(), seconds(8.0));
    }

    #[test]
    fn a_restart_teaches_nothing() {
        let mut known = KeepAlive::default();
        known.closed(seconds(0.9));
        assert_eq!(known, KeepAlive::default());
    }

    #[test]
    fn what_is_announced_counts_less_a_second() {
        assert_eq!(announced(seconds(5.0)), seconds(4.0));
        assert_eq!(announced(seconds(0.0)), Duration::ZERO);
        assert_eq!(announced(seconds(1e6)), LONGEST);
    }
}
