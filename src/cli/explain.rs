//! `tollgate explain METHOD URL`: what would be decided about a request, and why, from the configuration alone.
//!
//! The decision is the one that runs in production; only the trace differs. Nothing is sent, and the health of backends is
//! not known here: all count as not checked yet.

use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use http::Method;

use crate::config::{self, Loaded};
use crate::drain::Phase;
use crate::message::fields::Fields;
use crate::message::framing;
use crate::message::head::{RequestHead, Version};
use crate::message::target::Target;
use crate::route::Miss;
use crate::serve::decide::{Verdict, decide};
use crate::serve::snapshot::Snapshot;
use crate::serve::trace::{Recorder, Step};

use super::{Exit, Where, report};

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// Method, such as GET
    method: String,
    /// URL, such as http://api.example.com/v1, or just a path
    url: String,
    /// A header field, such as 'Content-Length: 10'; repeat it for more
    #[arg(long, short = 'H', value_name = "FIELD")]
    header: Vec<String>,
    #[command(flatten)]
    place: Where,
}

pub(super) fn run(explain: &Explain) -> Exit {
    let head = match head(explain) {
        Ok(head) => head,
        Err(why) => {
            eprintln!("tollgate: {why}");
            return Exit::Failure;
        }
    };
    let config = match config::load(&explain.place.request()) {
        Err(problems) => return report(&problems),
        Ok(Loaded { config, .. }) => config,
    };
    let snapshot = Snapshot::new(Arc::new(config));
    let mut trace = Recorder::default();
    let decision = decide(&head, &snapshot, Phase::Serving, Instant::now(), &mut trace);
    eprintln!(
        "{} {} on host {:?}",
        head.method,
        head.target.as_str(),
        head.host()
    );
    for step in &trace.steps {
        eprintln!("  {}", describe(step));
    }
    match decision.verdict {
        Verdict::Forward(plan) => {
            let upstream = snapshot
                .groups
                .get(plan.upstream)
                .map_or("?", |group| group.upstream.name.as_str());
            eprintln!(
                "=> forward to upstream {upstream}, asking for {}",
                plan.path
            );
            Exit::Clean
        }
        Verdict::Health(_) => {
            eprintln!("=> answered by tollgate itself");
            Exit::Clean
        }
        Verdict::Refuse(refusal) => {
            let message = if refusal.message.is_empty() {
                refusal.cause.message()
            } else {
                &refusal.message
            };
            eprintln!("=> {} {}: {message}", refusal.cause.status(), refusal.cause);
            Exit::Failure
        }
    }
}

fn head(explain: &Explain) -> Result<RequestHead, String> {
    let method = Method::from_bytes(explain.method.as_bytes())
        .map_err(|_| format!("{:?} is no method", explain.method))?;
    let target = Target::parse(&explain.url).map_err(|error| error.describe().to_owned())?;
    let mut fields = Fields::new();
    for header in &explain.header {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| format!("{header:?} is not of the form 'Name: value'"))?;
        fields.append(name.trim(), value.trim());
    }
    if !fields.contains("host") {
        fields.append("Host", target.authority().unwrap_or("localhost"));
    }
    let framing =
        framing::judge(Version::Http11, &fields).map_err(|error| error.describe().to_owned())?;
    Ok(RequestHead {
        method,
        target,
        version: Version::Http11,
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
            miss: Some(Miss::Host),
        } => format!("route {name}: another host"),
        Step::Route {
            name,
            miss: Some(Miss::Path),
        } => format!("route {name}: another path"),
        Step::UnknownService(name) => format!("no service is called {name:?}"),
        Step::BodyLimit { limit, fits: true } => format!("body: at most {limit} bytes"),
        Step::BodyLimit { limit, fits: false } => format!("body: larger than {limit} bytes"),
        Step::Candidate {
            name,
            weight,
            skip: None,
        } => format!("backend {name}: usable, weight {weight}"),
        Step::Candidate {
            name,
            skip: Some(skip),
            ..
        } => format!("backend {name}: skipped, {skip:?}"),
    }
}
