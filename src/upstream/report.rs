//! Health of all backends in the JSON form that health endpoints give, on the traffic port and on the admin port.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::Upstream;
use super::backend::Skip;

/// `{"status": "healthy"|"unhealthy", "backends": [{"id", "healthy", "connections"}]}` and whether any backend is usable.
pub fn backends(upstreams: &[Arc<Upstream>], now: Instant) -> (bool, Value) {
    let list: Vec<Value> = upstreams
        .iter()
        .flat_map(|upstream| &upstream.members)
        .map(|member| {
            json!({
                "id": &*member.backend.id,
                "healthy": member.skip(now).is_none_or(|skip| skip == Skip::Full),
                "connections": member.backend.active(),
            })
        })
        .collect();
    let is_healthy = upstreams.iter().any(|upstream| upstream.can_serve(now));
    (
        is_healthy,
        json!({ "status": if is_healthy { "healthy" } else { "unhealthy" }, "backends": list }),
    )
}
