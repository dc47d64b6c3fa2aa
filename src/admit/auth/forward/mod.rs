//! `forward`: another server says who may pass. Its 2xx lets a request in; its 401, 403 and redirects are passed on to the
//! client; whatever else happens, nobody gets in.
//!
//! Every request is asked about, and every answer holds for its request only.

mod addresses;
mod ask;
mod crowd;
mod line;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;

use crate::config::model::ForwardAuth;
use crate::error::Cause;
use crate::message::path::Path;

use super::super::Refusal;
use super::{Asking, Denied, Effort, Fault, Identity, LONGEST_NAME, Look, Relayed, Scheme};
use addresses::Addresses;
use ask::{Client, Reply};
use crowd::Crowd;

const NAME: &str = "forward";
/// Most questions to one server that are under way at the same time.
const MOST_QUESTIONS: usize = 48;
/// Fields of a denial that the client gets.
const PASSED_ON: [&str; 5] = [
    "WWW-Authenticate",
    "Location",
    "Set-Cookie",
    "Content-Type",
    "Content-Encoding",
];
/// Between two lines about a server that does not answer.
const PAUSE: Duration = Duration::from_secs(10);

/// The scheme.
#[derive(Debug)]
pub(super) struct Forward {
    settings: ForwardAuth,
    client: Client,
    crowd: Crowd,
    complaints: Mutex<Complaints>,
}

/// What has been said about failures, and what has not.
#[derive(Debug, Default)]
struct Complaints {
    told: Option<Instant>,
    untold: u64,
}

impl Forward {
    pub(super) fn new(settings: &ForwardAuth) -> Forward {
        let addresses = Addresses::new(&settings.host, settings.port, Instant::now());
        Forward {
            client: Client::new(addresses, settings),
            settings: settings.clone(),
            crowd: Crowd::new(MOST_QUESTIONS),
            complaints: Mutex::default(),
        }
    }

    fn ask(&self, asking: Asking<'_>) -> Result<Reply, Denied> {
        let fields = self.fields(asking)?;
        let timeout = self.settings.timeout;
        let Some(place) = self.crowd.enter(Instant::now() + timeout) else {
            return Err(self.unavailable("too many wait for its answers"));
        };
        let reply = self.client.ask(fields, timeout);
        let reply = reply.map_err(|why| self.unavailable(&why))?;
        place.answered();
        Ok(reply)
    }

    /// What the server is told: about the request, and what the configuration says that it may see.
    fn fields(&self, asking: Asking<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, Denied> {
        let Asking { head, client, .. } = asking;
        // The path that routes are compared with and backends get: who is asked must not judge another one.
        let path = Path::new(head.target.path());
        let uri = [path.normal(), head.target.query()].concat();
        let known = [
            ("x-forwarded-method", head.method.as_str()),
            ("x-forwarded-proto", client.scheme(&head.fields)),
            ("x-forwarded-host", head.host()),
            ("x-forwarded-uri", &uri),
            ("x-forwarded-for", &client.ip.to_string()),
            ("x-request-id", asking.request_id),
        ]
        .map(|(name, value)| (HeaderName::from_static(name), value.as_bytes().to_vec()));
        let chosen = self.settings.request_headers.iter().flat_map(|name| {
            let header = HeaderName::from_bytes(name.as_bytes()).ok();
            let values = head.fields.all(name);
            values.filter_map(move |value| Some((header.clone()?, value.to_vec())))
        });
        let value = |(name, value): (HeaderName, Vec<u8>)| {
            let value = HeaderValue::from_maybe_shared(value).ok()?;
            // Our HTTP client takes no others there.
            let is_good = name != http::header::AUTHORIZATION || value.to_str().is_ok();
            is_good.then_some((name, value))
        };
        let fields: Option<Vec<_>> = known.into_iter().chain(chosen).map(value).collect();
        fields.ok_or_else(|| {
            let message = "A header field cannot be shown to who decides about this request.";
            Denied::Refusal(Refusal::with(Cause::BadRequest, message))
        })
    }

    fn let_in(&self, fields: &HeaderMap) -> Result<Arc<Identity>, Denied> {
        let all = |name: &str| {
            let values = fields.get_all(name).into_iter();
            let values: Option<Vec<&str>> = values.map(|value| value.to_str().ok()).collect();
            let values = values
                .ok_or_else(|| self.unavailable("its answer has a field that is not ASCII text"))?;
            Ok((!values.is_empty()).then(|| values.join(", ")))
        };
        let user = match &self.settings.user_header {
            Some(name) => all(name)?.unwrap_or_default(),
            None => String::new(),
        };
        if user.len() > LONGEST_NAME {
            // A part of it could be somebody else.
            return Err(self.unavailable("the name of the user in its answer is too long"));
        }
        let mut identity = Identity::new(NAME, user.into());
        for name in &self.settings.response_headers {
            if let Some(value) = all(name)? {
                identity.claims.push((name.as_str().into(), value));
            }
        }
        Ok(Arc::new(identity))
    }

    /// Nobody gets in. Says so in the log, but not for each request.
    fn unavailable(&self, why: &str) -> Denied {
        let mut complaints = self.complaints.lock();
        complaints.untold += 1;
        let now = Instant::now();
        let is_time = complaints.told.is_none_or(|told| now - told >= PAUSE);
        if is_time {
            let (settings, count) = (&self.settings, std::mem::take(&mut complaints.untold));
            complaints.told = Some(now);
            log::warn!(
                "{} does not say who may pass, so nobody gets in: {why} ({count} since the last such line)",
                // What is in the query may be a secret.
                settings.url().split('?').next().unwrap_or_default()
            );
        }
        Denied::Refusal(Refusal::new(Cause::AuthUnavailable))
    }
}

impl Scheme for Forward {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Whatever comes is for the other server to judge, also when nothing does.
    fn look(&self, _: Asking<'_>) -> Look {
        Look::Later(Effort::Network)
    }

    fn judge(&self, asking: Asking<'_>) -> Result<Arc<Identity>, Denied> {
        let reply = self.ask(asking)?;
        match reply.status.as_u16() {
            200..=299 => self.let_in(&reply.fields),
            401 | 403 | 301 | 302 | 303 | 307 | 308 => Err(Denied::Answer(relayed(reply))),
            status => Err(self.unavailable(&format!("it answered with status {status}"))),
        }
    }

    /// The other server brings its own.
    fn challenge(&self, _: &str, _: Option<Fault>) -> Option<String> {
        None
    }
}

/// What the client gets of an answer.
fn relayed(reply: Reply) -> Relayed {
    let mut fields: Vec<(&'static str, Vec<u8>)> = Vec::new();
    for name in PASSED_ON {
        let values = reply.fields.get_all(name).into_iter();
        fields.extend(values.map(|value| (name, value.as_bytes().to_vec())));
    }
    // It is about this request and nobody else's. Some redirects would be kept for ever.
    fields.push(("Cache-Control", b"no-store".to_vec()));
    Relayed {
        status: reply.status,
        fields,
        body: reply.body.into(),
    }
}
