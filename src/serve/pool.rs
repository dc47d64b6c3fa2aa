//! A fixed pool of worker threads with a bounded queue. It knows nothing of HTTP.
//!
//! The worker that became idle last is woken first: its caches are warm and the rest can stay asleep. One crossbeam channel
//! for all would wake them in turn, which at 512 workers costs twice the CPU per request. So each worker has a mailbox for
//! one job, and the idle ones stand on a stack. What comes goes through one queue: idle workers are woken for it one after
//! another, and those who have just finished take from it too.
//!
//! A job may wait elsewhere in the middle, without a worker; it still counts as one of those that are worked on. One that was
//! set aside does not: it begins again, before the queue.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use parking_lot::{Mutex, MutexGuard};

/// What lies in a mailbox: a job, or the letter that ends the worker.
type Letter<J> = Option<J>;

/// Workers are woken two abreast at least: waking one takes a while, in which a core would have nothing to do.
const MIN_ABREAST: usize = 2;

/// A worker's stack: the deepest path measured (ureq, logging) stays under 64 KiB in a release build, and a debug build
/// needs about three times that.
const STACK: usize = 512 * 1024;

/// Workers and a queue.
pub(super) struct Pool<J> {
    shared: Arc<Shared<J>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared<J> {
    state: Mutex<State<J>>,
    mailboxes: Vec<Mailbox<J>>,
    capacity: usize,
    patience: Duration,
    /// Most workers that are woken at the same time: as many as can run.
    abreast: usize,
}

struct State<J> {
    /// Idle workers, the last one on top.
    idle: Vec<usize>,
    /// Jobs that have not begun, each with the moment since when it waits.
    queue: VecDeque<(Instant, J)>,
    /// Jobs that have begun and can go on.
    resumed: VecDeque<J>,
    /// Jobs that were set aside and may begin again, each with the moment since when it may.
    again: VecDeque<(Instant, J)>,
    /// Jobs that have begun and are not over: never more than workers, whether these work on them or not.
    begun: usize,
    /// Workers that have been woken and do not run yet. Once one does, it wakes the next one if there is still something to do.
    waking: usize,
    is_closed: bool,
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    ToTheEnd,
    /// It waits elsewhere, and will come back through [`Door::resume`].
    UntilItWaits,
    /// It waits elsewhere, for something that may have nothing to do with what others wait for: it gives its place back, and
    /// will come back through [`Door::begin_again`].
    SetAside,
}

/// The way back for jobs that wait.
pub(super) struct Door<J>(Arc<Shared<J>>);

/// How a worker is reached while it is idle.
struct Mailbox<J> {
    sender: Sender<Letter<J>>,
    /// Set by the worker before it stands on the stack.
    worker: OnceLock<Thread>,
}

/// Workers and queue at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Worker threads.
    pub workers: usize,
    /// Those that have a request, also while its backend is waited for.
    pub busy: usize,
    /// Requests that wait.
    pub queued: usize,
    /// Most that may wait.
    pub capacity: usize,
}

/// The queue is full, or the pool is closed: the job comes back.
pub(super) struct Rejected<J>(pub(super) J);

impl<J: Send + 'static> Pool<J> {
    /// Starts `workers` threads that `run` jobs; at most `capacity` wait, each no longer than `patience`.
    pub(super) fn start(
        workers: usize,
        capacity: usize,
        patience: Duration,
        run: impl Fn(J) -> Ran + Send + Sync + 'static,
    ) -> io::Result<Pool<J>> {
        let (mailboxes, letters): (Vec<_>, Vec<_>) = (0..workers).map(|_| mailbox()).unzip();
        let state = Mutex::new(State {
            idle: Vec::with_capacity(workers),
            queue: VecDeque::new(),
            resumed: VecDeque::new(),
            again: VecDeque::new(),
            begun: 0,
            waking: 0,
            is_closed: false,
        });
        let shared = Arc::new(Shared {
            state,
            mailboxes,
            capacity,
            patience,
            abreast: thread::available_parallelism()
                .map_or(MIN_ABREAST, |cores| cores.get().max(MIN_ABREAST)),
        });
        let run = Arc::new(run);
        let mut threads = Vec::with_capacity(workers);
        for (number, letters) in letters.into_iter().enumerate() {
            let (shared, run) = (Arc::clone(&shared), Arc::clone(&run));
            let work = move || shared.work(number, &letters, &*run);
            threads.push(
                thread::Builder::new()
                    .name(format!("worker-{number}"))
                    .stack_size(STACK)
                    .spawn(work)?,
            );
        }
        Ok(Pool {
            shared,
            threads: Mutex::new(threads),
        })
    }

    /// Gives `job`, which came at `now`, to an idle worker, or puts it into the queue. Never waits.
    pub(super) fn submit(&self, job: J, now: Instant) -> Result<(), Rejected<J>> {
        let workers = self.shared.mailboxes.len();
        let mut state = self.shared.state.lock();
        if state.is_closed {
            return Err(Rejected(job));
        }
        // What a worker will take in a moment does not count as waiting.
        let free = state.idle.len().min(workers.saturating_sub(state.begun));
        let free = free.saturating_sub(state.again.len());
        if state.queue.len() >= self.shared.capacity + free {
            return Err(Rejected(job));
        }
        state.queue.push_back((now, job));
        self.shared.wake_one(state);
        Ok(())
    }

    /// The way back for jobs that wait elsewhere.
    pub(super) fn door(&self) -> Door<J> {
        Door(Arc::clone(&self.shared))
    }

    /// Takes out what has waited too long for a worker, in the queue or to begin again.
    pub(super) fn expire(&self, now: Instant) -> Vec<J> {
        let mut expired = Vec::new();
        let patience = self.shared.patience;
        let mut state = self.shared.state.lock();
        let State { again, queue, .. } = &mut *state;
        for line in [again, queue] {
            while let Some((since, _)) = line.front()
                && now.saturating_duration_since(*since) >= patience
            {
                expired.extend(line.pop_front().map(|(_, job)| job));
            }
        }
        expired
    }

    pub(super) fn load(&self) -> Load {
        let state = self.shared.state.lock();
        let workers = self.shared.mailboxes.len();
        Load {
            workers,
            busy: state.begun,
            queued: state.queue.len(),
            capacity: self.shared.capacity,
        }
    }

    /// Lets the workers finish what they do, what waits and what is queued, then ends them.
    pub(super) fn shut_down(&self) {
        let mut state = self.shared.state.lock();
        state.is_closed = true;
        self.shared.end_idle(&mut state);
        drop(state);
        for thread in self.threads.lock().drain(..) {
            // Workers catch the panics of jobs, so joining cannot fail in a way that matters here.
            let _ = thread.join();
        }
    }
}

impl<J> Door<J> {
    /// Lets `jobs` go on, before any that have not begun.
    pub(super) fn resume(&self, jobs: &mut Vec<J>) {
        let mut state = self.0.state.lock();
        state.resumed.extend(jobs.drain(..));
        self.0.wake_one(state);
    }

    /// Lets a job that was set aside begin again, before those in the queue.
    pub(super) fn begin_again(&self, job: J) {
        let mut state = self.0.state.lock();
        state.again.push_back((Instant::now(), job));
        self.0.wake_one(state);
    }
}

impl<J> State<J> {
    /// The next thing to do: what can go on, else what may begin.
    fn take(&mut self, workers: usize) -> Option<J> {
        if let Some(job) = self.resumed.pop_front() {
            return Some(job);
        }
        if self.begun >= workers {
            return None;
        }
        let queued = || self.queue.pop_front();
        let (_, job) = self.again.pop_front().or_else(queued)?;
        self.begun += 1;
        Some(job)
    }
}

impl<J> Shared<J> {
    fn work(&self, number: usize, letters: &Receiver<Letter<J>>, run: &dyn Fn(J) -> Ran) {
        if let Some(mailbox) = self.mailboxes.get(number) {
            let _ = mailbox.worker.set(thread::current());
        }
        let mut last = Ran::UntilItWaits;
        while let Some(job) = self.next(number, letters, last) {
            // A panic costs this job only; whoever it belongs to answers when the job is dropped on the way out.
            last = catch_unwind(AssertUnwindSafe(|| run(job))).unwrap_or_else(|_| {
                log::error!("worker-{number} panicked on a request; it goes on");
                Ran::ToTheEnd
            });
        }
    }

    /// What to do next, or, if there is nothing, what comes then; `None` when the pool is closed and nothing is left.
    fn next(&self, number: usize, letters: &Receiver<Letter<J>>, last: Ran) -> Option<J> {
        {
            let mut state = self.state.lock();
            if last != Ran::UntilItWaits {
                state.begun = state.begun.saturating_sub(1);
            }
            if let Some(job) = state.take(self.mailboxes.len()) {
                return Some(job);
            }
            state.idle.push(number);
            self.end_idle(&mut state);
        }
        let job = wait_for(letters)?;
        let mut state = self.state.lock();
        state.waking = state.waking.saturating_sub(1);
        self.wake_one(state);
        Some(job)
    }

    /// Gives the next thing to do, if there is one, to the worker that became idle last; unless so many are on their way already
    /// that more could not run. Each wakes the next one before it begins; until then, those that are awake may have taken the
    /// rest.
    fn wake_one(&self, mut state: MutexGuard<'_, State<J>>) {
        if state.waking >= self.abreast || state.idle.is_empty() {
            return;
        }
        let Some(job) = state.take(self.mailboxes.len()) else {
            return;
        };
        let mailbox = state
            .idle
            .pop()
            .and_then(|worker| self.mailboxes.get(worker));
        state.waking += 1;
        drop(state);
        if let Some(mailbox) = mailbox {
            mailbox.put(Some(job));
        }
    }

    /// Once the pool is closed and nothing will come any more: sends the idle workers home.
    fn end_idle(&self, state: &mut State<J>) {
        let is_left = state.begun > 0 || !state.queue.is_empty() || !state.again.is_empty();
        if !state.is_closed || is_left {
            return;
        }
        for worker in state.idle.drain(..) {
            if let Some(mailbox) = self.mailboxes.get(worker) {
                mailbox.put(None);
            }
        }
    }
}

fn mailbox<J>() -> (Mailbox<J>, Receiver<Letter<J>>) {
    let (sender, letters) = bounded(1);
    let worker = OnceLock::new();
    (Mailbox { sender, worker }, letters)
}

impl<J> Mailbox<J> {
    fn put(&self, letter: Letter<J>) {
        // An idle worker's mailbox is empty, and a worker has no other way to end: this neither waits nor fails.
        let _ = self.sender.try_send(letter);
        if let Some(worker) = self.worker.get() {
            worker.unpark();
        }
    }
}

/// Sleeps until there is a letter. (The channel's own waiting would first spin, which costs those who have work to do.)
fn wait_for<J>(letters: &Receiver<Letter<J>>) -> Option<J> {
    loop {
        match letters.try_recv() {
            Ok(letter) => return letter,
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const LONG: Duration = Duration::from_secs(60);

    /// A pool whose jobs announce their worker and then wait for a permit.
    fn gated(workers: usize, capacity: usize) -> (Pool<u32>, Receiver<(u32, String)>, Sender<()>) {
        let (begun_sender, begun) = bounded(100);
        let (permits, gate) = bounded(100);
        let pool = Pool::start(workers, capacity, Duration::ZERO, move |job| {
            begun_sender
                .send((job, thread::current().name().unwrap().to_owned()))
                .unwrap();
            let () = gate.recv().unwrap();
            Ran::ToTheEnd
        });
        (pool.unwrap(), begun, permits)
    }

    fn wait_idle(pool: &Pool<u32>) {
        let deadline = Instant::now() + LONG;
        while pool.shared.state.lock().idle.len() < pool.shared.mailboxes.len() {
            assert!(Instant::now() < deadline, "workers stay busy");
            thread::yield_now();
        }
    }

    #[test]
    fn the_worker_that_became_idle_last_is_woken_first() {
        let (pool, begun, permits) = gated(8, 0);
        wait_idle(&pool);
        let mut names = Vec::new();
        for job in 0..20 {
            assert!(pool.submit(job, Instant::now()).is_ok());
            names.push(begun.recv().unwrap().1);
            permits.send(()).unwrap();
            wait_idle(&pool);
        }
        names.dedup();
        assert_eq!(names.len(), 1, "{names:?}");
        pool.shut_down();
    }

    #[test]
    fn a_full_queue_gives_the_job_back_and_nothing_is_lost() {
        let (pool, begun, permits) = gated(1, 2);
        wait_idle(&pool);
        assert!(pool.submit(1, Instant::now()).is_ok());
        assert_eq!(begun.recv().unwrap().0, 1);
        assert!(pool.submit(2, Instant::now()).is_ok() && pool.submit(3, Instant::now()).is_ok());
        assert!(matches!(pool.submit(4, Instant::now()), Err(Rejected(4))));
        assert_eq!(
            pool.load(),
            Load {
                workers: 1,
                busy: 1,
                queued: 2,
                capacity: 2
            }
        );
        for _ in 0..3 {
            permits.send(()).unwrap();
        }
        assert_eq!((begun.recv().unwrap().0, begun.recv().unwrap().0), (2, 3));
        pool.shut_down();
        assert!(matches!(pool.submit(5, Instant::now()), Err(Rejected(5))));
    }

    #[test]
    fn what_waits_too_long_comes_back() {
        let (pool, begun, permits) = gated(1, 10);
        wait_idle(&pool);
        assert!(pool.submit(1, Instant::now()).is_ok());
        begun.recv().unwrap();
        assert!(pool.submit(2, Instant::now()).is_ok());
        assert_eq!(pool.expire(Instant::now()), [2]);
        pool.door().begin_again(3);
        assert_eq!(pool.expire(Instant::now()), [3], "called, and no worker");
        permits.send(()).unwrap();
        pool.shut_down();
    }

    #[test]
    fn what_is_set_aside_takes_nobodys_place_and_begins_before_the_queue() {
        let (sender, ran) = bounded(100);
        let pool = Pool::start(1, 100, LONG, move |job: (u32, Ran)| {
            sender.send(job).unwrap();
            job.1
        });
        let pool = pool.unwrap();
        let submit = |job| assert!(pool.submit(job, Instant::now()).is_ok());
        submit((1, Ran::SetAside));
        submit((2, Ran::UntilItWaits));
        submit((3, Ran::ToTheEnd));
        let next = || ran.recv().unwrap().0;
        assert_eq!([next(), next()], [1, 2]);
        // The only place is taken by the second: neither the first nor the third can begin.
        pool.door().begin_again((1, Ran::ToTheEnd));
        assert_eq!((pool.load().busy, pool.load().queued), (1, 1));
        assert!(ran.is_empty());
        pool.door().resume(&mut vec![(2, Ran::ToTheEnd)]);
        assert_eq!([next(), next(), next()], [2, 1, 3]);
        pool.shut_down();
    }

    /// A number, and whether it ends this time or waits elsewhere.
    type Job = (u32, bool);

    /// A pool whose jobs say when they are run.
    fn waiting(workers: usize) -> (Pool<Job>, Receiver<Job>) {
        let (sender, ran) = bounded(1000);
        let pool = Pool::start(workers, 100, LONG, move |job: Job| {
            sender.send(job).unwrap();
            if job.1 {
                Ran::ToTheEnd
            } else {
                Ran::UntilItWaits
            }
        });
        (pool.unwrap(), ran)
    }

    #[test]
    fn a_job_that_waits_keeps_its_place() {
        let (pool, ran) = waiting(2);
        for job in 0..4 {
            assert!(pool.submit((job, false), Instant::now()).is_ok());
        }
        let mut begun = [ran.recv().unwrap(), ran.recv().unwrap()];
        begun.sort_unstable();
        assert_eq!(begun, [(0, false), (1, false)]);
        wait_for_queue(&pool, 2);
        assert_eq!((pool.load().busy, ran.is_empty()), (2, true));
        pool.door().resume(&mut vec![(1, true)]);
        assert_eq!(ran.recv().unwrap(), (1, true));
        assert_eq!(ran.recv().unwrap(), (2, false));
        wait_for_queue(&pool, 1);
        assert!(ran.is_empty());
        // What has begun goes before what has not.
        pool.door().resume(&mut vec![(0, true), (2, true)]);
        let mut rest: Vec<_> = (0..3).map(|_| ran.recv().unwrap()).collect();
        rest.sort_unstable();
        assert_eq!(rest, [(0, true), (2, true), (3, false)]);
        pool.door().resume(&mut vec![(3, true)]);
        pool.shut_down();
    }

    fn wait_for_queue(pool: &Pool<Job>, length: usize) {
        let deadline = Instant::now() + LONG;
        while pool.load().queued != length {
            assert!(Instant::now() < deadline, "{:?}", pool.load());
            thread::yield_now();
        }
    }

    #[test]
    fn the_end_waits_for_jobs_that_wait() {
        let (pool, ran) = waiting(3);
        let pool = Arc::new(pool);
        for job in 0..3 {
            assert!(pool.submit((job, false), Instant::now()).is_ok());
        }
        for _ in 0..3 {
            ran.recv().unwrap();
        }
        let ending = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.shut_down())
        };
        for job in 0..3 {
            assert!(!ending.is_finished());
            pool.door().resume(&mut vec![(job, true)]);
            assert_eq!(ran.recv().unwrap(), (job, true));
        }
        ending.join().unwrap();
    }

    #[test]
    fn no_job_is_lost_or_done_twice_however_they_come() {
        let total = 20_000;
        let (again, resumed) = bounded::<Job>(1 << 16);
        let done = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&done);
        let pool = Pool::start(8, 1 << 16, LONG, move |job: Job| {
            if job.1 || job.0.is_multiple_of(3) {
                counted.fetch_add(1, Ordering::Relaxed);
                return Ran::ToTheEnd;
            }
            again.send((job.0, true)).unwrap();
            Ran::UntilItWaits
        });
        let pool = pool.unwrap();
        let door = pool.door();
        let waker = thread::spawn(move || {
            while let Ok(job) = resumed.recv() {
                let mut batch: Vec<_> = std::iter::once(job).chain(resumed.try_iter()).collect();
                door.resume(&mut batch);
            }
        });
        for job in 0..total {
            assert!(pool.submit((job, false), Instant::now()).is_ok());
        }
        pool.shut_down();
        assert_eq!(done.load(Ordering::Relaxed), total as usize);
        drop(pool);
        waker.join().unwrap();
    }

    #[test]
    fn a_panic_costs_one_job() {
        let done = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&done);
        let pool = Pool::start(2, 100, LONG, move |job: u32| {
            assert!(!job.is_multiple_of(10), "job {job} panics on purpose");
            counted.fetch_add(1, Ordering::Relaxed);
            Ran::ToTheEnd
        });
        let pool = pool.unwrap();
        for job in 0..100 {
            assert!(pool.submit(job, Instant::now()).is_ok());
        }
        pool.shut_down();
        assert_eq!(done.load(Ordering::Relaxed), 90);
    }
}
