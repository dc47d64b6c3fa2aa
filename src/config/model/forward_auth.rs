//! `[route.auth] forward`: another server that says who may pass.

use std::time::Duration;

use serde::Serialize;

/// Another server that is asked about each request.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct ForwardAuth {
    /// Host name or address literal, without brackets.
    pub host: String,
    /// Default 80.
    pub port: u16,
    /// Path and query that are asked for; starts with `/`. Default `/`.
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

impl ForwardAuth {
    /// Host and port as a `Host` field has them.
    pub fn authority(&self) -> String {
        match (self.host.contains(':'), self.port) {
            (true, 80) => format!("[{}]", self.host),
            (true, port) => format!("[{}]:{port}", self.host),
            (false, 80) => self.host.clone(),
            (false, port) => format!("{}:{port}", self.host),
        }
    }
}
