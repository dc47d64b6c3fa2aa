//! The thread that looks at the files of all upstreams. A file system that hangs delays other files, and nothing else.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use crate::config::model::Listen;
use crate::drain::Drain;
use crate::upstream::Upstream;
use crate::upstream::fleet::Fleet;

use super::file::{Glance, Watched};
use super::{Membership, Source};

/// The thread wakes at least this often, to notice a drain that stops it.
const GLANCE: Duration = Duration::from_millis(200);

struct Files {
    fleet: Fleet,
    seen: Option<Arc<[Arc<Upstream>]>>,
    entries: Vec<Entry>,
    membership: Arc<dyn Membership>,
    own: Vec<Listen>,
}

struct Entry {
    upstream: Arc<str>,
    file: Watched,
    due: Instant,
}

/// Looks at every file once, then starts the thread.
///
/// # Errors
/// When that is not possible.
pub(super) fn start(
    fleet: Fleet,
    membership: Arc<dyn Membership>,
    own: Vec<Listen>,
    drain: Drain,
) -> io::Result<JoinHandle<()>> {
    let mut files = Files {
        fleet,
        seen: None,
        entries: Vec::new(),
        membership,
        own,
    };
    let (bell, rings) = bounded(1);
    files.fleet.on_change(bell);
    let mut pause = files.turn();
    let work = move || {
        while !drain.is_stopped() {
            // Rung or not: it is time to look.
            let _ = rings.recv_timeout(pause);
            pause = files.turn();
        }
    };
    thread::Builder::new().name("files".into()).spawn(work)
}

impl Files {
    /// Looks at what is due. Gives the time until the next.
    fn turn(&mut self) -> Duration {
        self.follow();
        let now = Instant::now();
        for entry in &mut self.entries {
            if entry.due <= now {
                entry.due = now + entry.file.settings().interval;
                look(entry, &self.own, &*self.membership);
            }
        }
        let next = self.entries.iter().map(|entry| entry.due).min();
        next.map_or(GLANCE, |due| due.saturating_duration_since(Instant::now()))
            .min(GLANCE)
    }

    fn follow(&mut self) {
        let upstreams = self.fleet.upstreams();
        let is_same = |seen: &Arc<_>| Arc::ptr_eq(seen, &upstreams);
        if self.seen.as_ref().is_some_and(is_same) {
            return;
        }
        let mut before = std::mem::take(&mut self.entries);
        for upstream in upstreams.iter() {
            let settings = upstream.settings.discovery.file.as_ref();
            let known = before
                .iter()
                .position(|entry| entry.upstream == upstream.name);
            let known = known.map(|place| before.swap_remove(place));
            match (known, settings) {
                (Some(entry), Some(settings)) if entry.file.settings() == settings => {
                    self.entries.push(entry);
                }
                (_, Some(settings)) => self.entries.push(Entry {
                    upstream: Arc::clone(&upstream.name),
                    file: Watched::new(settings.clone()),
                    due: Instant::now(),
                }),
                // Its backends go with it.
                (Some(_), None) => {
                    self.membership
                        .found(&upstream.name, Source::File, Vec::new());
                }
                (None, None) => (),
            }
        }
        self.seen = Some(upstreams);
    }
}

fn look(entry: &mut Entry, own: &[Listen], membership: &dyn Membership) {
    let upstream = &entry.upstream;
    match entry.file.look(own) {
        Glance::Same => (),
        Glance::Backends(backends, warnings) => {
            for warning in warnings {
                log::warn!("upstream {upstream}: {warning}");
            }
            let path = entry.file.settings().path.display();
            let count = backends.len();
            log::info!("upstream {upstream}: {path} has {count} backends");
            membership.found(upstream, Source::File, backends);
        }
        Glance::Trouble(lines) => {
            for line in lines {
                log::warn!("upstream {upstream}: {line}");
            }
        }
    }
}
