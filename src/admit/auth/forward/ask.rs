//! Asks the other server: one GET, bounded in time and in size, over connections that are kept.

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::{Agent, Error};

use super::addresses::{Addresses, MOST};
use super::line::{Lines, Tls};
use crate::config::model::ForwardAuth;

/// Longest head of an answer, in bytes; and room for that much.
const LONGEST_HEAD: usize = 32 * 1024;
/// Room for the head of a request.
const REQUEST: usize = 64 * 1024;
/// Longest body of an answer, in bytes.
const LONGEST_BODY: u64 = 64 * 1024;
/// Connections that wait for the next question.
const MOST_IDLE: usize = 32;
/// How long they do.
const IDLE: Duration = Duration::from_secs(15);

/// The server's whole answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Who asks.
#[derive(Debug)]
pub(super) struct Client {
    /// Keeps connections.
    agent: Agent,
    /// Has a new one for each question.
    fresh: Agent,
    addresses: Arc<Addresses>,
    uri: Uri,
}

impl Client {
    /// For the server of `settings`, which has these addresses.
    pub(super) fn new(addresses: Arc<Addresses>, settings: &ForwardAuth) -> Client {
        let tls = Tls::of(settings);
        let agent = |most_idle: usize| {
            let config = Agent::config_builder()
                .proxy(None)
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .user_agent("")
                .accept("")
                .accept_encoding("")
                .max_response_header_size(LONGEST_HEAD)
                .input_buffer_size(LONGEST_HEAD)
                .output_buffer_size(REQUEST)
                .max_idle_connections(most_idle)
                .max_idle_connections_per_host(most_idle)
                .max_idle_age(IDLE)
                .build();
            let known = Known(Arc::clone(&addresses));
            Agent::with_parts(config, Lines { tls: tls.clone() }, known)
        };
        Client {
            agent: agent(MOST_IDLE),
            fresh: agent(0),
            // The configuration has been checked; should it be wrong all the same, there will be no answer.
            uri: settings.url().parse().unwrap_or_default(),
            addresses,
        }
    }

    /// The answer to `fields`, within `timeout`.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub(super) fn ask(
        &self,
        fields: Vec<(HeaderName, HeaderValue)>,
        timeout: Duration,
    ) -> Result<Reply, String> {
        let deadline = Instant::now() + timeout;
        let mut request = Request::new(());
        *request.uri_mut() = self.uri.clone();
        for (name, value) in fields {
            request.headers_mut().append(name, value);
        }
        let mut result = call(&self.agent, request.clone(), deadline);
        // The server may close a connection at the moment when the next question goes out on it; a question changes nothing, so
        // it is asked again, over a new one.
        if let Err(Error::Io(error)) = &result
            && is_closed(error.kind())
        {
            result = call(&self.fresh, request, deadline);
        }
        result.map_err(|error| {
            self.addresses.doubt();
            describe(&error)
        })
    }
}

fn call(agent: &Agent, request: Request<()>, deadline: Instant) -> Result<Reply, Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Error::Timeout(ureq::Timeout::Global));
    }
    let request = agent
        .configure_request(request)
        .timeout_global(Some(left))
        .build();
    let (head, body) = agent.run(request)?.into_parts();
    let mut bytes = Vec::new();
    let mut reader = body.into_reader().take(LONGEST_BODY + 1);
    reader.read_to_end(&mut bytes).map_err(Error::from)?;
    if bytes.len() as u64 > LONGEST_BODY {
        return Err(Error::BodyExceedsLimit(LONGEST_BODY));
    }
    Ok(Reply {
        status: head.status,
        fields: head.headers,
        body: bytes,
    })
}

fn is_closed(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
    )
}

fn describe(error: &Error) -> String {
    match error {
        Error::Timeout(_) => "no answer in time".into(),
        Error::HostNotFound => "its name does not resolve".into(),
        Error::BodyExceedsLimit(limit) => format!("its answer is longer than {limit} bytes"),
        Error::Io(error) => error.to_string(),
        Error::Protocol(error) => format!("its answer is no good HTTP: {error}"),
        error => error.to_string(),
    }
}

/// Addresses that somebody else looks up.
#[derive(Debug)]
struct Known(Arc<Addresses>);

impl Resolver for Known {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        let deadline = Instant::now().checked_add(*timeout.after);
        let deadline = deadline.unwrap_or_else(Instant::now);
        for address in self.0.get(deadline).into_iter().take(MOST) {
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(Error::HostNotFound);
        }
        Ok(addresses)
    }
}
