//! What limits have counted, for the status page.

use std::sync::Arc;
use std::time::Instant;

use crate::admin::{ConcurrencyView, LimitsView, RateLimitView};
use crate::admit::gate::Gate;
use crate::serve::snapshot::Snapshot;

/// All limits, in the order of the configuration; first those for everything.
pub(super) fn limits_view(snapshot: &Snapshot, now: Instant) -> LimitsView {
    let mut view = LimitsView::default();
    add(&mut view, None, &snapshot.first_gate, now);
    for (route, gate) in snapshot.config.routes.iter().zip(&snapshot.gates) {
        add(&mut view, Some(&route.name), gate, now);
    }
    view
}

fn add(view: &mut LimitsView, route: Option<&Arc<str>>, gate: &Gate, now: Instant) {
    let route = route.cloned();
    view.rates.extend(gate.rates.limits().iter().map(|limit| {
        let (settings, counts) = (&limit.settings, limit.counts(now));
        RateLimitView {
            route: route.clone(),
            name: Arc::clone(&settings.name),
            by: settings.by.to_string(),
            rate: settings.to_string(),
            burst: settings.burst,
            dry_run: settings.dry_run,
            passed: counts.passed,
            refused: counts.refused,
            spared: counts.spared,
            entries: counts.busy,
        }
    }));
    if gate.crowd.is_limited() {
        let (most, counts) = (gate.crowd.limits(), gate.crowd.counts());
        view.concurrency.push(ConcurrencyView {
            route,
            under_way: counts.all,
            clients: counts.clients,
            most: most.most,
            most_per_client: most.most_per_client,
            refused: counts.refused,
        });
    }
}
