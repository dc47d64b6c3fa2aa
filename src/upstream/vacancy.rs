//! Waiting for a place at an upstream whose backends all have as many requests as they may have: how many wait, whether there is
//! a place now, and who is told that there may be one.
//!
//! Who waits, in which order and for how long, is the business of who is told.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use crate::clock::nanos;
use crate::config::model::Duty;

use super::Upstream;
use super::backend::Gate;
use super::member::{Member, Tier};

/// Lets in those who wait.
pub trait Usher: Send + Sync {
    /// There may be a place at the upstream of this name. It must not block.
    fn call(&self, upstream: &str);
}

/// Who waits for an upstream; it outlives a change of the members.
#[derive(Debug, Default)]
pub(super) struct Vacancy {
    waiting: AtomicUsize,
    /// Those of them who were called and are on their way to a place.
    called: AtomicUsize,
    usher: OnceLock<Weak<dyn Usher>>,
}

/// One that waits, until dropped. Then the next one is told: there may be more than one place.
#[derive(Debug)]
pub struct Waiting {
    upstream: Arc<Upstream>,
    is_called: bool,
}

impl Waiting {
    /// One more that waits for a place at `upstream`. A place that becomes free from now on is told to `usher`; what is free
    /// already has to be looked for after this.
    pub fn begin(upstream: &Arc<Upstream>, usher: Weak<dyn Usher>) -> Waiting {
        let vacancy = &upstream.shared.vacancy;
        vacancy.usher.get_or_init(|| usher);
        vacancy.waiting.fetch_add(1, Ordering::SeqCst);
        // Either whoever ends a request sees that somebody waits, or the one who waits sees that the request has ended.
        fence(Ordering::SeqCst);
        Waiting {
            upstream: Arc::clone(upstream),
            is_called: false,
        }
    }

    /// It is called: until it comes back, or its wait ends, a place is kept for it.
    pub fn call(&mut self) {
        self.is_called = true;
        self.upstream
            .shared
            .vacancy
            .called
            .fetch_add(1, Ordering::SeqCst);
    }

    /// It has found no place, and waits again.
    pub fn come_back(&mut self) {
        if std::mem::take(&mut self.is_called) {
            self.upstream
                .shared
                .vacancy
                .called
                .fetch_sub(1, Ordering::SeqCst);
        }
        fence(Ordering::SeqCst);
    }

    /// What it waits for.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.come_back();
        let vacancy = &self.upstream.shared.vacancy;
        vacancy.waiting.fetch_sub(1, Ordering::SeqCst);
        self.upstream.tell_of_place();
    }
}

impl Upstream {
    /// How many requests wait for a place.
    pub fn waiting(&self) -> usize {
        self.shared.vacancy.waiting.load(Ordering::SeqCst)
    }

    /// How many requests could begin at `now`.
    pub fn places(&self, now: Instant) -> usize {
        let tiers = [Tier::Primary, Tier::Backup].map(|tier| self.places_of(tier, now));
        match tiers.into_iter().find(|places| *places > 0) {
            Some(places) => places,
            None if self.has_usable(now) => 0,
            None => self.places_of(Tier::Ejected, now),
        }
    }

    /// The same without those that are kept for who was called.
    pub fn places_left(&self, now: Instant) -> usize {
        let called = self.shared.vacancy.called.load(Ordering::SeqCst);
        self.places(now).saturating_sub(called)
    }

    fn places_of(&self, tier: Tier, now: Instant) -> usize {
        let now = nanos(now);
        let can_take = |member: &&Member| member.share(tier, now, 0) > 0;
        let members = self.members.iter().filter(can_take);
        members.fold(0, |sum, member| {
            let most = member.settings.max_connections;
            let free = most.saturating_sub(member.backend.active());
            let is_on_trial = tier != Tier::Ejected && !member.backend.is_passing();
            // Whoever is first shows whether it is back.
            sum.saturating_add(if is_on_trial { free.min(1) } else { free })
        })
    }

    /// Whether a backend that takes requests at `now` has a limit: when nobody could be picked all the same, they were full, and
    /// waiting helps. (Whether they still are, says nothing about that moment.)
    pub fn is_limited(&self, now: Instant) -> bool {
        let now = nanos(now);
        self.members.iter().any(|member| {
            let Member { backend, settings } = member;
            let takes = settings.duty == Duty::Enabled && backend.gate(now) != Gate::Closed;
            takes && settings.max_connections < usize::MAX
        })
    }

    /// A request has ended.
    pub(super) fn tell_of_place(&self) {
        let vacancy = &self.shared.vacancy;
        if vacancy.waiting.load(Ordering::SeqCst) > 0
            && let Some(usher) = vacancy.usher.get().and_then(Weak::upgrade)
        {
            usher.call(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::upstream::lease::Lease;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Usher for Told {
        fn call(&self, upstream: &str) {
            self.0.lock().push(upstream.to_owned());
        }
    }

    #[test]
    fn only_who_waits_is_told_of_a_place() {
        let now = Instant::now();
        let upstream = Upstream::adjusted(|settings| settings.backends[0].max_connections = 2);
        let told = Arc::new(Told::default());
        let usher: Arc<dyn Usher> = Arc::<Told>::clone(&told);
        let lease = || Lease::new(&upstream, 0, Tier::Primary, now);
        assert_eq!((upstream.places(now), upstream.is_limited(now)), (2, true));
        let (one, two) = (lease().unwrap(), lease().unwrap());
        assert!(lease().is_none());
        assert_eq!(upstream.places(now), 0);
        drop(one);
        assert!(told.0.lock().is_empty());
        let waiting = [(); 2].map(|()| Waiting::begin(&upstream, Arc::downgrade(&usher)));
        assert_eq!((upstream.waiting(), upstream.places(now)), (2, 1));
        drop(two);
        assert_eq!(*told.0.lock(), ["u"]);
        let [first, last] = waiting;
        drop(first);
        assert_eq!(told.0.lock().len(), 2, "the next one");
        drop(last);
        assert_eq!((told.0.lock().len(), upstream.waiting()), (2, 0));
    }
    #[test]
    fn a_backend_on_trial_has_one_place() {
        let now = Instant::now();
        let upstream = Upstream::adjusted(|settings| {
            settings.backends[0].max_connections = 5;
            let other = crate::config::model::Backend {
                id: "other".into(),
                ..settings.backends[0].clone()
            };
            settings.backends.push(other);
            settings.ejection.failures = 1;
        });
        assert_eq!(upstream.places(now), 10);
        let failing = Lease::new(&upstream, 0, Tier::Primary, now).unwrap();
        assert!(
            failing
                .record_failure(std::time::Duration::ZERO, now)
                .is_some()
        );
        drop(failing);
        assert_eq!(upstream.places(now), 5);
        let later = now + std::time::Duration::from_secs(60);
        assert_eq!(upstream.places(later), 6);
        let _trial = Lease::new(&upstream, 0, Tier::Primary, later).unwrap();
        assert_eq!(upstream.places(later), 5);
    }
}
