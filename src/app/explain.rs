//! What would be decided about a request, and why, in words.
//!
//! The decision is the one that runs in production; only the trace differs. Nothing is sent and no name is looked up: the
//! health of backends is not known here, all count as not checked yet, and their names as names that resolve.

mod access;
mod actions;
mod auth;
mod limits;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::Method;

use crate::config::model::{Config, ListenTls};
use crate::drain::Phase;
use crate::error::Cause;
use crate::message::fields::Fields;
use crate::message::forwarded::Client;
use crate::message::framing;
use crate::message::head::{RequestHead, Version};
use crate::message::query;
use crate::message::target::Target;
use crate::route::Miss;
use crate::serve::decide::{Verdict, decide};
use crate::serve::decision::Decision;
use crate::serve::snapshot::Snapshot;
use crate::serve::trace::{Recorder, Step, Why};
use crate::serve::vouch;

use super::found::with_files;

/// A request that is only asked about.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Such as `GET`.
    pub method: &'a str,
    /// A URL, or just a path.
    pub url: &'a str,
    /// Header fields of the form `Name: value`.
    pub fields: &'a [String],
    /// The entry of `listen` that it comes by, as configured; none: the first, that speaks what the URL begins with.
    pub listener: Option<&'a str>,
    /// Where the connection comes from; the client's address, unless this is a trusted proxy that names another one.
    pub peer: IpAddr,
}

/// The decision, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Method and target, without what is secret in it.
    pub request: String,
    /// One line per step, in order.
    pub steps: Vec<String>,
    /// What happens in the end.
    pub verdict: String,
    /// Whether that is anything but a refusal.
    pub is_served: bool,
}

/// Explains what `config` makes of a request.
///
/// A question that is no valid request is answered as such a request would be.
///
/// # Errors
/// When the question is none; says why.
pub fn explain(config: &Config, question: Question<'_>) -> Result<Explanation, String> {
    let target = query::covered(question.url, &config.secret_parameters()).into_owned();
    let request = format!("{} {target}", question.method);
    let mut head = match head(question)? {
        Ok(head) => head,
        Err(fault) => return Ok(malformed(request, &fault)),
    };
    let trusted = &config.server.trusted_proxies;
    let mut client = Client::identify(question.peer.to_canonical(), &head.fields, trusted);
    client.listener = match question.listener {
        Some(asked) => listener(config, asked)?,
        None => likely_listener(config, question.url),
    };
    client.has_tls = has_tls(config, client.listener);
    vouch::check_claims(&mut head.fields, &client, &config.server);
    let (effective, words) = with_files(config);
    let snapshot = Snapshot::new(Arc::new(effective));
    let groups = snapshot.groups.iter();
    groups
        .flat_map(|group| group.upstream.backends())
        .for_each(|backend| backend.assume_resolved());
    let (mut trace, now) = (Recorder::default(), Instant::now());
    let decision = decide(&head, &client, &snapshot, Phase::Serving, now, &mut trace);
    let decision = auth::settled(decision, &head, &client, &snapshot, &mut trace);
    let mut changes = actions::header_changes(&decision, &head, &client, &snapshot);
    changes.extend(actions::to_browsers(&decision, &head, &client, &snapshot));
    let (is_served, verdict) = describe_verdict(&decision, &snapshot, &head);
    Ok(Explanation {
        request,
        steps: words
            .into_iter()
            .chain(trace.steps.iter().map(describe))
            .chain(changes)
            .collect(),
        verdict,
        is_served,
    })
}

/// Which entry of `listen` is meant.
fn listener(config: &Config, asked: &str) -> Result<usize, String> {
    let mut listeners = config.server.access.listeners.iter();
    listeners
        .position(|listener| listener.address == asked)
        .ok_or_else(|| format!("no entry of `listen` is {asked}"))
}

/// The first entry that speaks what `url` begins with; else the first of all.
fn likely_listener(config: &Config, url: &str) -> usize {
    let begins_with = |scheme: &str| {
        let begin = url.get(..scheme.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    };
    let wanted = match () {
        () if begins_with("https://") => true,
        () if begins_with("http://") => false,
        () => return 0,
    };
    let mut all = 0..config.server.listen.len();
    all.find(|listener| has_tls(config, *listener) == wanted)
        .unwrap_or(0)
}

fn has_tls(config: &Config, listener: usize) -> bool {
    let listen = config.server.listen.get(listener);
    listen.is_some_and(|listen| listen.tls == ListenTls::Tls)
}

/// Whether it is anything but a refusal, and what happens.
fn describe_verdict(
    decision: &Decision,
    snapshot: &Snapshot,
    head: &RequestHead,
) -> (bool, String) {
    match &decision.verdict {
        Verdict::Forward(plan) => {
            let others: Vec<&str> = plan.others.iter().map(|one| snapshot.name(*one)).collect();
            let others = match others.as_slice() {
                [] => String::new(),
                names => format!("; if that fails, to {}", names.join(", then to ")),
            };
            let verdict = format!(
                "forward to upstream {}, asking for {}{}{others}",
                snapshot.name(plan.upstream),
                plan.path,
                auth::query(decision, head, snapshot),
            );
            (true, verdict)
        }
        Verdict::Own(answer) => actions::own_answer(answer, &snapshot.secret_parameters),
        Verdict::Health(_) => (true, "answered by tollgate itself".into()),
        Verdict::Refuse(refusal) => {
            let (cause, message) = (refusal.cause, &refusal.message);
            let message = if message.is_empty() {
                cause.message()
            } else {
                message
            };
            let allow: Vec<&str> = refusal.allow.iter().map(Method::as_str).collect();
            let allow = match allow.as_slice() {
                [] => String::new(),
                methods => format!(" Allowed: {}.", methods.join(", ")),
            };
            (
                false,
                format!("{} {cause}: {message}{allow}", cause.status()),
            )
        }
    }
}

/// What a listener makes of a request that it cannot understand.
fn malformed(request: String, fault: &str) -> Explanation {
    let cause = Cause::BadRequest;
    Explanation {
        request,
        steps: vec![format!("head: refused, {cause}")],
        verdict: format!("{} {cause}: {fault}", cause.status()),
        is_served: false,
    }
}

/// The head that is meant, or why it is not valid.
fn head(question: Question<'_>) -> Result<Result<RequestHead, String>, String> {
    let mut fields = Fields::new();
    for field in question.fields {
        let (name, value) = field
            .split_once(':')
            .ok_or_else(|| format!("{field:?} is not of the form 'Name: value'"))?;
        fields.append(name.trim(), value.trim());
    }
    Ok(valid_head(question, fields))
}

fn valid_head(question: Question<'_>, mut fields: Fields) -> Result<RequestHead, String> {
    let method = Method::from_bytes(question.method.as_bytes())
        .map_err(|_| format!("{:?} is no method", question.method))?;
    let target = Target::parse(question.url).map_err(|error| error.describe().to_owned())?;
    if !fields.contains("host") {
        fields.append("Host", target.authority().unwrap_or("localhost"));
    }
    let version = Version::Http11;
    let framing = framing::judge(version, &fields).map_err(|error| error.describe().to_owned())?;
    Ok(RequestHead {
        method,
        target,
        version,
        fields,
        framing,
    })
}

fn describe(step: &Step) -> String {
    match step {
        Step::Admitted(Ok(())) => "head: within the limits".into(),
        Step::Admitted(Err(refusal)) => format!("head: refused, {}", refusal.cause),
        Step::Access(access) => access::describe(access),
        Step::Draining => "the proxy is shutting down".into(),
        Step::HealthPath(path) => format!("{path} is a health path"),
        Step::Route { name, miss: None } => format!("route {name}: matches"),
        Step::Route {
            name,
            miss: Some(miss),
        } => format!("route {name}: {}", describe_miss(miss)),
        Step::Origin {
            origin,
            is_listed,
            is_preflight,
        } => actions::describe_origin(origin, *is_listed, *is_preflight),
        Step::WithoutTls { is_spared: true } => "without TLS: this path is spared".into(),
        Step::WithoutTls { is_spared: false } => "without TLS: sent to https".into(),
        Step::Side { upstream, why } => match why {
            Why::Weight(key) => format!("split: {upstream}, by weight and {key}"),
            Why::Chosen(key) => format!("split: {upstream}, chosen by {key}"),
            Why::Instead(meant) => {
                format!("split: {upstream} instead, since {meant} has no usable backend")
            }
        },
        Step::Mirror {
            upstream,
            percent: 100,
        } => format!("mirror: a copy goes to {upstream}"),
        Step::Mirror { upstream, percent } => {
            format!("mirror: of every 100 such requests, {percent} are copied to {upstream}")
        }
        Step::Auth(auth) => auth::describe(auth),
        Step::Maintenance {
            client,
            lets_through: true,
        } => format!("maintenance: {client} is let through"),
        Step::Maintenance {
            client,
            lets_through: false,
        } => format!("maintenance: {client} is not let through"),
        Step::Limit(limited) => limits::describe(limited),
        Step::UnknownService(name) => format!("no service is called {name:?}"),
        Step::BodyLimit { limit, fits: true } => format!("body: at most {limit} bytes"),
        Step::BodyLimit { limit, fits: false } => format!("body: larger than {limit} bytes"),
        Step::Candidate {
            name,
            weight,
            is_backup,
            tls,
            skip: None,
        } => describe_usable(name, *weight, *is_backup, tls.as_deref()),
        Step::Candidate {
            name,
            skip: Some(skip),
            ..
        } => format!("backend {name}: skipped, {}", skip.as_str()),
    }
}

fn describe_usable(name: &str, weight: u32, is_backup: bool, tls: Option<&str>) -> String {
    let backup = if is_backup { ", a backup" } else { "" };
    let tls = tls.map(|tls| format!(", {tls}")).unwrap_or_default();
    format!("backend {name}: usable, weight {weight}{backup}{tls}")
}

fn describe_miss(miss: &Miss<'_>) -> String {
    match miss {
        Miss::Host => "another host".into(),
        Miss::Path => "another path".into(),
        Miss::ClientIp => "another client address".into(),
        Miss::Header(wanted) => format!("lacks the header {}", wanted.without_value()),
        Miss::Query(wanted) => format!("lacks the query {wanted}"),
        Miss::Cookie(wanted) => format!("lacks the cookie {}", wanted.without_value()),
        Miss::Method => "another method".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        [[upstream]]
        name = "web"
        backends = ["http://127.0.0.1:9001"]
        [[route]]
        name = "api"
        match = { host = "api.example.com", path = "/v1" }
        upstream = "web"
        strip_prefix = "/v1"
        max_body = "1KiB"
    "#;

    fn ask(method: &str, url: &str, fields: &[String]) -> Result<Explanation, String> {
        let config = crate::config::load_str("test", CONFIG).unwrap().config;
        explain(
            &config,
            Question {
                method,
                url,
                fields,
                listener: None,
                peer: "127.0.0.1".parse().unwrap(),
            },
        )
    }

    #[test]
    fn the_url_says_whether_it_comes_over_tls() {
        let config = "[server]\nlisten = [\"127.0.0.1:1\", { address = \"127.0.0.1:2\", tls = \"self-signed\" }]\n\
            redirect_https = true\n\
            [[upstream]]\nname = \"web\"\nbackends = [\"http://127.0.0.1:9\"]\n\
            [[route]]\nupstream = \"web\"\nsecurity_headers = { hsts = \"1y\" }\n";
        let config =
            crate::config::load_str("test", config).map_err(|problems| problems.to_string());
        let config = config.unwrap().config;
        let ask = |url, listener| {
            let question = Question {
                method: "GET",
                url,
                fields: &[],
                listener,
                peer: "127.0.0.1".parse().unwrap(),
            };
            let told = explain(&config, question).unwrap();
            let has_hsts = told
                .steps
                .iter()
                .any(|step| step.contains("Strict-Transport-Security"));
            let policy = "Content-Security-Policy: frame-ancestors 'self'";
            let forwarded = told.verdict.starts_with("forward to");
            assert!(
                !forwarded || told.steps.iter().any(|step| step.ends_with(policy)),
                "{told:?}"
            );
            (told.verdict.starts_with("forward to"), has_hsts)
        };
        for (url, listener, over_tls) in [
            ("https://h/", None, true),
            ("HTTPS://h/", None, true),
            ("http://h/", None, false),
            ("/", None, false),
            ("https://h/", Some("127.0.0.1:1"), false),
            ("http://h/", Some("127.0.0.1:2"), true),
        ] {
            assert_eq!(
                ask(url, listener),
                (over_tls, over_tls),
                "{url} {listener:?}"
            );
        }
    }

    #[test]
    fn a_match_names_every_step() {
        let explanation = ask("GET", "http://api.example.com/v1/users", &[]).unwrap();
        assert_eq!(
            explanation.steps,
            [
                "head: within the limits",
                "route api: matches",
                "body: at most 1024 bytes",
                "backend web/127.0.0.1:9001: usable, weight 1",
            ]
        );
        assert_eq!(
            explanation.verdict,
            "forward to upstream web, asking for /users"
        );
        assert!(explanation.is_served);
    }

    #[test]
    fn a_refusal_says_which_condition_failed() {
        let other = ask("GET", "/v1", &["Host: other".into()]).unwrap();
        assert_eq!(other.steps.last().unwrap(), "route api: another host");
        assert!(other.verdict.starts_with("404 no_route") && !other.is_served);
        let big = ask(
            "POST",
            "http://api.example.com/v1",
            &["Content-Length: 1025".into()],
        )
        .unwrap();
        assert!(
            big.verdict.starts_with("413 body_too_big"),
            "{}",
            big.verdict
        );
    }

    const RELEASE: &str = r#"
        [server]
        trusted_proxies = ["10.0.0.1"]
        [[upstream]]
        name = "web"
        backends = ["http://127.0.0.1:9001"]
        [[upstream]]
        name = "canary"
        backends = ["http://127.0.0.1:9002"]
        [[upstream]]
        name = "shadow"
        backends = ["http://127.0.0.1:9003"]
        [[route]]
        name = "beta"
        match = { header = { X-Beta = "1" }, query = { v = "2*" }, cookie = { side = "b" }, method = "GET" }
        upstream = "canary"
        [[route]]
        name = "office"
        match = { path = "/office", client_ip = ["192.0.2.0/24"], method = ["GET", "PUT"] }
        upstream = "web"
        [[route]]
        name = "app"
        match = { path = "/app" }
        split = [{ upstream = "web", weight = 1 }, { upstream = "canary", weight = 0 }]
        split_key = "cookie:user"
        split_override = "header:X-Side"
        mirror = { upstream = "shadow", percent = 10 }
    "#;

    fn ask_release(method: &str, url: &str, fields: &[&str], peer: &str) -> Explanation {
        let config = crate::config::load_str("test", RELEASE).unwrap().config;
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        let question = Question {
            method,
            url,
            fields: &fields,
            listener: None,
            peer: peer.parse().unwrap(),
        };
        explain(&config, question).unwrap()
    }

    #[test]
    fn the_condition_that_failed_is_named() {
        let (beta, cookie) = ("X-Beta: 1", "Cookie: side=b");
        let last = |fields: &[&str], url: &str| {
            let explanation = ask_release("GET", url, fields, "127.0.0.1");
            explanation.steps.last().cloned().unwrap()
        };
        let header = "route beta: lacks the header x-beta = …";
        assert_eq!(last(&[cookie], "/?v=2"), header);
        let query = "route beta: lacks the query v = \"2*\"";
        assert_eq!(last(&[beta, cookie], "/?v=1"), query);
        let missing = "route beta: lacks the cookie side = …";
        assert_eq!(last(&[beta], "/?v=2"), missing);
        let post = ask_release("POST", "/?v=2", &[beta, cookie], "127.0.0.1");
        assert_eq!(post.steps.last().unwrap(), "route beta: another method");
        let verdict = "405 method: This method is not allowed here. Allowed: GET.";
        assert_eq!((&*post.verdict, post.is_served), (verdict, false));
    }

    #[test]
    fn the_client_is_who_it_would_be() {
        let forwarded = ["X-Forwarded-For: 192.0.2.9"];
        let is_served =
            |fields: &[&str], peer| ask_release("PUT", "/office", fields, peer).is_served;
        assert!(is_served(&[], "192.0.2.7") && is_served(&forwarded, "10.0.0.1"));
        assert!(!is_served(&forwarded, "10.0.0.2") && !is_served(&[], "10.0.0.1"));
        let refused = ask_release("PUT", "/office", &[], "10.0.0.1");
        let step = "route office: another client address";
        assert!(refused.steps.contains(&step.to_owned()), "{refused:?}");
    }

    #[test]
    fn splits_and_mirrors_say_where_and_why() {
        let steps = |fields: &[&str]| {
            let explanation = ask_release("GET", "/app", fields, "127.0.0.1");
            assert!(explanation.is_served);
            let steps = explanation.steps.into_iter();
            let told = |step: &String| step.starts_with("split") || step.starts_with("mirror");
            steps.filter(told).collect::<Vec<_>>()
        };
        let mirror = "mirror: of every 100 such requests, 10 are copied to shadow";
        let by_cookie = "split: web, by weight and cookie:user";
        assert_eq!(steps(&["Cookie: user=7"]), [by_cookie, mirror]);
        let by_address = "split: web, by weight and client_ip, since there is no cookie:user";
        assert_eq!(steps(&["X-Side: nobody"]), [by_address, mirror]);
        let chosen = "split: canary, chosen by header:X-Side";
        assert_eq!(steps(&["X-Side: canary"]), [chosen, mirror]);
        let verdict = ask_release("GET", "/app", &["X-Side: canary"], "127.0.0.1").verdict;
        let expected = "forward to upstream canary, asking for /app; if that fails, to web";
        assert_eq!(verdict, expected);
    }

    #[test]
    fn nonsense_is_told_apart() {
        for (method, url, field) in [
            ("G T", "/", "A: b"),
            ("GET", "no path", "A: b"),
            ("GET", "/", "Content-Length: +1"),
            ("GET", "/", "Host: a b"),
        ] {
            let told = ask(method, url, &[field.to_owned()]).unwrap();
            assert!(told.verdict.starts_with("400 bad_request: ") && !told.is_served);
        }
        assert!(ask("GET", "/", &["no colon".into()]).is_err());
    }
}
