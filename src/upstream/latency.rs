//! How long answers take lately, as a histogram, from which percentiles are read. Pure; time is passed in.
//!
//! Buckets grow with what they hold, so that a percentile is never more than an eighth too high.

use std::time::Duration;

/// Steps from one power of two to the next: 8, as 2 to this.
const STEP_BITS: u32 = 3;

/// Up to 2^27 microseconds: 134 s. What takes longer counts as that.
const BUCKETS: usize = 25 << STEP_BITS;

/// What is older than two of these is forgotten.
const HALF: u64 = 10_000_000_000;

/// With fewer answers there is nothing to go by.
const ENOUGH: u64 = 50;

/// A percentile that was read this lately still holds.
const FRESH: u64 = 50_000_000;

/// Times of the last 10 to 20 seconds. Moments are [`crate::clock::nanos`].
#[derive(Debug)]
pub(super) struct Latency {
    halves: [Half; 2],
    slow: Option<Duration>,
    read_at: u64,
}

#[derive(Debug)]
struct Half {
    number: u64,
    total: u64,
    counts: [u32; BUCKETS],
}

impl Default for Latency {
    fn default() -> Latency {
        let half = || Half {
            number: 0,
            total: 0,
            counts: [0; BUCKETS],
        };
        Latency {
            halves: [half(), half()],
            slow: None,
            read_at: 0,
        }
    }
}

impl Latency {
    /// An answer came after this time.
    pub(super) fn record(&mut self, after: Duration, now: u64) {
        let number = now / HALF;
        let [even, odd] = &mut self.halves;
        let half = if number.is_multiple_of(2) { even } else { odd };
        if half.number != number {
            half.number = number;
            half.total = 0;
            half.counts = [0; BUCKETS];
        }
        if let Some(count) = half.counts.get_mut(bucket(after)) {
            *count = count.saturating_add(1);
            half.total += 1;
        }
    }

    /// The time within which 95 of 100 answers come; `None` while there are too few.
    pub(super) fn slow_after(&mut self, now: u64) -> Option<Duration> {
        if self.slow.is_none() || now.saturating_sub(self.read_at) >= FRESH {
            self.slow = self.read(now);
            self.read_at = now;
        }
        self.slow
    }

    fn read(&self, now: u64) -> Option<Duration> {
        let number = now / HALF;
        let is_recent = |half: &&Half| number.saturating_sub(half.number) <= 1;
        let recent = || self.halves.iter().filter(is_recent);
        let total: u64 = recent().map(|half| half.total).sum();
        if total < ENOUGH {
            return None;
        }
        let wanted = (total * 95).div_ceil(100);
        let mut below = 0;
        (0..BUCKETS).find_map(|index| {
            let counts = recent().filter_map(|half| half.counts.get(index));
            below += counts.map(|count| u64::from(*count)).sum::<u64>();
            (below >= wanted).then(|| end(index))
        })
    }
}

/// Which bucket a time falls into.
fn bucket(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    // Below 8 there is a bucket for each; from there on 8 for every power of two.
    let power = micros.max(1).ilog2().saturating_sub(STEP_BITS);
    let base = u64::from(power) << STEP_BITS;
    let index = usize::try_from(base + (micros >> power)).unwrap_or(usize::MAX);
    index.min(BUCKETS - 1)
}

/// What every time in a bucket is below.
fn end(index: usize) -> Duration {
    let index = index as u64 + 1;
    let power = (index >> STEP_BITS).saturating_sub(1);
    let within = index - (power << STEP_BITS);
    Duration::from_micros(within << power)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn every_time_is_in_a_bucket_that_is_no_more_than_an_eighth_wider() {
        let times = (0..60_000).chain((0..3000).map(|step| step * 40_013));
        let mut last = 0;
        for micros in times {
            let time = Duration::from_micros(micros);
            let index = bucket(time);
            let end = end(index);
            assert!(time < end, "{time:?} {index} {end:?}");
            assert!(
                end <= time + time / 8 + Duration::from_micros(1),
                "{time:?} {end:?}"
            );
            last = last.max(index);
        }
        assert!(last < BUCKETS - 1);
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn it_takes_fifty_answers_and_forgets_them() {
        let start = 5 * HALF;
        let mut latency = Latency::default();
        for _ in 0..49 {
            latency.record(millis(10), start);
        }
        assert_eq!(latency.slow_after(start), None);
        latency.record(millis(10), start);
        let slow = latency.slow_after(start).unwrap();
        assert!(slow >= millis(10) && slow < millis(12), "{slow:?}");
        assert!(latency.slow_after(start + 19 * SECOND).is_some());
        assert_eq!(latency.slow_after(start + 20 * SECOND), None);
    }

    #[test]
    fn the_slow_twentieth_is_above_it() {
        let now = 5 * HALF;
        let mut latency = Latency::default();
        for number in 0..1000 {
            let time = if number % 100 < 4 { 900 } else { 10 };
            latency.record(millis(time), now + (number % 2) * HALF);
        }
        let slow = latency.slow_after(now + HALF).unwrap();
        assert!(slow < millis(12), "four in a hundred are slow: {slow:?}");
        for _ in 0..100 {
            latency.record(millis(900), now + HALF);
        }
        let slow = latency.slow_after(now + HALF + SECOND).unwrap();
        assert!(slow >= millis(900), "{slow:?}");
    }
}
