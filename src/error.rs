//! Every cause for which tollgate itself answers, with its status, its RFC 9209 token and what it means.
//!
//! This is the only table of its kind: bodies, headers, logs and retries all read it. Whether an attempt may be repeated
//! is decided in `forward::retry`, from the cause and from what was sent.

use std::fmt;

use http::StatusCode;

/// Why tollgate answered by itself, or cut an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The backend's name does not resolve.
    DnsFailed,
    /// The backend refused the connection, or cannot be reached.
    ConnectRefused,
    /// The backend did not accept the connection in time.
    ConnectTimeout,
    /// The backend's certificate is not what `[upstream.tls]` asks for.
    BackendCertificate,
    /// TLS with the backend did not come about for another reason, or broke.
    BackendTls,
    /// The backend closed the connection before it answered.
    BackendClosed,
    /// The backend did not answer in time.
    BackendSlow,
    /// What the backend sent is not HTTP, or not allowed.
    BadResponse,
    /// The backend's answer broke off after its head had been passed on.
    ResponseCut,
    /// No backend of the upstream is usable.
    NoBackend,
    /// The queue for workers is full, or the wait in it was too long.
    Overloaded,
    /// The proxy is shutting down.
    Draining,
    /// The route is in maintenance.
    Maintenance,
    /// The client asks too often, or has too many requests under way.
    RateLimited,
    /// No route matches.
    NoRoute,
    /// A rule of the listener or the route says who may come, and this client or request may not; or it is known who it is, and
    /// that is not enough.
    Forbidden,
    /// This host is not served here.
    Host,
    /// The route wants to know who it is, and what came does not tell.
    Unauthorized,
    /// Who would tell who may pass does not.
    AuthUnavailable,
    /// The request is malformed.
    BadRequest,
    /// The request is of an HTTP version that is not spoken here.
    Version,
    /// The method is not allowed.
    Method,
    /// A page of another site may not do this.
    CorsRefused,
    /// The request body is larger than allowed.
    BodyTooBig,
    /// The request-target is longer than allowed.
    TargetTooLong,
    /// The request head is larger than allowed.
    HeadTooBig,
    /// The client was too slow to send its request.
    ClientTimeout,
    /// The client left; nobody gets an answer. Logged as 499.
    ClientGone,
    /// A fault of tollgate's own.
    Internal,
}

impl Cause {
    /// All of them, for tables and documents.
    pub const ALL: [Cause; 29] = [
        Cause::DnsFailed,
        Cause::ConnectRefused,
        Cause::ConnectTimeout,
        Cause::BackendCertificate,
        Cause::BackendTls,
        Cause::BackendClosed,
        Cause::BackendSlow,
        Cause::BadResponse,
        Cause::ResponseCut,
        Cause::NoBackend,
        Cause::Overloaded,
        Cause::Draining,
        Cause::Maintenance,
        Cause::RateLimited,
        Cause::NoRoute,
        Cause::Forbidden,
        Cause::Host,
        Cause::Unauthorized,
        Cause::AuthUnavailable,
        Cause::BadRequest,
        Cause::Version,
        Cause::Method,
        Cause::CorsRefused,
        Cause::BodyTooBig,
        Cause::TargetTooLong,
        Cause::HeadTooBig,
        Cause::ClientTimeout,
        Cause::ClientGone,
        Cause::Internal,
    ];

    /// The stable code that people and programs see.
    pub fn code(self) -> &'static str {
        self.row().0
    }

    /// The status of the answer. 499 is for the log only: nobody is there to read it.
    pub fn status(self) -> u16 {
        self.row().1
    }

    /// The status as an answer can carry it.
    pub fn status_code(self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The error type for the `Proxy-Status` field (RFC 9209 section 2.3).
    pub fn proxy_status(self) -> &'static str {
        self.row().2
    }

    /// One sentence for the person who sees it.
    pub fn message(self) -> &'static str {
        self.row().3
    }

    /// Whether it asks the client to come back (`Retry-After`).
    pub fn is_temporary(self) -> bool {
        matches!(
            self,
            Cause::NoBackend
                | Cause::Overloaded
                | Cause::Draining
                | Cause::Maintenance
                | Cause::RateLimited
        )
    }

    fn row(self) -> &'static Row {
        ROWS.get(self as usize).unwrap_or(&INTERNAL)
    }
}

/// Code, status, RFC 9209 error type, sentence.
struct Row(&'static str, u16, &'static str, &'static str);

/// In the order of the variants.
#[rustfmt::skip]
const ROWS: [Row; Cause::ALL.len()] = [
    Row("dns_failed", 502, "dns_error", "The backend's name could not be resolved."),
    Row("connect_refused", 502, "connection_refused", "The backend refused the connection."),
    Row("connect_timeout", 504, "connection_timeout", "The backend did not accept the connection in time."),
    Row("backend_certificate", 502, "tls_certificate_error", "The backend could not be trusted."),
    Row("backend_tls", 502, "tls_protocol_error", "No secure connection to the backend could be made."),
    Row("backend_closed", 502, "connection_terminated", "The backend closed the connection before it answered."),
    Row("backend_slow", 504, "http_response_timeout", "The backend did not answer in time."),
    Row("bad_response", 502, "http_protocol_error", "The backend's answer is not valid HTTP."),
    Row("response_cut", 502, "http_response_incomplete", "The backend's answer broke off."),
    Row("no_backend", 503, "destination_unavailable", "No backend is available right now."),
    Row("overloaded", 503, "connection_limit_reached", "The proxy has too much to do right now."),
    Row("draining", 503, "destination_unavailable", "The proxy is shutting down."),
    Row("maintenance", 503, "destination_unavailable", "Down for maintenance; please come back later."),
    Row("rate_limited", 429, "http_request_denied", "There are too many requests; please come back later."),
    Row("no_route", 404, "http_request_denied", "No route matches this request."),
    Row("forbidden", 403, "http_request_denied", "You may not come here."),
    Row("host", 421, "http_request_denied", "This host is not served here."),
    Row("unauthorized", 401, "http_request_denied", "Not authenticated"),
    Row("auth_unavailable", 503, "destination_unavailable", "It cannot be found out right now who may come here."),
    Row("bad_request", 400, "http_request_error", "The request is malformed."),
    Row("version", 505, "http_request_error", "Only HTTP/1.1 and HTTP/1.0 are spoken here."),
    Row("method", 405, "http_request_denied", "This method is not allowed here."),
    Row("cors_refused", 403, "http_request_denied", "Pages of this origin may not do this here."),
    Row("body_too_big", 413, "http_request_denied", "The request body is too large."),
    Row("target_too_long", 414, "http_request_denied", "The request-target is too long."),
    Row("head_too_big", 431, "http_request_denied", "The request head is too large."),
    Row("client_timeout", 408, "http_request_error", "The request did not arrive in time."),
    Row("client_gone", 499, "http_request_error", "The client left."),
    Row("internal", 500, "proxy_internal_error", "Something went wrong inside the proxy."),
];

const INTERNAL: Row = Row(
    "internal",
    500,
    "proxy_internal_error",
    "Something went wrong inside the proxy.",
);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_order_of_the_variants() {
        assert!(
            Cause::ALL
                .iter()
                .enumerate()
                .all(|(index, cause)| *cause as usize == index)
        );
        assert_eq!(
            (Cause::DnsFailed.code(), Cause::Internal.code()),
            ("dns_failed", "internal")
        );
        assert_eq!(
            (Cause::NoRoute.status(), Cause::ClientGone.status()),
            (404, 499)
        );
    }

    #[test]
    fn the_readme_names_every_code() {
        let readme = include_str!("../README.md");
        let table = readme.split("| cause | status |\n").nth(1).unwrap();
        let table = table.split("\n\n").next().unwrap();
        for cause in Cause::ALL {
            assert!(table.contains(&format!("`{cause}`")), "{cause}");
        }
    }

    #[test]
    fn codes_are_unique_and_statuses_are_errors() {
        let mut codes: Vec<&str> = Cause::ALL.iter().map(|cause| cause.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Cause::ALL.len());
        assert!(
            Cause::ALL
                .iter()
                .all(|cause| (400..600).contains(&cause.status()))
        );
    }

    #[test]
    fn only_busy_times_ask_to_come_back() {
        let temporary: Vec<&str> = Cause::ALL
            .iter()
            .filter(|cause| cause.is_temporary())
            .map(|cause| cause.code())
            .collect();
        assert_eq!(
            temporary,
            [
                "no_backend",
                "overloaded",
                "draining",
                "maintenance",
                "rate_limited"
            ]
        );
    }
}
