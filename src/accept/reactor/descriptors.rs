//! How many file descriptors the process may open, and how many connections that is enough for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything that is no connection: listeners, logs, timers.
const OWN: usize = 64;

/// Raises the soft limit to the hard one, and gives it; `None`: unlimited.
pub(super) fn raise_limit() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            log::warn!("the limit of file descriptors cannot be raised: {error}");
        }
    }
    getrlimit(Resource::Nofile)
        .current
        .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// How many clients can be connected with `descriptors`, of which each of `workers` may need one for its backend.
pub(super) fn enough_for(descriptors: usize, workers: usize) -> usize {
    let others = OWN + workers;
    descriptors
        .saturating_sub(others)
        .max(descriptors / 2)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_get_their_descriptors_unless_there_are_too_few() {
        assert_eq!(enough_for(20_000, 256), 19_680);
        assert_eq!(enough_for(256, 256), 128);
        assert_eq!(enough_for(1, 256), 1);
    }

    #[test]
    fn the_limit_is_as_high_as_it_may_be() {
        let limit = raise_limit();
        assert_eq!(
            getrlimit(Resource::Nofile).current,
            getrlimit(Resource::Nofile).maximum
        );
        assert!(limit.is_none_or(|limit| limit > 0));
    }
}
