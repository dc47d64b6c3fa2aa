//! What the status page asks others for: how busy workers are, and what the log had to drop.

use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::admin::{LoadView, MirrorView};
use crate::logging::Logging;
use crate::serve::Corridor;

use super::limits::limits_view;

/// Asks `corridor`, and `logging` while there is one.
pub(super) fn load_view(
    corridor: Arc<Corridor>,
    logging: Option<Weak<Logging>>,
) -> Box<dyn Fn() -> LoadView + Send + Sync> {
    Box::new(move || {
        let (load, mirrored) = (corridor.load(), corridor.mirrored());
        LoadView {
            workers: load.workers,
            busy: load.busy,
            queued: load.queued,
            queue: load.capacity,
            log_lines_dropped: logging
                .as_ref()
                .and_then(Weak::upgrade)
                .map_or(0, |logging| logging.dropped()),
            mirror: MirrorView {
                sent: mirrored.sent,
                failed: mirrored.failed,
                dropped: mirrored.dropped,
            },
            limits: limits_view(&corridor.snapshot(), Instant::now()),
        }
    })
}
