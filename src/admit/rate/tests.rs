//! Rate limits against the clock that they are told, against a model, and against crowds.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::message::fields::Fields;
use crate::message::framing::Framing;
use crate::message::head::Version;
use crate::message::target::Target;

const SECOND: Duration = Duration::from_secs(1);

fn settings(by: RateKey, requests: u32, period: Duration, burst: u32) -> RateLimit {
    RateLimit {
        name: by.to_string().into(),
        by,
        requests,
        period,
        burst,
        clients: 65_536,
        dry_run: false,
    }
}

fn per_second(requests: u32, burst: u32) -> RateLimit {
    settings(RateKey::ClientIp, requests, SECOND, burst)
}

fn head(fields: &[(&str, &str)]) -> RequestHead {
    let mut list = Fields::new();
    for (name, value) in fields {
        list.append(name, value);
    }
    RequestHead {
        method: http::Method::GET,
        target: Target::parse("/").unwrap(),
        version: Version::Http11,
        fields: list,
        framing: Framing::None,
    }
}

/// Rates, and the time that they are told.
struct Rig {
    rates: Rates,
    head: RequestHead,
    now: Instant,
}

impl Rig {
    fn new(settings: &[RateLimit]) -> Rig {
        Rig {
            rates: Rates::new(settings),
            head: head(&[]),
            now: Instant::now(),
        }
    }

    fn at(
        &self,
        stage: Stage,
        asker: Asker<'_>,
        now: Instant,
        purpose: Purpose,
    ) -> Result<Standings, TooMany> {
        let mut standings = Standings::new();
        self.rates
            .ask(stage, asker, (now, purpose), &mut standings, |_, _| ())
            .map(|()| standings)
    }

    fn asks(&self, ip: IpAddr, now: Instant) -> Result<Standings, TooMany> {
        let (head, identity) = (&self.head, None);
        self.at(
            Stage::Both,
            Asker { ip, head, identity },
            now,
            Purpose::Count,
        )
    }

    /// Whether one that comes now may pass.
    fn passes(&self, ip: IpAddr) -> bool {
        self.asks(ip, self.now).is_ok()
    }

    fn counts(&self, limit: usize) -> Counts {
        self.rates.limits()[limit].counts(self.now)
    }
}

fn ip(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(number).into()
}

#[test]
fn overload_lets_through_the_rate_and_one_burst() {
    for pause in [1_u64, 10, 100, 1000, 9999] {
        let rig = Rig::new(&[per_second(100, 20)]);
        // Requests come every so many microseconds for 10 s.
        let passed = (0..10_000_000 / pause)
            .filter(|number| {
                let now = rig.now + Duration::from_micros(number * pause);
                rig.asks(ip(1), now).is_ok()
            })
            .count();
        // At 0 the burst; then one every 10 ms, the last one just before 10 s. The slowest are within the rate, but for 1 us.
        let expected = if pause == 9999 { 1000 } else { 20 + 999 };
        assert_eq!(passed, expected, "{pause} us");
    }
}

#[test]
fn waits_and_what_remains_are_exact() {
    let rig = Rig::new(&[per_second(10, 3)]);
    for remaining in [2, 1, 0] {
        let standings = rig.asks(ip(1), rig.now).unwrap();
        assert_eq!((standings[0].remaining, standings[0].reset), (remaining, 1));
    }
    let too_many = rig.asks(ip(1), rig.now).unwrap_err();
    assert_eq!(
        (too_many.wait, too_many.retry_after()),
        (Duration::from_millis(100), 1)
    );
    let almost = rig.now + Duration::from_nanos(99_999_999);
    assert_eq!(
        rig.asks(ip(1), almost).unwrap_err().wait,
        Duration::from_nanos(1)
    );
    assert!(
        rig.asks(ip(1), rig.now + Duration::from_millis(100))
            .is_ok()
    );
    // Half a minute later all of it is there again.
    let standings = rig.asks(ip(1), rig.now + SECOND * 30).unwrap();
    assert_eq!(standings[0].remaining, 2);
    let rare = Rig::new(&[settings(RateKey::ClientIp, 1, SECOND * 3600, 1)]);
    assert_eq!(rare.asks(ip(1), rare.now).unwrap()[0].reset, 3600);
    let later = rare.now + Duration::from_millis(1500);
    assert_eq!(rare.asks(ip(1), later).unwrap_err().retry_after(), 3599);
}

#[test]
fn a_clock_that_stands_still_or_goes_back_gives_nothing_away() {
    let rig = Rig::new(&[per_second(1_000_000, 7)]);
    let passed = (0..1000).filter(|_| rig.passes(ip(1))).count();
    assert_eq!(passed, 7);
    let before = rig.now.checked_sub(Duration::from_secs(1)).unwrap();
    assert!(rig.asks(ip(1), before).is_err());
}

#[test]
fn edges_of_what_can_be_configured() {
    let year = SECOND * 366 * 24 * 3600;
    for (requests, period, burst) in [
        (1_000_000, SECOND, 100_000),
        (1_000_000, SECOND, 1),
        (999_999, SECOND, 3),
        (1, SECOND * 3600, 8784),
        (1, SECOND * 86_400, 366),
        (1, SECOND * 86_400, 1),
        (1_000_000, SECOND * 86_400, 1_000),
        (1_000_000, SECOND * 366 * 86_400, 1_000),
    ] {
        let rig = Rig::new(&[settings(RateKey::ClientIp, requests, period, burst)]);
        for since in [Duration::ZERO, year, year * 100, year * 291, year * 400] {
            let Some(now) = rig.now.checked_add(since) else {
                continue;
            };
            let passed = (0..=burst).filter(|_| rig.asks(ip(1), now).is_ok()).count();
            // After 292 years its time ends.
            let expected = if since > year * 291 {
                0..=burst
            } else {
                burst..=burst
            };
            assert!(
                expected.contains(&(passed as u32)),
                "{requests} {period:?} {since:?}: {passed}"
            );
        }
    }
}

#[test]
fn who_counts_as_one() {
    let rig = Rig::new(&[per_second(1, 1)]);
    let parse = |text: &str| text.parse::<IpAddr>().unwrap();
    for (address, passes) in [
        ("192.0.2.1", true),
        ("::ffff:192.0.2.1", false),
        ("192.0.2.2", true),
        ("2001:db8::1", true),
        ("2001:db8::ffff:ffff:ffff:ffff", false),
        ("2001:db8:0:1::1", true),
    ] {
        assert_eq!(rig.passes(parse(address)), passes, "{address}");
    }
    let by_header = Rig::new(&[settings(RateKey::Header("x-tenant".into()), 1, SECOND, 1)]);
    let by_name = Rig::new(&[settings(RateKey::ApiKey, 1, SECOND, 1)]);
    for (value, passes) in [
        (None, true),
        (None, false),
        (Some(""), true),
        (Some("a"), true),
        (Some("b"), true),
        (Some("a"), false),
        (Some(""), false),
    ] {
        let fields: Vec<(&str, &str)> = value.iter().map(|value| ("X-Tenant", *value)).collect();
        let (head, ip) = (head(&fields), ip(1));
        let asks = |rig: &Rig, stage, name: Option<&str>| {
            let identity = name.map(|name| Identity::new("api_key", name.into()));
            let (head, identity) = (&head, identity.as_ref());
            rig.at(stage, Asker { ip, head, identity }, rig.now, Purpose::Count)
                .is_ok()
        };
        // Before it is known who it is, limits that others share are not asked.
        assert!(asks(&by_header, Stage::Anybody, None) && asks(&by_name, Stage::Anybody, value));
        assert_eq!(asks(&by_header, Stage::Named, None), passes, "{value:?}");
        assert_eq!(asks(&by_name, Stage::Named, value), passes, "{value:?}");
    }
}

#[test]
fn what_one_limit_refuses_does_not_count_at_another() {
    let all = settings(RateKey::Route, 100, SECOND, 3);
    let mut trial = per_second(1, 1);
    (trial.name, trial.dry_run) = ("trial".into(), true);
    let rig = Rig::new(&[all, per_second(100, 2), trial]);
    let passed: Vec<bool> = (0..5).map(|_| rig.passes(ip(1))).collect();
    assert_eq!(passed, [true, true, false, false, false]);
    // One is left for others.
    assert!(rig.passes(ip(2)) && !rig.passes(ip(3)));
    let counts = |passed, refused, spared, busy| Counts {
        passed,
        refused,
        spared,
        busy,
    };
    assert_eq!(rig.counts(0), counts(3, 1, 0, 1));
    assert_eq!(rig.counts(1), counts(3, 3, 0, 2));
    assert_eq!(rig.counts(2), counts(2, 0, 1, 2));
}

#[test]
fn a_limit_that_only_counts_says_nothing_to_clients() {
    let mut trial = per_second(1, 1);
    trial.dry_run = true;
    let rig = Rig::new(&[trial]);
    for _ in 0..3 {
        assert!(rig.asks(ip(1), rig.now).unwrap().is_empty());
    }
    let limit = &rig.rates.limits()[0];
    assert_eq!(limit.untold(rig.now), Some(2));
    assert_eq!(limit.untold(rig.now + SECOND * 9), None);
    assert_eq!(limit.untold(rig.now + SECOND * 11), Some(2));
}

#[test]
fn asking_about_a_request_counts_nothing() {
    let rig = Rig::new(&[per_second(1, 2)]);
    let asker = Asker {
        ip: ip(1),
        head: &rig.head,
        identity: None,
    };
    let look = || rig.at(Stage::Anybody, asker, rig.now, Purpose::Look);
    for _ in 0..5 {
        assert_eq!(look().unwrap()[0].remaining, 1);
    }
    assert!(rig.passes(ip(1)));
    assert_eq!(look().unwrap()[0].remaining, 0);
    assert!(rig.passes(ip(1)) && look().is_err() && !rig.passes(ip(1)));
    assert_eq!((rig.counts(0).passed, rig.counts(0).refused), (2, 1));
}

#[test]
fn a_reload_forgets_only_limits_that_are_others_now() {
    let before = Rates::new(&[per_second(1, 1)]);
    let go = |rates: &Rates| {
        let rig = Rig {
            rates: rates.successor(&[per_second(1, 1)]),
            head: head(&[]),
            now: Instant::now(),
        };
        rig.passes(ip(1))
    };
    assert!(go(&before) && !go(&before));
    let mut dry = per_second(1, 1);
    dry.dry_run = true;
    let same = before.successor(&[settings(RateKey::Route, 1, SECOND, 1), dry]);
    assert!(!go(&same));
    let other = before.successor(&[per_second(2, 1)]);
    assert!(go(&other));
}

#[test]
fn fields_are_structured() {
    let rig = Rig::new(&[settings(
        RateKey::Header("X-Tenant".into()),
        600,
        SECOND * 60,
        20,
    )]);
    let standing = rig.asks(ip(1), rig.now).unwrap().remove(0);
    let text = |write: &dyn Fn(&mut String)| {
        let mut text = String::new();
        write(&mut text);
        text
    };
    let policy = text(&|text| standing.write_policy(text));
    let state = text(&|text| standing.write_state(text));
    assert_eq!(policy, "\"header:X-Tenant\";q=600;w=60");
    assert_eq!(state, "\"header:X-Tenant\";r=19;t=1");
}

#[test]
fn a_million_addresses_neither_fill_the_memory_nor_help_an_abuser() {
    const ABUSER: u32 = 1;
    const FRIENDS: u32 = 100;
    let rig = Rig::new(&[per_second(10, 20)]);
    while rig.passes(ip(ABUSER)) {}
    let began = Instant::now();
    let mut now = rig.now;
    for number in 0..1_000_000_u32 {
        assert!(rig.asks(ip(1_000_000 + number), now).is_ok());
        if number % 1000 == 0 {
            // The abuser is replenished at its rate, and not by what others do. A second passes in all.
            now += Duration::from_millis(1);
            let friend = ip(100 + number / 1000 % FRIENDS);
            assert!(rig.asks(friend, now).is_ok(), "{friend}");
        }
    }
    let each = began.elapsed() / 1_000_000;
    let passed = (0..100)
        .filter(|_| rig.asks(ip(ABUSER), now).is_ok())
        .count();
    assert_eq!(passed, 10);
    let (busy, bytes) = rig.rates.limits()[0].size(now);
    assert!(busy <= 65_536 && bytes == 65_536 * 16, "{busy} {bytes}");
    let most = if cfg!(debug_assertions) { 50_000 } else { 1000 };
    assert!(
        each < Duration::from_nanos(most),
        "{each:?} for each request"
    );
}

#[test]
fn threads_together_get_no_more_than_one() {
    let rig = Rig::new(&[per_second(1000, 50)]);
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for number in 0..4000_u32 {
                    // Each thread has its own idea of the time, up to a second of it.
                    let now = rig.now + Duration::from_micros(u64::from(number) * 250);
                    if rig.asks(ip(1), now).is_ok() {
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(passed.into_inner() <= 50 + 1000);
    let still = Rig::new(&[per_second(1000, 50)]);
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let own = (0..1000).filter(|_| still.passes(ip(1))).count();
                passed.fetch_add(own, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(passed.into_inner(), 50);
}

/// When a client will have been replenished, by the definition of GCRA, in nanoseconds.
#[derive(Default)]
struct Model(HashMap<u32, u128>);

impl Model {
    fn passes(&mut self, client: u32, now: u128, interval: u128, burst: u128) -> bool {
        let known = self.0.get(&client).copied().unwrap_or(0).max(now);
        if known + interval > now + interval * burst {
            return false;
        }
        self.0.insert(client, known + interval);
        true
    }
}

proptest! {
    #[test]
    fn it_does_what_the_definition_says(
        requests in 1_u32..5000,
        burst in 1_u32..30,
        visits in prop::collection::vec((0_u64..5_000_000, 0_u32..5), 1..300),
    ) {
        let (rig, mut model) = (Rig::new(&[per_second(requests, burst)]), Model::default());
        let began = rig.now.max(rig.rates.limits()[0].began());
        let interval = u128::from(1_000_000_000 / requests);
        let mut time = 0_u64;
        for (pause, client) in visits {
            time += pause;
            let now = began + Duration::from_nanos(time);
            let expected = model.passes(client, u128::from(time), interval, u128::from(burst));
            prop_assert_eq!(rig.asks(ip(client), now).is_ok(), expected);
        }
    }

    /// In a table of eight places that fifty clients fight for, nobody is refused who has a right to pass, and who has come far
    /// more often than the others is not forgotten.
    #[test]
    fn a_table_that_is_too_small_errs_for_the_client(
        visits in prop::collection::vec((0_u64..1_000_000, 0_u32..50), 1..300),
    ) {
        const ABUSER: u32 = 999;
        let rig = Rig::new(&[RateLimit { clients: 8, ..per_second(100, 100) }]);
        let began = rig.now.max(rig.rates.limits()[0].began());
        let mut model = Model::default();
        while model.passes(ABUSER, 0, 10_000_000, 100) {
            prop_assert!(rig.asks(ip(ABUSER), began).is_ok());
        }
        let mut time = 0_u64;
        for (pause, client) in visits {
            time += pause;
            let now = began + Duration::from_nanos(time);
            let passes = rig.asks(ip(client), now).is_ok();
            let expected = model.passes(client, u128::from(time), 10_000_000, 100);
            prop_assert!(passes || !expected);
            let expected = model.passes(ABUSER, u128::from(time), 10_000_000, 100);
            prop_assert_eq!(rig.asks(ip(ABUSER), now).is_ok(), expected);
        }
    }
}
