//! What the answers of one exchange say to browsers, and what is decided for their sake before a route's own business: preflights,
//! WebSocket from pages of other sites, and the way to https.

use std::sync::Arc;

use http::StatusCode;

use crate::admit::{self, Refusal};
use crate::config::model::{Config, Cors, Route, SecurityHeaders};
use crate::error::Cause;
use crate::message::fields::Fields;
use crate::message::forwarded::Client;
use crate::message::head::RequestHead;
use crate::message::path::Path;
use crate::respond;

use super::decide::Verdict;
use super::own_answer::OwnAnswer;
use super::trace::{Step, Trace};

/// What answers say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Browser {
    /// Which pages may read them; none: nothing is said about it.
    pub cors: Option<Arc<Cors>>,
    /// What may be done with them.
    pub security: Option<Arc<SecurityHeaders>>,
}

impl Browser {
    /// For answers of no route.
    pub fn of_server(config: &Config) -> Browser {
        Browser {
            cors: None,
            security: config.server.security_headers.clone(),
        }
    }

    /// For answers of `route`.
    pub fn of_route(route: &Route, config: &Config) -> Browser {
        let own = route.security_headers.as_ref();
        Browser {
            cors: route.cors.clone(),
            security: own.or(config.server.security_headers.as_ref()).cloned(),
        }
    }

    /// All of it for an answer that has no fields of its own.
    pub fn told(&self, verdict: &Verdict, request: &RequestHead, client: &Client) -> Fields {
        let mut fields = Fields::new();
        self.protect(request, client, &mut fields);
        self.share(request, &mut fields);
        if let Verdict::Own(OwnAnswer::Preflight(cors)) = verdict {
            respond::answer_preflight(&mut fields, cors);
        }
        fields
    }

    /// Adds what may be done with an answer, before its route changes it.
    pub fn protect(&self, request: &RequestHead, client: &Client, fields: &mut Fields) {
        if let Some(security) = &self.security {
            let has_tls = client.scheme(&request.fields) == "https";
            respond::protect(fields, security, has_tls);
        }
    }

    /// Adds who may read an answer, after that.
    pub fn share(&self, request: &RequestHead, fields: &mut Fields) {
        if let Some(cors) = &self.cors {
            respond::share(fields, cors, request.origin());
        }
    }
}

/// Asks `cors`; `Some`: the request gets no further.
pub(super) fn ask(
    cors: &Arc<Cors>,
    head: &RequestHead,
    client: &Client,
    trace: &mut impl Trace,
) -> Option<Verdict> {
    let is_preflight = head.asked_method().is_some();
    let judged = if is_preflight {
        admit::cors::preflight(cors, head)
    } else {
        admit::cors::websocket(cors, head, client.scheme(&head.fields))
    };
    if let Some(origin) = head.origin() {
        trace.step(|| Step::Origin {
            origin: origin.to_owned(),
            is_listed: cors.allowed(Some(origin)).is_some(),
            is_preflight,
        });
    }
    match judged {
        Err(refusal) => Some(Verdict::Refuse(refusal)),
        Ok(()) if is_preflight => Some(Verdict::Own(OwnAnswer::Preflight(Arc::clone(cors)))),
        Ok(()) => None,
    }
}

/// Sends who comes without TLS to where it is; `Some`: the request gets no further.
pub(super) fn to_https(
    head: &RequestHead,
    client: &Client,
    config: &Config,
    trace: &mut impl Trace,
) -> Option<Verdict> {
    let redirect = config.server.redirect_https.as_ref()?;
    if client.scheme(&head.fields) == "https" {
        return None;
    }
    let is_spared = redirect.spares(Path::new(head.target.path()).canonical());
    trace.step(|| Step::WithoutTls { is_spared });
    if is_spared {
        return None;
    }
    let Some(location) = redirect.location(head, client) else {
        let message = "Without TLS one is sent to https here, and the request names no host.";
        return Some(Verdict::Refuse(Refusal::with(Cause::BadRequest, message)));
    };
    // The method stays what it is (RFC 9110 section 15.4.9).
    let status = StatusCode::PERMANENT_REDIRECT;
    Some(Verdict::Own(OwnAnswer::Redirect { status, location }))
}
