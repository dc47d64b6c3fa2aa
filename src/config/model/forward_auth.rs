//! `[route.auth] forward`: another server that says who may pass.

use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use crate::config::secret::fingerprint;

use super::UpstreamTls;

/// Another server that is asked about each request.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct ForwardAuth {
    /// Host name or address literal, without brackets.
    pub host: String,
    /// Default 80, with TLS 443.
    pub port: u16,
    /// `[route.auth.forward.tls]`. None: the URL is `http://`, and TLS is not spoken.
    pub tls: Option<UpstreamTls>,
    /// Path and query that are asked for; starts with `/`. Default `/`.
    #[serde(serialize_with = "without_query")]
    pub target: String,
    /// For the whole answer. Default 2 s.
    pub timeout: Duration,
    /// Fields of the request that it is shown. Default `Authorization` and `Cookie`.
    pub request_headers: Vec<String>,
    /// Fields of its answer that the backend gets; from clients they are never passed on. Default none.
    pub response_headers: Vec<String>,
    /// The field of its answer that says who it is. Default none.
    pub user_header: Option<String>,
}

/// The path, and whether the query is another one: it may have a secret in it.
fn without_query<S: Serializer>(target: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut entry = serializer.serialize_struct("Target", 2)?;
    entry.serialize_field("path", path)?;
    entry.serialize_field("hidden", &fingerprint(query))?;
    entry.end()
}

impl ForwardAuth {
    /// What is asked for, without a port that goes without saying.
    pub fn url(&self) -> String {
        let (scheme, default) = match self.tls {
            None => ("http", 80),
            Some(_) => ("https", 443),
        };
        let (host, target) = (&self.host, &self.target);
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host.clone(),
        };
        match self.port {
            port if port == default => format!("{scheme}://{host}{target}"),
            port => format!("{scheme}://{host}:{port}{target}"),
        }
    }
}
