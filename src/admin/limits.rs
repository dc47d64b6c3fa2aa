//! Limits of how often and how many, as the status page shows them: what they have counted, and nobody's address.

use std::sync::Arc;

use serde_json::{Value, json};

/// One rate limit.
#[derive(Debug, Clone)]
pub struct RateLimitView {
    /// The route; none: the limit is for everything.
    pub route: Option<Arc<str>>,
    /// Its name.
    pub name: Arc<str>,
    /// What it counts apart, as configured.
    pub by: String,
    /// As configured.
    pub rate: String,
    /// As configured.
    pub burst: u32,
    /// Whether it only counts.
    pub dry_run: bool,
    /// Requests that it let pass.
    pub passed: u64,
    /// Requests that it refused.
    pub refused: u64,
    /// Requests that it would have refused, if it did more than count.
    pub spared: u64,
    /// How many it keeps apart right now.
    pub entries: usize,
}

/// One limit of what is under way.
#[derive(Debug, Clone)]
pub struct ConcurrencyView {
    /// The route; none: the limit is for everything.
    pub route: Option<Arc<str>>,
    /// Requests under way.
    pub under_way: usize,
    /// Clients with requests under way, where that is limited.
    pub clients: usize,
    /// As configured.
    pub most: Option<usize>,
    /// As configured.
    pub most_per_client: Option<usize>,
    /// Requests that were refused.
    pub refused: u64,
}

/// All limits of the configuration.
#[derive(Debug, Clone, Default)]
pub struct LimitsView {
    /// Those of how often.
    pub rates: Vec<RateLimitView>,
    /// Those of how many.
    pub concurrency: Vec<ConcurrencyView>,
}

impl LimitsView {
    pub(super) fn render(&self) -> Value {
        let rates: Vec<Value> = self.rates.iter().map(RateLimitView::render).collect();
        let concurrency = self.concurrency.iter().map(ConcurrencyView::render);
        let concurrency: Vec<Value> = concurrency.collect();
        json!({ "rates": rates, "concurrency": concurrency })
    }
}

impl RateLimitView {
    fn render(&self) -> Value {
        json!({
            "route": self.route.as_deref(),
            "name": &*self.name,
            "by": self.by,
            "rate": self.rate,
            "burst": self.burst,
            "dry_run": self.dry_run,
            "passed": self.passed,
            "refused": self.refused,
            "dry_run_refused": self.spared,
            "entries": self.entries,
        })
    }
}

impl ConcurrencyView {
    fn render(&self) -> Value {
        json!({
            "route": self.route.as_deref(),
            "under_way": self.under_way,
            "clients": self.clients,
            "max_concurrent": self.most,
            "max_concurrent_per_client": self.most_per_client,
            "refused": self.refused,
        })
    }
}
