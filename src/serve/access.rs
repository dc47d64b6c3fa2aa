//! Who may come at all: what is asked first, at the door of the server and at that of a route.
//!
//! 1. the address, by the lists of the listener; nothing is answered to those who may not come, not even a health path
//! 2. the method and the host, by the lists of the server
//! 3. when the route is found: the path (see [`super::spelling`]); the address, by the lists of the route; then its rules
//!
//! Each is looked up in the snapshot: a reload changes it for the next request.

use std::net::IpAddr;

use http::Method;

use crate::admit::{Refusal, access};
use crate::config::model::{AddressLists, Barred, Conditions, Config, NamedValue, Route, Spelling};
use crate::message::forwarded::Client;
use crate::message::head::RequestHead;
use crate::route::{self, Broken};

use super::spelling::Misspelt;
use super::trace::{Step, Trace};

/// What was looked at, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// The lists of addresses.
    Address {
        /// Of this entry of `listen`; none: of the route.
        listener: Option<String>,
        /// Who asks.
        client: IpAddr,
        /// Whether it may come.
        result: Result<(), Barred>,
    },
    /// The list of methods.
    Method {
        /// The request's own.
        method: Method,
        /// Whether it is one of them.
        is_allowed: bool,
    },
    /// The list of hosts.
    Host {
        /// The one that is asked for.
        host: String,
        /// Whether it is served.
        is_served: bool,
    },
    /// The spelling of the path, if that is not as everybody writes it.
    Path {
        /// What backends are asked for, unless the route changes it.
        normal: String,
        /// Whether that is what was sent.
        is_as_sent: bool,
        /// What holds here.
        spelling: Spelling,
        /// Whether it is taken.
        result: Result<(), Misspelt>,
    },
    /// The rules of the route.
    Rules(Result<(), BrokenRule>),
}

/// A rule that a request breaks, as people may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokenRule {
    /// None of `allow_if` holds.
    NotAllowed,
    /// This entry of `deny_if`, counted from 1, holds. What it asks for is told without values.
    Denied {
        /// Which one.
        number: usize,
        /// Names of what it looks at.
        looks_at: Vec<String>,
    },
}

/// Whether the client may come by its listener.
///
/// # Errors
/// When it may not.
pub(super) fn by_listener(
    config: &Config,
    client: &Client,
    trace: &mut impl Trace,
) -> Result<(), Refusal> {
    let Some(listener) = config.server.access.listeners.get(client.listener) else {
        return Ok(());
    };
    let Some(lists) = &listener.lists else {
        return Ok(());
    };
    by_address(lists, Some(&listener.address), client, trace)
}

/// Whether method and host are served.
///
/// # Errors
/// When one of them is not.
pub(super) fn by_server(
    config: &Config,
    head: &RequestHead,
    trace: &mut impl Trace,
) -> Result<(), Refusal> {
    let server = &config.server.access;
    if !server.methods.is_empty() {
        let checked = if access::asks_about(&server.methods, head) {
            Ok(())
        } else {
            access::check_method(&server.methods, head)
        };
        trace.step(|| {
            Step::Access(Access::Method {
                method: head.method.clone(),
                is_allowed: checked.is_ok(),
            })
        });
        checked?;
    }
    if let Some(hosts) = &server.hosts {
        let checked = access::check_host(hosts, head);
        trace.step(|| {
            Step::Access(Access::Host {
                host: head.host().to_owned(),
                is_served: checked.is_ok(),
            })
        });
        checked?;
    }
    Ok(())
}

/// Whether `route` lets this client with this request in.
///
/// # Errors
/// When it does not.
pub(super) fn by_route(
    config: &Config,
    route: &Route,
    request: &route::Request<'_>,
    client: &Client,
    trace: &mut impl Trace,
) -> Result<(), Refusal> {
    let answers_preflights = route.cors.is_some();
    if !answers_preflights {
        // A preflight has come further than its own method gets.
        access::check_method(&config.server.access.methods, request.head())?;
    }
    if let Some(lists) = &route.access.lists {
        by_address(lists, None, client, trace)?;
    }
    let Some(rules) = &route.access.rules else {
        return Ok(());
    };
    if answers_preflights && request.head().asked_method().is_some() {
        // What rules look at does not come with a preflight; they are for the request that it is about.
        return Ok(());
    }
    let checked = route::check_rules(rules, request);
    trace.step(|| {
        let broken = checked.map_err(|broken| match broken {
            Broken::NotAllowed => BrokenRule::NotAllowed,
            Broken::Denied(at) => BrokenRule::Denied {
                number: at + 1,
                looks_at: rules.deny_if.get(at).map(looks_at).unwrap_or_default(),
            },
        });
        Step::Access(Access::Rules(broken))
    });
    checked.map_err(|_| access::forbidden())
}

fn by_address(
    lists: &AddressLists,
    listener: Option<&str>,
    client: &Client,
    trace: &mut impl Trace,
) -> Result<(), Refusal> {
    let result = lists.judge(client.ip);
    trace.step(|| {
        Step::Access(Access::Address {
            listener: listener.map(str::to_owned),
            client: client.ip,
            result,
        })
    });
    result.map_err(|_| access::forbidden())
}

/// What a rule looks at, without the values that it looks for.
fn looks_at(rule: &Conditions) -> Vec<String> {
    let named = |kind: &str, values: &[NamedValue]| -> Vec<String> {
        let names = values.iter();
        names
            .map(|value| format!("{kind} {}", value.name))
            .collect()
    };
    let mut all = Vec::new();
    if !rule.methods.is_empty() {
        all.push("the method".to_owned());
    }
    if !rule.client_ip.is_empty() {
        all.push("the client's address".to_owned());
    }
    all.extend(named("header", &rule.headers));
    all.extend(named("query", &rule.query));
    all.extend(named("cookie", &rule.cookies));
    all
}
