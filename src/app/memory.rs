//! The state file: what would be lost with the process. Backends that registered, what was set by hand, totals and averages.
//!
//! It is written beside and renamed, so that it is whole at any time. What cannot be read is put aside, never written over.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::clock::unix_millis;
use crate::config;
use crate::config::model::Backend;
use crate::upstream::Upstream;
use crate::upstream::counters::Totals;

use super::changes::{Adjustment, Changed, Changes, Life, Registered};

/// The form of the file.
const VERSION: u32 = 1;

/// The state file.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Document {
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
    ttl_ms: Option<u64>,
    /// Milliseconds since the Unix epoch.
    until_ms: Option<u64>,
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
            path: path.to_owned(),
        }
    }

    /// What the file holds. A file that is not there holds nothing.
    pub(super) fn read(&self, now: Instant) -> (Changes, Remembered) {
        let document = match self.load() {
            Ok(document) => document,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Document::default(),
            Err(error) => {
                let aside = self.beside("bad");
                log::warn!(
                    "the state file {} cannot be used, it becomes {}: {error}",
                    self.path.display(),
                    aside.display()
                );
                if let Err(error) = fs::rename(&self.path, &aside) {
                    log::warn!("it cannot be renamed: {error}");
                }
                Document::default()
            }
        };
        let wall = unix_millis(SystemTime::now());
        let mut changes = Changes::default();
        let mut totals = BTreeMap::new();
        for (name, section) in document.upstreams {
            let registered = section.registered.into_iter();
            let registered = registered.filter_map(|one| one.restore(wall, now));
            let changed = Changed {
                registered: registered.collect(),
                adjusted: section.adjusted,
            };
            changes.upstreams.insert(name.clone(), changed);
            totals.insert(name, section.totals);
        }
        (changes, Remembered(totals))
    }

    fn load(&self) -> io::Result<Document> {
        let text = fs::read(&self.path)?;
        let document: Document = serde_json::from_slice(&text)?;
        if document.version != VERSION {
            let message = format!("it has version {}, not {VERSION}", document.version);
            return Err(io::Error::other(message));
        }
        Ok(document)
    }

    /// Writes what there is to remember. A failure is logged: the proxy goes on.
    pub(super) fn write(&self, changes: &Changes, upstreams: &[Arc<Upstream>], now: Instant) {
        let wall = unix_millis(SystemTime::now());
        let mut sections: BTreeMap<String, Section> = BTreeMap::new();
        for (name, changed) in &changes.upstreams {
            let section = sections.entry(name.clone()).or_default();
            let registered = changed.registered.iter();
            section.registered = registered
                .map(|one| Registration::of(one, wall, now))
                .collect();
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
        let document = Document {
            version: VERSION,
            upstreams: sections,
        };
        if let Err(error) = self.replace(&document) {
            log::error!(
                "the state file {} cannot be written: {error}",
                self.path.display()
            );
        }
    }

    fn replace(&self, document: &Document) -> io::Result<()> {
        let beside = self.beside("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(document)?)?;
        fs::rename(&beside, &self.path)
    }

    /// The same name with another ending behind it.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(ending);
        name.into()
    }
}

impl Registration {
    fn of(registered: &Registered, wall: u64, now: Instant) -> Registration {
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
            until_ms: life.map(|life| wall + millis(life.until.saturating_duration_since(now))),
        }
    }

    /// `None`: it is over, or makes no sense.
    fn restore(self, wall: u64, now: Instant) -> Option<Registered> {
        let life = match (self.ttl_ms, self.until_ms) {
            (Some(span), Some(until)) => Some(Life {
                span: Duration::from_millis(span),
                until: now + Duration::from_millis(until.checked_sub(wall)?.min(span)),
            }),
            _ => None,
        };
        let at = config::parse_backend_url(&self.url).ok()?;
        let mut backend = Backend::new(self.id, at);
        self.settings.apply(&mut backend);
        Some(Registered { backend, life })
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
        memory.write(&changes, &before, now);

        let (read, remembered) = memory.read(now);
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
        let until = read.until("web", "b").unwrap();
        assert!(until <= now + minute && until > now + minute - Duration::from_secs(30));
        let later = memory.read(now + minute).0;
        assert!(
            later.until("web", "b").is_some(),
            "the wall clock counts, and that has not moved"
        );
    }

    #[test]
    fn what_cannot_be_read_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        for bad in ["{", "{\"version\": 99}", "\u{0}"] {
            fs::write(&path, bad).unwrap();
            let memory = Memory::new(&path);
            assert!(memory.read(Instant::now()).0.upstreams.is_empty());
            assert_eq!(
                fs::read_to_string(folder.path().join("state.json.bad")).unwrap(),
                bad
            );
            assert!(!path.exists());
        }
    }
}
