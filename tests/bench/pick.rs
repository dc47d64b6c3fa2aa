//! What a pick costs: 100 backends, by every strategy, on one thread and on 8 that pick from the same upstream.
//!
//! `cargo bench --bench pick`. A pick is everything between a request and its backend: the next candidate, its lease, and the
//! lease's end. Figures are the best of many short rounds: what else the machine does can only make them worse.
#![allow(clippy::expect_used, clippy::print_stdout)]

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use tollgate::balance::{Balancer, Wish};
use tollgate::config;
use tollgate::upstream::Upstream;

const BACKENDS: usize = 100;
const THREADS: usize = 8;
const ROUNDS: usize = 100;

/// Picks of one round, by all threads together.
const PICKS: usize = 16_000;

const STRATEGIES: [&str; 6] = [
    "round_robin",
    "random",
    "least_connections",
    "p2c",
    "fastest",
    "hash",
];

/// One upstream, and who picks from it.
struct Group {
    upstream: Arc<Upstream>,
    balancer: Balancer,
}

impl Group {
    fn new(strategy: &str) -> Group {
        let backends: Vec<String> = (1..=BACKENDS)
            .map(|port| format!("\"http://127.0.0.1:{port}\""))
            .collect();
        let text = format!(
            "[[upstream]]\nname = \"u\"\nbalance = \"{strategy}\"\nbackends = [{}]",
            backends.join(", ")
        );
        let config = config::load_str("bench", &text)
            .expect("a valid configuration")
            .config;
        let settings = config.upstreams.first().expect("an upstream");
        let upstream = Arc::new(Upstream::new(settings));
        let balancer = Balancer::new(&upstream);
        let group = Group { upstream, balancer };
        group.answer_all();
        group
    }

    /// Every backend has answered, in a time of its own.
    fn answer_all(&self) {
        let now = Instant::now();
        for (number, backend) in (1..).zip(self.upstream.backends()) {
            backend
                .speed
                .restore(Duration::from_micros(500 + number), now);
        }
    }

    /// Picks so many times, each for another key.
    fn pick(&self, count: usize, mut key: u64) {
        for _ in 0..count {
            key = key
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let wish = Wish { key, stick: None };
            let lease = self.balancer.candidates(&self.upstream, wish).next();
            drop(black_box(lease).expect("somebody to pick"));
        }
    }

    /// How long it takes from the first thread's begin to the last one's end.
    fn round(&self, threads: usize) -> Duration {
        let barrier = Barrier::new(threads);
        let work = |number: usize| {
            barrier.wait();
            let begun = Instant::now();
            self.pick(PICKS / threads, number as u64);
            (begun, Instant::now())
        };
        let times: Vec<(Instant, Instant)> = thread::scope(|scope| {
            let handles: Vec<_> = (0..threads)
                .map(|number| {
                    let work = &work;
                    scope.spawn(move || work(number))
                })
                .collect();
            handles
                .into_iter()
                .filter_map(|handle| handle.join().ok())
                .collect()
        });
        let begun = times.iter().map(|(begun, _)| *begun).min();
        let ended = times.iter().map(|(_, ended)| *ended).max();
        begun
            .zip(ended)
            .map_or(Duration::MAX, |(begun, ended)| ended - begun)
    }

    fn best(&self, threads: usize) -> Duration {
        let rounds = (0..ROUNDS).map(|_| self.round(threads));
        rounds.min().unwrap_or_default()
    }
}

fn main() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{BACKENDS} backends, {cores} cores; ns of wall time for each pick, and picks per second in all"
    );
    println!(
        "{:18} {:>10} {:>14} {:>16}",
        "", "1 thread", "8 threads", "8 threads"
    );
    for strategy in STRATEGIES {
        let group = Group::new(strategy);
        let [one, all] =
            [1, THREADS].map(|threads| group.best(threads).as_secs_f64() / PICKS as f64);
        println!(
            "{strategy:18} {:>7.0} ns {:>11.0} ns {:>14.0}/s",
            one * 1e9,
            all * 1e9,
            1.0 / all
        );
    }
}
