//! Something that a thread of its own does now and then, so that who wants it done waits for nothing. Never twice at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What is to be done, and whether it is being done.
#[derive(Debug)]
pub(super) struct Errand {
    name: &'static str,
    is_under_way: Arc<AtomicBool>,
}

/// Ends with the work, however that ends.
struct UnderWay(Arc<AtomicBool>);

impl Errand {
    /// `name` is that of its threads.
    pub(super) fn new(name: &'static str) -> Errand {
        Errand {
            name,
            is_under_way: Arc::default(),
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.is_under_way.load(Ordering::Acquire)
    }

    /// Has `work` done by a thread of its own, unless the last time is not over. That it cannot be started is logged.
    pub(super) fn run(&self, work: impl FnOnce() + Send + 'static) {
        if self.is_under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        let under_way = UnderWay(Arc::clone(&self.is_under_way));
        let work = move || {
            let _under_way = under_way;
            work();
        };
        let name = self.name;
        if let Err(error) = thread::Builder::new().name(name.into()).spawn(work) {
            log::error!("no thread for {name}: {error}");
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn it_waits_for_nothing_and_is_never_done_twice_at_a_time() {
        let errand = Errand::new("test");
        let (go, wait) = bounded::<()>(0);
        let (told, heard) = bounded(2);
        let first = told.clone();
        errand.run(move || {
            let _ = wait.recv();
            first.send("first").unwrap();
        });
        let second = told.clone();
        errand.run(move || second.send("second").unwrap());
        assert!(errand.is_under_way());
        drop(go);
        assert_eq!(heard.recv(), Ok("first"));
        while errand.is_under_way() {
            std::thread::yield_now();
        }
        errand.run(move || told.send("third").unwrap());
        assert_eq!(heard.recv(), Ok("third"));
        assert!(heard.recv().is_err(), "the second was left out");
    }
}
