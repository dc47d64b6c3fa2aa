//! The keys of the tables below `[route.auth]` that have many.

/// Of `[route.auth]`.
pub(super) const AUTH: &[&str] = &[
    "realm",
    "strip_credentials",
    "user_header",
    "api_keys",
    "bearer",
    "jwt",
    "forward",
    "basic",
];

/// `[route.auth.jwt]`.
pub(super) const JWT: &[&str] = &[
    "jwks",
    "key",
    "secret",
    "secret_file",
    "algorithms",
    "issuer",
    "audience",
    "leeway",
    "require_expiry",
    "require",
    "headers",
    "header",
    "cookie",
];

/// `[route.auth.forward]`.
pub(super) const FORWARD: &[&str] = &[
    "url",
    "timeout",
    "request_headers",
    "response_headers",
    "user_header",
    "tls",
];
