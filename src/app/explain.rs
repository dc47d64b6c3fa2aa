//! What would be decided about a request, and why, in words.
//!
//! The decision is the one that runs in production; only the trace differs. Nothing is sent, and the health of backends is
//! not known here: all count as not checked yet.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::Method;

use crate::config::model::Config;
use crate::drain::Phase;
use crate::message::fields::Fields;
use crate::message::forwarded::Client;
use crate::message::framing;
use crate::message::head::{RequestHead, Version};
use crate::message::target::Target;
use crate::route::Miss;
use crate::serve::decide::{Verdict, decide};
use crate::serve::snapshot::Snapshot;
use crate::serve::trace::{Recorder, Step, Why};

/// A request that is only asked about.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Such as `GET`.
    pub method: &'a str,
    /// A URL, or just a path.
    pub url: &'a str,
    /// Header fields of the form `Name: value`.
    pub fields: &'a [String],
    /// Where the connection comes from; the client's address, unless this is a trusted proxy that names another one.
    pub peer: IpAddr,
}

/// The decision, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// One line per step, in order.
    pub steps: Vec<String>,
    /// What happens in the end.
    pub verdict: String,
    /// Whether that is anything but a refusal.
    pub is_served: bool,
}

/// Explains what `config` makes of a request.
///
/// # Errors
/// When the question is no valid request; says why.
pub fn explain(config: Config, question: Question<'_>) -> Result<Explanation, String> {
    let head = head(question)?;
    let trusted = &config.server.trusted_proxies;
    let client = Client::identify(question.peer.to_canonical(), &head.fields, trusted);
    let snapshot = Snapshot::new(Arc::new(config));
    let (mut trace, now) = (Recorder::default(), Instant::now());
    let decision = decide(&head, client.ip, &snapshot, Phase::Serving, now, &mut trace);
    let (is_served, verdict) = match decision.verdict {
        Verdict::Forward(plan) => {
            let group = snapshot.groups.get(plan.upstream);
            let upstream = group.map_or("?", |group| &*group.upstream.name);
            (
                true,
                format!(
                    "forward to upstream {upstream}, asking for {}{}",
                    plan.path,
                    head.target.query()
                ),
            )
        }
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
    };
    Ok(Explanation {
        steps: trace.steps.iter().map(describe).collect(),
        verdict,
        is_served,
    })
}

fn head(question: Question<'_>) -> Result<RequestHead, String> {
    let method = Method::from_bytes(question.method.as_bytes())
        .map_err(|_| format!("{:?} is no method", question.method))?;
    let target = Target::parse(question.url).map_err(|error| error.describe().to_owned())?;
    let mut fields = Fields::new();
    for field in question.fields {
        let (name, value) = field
            .split_once(':')
            .ok_or_else(|| format!("{field:?} is not of the form 'Name: value'"))?;
        fields.append(name.trim(), value.trim());
    }
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
        Step::Draining => "the proxy is shutting down".into(),
        Step::HealthPath(path) => format!("{path} is a health path"),
        Step::Route { name, miss: None } => format!("route {name}: matches"),
        Step::Route {
            name,
            miss: Some(miss),
        } => format!("route {name}: {}", describe_miss(miss)),
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
        Step::UnknownService(name) => format!("no service is called {name:?}"),
        Step::BodyLimit { limit, fits: true } => format!("body: at most {limit} bytes"),
        Step::BodyLimit { limit, fits: false } => format!("body: larger than {limit} bytes"),
        Step::Candidate {
            name,
            weight,
            is_backup,
            skip: None,
        } => {
            let part = if *is_backup { ", a backup" } else { "" };
            format!("backend {name}: usable, weight {weight}{part}")
        }
        Step::Candidate {
            name,
            skip: Some(skip),
            ..
        } => format!("backend {name}: skipped, {}", skip.as_str()),
    }
}

fn describe_miss(miss: &Miss<'_>) -> String {
    match miss {
        Miss::Host => "another host".into(),
        Miss::Path => "another path".into(),
        Miss::ClientIp => "another client address".into(),
        Miss::Header(wanted) => format!("another header, not {wanted}"),
        Miss::Query(wanted) => format!("another query, not {wanted}"),
        Miss::Cookie(wanted) => format!("another cookie, not {wanted}"),
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
            config,
            Question {
                method,
                url,
                fields,
                peer: "127.0.0.1".parse().unwrap(),
            },
        )
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

    #[test]
    fn nonsense_is_told_apart() {
        assert!(ask("G T", "/", &[]).is_err());
        assert!(ask("GET", "no path", &[]).is_err());
        assert!(ask("GET", "/", &["no colon".into()]).is_err());
    }
}
