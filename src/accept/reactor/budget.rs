//! Memory for what slow clients have not taken yet: one bound for all connections together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much one answer may leave behind for delivery, so that its worker is free.
pub(super) const PER_ANSWER: usize = 1 << 20;
/// The same for all answers together.
pub(super) const FOR_ALL: usize = 64 << 20;

/// The bound.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicUsize,
}

/// Bytes taken out of the budget; they go back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Arc<Budget> {
        Arc::new(Budget {
            left: AtomicUsize::new(bytes),
        })
    }

    /// Whether `bytes` are left. Somebody else may take them the next moment.
    pub(super) fn has(&self, bytes: usize) -> bool {
        self.left.load(Ordering::Relaxed) >= bytes
    }

    /// An empty share, to be grown.
    pub(super) fn share(self: &Arc<Budget>) -> Share {
        Share {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }
}

impl Share {
    /// Takes `bytes` more. False: there are not that many left; nothing is taken then.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let taken = self
            .budget
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            });
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }

    /// Takes what is missing up to `bytes`, or nothing where that many are not left.
    pub(super) fn grow_to(&mut self, bytes: usize) {
        let _ = self.grow(bytes.saturating_sub(self.bytes));
    }

    /// Gives back what is more than `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.budget.left.fetch_add(surplus, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_one_for_all_and_comes_back() {
        let budget = Budget::new(10);
        let (mut one, mut two) = (budget.share(), budget.share());
        assert!(one.grow(6) && !two.grow(5) && two.grow(4));
        one.shrink_to(2);
        assert!(two.grow(4) && !two.grow(1));
        drop(two);
        assert!(one.grow(8));
        drop(one);
        assert_eq!(budget.left.load(Ordering::Relaxed), 10);
    }
}
