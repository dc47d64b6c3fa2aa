//! Who is much slower than the others. Pure.

use std::time::Duration;

/// Those whose time is more than `factor` times the median of the others', and more than `floor`. With fewer than two others
/// there is nothing to compare with.
pub(super) fn slow<T>(times: Vec<(T, Duration)>, factor: u32, floor: Duration) -> Vec<T> {
    let all: Vec<Duration> = times.iter().map(|(_, time)| *time).collect();
    let is_slow = |(index, (who, time)): (usize, (T, Duration))| {
        let mut others: Vec<Duration> = all
            .iter()
            .enumerate()
            .filter_map(|(other, time)| (other != index).then_some(*time))
            .collect();
        let median = median(&mut others)?;
        (time > floor && time > median.saturating_mul(factor)).then_some(who)
    };
    times.into_iter().enumerate().filter_map(is_slow).collect()
}

fn median(times: &mut [Duration]) -> Option<Duration> {
    if times.len() < 2 {
        return None;
    }
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow_of(millis: &[u64]) -> Vec<usize> {
        let times = millis.iter().map(|millis| Duration::from_millis(*millis));
        slow(times.enumerate().collect(), 3, Duration::from_millis(20))
    }

    #[test]
    fn one_that_is_out_of_line() {
        assert_eq!(slow_of(&[10, 11, 90, 12]), [2]);
        assert_eq!(slow_of(&[10, 11, 29, 12]), [] as [usize; 0]);
        assert_eq!(slow_of(&[1, 1, 19]), [] as [usize; 0], "below the floor");
        assert_eq!(slow_of(&[1, 500]), [] as [usize; 0], "who is odd of two?");
    }
}
