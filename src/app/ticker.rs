//! The thread for what has to happen now and then.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::drain::Drain;
use crate::serve::Corridor;
use crate::upstream::Upstream;

use super::registry::Registry;

/// How often the queue is searched for requests that waited too long.
const TICK: Duration = Duration::from_millis(100);
/// What is not urgent is done every so many ticks: once a second.
const REAP: u32 = 10;

/// What an upstream needs every second.
fn look_after(upstream: &Upstream, now: Instant) {
    upstream
        .backends()
        .for_each(|backend| backend.idle.reap(now));
    upstream.eject_slow(now);
}

/// The thread for what has to happen now and then.
pub(super) fn spawn(
    corridor: Arc<Corridor>,
    registry: Arc<Registry>,
    drain: Drain,
) -> io::Result<JoinHandle<()>> {
    let work = move || {
        let mut tick = 0;
        while !drain.sleep(TICK) {
            let now = Instant::now();
            corridor.expire(now);
            tick = (tick + 1) % REAP;
            if tick == 0 {
                registry.tick(now);
                corridor
                    .fleet()
                    .upstreams()
                    .iter()
                    .for_each(|upstream| look_after(upstream, now));
            }
        }
    };
    thread::Builder::new().name("ticker".into()).spawn(work)
}
