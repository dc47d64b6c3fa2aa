//! Spread, weights, skipping, and never the same backend twice.

use std::time::Duration;

use super::*;
use crate::config::model;
use crate::upstream::health::{Health, Status};

fn upstream(strategy: Strategy, weights: &[u32]) -> Arc<Upstream> {
    let backends = weights
        .iter()
        .enumerate()
        .map(|(index, weight)| model::Backend {
            id: format!("b{index}"),
            at: crate::config::model::BackendAddress::Tcp {
                host: "127.0.0.1".into(),
                port: 1,
            },
            weight: *weight,
        })
        .collect();
    let text = "[[upstream]]\nname = \"u\"\nbackends = [\"http://127.0.0.1:1\"]";
    let mut settings = crate::config::load_str("test", text)
        .unwrap()
        .config
        .upstreams
        .remove(0);
    settings.balance = strategy;
    settings.backends = backends;
    settings.ejection.cooldown = Duration::from_secs(60);
    Arc::new(Upstream::new(&settings))
}

fn picks(upstream: &Arc<Upstream>, balancer: &Balancer, count: usize) -> Vec<String> {
    (0..count)
        .map(|_| {
            balancer
                .candidates(upstream)
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
fn unreachable_backends_are_skipped_by_both() {
    for strategy in [Strategy::RoundRobin, Strategy::Random] {
        let upstream = upstream(strategy, &[1, 1, 1]);
        let balancer = Balancer::new(&upstream);
        upstream.backends[1].set_health(Health {
            status: Status::Unreachable,
            ..Health::default()
        });
        let counts = counts(&picks(&upstream, &balancer, 300), 3);
        assert_eq!(counts[1], 0);
        assert!(counts[0] > 90 && counts[2] > 90, "{counts:?}");
    }
}

#[test]
fn one_exchange_never_gets_a_backend_twice() {
    let upstream = upstream(Strategy::Random, &[1, 1, 1]);
    let balancer = Balancer::new(&upstream);
    let mut ids: Vec<String> = balancer
        .candidates(&upstream)
        .map(|lease| lease.backend().id.to_string())
        .collect();
    ids.sort();
    assert_eq!(ids, ["b0", "b1", "b2"]);
}

#[test]
fn ejected_backends_come_back_and_the_last_one_is_never_ejected() {
    let upstream = upstream(Strategy::RoundRobin, &[1, 1]);
    let now = Instant::now();
    for backend in &upstream.backends {
        for _ in 0..5 {
            upstream.record_failure(backend, now);
        }
    }
    assert!(upstream.skip(0, now).is_some());
    assert!(upstream.skip(1, now).is_none());
    assert!(upstream.skip(0, now + Duration::from_secs(61)).is_none());
}

#[test]
fn leases_count_what_is_active() {
    let upstream = upstream(Strategy::RoundRobin, &[1]);
    let balancer = Balancer::new(&upstream);
    let lease = balancer.candidates(&upstream).next().unwrap();
    assert_eq!(lease.backend().totals().active, 1);
    drop(lease);
    assert_eq!(upstream.backends[0].totals().active, 0);
}

/// Leases for `counts` requests on each backend.
fn occupy(upstream: &Arc<Upstream>, counts: &[usize]) -> Vec<Lease> {
    let each = counts.iter().enumerate();
    each.flat_map(|(index, count)| (0..*count).filter_map(move |_| Lease::new(upstream, index)))
        .collect()
}

#[test]
fn least_connections_goes_by_what_is_under_way_and_by_weight() {
    let upstream = upstream(Strategy::LeastConnections, &[1, 2, 1]);
    let balancer = Balancer::new(&upstream);
    let busy = occupy(&upstream, &[1, 3, 3]);
    // (1+1)/1, (3+1)/2, (3+1)/1: the first two are equal and come in turn.
    assert_eq!(picks(&upstream, &balancer, 4).join(" "), "b0 b1 b0 b1");
    drop(busy);
    let mut held = Vec::new();
    for _ in 0..400 {
        held.extend(balancer.candidates(&upstream).next());
    }
    let active: Vec<usize> = upstream.backends.iter().map(|one| one.active()).collect();
    assert_eq!(active, [100, 200, 100]);
}

#[test]
fn least_connections_takes_equals_in_turn_and_skips_the_unusable() {
    let upstream = upstream(Strategy::LeastConnections, &[1, 1, 1]);
    let balancer = Balancer::new(&upstream);
    upstream.backends[1].set_health(Health {
        status: Status::Unreachable,
        ..Health::default()
    });
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
        .filter_map(|_| balancer.candidates(&upstream).next())
        .collect();
    let active: Vec<usize> = upstream.backends.iter().map(|one| one.active()).collect();
    // Random alone would differ by some 60; the better of two by a few (ln ln n / ln 2).
    assert!(
        active.iter().all(|active| active.abs_diff(100) <= 8),
        "{active:?}"
    );
    drop(held);
}
