//! What is about browsers, as it was written: CORS, security headers, the redirect to https. Types only.

use std::time::Duration;

use super::Written;
use crate::config::report::{At, Place};

/// `[route.cors]`.
#[derive(Debug, Default)]
pub(crate) struct CorsFile {
    pub(crate) place: Place,
    pub(crate) origins: Written<Vec<At<String>>>,
    pub(crate) methods: Written<Vec<At<String>>>,
    pub(crate) headers: Written<Vec<At<String>>>,
    pub(crate) expose: Written<Vec<At<String>>>,
    pub(crate) credentials: Written<bool>,
    pub(crate) max_age: Written<Duration>,
    /// `origins` was written, but what was written is a problem that is already reported.
    pub(crate) broken: bool,
}

/// A text, or `false` (None).
pub(crate) type TextOrOff = Written<Option<String>>;

/// `security_headers`.
#[derive(Debug, Default)]
pub(crate) struct SecurityHeadersFile {
    pub(crate) is_on: bool,
    pub(crate) nosniff: Written<bool>,
    pub(crate) frame_options: TextOrOff,
    pub(crate) referrer_policy: TextOrOff,
    pub(crate) content_security_policy: TextOrOff,
    pub(crate) permissions_policy: TextOrOff,
    pub(crate) hsts: TextOrOff,
    pub(crate) include_subdomains: Written<bool>,
    pub(crate) preload: Written<bool>,
}

/// `redirect_https`.
#[derive(Debug, Default)]
pub(crate) struct RedirectHttpsFile {
    pub(crate) place: Place,
    pub(crate) is_on: bool,
    pub(crate) port: Written<i64>,
    pub(crate) except: Written<Vec<At<String>>>,
}
