//! Spread, weights, skipping, and never the same backend twice.

use std::time::Duration;

use super::*;
use crate::config::model::{Backend, BackendAddress, Duty, Key, Strategy};
use crate::upstream::backend::Skip;
use crate::upstream::health::{Health, Status};

const ALL: [Strategy; 6] = [
    Strategy::RoundRobin,
    Strategy::Random,
    Strategy::LeastConnections,
    Strategy::TwoChoices,
    Strategy::Fastest,
    Strategy::Hash(Key::ClientIp),
];

fn upstream(strategy: Strategy, weights: &[u32]) -> Arc<Upstream> {
    adjusted(strategy, weights, |_| ())
}

fn adjusted(
    strategy: Strategy,
    weights: &[u32],
    adjust: impl FnOnce(&mut model::Upstream),
) -> Arc<Upstream> {
    let at = BackendAddress::Tcp {
        host: "127.0.0.1".into(),
        port: 1,
    };
    let backend = |(index, weight): (usize, &u32)| Backend {
        weight: *weight,
        ..Backend::new(format!("b{index}"), at.clone())
    };
    Upstream::adjusted(|settings| {
        settings.balance = strategy;
        settings.backends = weights.iter().enumerate().map(backend).collect();
        settings.ejection.cooldown = Duration::from_secs(60);
        adjust(settings);
    })
}

fn make_unreachable(upstream: &Upstream, index: usize) {
    upstream.members[index].backend.set_health(Health {
        status: Status::Unreachable,
        ..Health::default()
    });
}

fn skip(upstream: &Upstream, index: usize, now: Instant) -> Option<Skip> {
    upstream.members[index].skip(now)
}

/// Fails until it is ejected, or not.
fn make_fail(upstream: &Arc<Upstream>, index: usize, now: Instant) {
    for _ in 0..5 {
        if let Some(lease) = Lease::new(upstream, index, Tier::Primary, now) {
            lease.record_failure(Duration::ZERO, now);
        }
    }
}

fn with_key(key: u64) -> Wish {
    Wish { key, stick: None }
}

fn picks(upstream: &Arc<Upstream>, balancer: &Balancer, count: usize) -> Vec<String> {
    (0..count)
        .map(|_| {
            balancer
                .candidates(upstream, with_key(rand::random()))
                .next()
                .unwrap()
                .backend()
                .id
                .to_string()
        })
        .collect()
}

fn counts(picks: &[String], backends: usize) -> Vec<usize> {
    (0..backends)
        .map(|index| {
            picks
                .iter()
                .filter(|id| **id == format!("b{index}"))
                .count()
        })
        .collect()
}

#[test]
fn round_robin_is_smooth_and_follows_weights() {
    let upstream = upstream(Strategy::RoundRobin, &[5, 1, 1]);
    let balancer = Balancer::new(&upstream);
    assert_eq!(
        picks(&upstream, &balancer, 7).join(" "),
        "b0 b0 b1 b0 b2 b0 b0"
    );
    assert_eq!(
        counts(&picks(&upstream, &balancer, 700), 3),
        [500, 100, 100]
    );
}

#[test]
fn random_follows_weights_within_five_sigma() {
    let upstream = upstream(Strategy::Random, &[3, 1]);
    let balancer = Balancer::new(&upstream);
    let first = counts(&picks(&upstream, &balancer, 10_000), 2)[0] as f64;
    // Binomial: mean 7500, sigma sqrt(10000 * 0.75 * 0.25) = 43.3.
    assert!((first - 7500.0).abs() < 217.0, "{first}");
}

#[test]
fn unreachable_disabled_and_draining_backends_get_nothing_by_any_strategy() {
    for strategy in ALL {
        let upstream = adjusted(strategy, &[1, 1, 1, 1], |settings| {
            settings.backends[2].duty = Duty::Disabled;
            settings.backends[3].duty = Duty::Draining;
        });
        let balancer = Balancer::new(&upstream);
        make_unreachable(&upstream, 1);
        let counts = counts(&picks(&upstream, &balancer, 100), 4);
        assert_eq!(counts, [100, 0, 0, 0], "{:?}", upstream.settings.balance);
    }
}

#[test]
fn backups_are_used_when_no_primary_is_by_any_strategy() {
    for strategy in ALL {
        let upstream = adjusted(strategy, &[1, 1], |settings| {
            settings.backends[0].is_backup = true;
        });
        let balancer = Balancer::new(&upstream);
        assert_eq!(counts(&picks(&upstream, &balancer, 50), 2), [0, 50]);
        let both: Vec<String> = balancer
            .candidates(&upstream, Wish::default())
            .map(|lease| lease.backend().id.to_string())
            .collect();
        assert_eq!(both, ["b1", "b0"], "a retry goes to the backup");
        make_unreachable(&upstream, 1);
        assert_eq!(counts(&picks(&upstream, &balancer, 50), 2), [50, 0]);
    }
}

#[test]
fn a_full_backend_is_passed_over_by_any_strategy() {
    for strategy in ALL {
        let upstream = adjusted(strategy, &[1, 1], |settings| {
            settings.backends[0].max_connections = 2;
            settings.backends[1].max_connections = 3;
        });
        let balancer = Balancer::new(&upstream);
        let take = || {
            balancer
                .candidates(&upstream, with_key(rand::random()))
                .next()
        };
        let mut held: Vec<Lease> = (0..5).map(|_| take().unwrap()).collect();
        let active: Vec<usize> = upstream.backends().map(|one| one.active()).collect();
        assert_eq!(active, [2, 3]);
        assert!(take().is_none());
        held.pop();
        assert!(take().is_some());
    }
}

#[test]
fn a_slow_start_is_a_ramp_and_not_a_burst() {
    let whole = Duration::from_secs(10);
    for strategy in [
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::TwoChoices,
        Strategy::Hash(Key::ClientIp),
    ] {
        let upstream = adjusted(strategy, &[1, 1], |settings| settings.slow_start = whole);
        let balancer = Balancer::new(&upstream);
        let start = Instant::now() + Duration::from_secs(1);
        upstream.members[1].backend.join(start);
        // Its part of 4000 picks, after so many tenths of the time.
        let part = |tenths: u32| {
            let now = start + whole / 10 * tenths;
            let leases = (0..4000).map(|_| {
                balancer
                    .candidates(&upstream, with_key(rand::random()))
                    .next_at(now)
                    .unwrap()
            });
            leases.filter(|lease| &*lease.backend().id == "b1").count()
        };
        let parts = [part(0), part(3), part(10)];
        let what = format!("{:?} {parts:?}", upstream.settings.balance);
        // 5 % against 100 %, 30 % against 100 %, half; for p2c chance does the same. The hash gives it that part of its own half.
        assert!((50..400).contains(&parts[0]), "{what}");
        assert!((400..1200).contains(&parts[1]), "{what}");
        assert!((1700..2300).contains(&parts[2]), "{what}");
    }
}

#[test]
fn one_exchange_never_gets_a_backend_twice() {
    let upstream = upstream(Strategy::Random, &[1, 1, 1]);
    let balancer = Balancer::new(&upstream);
    let mut ids: Vec<String> = balancer
        .candidates(&upstream, Wish::default())
        .map(|lease| lease.backend().id.to_string())
        .collect();
    ids.sort();
    assert_eq!(ids, ["b0", "b1", "b2"]);
}

#[test]
fn ejected_backends_come_back_and_the_last_one_is_never_ejected() {
    let upstream = upstream(Strategy::RoundRobin, &[1, 1]);
    let now = Instant::now();
    make_fail(&upstream, 0, now);
    assert!(!upstream.is_failing_open(now));
    make_fail(&upstream, 1, now);
    assert!(skip(&upstream, 0, now).is_some());
    assert!(skip(&upstream, 1, now).is_none());
    assert!(upstream.is_failing_open(now));
    assert!(skip(&upstream, 0, now + Duration::from_secs(61)).is_none());
}

#[test]
fn one_request_at_a_time_shows_whether_a_backend_is_back() {
    let upstream = upstream(Strategy::RoundRobin, &[1, 1]);
    let balancer = Balancer::new(&upstream);
    let start = Instant::now();
    make_fail(&upstream, 0, start);
    let later = start + Duration::from_secs(61);
    let take = || {
        balancer
            .candidates(&upstream, Wish::default())
            .next_at(later)
            .unwrap()
    };
    let held: Vec<Lease> = (0..6).map(|_| take()).collect();
    let mut trials = held.iter().filter(|lease| &*lease.backend().id == "b0");
    let trial = trials.next().unwrap();
    assert!(trials.next().is_none(), "one at a time");
    assert_eq!(skip(&upstream, 0, later), Some(Skip::Probing));
    trial.record_answer(false, Duration::ZERO, later);
    assert_eq!(skip(&upstream, 0, later), None);
}

#[test]
fn in_need_an_ejected_backend_is_better_than_none() {
    let upstream = upstream(Strategy::RoundRobin, &[1, 1]);
    let balancer = Balancer::new(&upstream);
    let now = Instant::now();
    make_fail(&upstream, 0, now);
    // Another backend is there, so a retry has none.
    let ids = |balancer: &Balancer| {
        let mut candidates = balancer.candidates(&upstream, Wish::default());
        let leases = std::iter::from_fn(|| candidates.next_at(now));
        leases
            .map(|lease| lease.backend().id.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&balancer), ["b1"]);
    make_unreachable(&upstream, 1);
    assert_eq!(ids(&balancer), ["b0"]);
    assert!(upstream.is_failing_open(now) && upstream.can_serve(now) && !upstream.has_usable(now));
}

#[test]
fn who_is_slower_than_the_others_is_ejected() {
    let upstream = adjusted(Strategy::RoundRobin, &[1, 1, 1], |settings| {
        settings.ejection.slow_factor = 3;
        settings.ejection.min_requests = 5;
    });
    let now = Instant::now();
    for (index, millis) in [(0, 20), (1, 30), (2, 500)] {
        for _ in 0..5 {
            let lease = Lease::new(&upstream, index, Tier::Primary, now).unwrap();
            lease.record_answer(false, Duration::from_millis(millis), now);
        }
    }
    let ejected = upstream.eject_slow(now);
    let ids: Vec<&str> = ejected.iter().map(|(backend, _)| &*backend.id).collect();
    assert_eq!(ids, ["b2"]);
    assert!(matches!(
        skip(&upstream, 2, now),
        Some(Skip::Ejected { .. })
    ));
    assert!(upstream.eject_slow(now).is_empty());
}

#[test]
fn a_successor_knows_what_was_known() {
    let before = upstream(Strategy::RoundRobin, &[1, 1]);
    let now = Instant::now();
    let held = Lease::new(&before, 1, Tier::Primary, now);
    make_fail(&before, 0, now);
    let mut settings = before.settings.clone();
    settings.backends[0].weight = 7;
    settings
        .backends
        .push(Backend::new("b2", settings.backends[0].at.clone()));
    let after = Arc::new(before.successor(&settings, now));
    assert!(skip(&after, 0, now).is_some());
    assert_eq!(after.members[0].settings.weight, 7);
    assert_eq!(after.members[1].backend.active(), 1);
    drop(held);
    assert_eq!(after.members[1].backend.active(), 0);
    // The same id at another address is another backend.
    settings.backends[0].at = BackendAddress::Tcp {
        host: "127.0.0.1".into(),
        port: 2,
    };
    assert_eq!(skip(&after.successor(&settings, now), 0, now), None);
}

#[test]
fn a_client_sticks_to_its_backend_as_long_as_it_is_there() {
    let upstream = adjusted(Strategy::RoundRobin, &[1, 1, 1], |settings| {
        settings.backends[2].duty = Duty::Draining;
    });
    let balancer = Balancer::new(&upstream);
    let id = |stick| {
        let wish = Wish {
            key: 0,
            stick: Some(stick),
        };
        let mut candidates = balancer.candidates(&upstream, wish);
        candidates.next().unwrap().backend().id.to_string()
    };
    for _ in 0..5 {
        assert_eq!(id(1), "b1");
        assert_eq!(id(2), "b2", "it is being emptied, not shut");
    }
    make_unreachable(&upstream, 1);
    assert_eq!(id(1), "b0");
}

#[test]
fn leases_count_what_is_active() {
    let upstream = upstream(Strategy::RoundRobin, &[1]);
    let balancer = Balancer::new(&upstream);
    let lease = balancer
        .candidates(&upstream, Wish::default())
        .next()
        .unwrap();
    assert_eq!(lease.backend().totals().active, 1);
    drop(lease);
    assert_eq!(upstream.members[0].backend.totals().active, 0);
}

fn lease(upstream: &Arc<Upstream>, index: usize) -> Option<Lease> {
    Lease::new(upstream, index, Tier::Primary, Instant::now())
}

/// Leases for `counts` requests on each backend.
fn occupy(upstream: &Arc<Upstream>, counts: &[usize]) -> Vec<Lease> {
    let each = counts.iter().enumerate();
    each.flat_map(|(index, count)| (0..*count).filter_map(move |_| lease(upstream, index)))
        .collect()
}

#[test]
fn least_connections_goes_by_what_is_under_way_and_by_weight() {
    let upstream = upstream(Strategy::LeastConnections, &[1, 2, 1]);
    let balancer = Balancer::new(&upstream);
    let busy = occupy(&upstream, &[1, 2, 3]);
    // 1/1, 2/2, 3/1: the first two are equal and come in turn, by weight.
    assert_eq!(
        picks(&upstream, &balancer, 6).join(" "),
        "b1 b0 b1 b1 b0 b1"
    );
    drop(busy);
    let mut held = Vec::new();
    for _ in 0..400 {
        held.extend(balancer.candidates(&upstream, Wish::default()).next());
    }
    let active: Vec<usize> = upstream.backends().map(|one| one.active()).collect();
    assert_eq!(active, [100, 200, 100]);
}

#[test]
fn least_connections_takes_equals_in_turn_and_skips_the_unusable() {
    let upstream = upstream(Strategy::LeastConnections, &[1, 1, 1]);
    let balancer = Balancer::new(&upstream);
    make_unreachable(&upstream, 1);
    assert_eq!(counts(&picks(&upstream, &balancer, 300), 3), [150, 0, 150]);
}

#[test]
fn of_two_the_less_busy_one_is_taken() {
    let upstream = upstream(Strategy::TwoChoices, &[1, 1, 1, 1]);
    let balancer = Balancer::new(&upstream);
    let _busy = occupy(&upstream, &[9, 0, 0, 0]);
    // The busy one always loses, and each of the others is the lesser of a pair with it, or one of two equals.
    let counts = counts(&picks(&upstream, &balancer, 9000), 4);
    assert_eq!(counts[0], 0);
    // Binomial: mean 3000, sigma sqrt(9000 * 1/3 * 2/3) = 44.7; five of them.
    assert!(
        counts[1..].iter().all(|count| count.abs_diff(3000) < 224),
        "{counts:?}"
    );
}

#[test]
fn two_choices_keep_a_crowd_even() {
    let upstream = upstream(Strategy::TwoChoices, &[1; 10]);
    let balancer = Balancer::new(&upstream);
    let held: Vec<Lease> = (0..1000)
        .filter_map(|_| balancer.candidates(&upstream, Wish::default()).next())
        .collect();
    let active: Vec<usize> = upstream.backends().map(|one| one.active()).collect();
    // Random alone would differ by some 60; the better of two by a few (ln ln n / ln 2).
    assert!(
        active.iter().all(|active| active.abs_diff(100) <= 8),
        "{active:?}"
    );
    drop(held);
}

/// Who gets each of `keys` keys.
fn owners(upstream: &Arc<Upstream>, keys: u64) -> Vec<String> {
    let balancer = Balancer::new(upstream);
    let owner = |key| {
        let key = crate::config::model::hash("test", &u64::to_be_bytes(key));
        let lease = balancer.candidates(upstream, with_key(key)).next().unwrap();
        lease.backend().id.to_string()
    };
    (0..keys).map(owner).collect()
}

#[test]
fn when_one_leaves_only_its_keys_move_and_it_had_no_more_than_its_share() {
    const KEYS: u64 = 20_000;
    for count in [3, 8, 20] {
        let all = upstream(Strategy::Hash(Key::ClientIp), &vec![1; count]);
        let before = owners(&all, KEYS);
        let most = (KEYS as f64 * 1.3 / count as f64) as usize;
        for leaving in 0..count {
            let mut settings = all.settings.clone();
            settings.backends.remove(leaving);
            let after = owners(&Arc::new(all.successor(&settings, Instant::now())), KEYS);
            let moved = before
                .iter()
                .zip(&after)
                .filter(|(one, other)| one != other);
            let moved: Vec<_> = moved.collect();
            let left = format!("b{leaving}");
            assert!(moved.iter().all(|(one, _)| **one == left), "only its keys");
            assert!(moved.len() <= most, "{} of {most}", moved.len());
        }
    }
}

#[test]
fn hashing_is_the_same_every_time_and_follows_weights() {
    let upstream = upstream(Strategy::Hash(Key::ClientIp), &[3, 1]);
    let once = owners(&upstream, 10_000);
    assert_eq!(once, owners(&upstream, 10_000));
    let first = counts(&once, 2)[0];
    assert!(first.abs_diff(7500) < 750, "{first}");
}

#[test]
fn when_most_are_out_the_rest_share_the_keys() {
    let upstream = upstream(Strategy::Hash(Key::ClientIp), &[1; 40]);
    for index in 0..37 {
        make_unreachable(&upstream, index);
    }
    let counts = counts(&owners(&upstream, 3000), 40);
    assert!(counts[..37].iter().all(|count| *count == 0));
    assert!(
        counts[37..].iter().all(|count| count.abs_diff(1000) < 300),
        "{counts:?}"
    );
}

/// Asks as many times as there are milliseconds in `seconds`; a backend needs `time(id, second)` for an answer.
fn race(
    upstream: &Arc<Upstream>,
    balancer: &Balancer,
    seconds: std::ops::Range<u64>,
    time: impl Fn(&str) -> Duration,
) -> Vec<Vec<usize>> {
    let start = Instant::now();
    let second = |second: u64| {
        let mut counts = vec![0; upstream.members.len()];
        for milli in 0..1000 {
            let now = start + Duration::from_millis(second * 1000 + milli);
            let lease = balancer
                .candidates(upstream, Wish::default())
                .next_at(now)
                .unwrap();
            let id = lease.backend().id.to_string();
            counts[id[1..].parse::<usize>().unwrap()] += 1;
            lease.record_answer(false, time(&id), now);
        }
        counts
    };
    seconds.map(second).collect()
}

#[test]
fn the_fastest_gets_most_and_who_recovers_is_found() {
    let upstream = upstream(Strategy::Fastest, &[1, 1, 1]);
    let balancer = Balancer::new(&upstream);
    let millis = Duration::from_millis;
    let slow_first = |id: &str| if id == "b0" { millis(2) } else { millis(300) };
    let counts = race(&upstream, &balancer, 0..5, slow_first);
    assert!(counts.iter().all(|counts| counts[0] > 900), "{counts:?}");
    assert!(counts[4][1] > 0 && counts[4][2] > 0, "never forgotten");
    // One of the slow ones is now twice as fast as the fast one.
    let recovered = |id: &str| match id {
        "b0" => millis(2),
        "b1" => millis(1),
        _ => millis(300),
    };
    let counts = race(&upstream, &balancer, 5..15, recovered);
    assert!(counts[9][1] > 900, "{counts:?}");
}

#[test]
fn the_fastest_spreads_what_comes_at_once() {
    let upstream = upstream(Strategy::Fastest, &[1, 1]);
    let balancer = Balancer::new(&upstream);
    let held: Vec<Lease> = (0..100)
        .filter_map(|_| balancer.candidates(&upstream, Wish::default()).next())
        .collect();
    let active: Vec<usize> = upstream.backends().map(|one| one.active()).collect();
    assert_eq!(active, [50, 50]);
    drop(held);
}

#[test]
fn only_a_primary_that_is_well_is_asked_to_be_quicker() {
    let start = Instant::now();
    let upstream = adjusted(Strategy::RoundRobin, &[1, 1, 1], |settings| {
        settings.backends[2].is_backup = true;
    });
    let balancer = Balancer::new(&upstream);
    let next = |now| {
        let tried = Tried::from_slice(&[0]);
        let mut candidates = balancer.candidates_but(&upstream, Wish::default(), tried);
        let lease = candidates.next_passing(now);
        let id = lease.map(|lease| lease.backend().id.to_string());
        (id, candidates.into_tried().to_vec())
    };
    assert_eq!(next(start), (Some("b1".into()), vec![0, 1]));
    make_fail(&upstream, 1, start);
    assert_eq!(next(start), (None, vec![0]), "ejected, and a backup");
    let later = start + Duration::from_secs(61);
    assert_eq!(next(later), (None, vec![0]), "its trial is another's");
    make_unreachable(&upstream, 1);
    assert_eq!(next(later), (None, vec![0]));
}
