//! When a failed attempt may be repeated, and where. Pure: it sees facts, not sockets.
//!
//! The one rule behind all: a request that a backend may have acted upon is repeated only if repeating it does no harm.

use crate::error::Cause;

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Tell the client.
    Stop,
    /// The idle connection was stale: once more at the same backend, over a new one.
    FreshConnection,
    /// Another backend, if there is one.
    OtherBackend,
}

/// The facts of a failed attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    pub(super) cause: Cause,
    /// It used an idle connection.
    pub(super) is_reused: bool,
    /// It already was the repetition over a new connection.
    pub(super) was_fresh: bool,
    /// Bytes that went out to the backend.
    pub(super) sent: u64,
    /// Bytes that came back; never a whole head.
    pub(super) received: u64,
    pub(super) is_idempotent: bool,
    /// No body byte was taken from the client, or all that were are kept.
    pub(super) is_body_rewindable: bool,
    /// `upstream.retry.slow`.
    pub(super) retries_slow: bool,
}

pub(super) fn next(situation: Situation) -> Next {
    if !situation.is_body_rewindable {
        return Next::Stop;
    }
    let may_repeat = situation.is_idempotent || situation.sent == 0;
    match situation.cause {
        // Nothing was sent: any method.
        Cause::DnsFailed | Cause::ConnectRefused | Cause::ConnectTimeout => Next::OtherBackend,
        // With TLS 1.3 a backend may refuse us when the request is out already.
        Cause::BackendClosed | Cause::BackendTls | Cause::BackendCertificate if !may_repeat => {
            Next::Stop
        }
        Cause::BackendClosed | Cause::BackendTls
            if situation.is_reused && !situation.was_fresh && situation.received == 0 =>
        {
            Next::FreshConnection
        }
        Cause::BackendClosed | Cause::BackendTls | Cause::BackendCertificate => Next::OtherBackend,
        Cause::BackendSlow if situation.retries_slow && situation.is_idempotent => {
            Next::OtherBackend
        }
        _ => Next::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Situation = Situation {
        cause: Cause::BackendClosed,
        is_reused: false,
        was_fresh: false,
        sent: 100,
        received: 0,
        is_idempotent: true,
        is_body_rewindable: true,
        retries_slow: false,
    };
    const POST: Situation = Situation {
        is_idempotent: false,
        ..GET
    };

    #[test]
    fn nothing_sent_goes_elsewhere_with_any_method() {
        for cause in [
            Cause::DnsFailed,
            Cause::ConnectRefused,
            Cause::ConnectTimeout,
            Cause::BackendTls,
            Cause::BackendCertificate,
        ] {
            assert_eq!(
                next(Situation {
                    cause,
                    sent: 0,
                    ..POST
                }),
                Next::OtherBackend
            );
            let lost = Situation {
                cause,
                sent: 0,
                is_body_rewindable: false,
                ..POST
            };
            assert_eq!(next(lost), Next::Stop);
        }
    }

    #[test]
    fn a_post_that_was_sent_is_never_repeated() {
        assert_eq!(next(POST), Next::Stop);
        assert_eq!(
            next(Situation {
                is_reused: true,
                ..POST
            }),
            Next::Stop
        );
        assert_eq!(
            next(Situation {
                sent: 0,
                is_reused: true,
                ..POST
            }),
            Next::FreshConnection
        );
    }

    #[test]
    fn a_stale_connection_is_replaced_once() {
        assert_eq!(
            next(Situation {
                is_reused: true,
                ..GET
            }),
            Next::FreshConnection
        );
        assert_eq!(
            next(Situation {
                was_fresh: true,
                ..GET
            }),
            Next::OtherBackend
        );
        assert_eq!(next(GET), Next::OtherBackend);
    }

    #[test]
    fn half_a_head_is_a_failure_of_the_backend_not_of_its_connection() {
        let half = |situation| Situation {
            received: 1,
            is_reused: true,
            ..situation
        };
        assert_eq!(next(half(GET)), Next::OtherBackend);
        assert_eq!(next(half(POST)), Next::Stop);
    }

    #[test]
    fn what_cannot_be_understood_is_not_asked_for_again() {
        assert_eq!(
            next(Situation {
                cause: Cause::BadResponse,
                ..GET
            }),
            Next::Stop
        );
        assert_eq!(
            next(Situation {
                cause: Cause::Internal,
                ..GET
            }),
            Next::Stop
        );
    }

    #[test]
    fn slow_backends_only_by_choice() {
        let slow = Situation {
            cause: Cause::BackendSlow,
            ..GET
        };
        assert_eq!(next(slow), Next::Stop);
        assert_eq!(
            next(Situation {
                retries_slow: true,
                ..slow
            }),
            Next::OtherBackend
        );
        assert_eq!(
            next(Situation {
                retries_slow: true,
                is_idempotent: false,
                ..slow
            }),
            Next::Stop
        );
    }
}
