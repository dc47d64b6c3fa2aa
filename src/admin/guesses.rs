//! How often somebody may be wrong about the token: bounds what can be guessed, however fast one asks.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Wrong tokens from one address within [`SPAN`]; then not even the right one is looked at, if it could be guessed.
const MOST: u32 = 10;
const SPAN: Duration = Duration::from_secs(60);
/// Addresses that are remembered; the one that began first is forgotten for a new one.
const ADDRESSES: usize = 1024;

/// Who was wrong lately.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    wrong: Mutex<HashMap<IpAddr, Wrong>>,
}

#[derive(Debug, Clone, Copy)]
struct Wrong {
    count: u32,
    since: Instant,
}

impl Guesses {
    /// How long nothing from this address is looked at. None: it may try.
    pub(super) fn pause(&self, from: IpAddr, now: Instant) -> Option<Duration> {
        let wrong = self.wrong.lock();
        let known = wrong
            .get(&network(from))
            .filter(|known| known.count >= MOST)?;
        let left = SPAN.checked_sub(now.saturating_duration_since(known.since))?;
        (!left.is_zero()).then_some(left)
    }

    /// Notes a token that was wrong.
    pub(super) fn note(&self, from: IpAddr, now: Instant) {
        let from = network(from);
        let mut wrong = self.wrong.lock();
        if wrong.len() >= ADDRESSES && !wrong.contains_key(&from) {
            let first = wrong.iter().min_by_key(|(_, known)| known.since);
            if let Some(first) = first.map(|(address, _)| *address) {
                wrong.remove(&first);
            }
        }
        let begin = Wrong {
            count: 0,
            since: now,
        };
        let known = wrong.entry(from).or_insert(begin);
        if now.saturating_duration_since(known.since) >= SPAN {
            *known = begin;
        }
        known.count = known.count.saturating_add(1);
    }
}

/// One who has an IPv6 address has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_may_be_wrong_then_a_minute_is_over() {
        let (guesses, start) = (Guesses::default(), Instant::now());
        let (one, neighbour) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
        );
        for _ in 0..MOST {
            assert_eq!(guesses.pause(one, start), None);
            guesses.note(one, start);
        }
        let later = start + Duration::from_secs(59);
        assert_eq!(
            guesses.pause(neighbour, later),
            Some(Duration::from_secs(1))
        );
        assert_eq!(guesses.pause("192.0.2.1".parse().unwrap(), later), None);
        assert_eq!(guesses.pause(one, start + SPAN), None);
        guesses.note(one, start + SPAN);
        assert_eq!(guesses.pause(one, start + SPAN), None);
    }

    #[test]
    fn no_crowd_takes_more_room() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for number in 0..5000 {
            guesses.note(IpAddr::V4(number.into()), now);
        }
        assert_eq!(guesses.wrong.lock().len(), ADDRESSES);
    }
}
