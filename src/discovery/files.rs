//! The thread that looks at the files of all upstreams. A file system that hangs delays other files, and nothing else.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use crate::config::model::{self, Listen};
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
    /// The backends that it had last.
    good: Option<Vec<model::Backend>>,
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
                    // It may have been gone in between, and its backends with it.
                    if let Some(good) = &entry.good {
                        let good = good.clone();
                        self.membership.found(&upstream.name, Source::File, good);
                    }
                    self.entries.push(entry);
                }
                (_, Some(settings)) => self.entries.push(Entry {
                    upstream: Arc::clone(&upstream.name),
                    file: Watched::new(settings.clone()),
                    due: Instant::now(),
                    good: None,
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
            entry.good = Some(backends.clone());
            membership.found(upstream, Source::File, backends);
        }
        Glance::Trouble(lines) => {
            for line in lines {
                log::warn!("upstream {upstream}: {line}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<usize>>);

    impl Membership for Told {
        fn found(&self, _: &str, source: Source, backends: Vec<model::Backend>) {
            assert_eq!(source, Source::File);
            self.0.lock().push(backends.len());
        }
    }

    #[test]
    fn after_a_change_it_is_told_again_what_is_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.json");
        std::fs::write(&path, r#"["http://a", "http://b"]"#).unwrap();
        let upstream = || {
            Upstream::adjusted(|settings| {
                settings.discovery.file = Some(model::WatchedFile {
                    path: path.clone(),
                    interval: Duration::from_secs(600),
                    max_connections: 1,
                });
            })
        };
        let told = Arc::new(Told::default());
        let mut files = Files {
            fleet: Fleet::new(vec![upstream()]),
            seen: None,
            entries: Vec::new(),
            membership: Arc::<Told>::clone(&told),
            own: Vec::new(),
        };
        files.turn();
        files.turn();
        assert_eq!(*told.0.lock(), [2]);
        // Two changes at once: without the file, and with it. Whoever keeps what was found has forgotten it by now.
        files.fleet.replace(vec![upstream()]);
        files.turn();
        assert_eq!(*told.0.lock(), [2, 2]);
    }
}
