//! How many retries and hedges an upstream may get: a share of its requests, so that a backend in trouble is not buried under
//! what others could not do. Pure; time is passed in.

use std::time::Instant;

use crate::clock::nanos;
use crate::config::model;

/// Requests are counted over this many seconds.
const SECONDS: u64 = 10;

/// Requests and retries of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Budget {
    seconds: [Second; SECONDS as usize],
}

#[derive(Debug, Clone, Copy, Default)]
struct Second {
    number: u64,
    requests: u64,
    retries: u64,
}

impl Budget {
    /// A request came.
    pub(super) fn record_request(&mut self, now: Instant) {
        if let Some(second) = self.second(now) {
            second.requests += 1;
        }
    }

    /// Asks for one retry.
    pub(super) fn withdraw(&mut self, rules: &model::Retry, now: Instant) -> bool {
        let number = number(now);
        let (mut requests, mut retries) = (0, 0);
        for second in &self.seconds {
            if number - second.number.min(number) < SECONDS {
                requests += second.requests;
                retries += second.retries;
            }
        }
        let share = requests * u64::from(rules.budget_percent) / 100;
        let floor = u64::from(rules.budget_floor);
        let Some(second) = self.second(now) else {
            return false;
        };
        // A burst may have what the floor comes to in all, and is not missed by the seconds after it.
        let is_granted = retries < share.max(floor * SECONDS) || second.retries < floor;
        second.retries += u64::from(is_granted);
        is_granted
    }

    /// A retry that was granted is not made.
    pub(super) fn give_back(&mut self, now: Instant) {
        if let Some(second) = self.second(now) {
            second.retries = second.retries.saturating_sub(1);
        }
    }

    fn second(&mut self, now: Instant) -> Option<&mut Second> {
        let number = number(now);
        let place = usize::try_from(number % SECONDS).ok()?;
        let second = self.seconds.get_mut(place)?;
        if second.number != number {
            *second = Second {
                number,
                ..Second::default()
            };
        }
        Some(second)
    }
}

/// Seconds since some moment; never 0, which stands for a second that was not counted.
fn number(now: Instant) -> u64 {
    nanos(now) / 1_000_000_000 + SECONDS
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RULES: model::Retry = model::Retry {
        attempts: 2,
        slow: false,
        budget_percent: 20,
        budget_floor: 1,
        hedge: false,
    };

    fn granted(budget: &mut Budget, rules: &model::Retry, now: Instant) -> usize {
        (0..1000).filter(|_| budget.withdraw(rules, now)).count()
    }

    #[test]
    fn a_fifth_of_the_requests_of_the_last_seconds() {
        let start = Instant::now();
        let mut budget = Budget::default();
        for second in 0..10 {
            for _ in 0..50 {
                budget.record_request(start + Duration::from_secs(second));
            }
        }
        let now = start + Duration::from_secs(9);
        assert_eq!(granted(&mut budget, &RULES, now), 100);
        for second in 10..13 {
            let later = start + Duration::from_secs(second);
            assert_eq!(
                granted(&mut budget, &RULES, later),
                1,
                "the floor, in every second"
            );
        }
    }

    #[test]
    fn the_floor_holds_without_traffic_and_zero_is_none() {
        let now = Instant::now();
        assert_eq!(granted(&mut Budget::default(), &RULES, now), 10);
        let none = model::Retry {
            budget_percent: 0,
            budget_floor: 0,
            ..RULES
        };
        assert_eq!(granted(&mut Budget::default(), &none, now), 0);
    }
}
