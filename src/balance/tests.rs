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
