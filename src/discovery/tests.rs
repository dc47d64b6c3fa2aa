//! The thread that has names looked up, over a resolver that does what the test says.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::names::{self, Ask};
use super::{ASKS, Discovery, Membership, Source};
use crate::config::model::Backend;
use crate::drain::{Drain, Phase};
use crate::upstream::Upstream;
use crate::upstream::fleet::Fleet;

const PATIENCE: Duration = Duration::from_secs(20);

struct Nobody;

impl Membership for Nobody {
    fn found(&self, _: &str, _: Source, _: Vec<Backend>) {}
}

/// Names that hang until the test lets them go; all others are at 10.0.0.1. Counts the lookups.
struct Resolver {
    gates: HashMap<&'static str, Receiver<()>>,
    begun: Mutex<Vec<String>>,
}

struct Bench {
    fleet: Fleet,
    resolver: Arc<Resolver>,
    discovery: Discovery,
    drain: Drain,
    _gates: Vec<Sender<()>>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.drain.advance(Phase::Stopped);
    }
}

fn upstreams(backends: &str) -> Vec<Arc<Upstream>> {
    let text = format!(
        "[[upstream]]\nname = \"u\"\nbackends = [{backends}]\ndiscovery.dns_interval = \"1s\"\n"
    );
    let config = crate::config::load_str("test", &text).unwrap().config;
    let settings = config.upstreams.iter();
    settings.map(|one| Arc::new(Upstream::new(one))).collect()
}

fn bench(backends: &str, hanging: &[&'static str]) -> Bench {
    let (keys, gates): (Vec<_>, HashMap<_, _>) = hanging
        .iter()
        .map(|name| {
            let (key, gate) = bounded(0);
            (key, (*name, gate))
        })
        .unzip();
    let resolver = Arc::new(Resolver {
        gates,
        begun: Mutex::default(),
    });
    let look = {
        let resolver = Arc::clone(&resolver);
        move |host: &str| -> io::Result<Vec<IpAddr>> {
            resolver.begun.lock().push(host.to_owned());
            if let Some(gate) = resolver.gates.get(host) {
                let _ = gate.recv();
            }
            Ok(vec![[10, 0, 0, 1].into()])
        }
    };
    let fleet = Fleet::new(upstreams(backends));
    let (asks, asked) = bounded::<Ask>(ASKS);
    let drain = Drain::new();
    let nobody = Arc::new(Nobody);
    names::start(fleet.clone(), nobody, Arc::new(look), asked, &drain).unwrap();
    Bench {
        fleet,
        resolver,
        discovery: Discovery { asks },
        drain,
        _gates: keys,
    }
}

impl Bench {
    fn is_resolved(&self) -> Vec<bool> {
        let upstreams = self.fleet.upstreams();
        let backends = upstreams.iter().flat_map(|one| one.backends());
        backends.map(|backend| backend.is_resolved()).collect()
    }

    fn lookups(&self, host: &str) -> usize {
        let begun = self.resolver.begun.lock();
        begun.iter().filter(|one| *one == host).count()
    }
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn a_name_that_hangs_delays_no_other_and_is_looked_up_once() {
    let bench = bench("\"http://slow\", \"http://fast\"", &["slow"]);
    eventually("the other resolves", || {
        bench.is_resolved() == [false, true]
    });
    eventually("it is looked up again and again", || {
        bench.lookups("fast") > 2
    });
    assert_eq!(bench.lookups("slow"), 1);
    let begun = Instant::now();
    let patience = Duration::from_millis(100);
    bench.discovery.settle(bench.fleet.upstreams(), patience);
    assert!(begun.elapsed() >= patience, "it is not settled");
}

#[test]
fn who_waits_goes_on_as_soon_as_all_is_known() {
    let bench = bench("\"http://a\", \"http://b\", \"http://127.0.0.1\"", &[]);
    let begun = Instant::now();
    bench.discovery.settle(bench.fleet.upstreams(), PATIENCE);
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(bench.is_resolved(), [true, true, true]);
    // Also for those that are yet to come, so that they come with addresses.
    let later: Arc<[_]> = upstreams("\"http://a\", \"http://c\"").into();
    bench.discovery.settle(Arc::clone(&later), PATIENCE);
    assert!(later[0].backends().all(|backend| backend.is_resolved()));
    // And those that just come are found.
    bench.fleet.replace(upstreams("\"http://d\""));
    eventually("it is found", || bench.is_resolved() == [true]);
}
