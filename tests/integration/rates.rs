//! How often: rate limits over real sockets.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::client::get;
use crate::support::proxy::Setup;
use crate::support::{Backend, Client, Engine, Proxy, Response};
use crate::support::{dial, on_each_engine, on_reactor};

on_each_engine!(
    a_limit_refuses_and_says_when_to_come_back,
    what_is_not_served_does_not_count,
    a_limit_for_everything_comes_before_routes,
    limits_count_by_header_and_by_route,
    limits_count_by_who_it_is,
    strangers_use_up_nothing_that_others_share,
    a_dry_run_only_counts,
    a_reload_keeps_what_was_counted,
    who_the_client_is_trusted_proxies_say,
);

on_reactor!(
    a_refused_client_keeps_its_connection,
    overload_on_one_connection,
    overload_on_many_connections,
);

/// One route with these limits.
fn limited(engine: Engine, backend: &Backend, limits: &str) -> Setup {
    Proxy::to(engine, [backend]).more(&format!(
        "[[route]]\nname = \"all\"\nupstream = \"web\"\n{limits}"
    ))
}

fn field(answer: &Response, name: &str) -> String {
    answer.get(name).unwrap_or_default()
}

fn a_limit_refuses_and_says_when_to_come_back(engine: Engine) {
    let backend = Backend::fixed("fine");
    let limits = "rate_limit = { rate = \"3/h\", burst = 3 }";
    let proxy = limited(engine, &backend, limits).start();
    for left in ["2", "1", "0"] {
        let answer = proxy.get("/");
        assert_eq!(answer.status, 200);
        assert_eq!(
            field(&answer, "ratelimit-policy"),
            "\"client_ip\";q=3;w=3600"
        );
        let state = field(&answer, "ratelimit");
        assert!(
            state.starts_with(&format!("\"client_ip\";r={left};t=")),
            "{state}"
        );
    }
    let answer = proxy.get("/").refused(429, "rate_limited");
    let wait: u64 = field(&answer, "retry-after").parse().unwrap();
    assert!((1100..=1200).contains(&wait), "{wait}");
    assert_eq!(
        field(&answer, "ratelimit"),
        format!("\"client_ip\";r=0;t={wait}")
    );
    assert!(answer.text().contains("3/h"), "{}", answer.text());
    // Everybody has a limit of his own.
    let mut other = dial::from(Ipv4Addr::new(127, 0, 0, 2), proxy.traffic());
    assert_eq!(other.get("/").status, 200);
    assert_eq!(backend.count(), 4);
}

fn what_is_not_served_does_not_count(engine: Engine) {
    let backend = Backend::fixed("fine");
    let limits = "match = { path = \"/a\" }\nrate_limit = { rate = \"1/h\" }";
    let server = "health_paths = [\"/up\"]\nlimits.target = \"100B\"";
    let proxy = limited(engine, &backend, limits).server(server).start();
    for _ in 0..3 {
        let _ = proxy
            .client()
            .ask("GET /a HTTP/1.1\r\n\r\n")
            .refused(400, "bad_request");
        let _ = proxy.get("/b").refused(404, "no_route");
        let long = format!("/a?{}", "x".repeat(100));
        let _ = proxy.get(&long).refused(414, "target_too_long");
        let health = proxy.get("/up");
        assert_eq!(
            (health.status, field(&health, "ratelimit")),
            (200, String::new())
        );
    }
    assert_eq!(proxy.get("/a").status, 200);
    let _ = proxy.get("/a").refused(429, "rate_limited");
}

fn a_limit_for_everything_comes_before_routes(engine: Engine) {
    let backend = Backend::fixed("fine");
    let limits = "match = { path = \"/a\" }\nrate_limit = { rate = \"2/h\", burst = 2 }";
    let server = "health_paths = [\"/up\"]\nrate_limit = { rate = \"3/h\", burst = 3 }";
    let proxy = limited(engine, &backend, limits).server(server).start();
    let answer = proxy.get("/a");
    let policy = "\"server\";q=3;w=3600, \"client_ip\";q=2;w=3600";
    assert_eq!(field(&answer, "ratelimit-policy"), policy);
    assert_eq!(proxy.get("/a").status, 200);
    let _ = proxy.get("/a").refused(429, "rate_limited");
    let _ = proxy.get("/elsewhere").refused(429, "rate_limited");
    assert_eq!(proxy.get("/up").status, 200);
    assert_eq!(backend.count(), 2);
}

fn limits_count_by_header_and_by_route(engine: Engine) {
    let backend = Backend::fixed("fine");
    let limits = "rate_limits = [{ by = \"header:X-Tenant\", rate = \"2/h\", burst = 2 }, { by = \"route\", rate = \"5/h\", burst = 5 }]";
    let proxy = limited(engine, &backend, limits).start();
    let ask = |tenant: &str| {
        let fields = format!("GET / HTTP/1.1\r\nHost: test\r\n{tenant}\r\n");
        proxy.client().ask(fields).status
    };
    let (ann, bob, nobody) = ("X-Tenant: ann\r\n", "X-Tenant: bob\r\n", "");
    assert_eq!([ask(ann), ask(ann), ask(ann)], [200, 200, 429]);
    // What a tenant's own limit refuses is not taken from the others.
    assert_eq!([ask(nobody), ask(nobody), ask(nobody)], [200, 200, 429]);
    assert_eq!([ask(bob), ask(bob)], [200, 429]);
}

const KEYS: &str = "[route.auth.api_keys]\nkeys = { ann = \"ann-0123456789abcdef\", bob = \"bob-0123456789abcdef\" }\n";

/// Asks with this key.
fn ask_as(proxy: &Proxy, key: &str) -> u16 {
    let fields = format!("GET / HTTP/1.1\r\nHost: test\r\nX-API-Key: {key}\r\n\r\n");
    proxy.client().ask(fields).status
}

fn limits_count_by_who_it_is(engine: Engine) {
    let backend = Backend::fixed("fine");
    let limits = format!("rate_limit = {{ by = \"api_key\", rate = \"2/h\", burst = 2 }}\n{KEYS}");
    let proxy = limited(engine, &backend, &limits).start();
    let ask = |key| ask_as(&proxy, key);
    let (ann, bob) = ("ann-0123456789abcdef", "bob-0123456789abcdef");
    assert_eq!([ask(ann), ask(ann), ask(ann)], [200, 200, 429]);
    assert_eq!([ask("else"), ask(bob), ask(bob)], [401, 200, 200]);
    assert_eq!([ask("else"), ask(bob), ask(ann)], [401, 429, 429]);
    assert_eq!(backend.count(), 4);
}

fn strangers_use_up_nothing_that_others_share(engine: Engine) {
    let backend = Backend::fixed("fine");
    let limits = format!(
        "rate_limits = [{{ rate = \"4/h\", burst = 4 }}, {{ by = \"route\", rate = \"1/h\" }}]\n{KEYS}"
    );
    let proxy = limited(engine, &backend, &limits).start();
    let ask = |key| ask_as(&proxy, key);
    let ann = "ann-0123456789abcdef";
    // The limit by address counts them, so that nobody can try many keys; the one for all does not.
    assert_eq!([ask("one"), ask("two"), ask(ann)], [401, 401, 200]);
    assert_eq!([ask(ann), ask("three")], [429, 429]);
    assert_eq!(backend.count(), 1);
}

/// The limits, as the status page shows them.
fn status(proxy: &Proxy) -> serde_json::Value {
    get(proxy.admin(), "/_proxy/status").json()["limits"]["rates"].take()
}

fn a_dry_run_only_counts(engine: Engine) {
    let backend = Backend::fixed("fine");
    let limits = "rate_limit = { rate = \"1/h\", dry_run = true }";
    let proxy = limited(engine, &backend, limits).start();
    for _ in 0..3 {
        let answer = proxy.get("/");
        assert_eq!(
            (answer.status, field(&answer, "ratelimit")),
            (200, String::new())
        );
    }
    let expected = serde_json::json!([{
        "route": "all", "name": "client_ip", "by": "client_ip", "rate": "1/h", "burst": 1, "dry_run": true,
        "passed": 1, "refused": 0, "dry_run_refused": 2, "entries": 1,
    }]);
    assert_eq!(status(&proxy), expected);
}

fn a_reload_keeps_what_was_counted(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = |limits: &str| limited(engine, &backend, limits);
    let strict = "rate_limit = { rate = \"1/h\" }";
    let proxy = setup(strict).start();
    assert_eq!(proxy.get("/").status, 200);
    let _ = proxy.get("/").refused(429, "rate_limited");
    proxy
        .reload(&setup(&format!("upgrade = false\n{strict}")))
        .unwrap();
    let _ = proxy.get("/").refused(429, "rate_limited");
    let other = setup("rate_limit = { rate = \"2/h\" }");
    let told = proxy.reload(&other).unwrap();
    assert!(
        told.iter().all(|line| !line.contains("restart")),
        "{told:?}"
    );
    assert_eq!(proxy.get("/").status, 200);
    let server = setup("").server("rate_limit = { rate = \"1/h\" }");
    let told = proxy.reload(&server).unwrap();
    assert!(
        told.iter().all(|line| !line.contains("restart")),
        "{told:?}"
    );
    assert_eq!(proxy.get("/").status, 200);
    let _ = proxy.get("/").refused(429, "rate_limited");
}

fn who_the_client_is_trusted_proxies_say(engine: Engine) {
    let backend = Backend::fixed("fine");
    let limits = "rate_limit = { rate = \"1/h\" }";
    let server = "trusted_proxies = [\"127.0.0.3\"]";
    let proxy = limited(engine, &backend, limits).server(server).start();
    let ask = |from: u8, claim: &str| {
        let mut client = dial::from(Ipv4Addr::new(127, 0, 0, from), proxy.traffic());
        let fields = format!("GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {claim}\r\n\r\n");
        client.ask(fields).status
    };
    assert_eq!(
        [
            ask(3, "192.0.2.1"),
            ask(3, "192.0.2.2"),
            ask(3, "192.0.2.1")
        ],
        [200, 200, 429]
    );
    // Nobody else is believed.
    assert_eq!([ask(2, "192.0.2.3"), ask(2, "192.0.2.4")], [200, 429]);
}

/// A refusal costs a client neither its connection nor its place in it: a small body is skipped.
fn a_refused_client_keeps_its_connection(engine: Engine) {
    let backend = Backend::echo();
    let limits = "rate_limit = { rate = \"2/h\", burst = 2 }";
    let proxy = limited(engine, &backend, limits).start();
    let mut client = proxy.client();
    assert_eq!(client.post("/", "one").text(), "one");
    assert_eq!(client.post("/", "two").text(), "two");
    for _ in 0..3 {
        let answer = client
            .post("/", &"x".repeat(1000))
            .refused(429, "rate_limited");
        assert_eq!(answer.get("connection"), None);
    }
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n".repeat(3));
    for _ in 0..3 {
        let _ = client.read().refused(429, "rate_limited");
    }
    // Who asks before it sends a body is spared that.
    let expect =
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10000000\r\nExpect: 100-continue\r\n\r\n";
    let answer = proxy.client().send(expect).read();
    let _ = answer.refused(429, "rate_limited");
    assert_eq!(backend.count(), 2);
}

fn overload_on_one_connection(engine: Engine) {
    overload(engine, 1);
}

fn overload_on_many_connections(engine: Engine) {
    overload(engine, 64);
}

/// One request of an overload: when it was sent, when its answer was there, and whether it was refused.
type Asked = (Instant, Instant, bool);

/// Asks as often as it can; what passes has to be what the time allows that has really gone by. For 10 s where
/// `TOLLGATE_SLOW_TESTS` is 1.
fn overload(engine: Engine, connections: usize) {
    let is_slow = std::env::var("TOLLGATE_SLOW_TESTS").is_ok_and(|value| value == "1");
    let length = Duration::from_secs(if is_slow { 10 } else { 2 });
    let backend = Backend::fixed("fine");
    let limits = "rate_limit = { rate = \"100/s\", burst = 20 }";
    let proxy = limited(engine, &backend, limits)
        .server("limits.requests_per_connection = 0")
        .start();
    let all: Mutex<Vec<Asked>> = Mutex::default();
    let mut clients: Vec<Client> = (0..connections).map(|_| proxy.client()).collect();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| {
                let mut own = Vec::new();
                while began.elapsed() < length {
                    let sent = Instant::now();
                    let status = client.get("/").status;
                    assert!(matches!(status, 200 | 429), "{status}");
                    own.push((sent, Instant::now(), status == 429));
                }
                all.lock().unwrap().extend(own);
            });
        }
    });
    let took = began.elapsed();
    let all = all.into_inner().unwrap();
    let passed = all.iter().filter(|(_, _, is_refused)| !is_refused).count() as f64;
    assert_eq!(backend.count() as f64, passed);
    let most = 20.0 + 100.0 * took.as_secs_f64() + 1.0;
    assert!(passed <= most, "{passed} of at most {most}");
    let exhausted = exhausted(all);
    let least = 20.0 + 100.0 * exhausted.as_secs_f64() - 1.0;
    assert!(passed >= least, "{passed} of at least {least}");
    if is_slow && took - exhausted < Duration::from_millis(300) {
        let rate = passed / took.as_secs_f64();
        assert!((97.0..=103.0).contains(&rate), "{rate} per second");
    }
}

/// A refusal shows that nothing was left at that moment. For how long that was so, from the first of them to the last, without
/// the time in which requests came so seldom that some of what they were allowed may have been lost: the burst makes up for 190 ms
/// between two refusals.
fn exhausted(mut all: Vec<Asked>) -> Duration {
    all.retain(|(_, _, is_refused)| *is_refused);
    all.sort();
    let lost = all.windows(2).map(|pair| {
        let longest = pair[1].1.saturating_duration_since(pair[0].0);
        longest.saturating_sub(Duration::from_millis(190))
    });
    let (first, last) = (all[0].1, all[all.len() - 1].0);
    last.saturating_duration_since(first)
        .saturating_sub(lost.sum())
}
