//! The schedule of lookups, and what they change, without threads and without a resolver.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use parking_lot::Mutex;

use super::Round;
use crate::config::model::Backend;
use crate::discovery::{Membership, Source};
use crate::upstream::Upstream;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Membership for Told {
    fn found(&self, upstream: &str, source: Source, backends: Vec<Backend>) {
        let Source::Dns { backend } = source else {
            panic!("{source:?}")
        };
        let ids: Vec<String> = backends.into_iter().map(|one| one.id).collect();
        let text = format!("{upstream} {backend}: {}", ids.join(" "));
        self.0.lock().push(text);
    }
}

impl Told {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

fn upstreams(backends: &str) -> Vec<Arc<Upstream>> {
    let text = format!("[[upstream]]\nname = \"u\"\nbackends = [{backends}]\n");
    let config = crate::config::load_str("test", &text).unwrap().config;
    let settings = config.upstreams.iter();
    settings.map(|one| Arc::new(Upstream::new(one))).collect()
}

/// The names whose lookups begin at `now`.
fn begun(round: &mut Round, now: Instant) -> Vec<String> {
    let mut names = Vec::new();
    round.begin(now, |host| {
        names.push(host.to_string());
        true
    });
    names
}

fn found(addresses: &[&str]) -> Result<Vec<std::net::IpAddr>, String> {
    Ok(addresses.iter().map(|text| text.parse().unwrap()).collect())
}

#[test]
fn one_lookup_for_each_name_and_none_for_addresses() {
    let upstreams =
        upstreams("\"http://a\", \"http://a:81\", \"http://b\", \"http://127.0.0.1\", \"unix:/x\"");
    let (bell, _rings) = bounded(1);
    let (mut round, now) = (Round::default(), Instant::now());
    round.renew(&upstreams, &bell, now);
    assert_eq!(begun(&mut round, now), ["a", "b"]);
    assert!(begun(&mut round, now).is_empty(), "they are under way");
    assert!(!round.knows(&upstreams));
    round.conclude("a", found(&["10.0.0.1"]), now);
    let backends: Vec<_> = upstreams[0].backends().collect();
    assert_eq!(*backends[0].addresses(), ["10.0.0.1:80".parse().unwrap()]);
    assert_eq!(*backends[1].addresses(), ["10.0.0.1:81".parse().unwrap()]);
    assert!(!backends[2].is_resolved());
    round.conclude("b", Err("no".into()), now);
    assert!(round.knows(&upstreams), "b is known not to resolve");

    // Every 10 s, and every 2 s where nothing is known.
    assert_eq!(begun(&mut round, now + 2 * SECOND), ["b"]);
    assert_eq!(begun(&mut round, now + 9 * SECOND), [""; 0]);
    assert_eq!(begun(&mut round, now + 10 * SECOND), ["a"]);
    round.conclude("a", Err("no".into()), now + 10 * SECOND);
    assert_eq!(*backends[0].addresses(), ["10.0.0.1:80".parse().unwrap()]);
    assert!(
        backends[0].is_resolved(),
        "old addresses are better than none"
    );
}

#[test]
fn failed_connections_bring_a_lookup_forward_but_not_more_than_one_a_second() {
    let upstreams = upstreams("\"http://a\"");
    let (bell, rings) = bounded(1);
    let (mut round, now) = (Round::default(), Instant::now());
    round.renew(&upstreams, &bell, now);
    begun(&mut round, now);
    // Nobody listens on port 80 there.
    round.conclude("a", found(&["127.255.255.254"]), now);
    let backend = upstreams[0].backends().next().unwrap();
    let dialled = crate::upstream::dial::dial(backend, Instant::now() + SECOND);
    assert!(dialled.is_err() && rings.try_recv().is_ok());
    round.heed_doubts();
    assert!(begun(&mut round, now + SECOND / 2).is_empty());
    assert_eq!(begun(&mut round, now + SECOND), ["a"]);
    round.conclude("a", found(&["127.255.255.254"]), now + SECOND);
    round.heed_doubts();
    assert!(begun(&mut round, now + 3 * SECOND).is_empty(), "no news");
}

#[test]
fn who_joins_later_gets_what_is_known_at_once() {
    let (bell, _rings) = bounded(1);
    let (mut round, now) = (Round::default(), Instant::now());
    let before = upstreams("\"http://a\"");
    round.renew(&before, &bell, now);
    begun(&mut round, now);
    round.conclude("a", found(&["10.0.0.1"]), now);
    let after = upstreams("\"http://a:81\", \"http://b\"");
    round.renew(&after, &bell, now);
    assert!(after[0].backends().next().unwrap().is_resolved());
    assert_eq!(begun(&mut round, now), ["b"]);
    // Gone in the middle of a lookup, and back: still one at a time, and then soon again.
    round.renew(&before, &bell, now);
    round.renew(&after, &bell, now);
    assert!(begun(&mut round, now + SECOND).is_empty());
    round.renew(&before, &bell, now);
    round.conclude("b", found(&["10.0.0.2"]), now + SECOND);
    round.renew(&after, &bell, now + 20 * SECOND);
    assert_eq!(begun(&mut round, now + 20 * SECOND), ["a", "b"]);
}

#[test]
fn all_addresses_are_told_when_they_change() {
    let (bell, _rings) = bounded(1);
    let (mut round, now) = (Round::default(), Instant::now());
    let told = Told::default();
    let upstreams = upstreams("{ id = \"x\", url = \"http://a\", resolve = \"all\" }");
    round.renew(&upstreams, &bell, now);
    assert_eq!(begun(&mut round, now), ["a"]);
    round.conclude("a", Err("no".into()), now);
    round.tell(&told);
    assert!(told.take().is_empty());
    for (addresses, text) in [
        (
            &["10.0.0.2", "10.0.0.1"] as &[&str],
            Some("u x: x@10.0.0.1 x@10.0.0.2"),
        ),
        (&["10.0.0.1", "10.0.0.2"], None),
        (&["10.0.0.3"], Some("u x: x@10.0.0.3")),
    ] {
        round.conclude("a", found(addresses), now);
        round.tell(&told);
        assert_eq!(
            told.take().first().map(String::as_str),
            text,
            "{addresses:?}"
        );
    }
    // What was made of it stands for it.
    let mut settings = upstreams[0].settings.clone();
    let one = settings.backends[0].at_address([10, 0, 0, 3].into());
    settings.backends = vec![one];
    let successor = vec![Arc::new(upstreams[0].successor(&settings, now))];
    round.renew(&successor, &bell, now);
    round.tell(&told);
    assert!(told.take().is_empty());
    round.conclude("a", found(&["10.0.0.4"]), now);
    round.tell(&told);
    assert_eq!(told.take(), ["u x: x@10.0.0.4"]);
    // Forgotten with its upstream.
    round.renew(&[], &bell, now);
    round.renew(&successor, &bell, now);
    begun(&mut round, now);
    round.conclude("a", found(&["10.0.0.4"]), now);
    round.tell(&told);
    assert_eq!(told.take(), ["u x: x@10.0.0.4"]);
}
