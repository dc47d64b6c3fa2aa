//! What would be lost with the process, and is kept in the state file: backends that registered, what was set by hand, totals
//! and averages. How the file is read and written is in [`super::state_file`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::config;
use crate::config::model::Backend;
use crate::config::units;
use crate::upstream::Upstream;
use crate::upstream::counters::Totals;

use super::changes::{Adjustment, Changed, Changes, Life, Registered};
use super::state_file::{StateFile, Written};

/// The form of the file.
const VERSION: u32 = 1;

/// The memory of earlier processes, and for later ones.
#[derive(Debug)]
pub(super) struct Memory {
    file: StateFile,
    /// Held while the file is written: what is written last is what was taken last.
    pen: Mutex<Pen>,
}

/// Whether the file is this process's to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pen {
    Ours,
    /// It could not be read, or another process keeps it from now on.
    NotOurs,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Document {
    version: u32,
    upstreams: BTreeMap<String, Section>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Section {
    registered: Vec<Registration>,
    adjusted: BTreeMap<String, Adjustment>,
    totals: BTreeMap<String, Counted>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Registration {
    id: String,
    url: String,
    #[serde(flatten)]
    settings: Adjustment,
    /// It gets the whole of it again: while there was no process, nobody could renew anything.
    ttl_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Counted {
    requests: u64,
    failures: u64,
    answers: u64,
    /// Microseconds.
    answer_time: u64,
    /// The recent mean in microseconds.
    recent: Option<u64>,
}

/// What is remembered of each backend's counters.
#[derive(Debug, Default)]
pub(super) struct Remembered(BTreeMap<String, BTreeMap<String, Counted>>);

impl Memory {
    pub(super) fn new(path: &Path) -> Memory {
        Memory {
            file: StateFile::new(path),
            pen: Mutex::new(Pen::Ours),
        }
    }

    /// What the file holds. A file that is not there holds nothing. One that makes no sense is put aside; one that cannot be
    /// read is left alone from then on, since it may be fine.
    pub(super) fn read(&self, now: Instant) -> (Changes, Remembered) {
        let bytes = match self.file.read() {
            Ok(bytes) => bytes,
            Err(error) => {
                log::error!(
                    "the state file {} cannot be read; it is left alone, and nothing is remembered: {error}",
                    self.file
                );
                self.stop();
                None
            }
        };
        let document = bytes.map(|bytes| Document::parse(&bytes));
        let document = document.unwrap_or_else(|| Ok(Document::default()));
        document
            .unwrap_or_else(|fault| {
                self.put_aside(&fault);
                Document::default()
            })
            .restore(now)
    }

    fn put_aside(&self, fault: &str) {
        match self.file.put_aside() {
            Ok(aside) => {
                let aside = aside.display();
                log::warn!(
                    "the state file {} cannot be used, it is {aside} now: {fault}",
                    self.file
                );
            }
            Err(error) => {
                log::error!(
                    "the state file {} cannot be used and not be renamed ({error}); nothing is remembered: {fault}",
                    self.file
                );
                self.stop();
            }
        }
    }

    /// Writes what `document` gives, which is asked when it is its turn. A failure is logged: the proxy goes on.
    pub(super) fn write(&self, document: impl FnOnce() -> Document) {
        let pen = self.pen.lock();
        if *pen == Pen::NotOurs {
            return;
        }
        let document = document();
        let written = serde_json::to_vec_pretty(&document)
            .map_err(Into::into)
            .and_then(|bytes| self.file.replace(&bytes));
        match written {
            Ok(Written::Whole) => (),
            Ok(Written::Skipped) => {
                log::debug!(
                    "the state file {} is being written by another process",
                    self.file
                );
            }
            Err(error) => log::error!("the state file {} cannot be written: {error}", self.file),
        }
    }

    /// From now on nothing is written; what is being written is waited for.
    pub(super) fn stop(&self) {
        *self.pen.lock() = Pen::NotOurs;
    }
}

impl Document {
    /// What there is to remember.
    pub(super) fn of(changes: &Changes, upstreams: &[Arc<Upstream>]) -> Document {
        let mut sections: BTreeMap<String, Section> = BTreeMap::new();
        for (name, changed) in &changes.upstreams {
            let section = sections.entry(name.clone()).or_default();
            section.registered = changed.registered.iter().map(Registration::of).collect();
            section.adjusted = changed.adjusted.clone();
        }
        for upstream in upstreams {
            let section = sections.entry(upstream.name.to_string()).or_default();
            for backend in upstream.backends() {
                let (totals, mean) = (backend.totals(), backend.speed.mean_time());
                let counted = Counted {
                    requests: totals.requests,
                    failures: totals.failures,
                    answers: totals.answers,
                    answer_time: micros(totals.answer_time),
                    recent: mean.map(micros),
                };
                section.totals.insert(backend.id.to_string(), counted);
            }
        }
        Document {
            version: VERSION,
            upstreams: sections,
        }
    }

    fn parse(bytes: &[u8]) -> Result<Document, String> {
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match document.version {
            VERSION => Ok(document),
            other => Err(format!("it has version {other}, not {VERSION}")),
        }
    }

    fn restore(self, now: Instant) -> (Changes, Remembered) {
        let mut changes = Changes::default();
        let mut totals = BTreeMap::new();
        for (name, section) in self.upstreams {
            let registered = section.registered.into_iter();
            let registered = registered.filter_map(|one| {
                let id = one.id.clone();
                let restored = one.restore(now);
                restored
                    .inspect_err(|why| {
                        log::warn!("state file: backend {name}/{id} is left out: {why}");
                    })
                    .ok()
            });
            let adjusted = section.adjusted.into_iter();
            let changed = Changed {
                registered: registered.collect(),
                adjusted: adjusted.map(|(id, one)| (id, one.sound())).collect(),
            };
            changes.upstreams.insert(name.clone(), changed);
            totals.insert(name, section.totals);
        }
        (changes, Remembered(totals))
    }
}

impl Registration {
    fn of(registered: &Registered) -> Registration {
        let Backend {
            id,
            at,
            weight,
            is_backup,
            max_connections,
            duty,
            ..
        } = &registered.backend;
        let life = registered.life;
        Registration {
            id: id.clone(),
            url: at.to_string(),
            settings: Adjustment {
                weight: Some(*weight),
                duty: Some(*duty),
                backup: Some(*is_backup),
                max_connections: Some(*max_connections),
            },
            ttl_ms: life.map(|life| millis(life.span)),
        }
    }

    /// What was registered; judged as the API does, since a file can be edited.
    ///
    /// # Errors
    /// Why it makes no sense.
    fn restore(self, now: Instant) -> Result<Registered, String> {
        if !config::is_name(&self.id) {
            return Err("its id cannot be used".to_owned());
        }
        let span = self.ttl_ms.map(Duration::from_millis);
        let life = span.map(|span| Life::begin(span.min(units::LONGEST), now));
        let mut backend = Backend::new(self.id, config::parse_backend_url(&self.url)?);
        self.settings.sound().apply(&mut backend);
        Ok(Registered { backend, life })
    }
}

impl Remembered {
    /// Gives counters and averages to those they were of.
    pub(super) fn restore(&self, upstreams: &[Arc<Upstream>], now: Instant) {
        for upstream in upstreams {
            let Some(section) = self.0.get(&*upstream.name) else {
                continue;
            };
            for backend in upstream.backends() {
                if let Some(counted) = section.get(&*backend.id) {
                    let totals = Totals {
                        requests: counted.requests,
                        failures: counted.failures,
                        answers: counted.answers,
                        answer_time: Duration::from_micros(counted.answer_time),
                        ..Totals::default()
                    };
                    backend.restore(&totals, counted.recent.map(Duration::from_micros), now);
                }
            }
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::admin::Order;
    use crate::config::model::Duty;

    fn snapshot(changes: &Changes) -> Vec<Arc<Upstream>> {
        let text = "[[upstream]]\nname = \"web\"\nbackends = [{ id = \"a\", url = \"http://127.0.0.1:1\" }]";
        let config = crate::config::load_str("t.toml", text).unwrap().config;
        let config = changes.apply(&config);
        config
            .upstreams
            .iter()
            .map(|one| Arc::new(Upstream::new(one)))
            .collect()
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(&folder.path().join("state.json"));
        let now = Instant::now();
        assert!(memory.read(now).0.upstreams.is_empty());

        let text = "[[upstream]]\nname = \"web\"\nbackends = [{ id = \"a\", url = \"http://127.0.0.1:1\" }]";
        let configured = crate::config::load_str("t.toml", text).unwrap().config;
        let mut changes = Changes::default();
        let minute = Duration::from_secs(60);
        let new = Order {
            at: Some(config::parse_backend_url("http://127.0.0.1:2").unwrap()),
            weight: Some(5),
            ttl: Some(minute),
            ..Order::default()
        };
        let draining = Order {
            duty: Some(Duty::Draining),
            ..Order::default()
        };
        changes.put(&configured, "web", "b", &new, now).unwrap();
        changes
            .put(&configured, "web", "a", &draining, now)
            .unwrap();
        let before = snapshot(&changes);
        let totals = Totals {
            requests: 7,
            failures: 2,
            answers: 5,
            answer_time: Duration::from_millis(10),
            ..Totals::default()
        };
        before[0].members[0]
            .backend
            .restore(&totals, Some(Duration::from_millis(3)), now);
        memory.write(|| Document::of(&changes, &before));

        let later = now + 2 * minute;
        let (read, remembered) = memory.read(later);
        let after = snapshot(&read);
        remembered.restore(&after, now);
        let [first, second] = &after[0].members[..] else {
            panic!("two members");
        };
        assert_eq!(first.backend.totals(), totals);
        assert_eq!(
            first.backend.speed.mean_time(),
            Some(Duration::from_millis(3))
        );
        assert_eq!(first.settings.duty, Duty::Draining);
        assert_eq!((&*second.settings.id, second.settings.weight), ("b", 5));
        // A whole ttl again, however long nobody was there to be told.
        assert_eq!(read.until("web", "b"), Some(later + minute));
    }

    #[test]
    fn what_makes_no_sense_is_put_aside_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        for (bad, aside) in [
            ("{", "bad"),
            ("{\"version\": 99}", "bad.2"),
            ("\u{0}", "bad.3"),
        ] {
            fs::write(&path, bad).unwrap();
            let memory = Memory::new(&path);
            assert!(memory.read(Instant::now()).0.upstreams.is_empty());
            let aside = folder.path().join(format!("state.json.{aside}"));
            assert_eq!(fs::read_to_string(aside).unwrap(), bad);
            assert!(!path.exists());
            memory.write(Document::default);
            assert!(path.exists());
        }
    }

    #[test]
    fn what_cannot_be_read_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        // A directory: even root cannot read it as a file.
        fs::create_dir(&path).unwrap();
        let memory = Memory::new(&path);
        assert!(memory.read(Instant::now()).0.upstreams.is_empty());
        memory.write(|| panic!("nobody is to be asked"));
        let names = fs::read_dir(folder.path()).unwrap();
        let names: Vec<_> = names.map(|one| one.unwrap().file_name()).collect();
        assert_eq!(names, ["state.json"]);
    }

    #[test]
    fn what_was_edited_is_judged_like_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let text = r#"{"version": 1, "upstreams": {"web": {
            "registered": [
                {"id": "n n", "url": "http://127.0.0.1:2"},
                {"id": "bad", "url": "gopher://x"},
                {"id": "good", "url": "http://127.0.0.1:3", "weight": 0, "max_connections": 0, "ttl_ms": 18446744073709551615}
            ],
            "adjusted": {"a": {"weight": 4000000000}}
        }}}"#;
        fs::write(&path, text).unwrap();
        let (changes, _) = Memory::new(&path).read(Instant::now());
        let upstreams = snapshot(&changes);
        let members: Vec<_> = upstreams[0].members.iter().collect();
        let ids: Vec<&str> = members.iter().map(|one| &*one.settings.id).collect();
        assert_eq!(ids, ["a", "good"]);
        assert!(members.iter().all(|one| one.settings.weight == 1));
        assert_eq!(members[1].settings.max_connections, usize::MAX);
    }

    #[test]
    fn after_the_end_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let memory = Memory::new(&path);
        memory.stop();
        memory.write(Document::default);
        assert!(!path.exists());
    }
}
