//! Rate limits as they were written. Types only.

use super::Written;
use crate::config::report::Place;

/// One rate limit.
#[derive(Debug, Default)]
pub(crate) struct RateLimitFile {
    pub(crate) place: Place,
    pub(crate) name: Written<String>,
    pub(crate) by: Written<String>,
    pub(crate) rate: Written<String>,
    pub(crate) burst: Written<i64>,
    pub(crate) clients: Written<i64>,
    pub(crate) dry_run: Written<bool>,
    /// `rate` was written, but what was written is a problem that is already reported.
    pub(crate) broken: bool,
}

/// How often and how many at once, on a `[[route]]`.
#[derive(Debug, Default)]
pub(crate) struct RouteLimitsFile {
    pub(crate) rates: Vec<RateLimitFile>,
    pub(crate) max_concurrent: Written<i64>,
    pub(crate) max_concurrent_per_client: Written<i64>,
}
