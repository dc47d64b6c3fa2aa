//! Who the backends are: what the configuration says, and what has changed since. Every change ends here, one after another, and
//! takes effect as a whole: a new snapshot for the requests that come from then on.

mod rereading;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::admin::{Control, Objection, Order, Placed, Reload, Removed};
use crate::config::diff::{diff, without_restart};
use crate::config::model::{Backend, Config};
use crate::config::{Loaded, Problems};
use crate::discovery::{self, Discovery, Membership};
use crate::serve::Corridor;
use crate::serve::snapshot::Snapshot;
use crate::upstream::Upstream;

use super::FIRST_LOOKUPS;
use super::by_hand::overridden;
use super::changes::Changes;
use super::credentials::CredentialFiles;
use super::encryption::Encryption;
use super::errand::Errand;
use super::found::{self, AllFound};
use super::memory::{Document, Memory};
use super::watched::Watched;

/// Counters are written to the state file this often.
const SAVED: Duration = Duration::from_secs(10);

/// Reads the configuration again, as it was read at the start.
pub type Source = Box<dyn Fn() -> Result<Loaded, Problems> + Send + Sync>;

/// Everything that changes snapshots.
pub(super) struct Registry {
    corridor: Arc<Corridor>,
    source: Option<Source>,
    /// What it reads, if that is a file.
    file: Option<PathBuf>,
    memory: Option<Memory>,
    encryption: Encryption,
    discovery: OnceLock<Discovery>,
    /// Held from before the configuration is read until it has taken effect: who reads first must not be applied last.
    reloads: Mutex<()>,
    /// Reads the configuration again where nobody may be kept waiting.
    rereading: Errand,
    /// Reads files of credentials again where nobody may be kept waiting.
    recrediting: Errand,
    /// Writes the state file where nobody may be kept waiting.
    saving: Errand,
    state: Mutex<State>,
}

struct State {
    /// What the configuration alone says.
    configured: Arc<Config>,
    found: AllFound,
    /// Both together.
    effective: Arc<Config>,
    changes: Changes,
    watched: Option<Watched>,
    credentials: CredentialFiles,
    saved: Instant,
}

/// What a process begins with: its configuration, with what an earlier one has left in the state file.
pub(super) struct Beginning {
    pub(super) snapshot: Arc<Snapshot>,
    configured: Arc<Config>,
    changes: Changes,
    memory: Option<Memory>,
}

impl Beginning {
    /// The configuration, and what is remembered.
    pub(super) fn new(config: Config) -> Beginning {
        let now = Instant::now();
        let memory = config.server.state_file.as_deref().map(Memory::new);
        let remembered = memory.as_ref().map(|memory| memory.read(now));
        let (changes, totals) = remembered.unwrap_or_default();
        let snapshot = Snapshot::new(Arc::new(changes.apply(&config)));
        totals.restore(&snapshot.upstreams(), now);
        Beginning {
            snapshot: Arc::new(snapshot),
            configured: Arc::new(config),
            changes,
            memory,
        }
    }

    /// Who keeps it up to date from now on. `file`: the configuration file, if there is one.
    pub(super) fn registry(
        self,
        corridor: Arc<Corridor>,
        source: Option<Source>,
        file: Option<PathBuf>,
        encryption: Encryption,
    ) -> Registry {
        let is_watched = self.configured.server.watch_config && source.is_some();
        let mut credentials = CredentialFiles::default();
        credentials.follow(&self.configured);
        let state = State {
            credentials,
            watched: file.clone().filter(|_| is_watched).map(Watched::new),
            effective: Arc::clone(&self.configured),
            configured: self.configured,
            found: AllFound::new(),
            changes: self.changes,
            saved: Instant::now(),
        };
        Registry {
            corridor,
            source,
            file,
            memory: self.memory,
            encryption,
            discovery: OnceLock::new(),
            reloads: Mutex::new(()),
            rereading: Errand::new("reload"),
            recrediting: Errand::new("credentials"),
            saving: Errand::new("state-file"),
            state: Mutex::new(state),
        }
    }
}

impl State {
    /// To be called when either has changed.
    fn merge(&mut self) {
        let effective = found::effective(&self.configured, &self.found);
        self.effective = Arc::new(effective);
    }
}

impl Registry {
    /// From now on a reload has the names looked up that come with it.
    pub(super) fn ask(&self, discovery: Discovery) {
        // There is only one.
        let _ = self.discovery.set(discovery);
    }

    /// What has to be done every second. What may take long is left to other threads.
    pub(super) fn tick(self: &Arc<Self>, now: Instant) {
        self.encryption.tick(now);
        let mut state = self.state.lock();
        let gone = state.changes.expire(now);
        for (upstream, id) in &gone {
            log::warn!("backend {upstream}/{id} is removed: it has not renewed its registration");
        }
        if !gone.is_empty() {
            self.apply(&mut state, &[], now);
        }
        let is_due = now.saturating_duration_since(state.saved) >= SAVED;
        // Not looked at while it is being read: a further change is seen afterwards.
        let is_new = !self.rereading.is_under_way()
            && state.watched.as_mut().is_some_and(Watched::has_changed);
        self.look_at_credentials(&mut state);
        drop(state);
        if is_due || !gone.is_empty() {
            let registry = Arc::clone(self);
            self.saving.run(move || registry.save());
        }
        if is_new {
            log::info!("the configuration file has changed");
            let registry = Arc::clone(self);
            // Its outcome is in the log.
            self.rereading
                .run(move || drop(registry.reload(Reload::Apply)));
        }
    }

    /// Writes the state file, if there is one.
    pub(super) fn remember(&self) {
        self.save();
    }

    /// Writes it for the last time: another process has it from now on, and would lose what it writes itself.
    pub(super) fn hand_over(&self) {
        self.save();
        if let Some(memory) = &self.memory {
            memory.stop();
        }
    }

    /// Makes the changes take effect. Where a name of `prepared` or of those that are there has addresses, new backends begin
    /// with them.
    fn apply(&self, state: &mut State, prepared: &[Arc<Upstream>], now: Instant) {
        let config = Arc::new(state.changes.apply(&state.effective));
        let before = self.corridor.snapshot();
        let snapshot = before.successor(config, now);
        let known = before.upstreams().into_iter();
        let known: Vec<_> = known.chain(prepared.iter().cloned()).collect();
        discovery::share_addresses(&known, &snapshot.upstreams(), now);
        self.corridor.replace(Arc::new(snapshot));
    }

    /// Has the names looked up that `new` brings, so that its backends can be used from the first moment.
    fn prepare(&self, new: &Config, now: Instant) -> Vec<Arc<Upstream>> {
        let Some(discovery) = self.discovery.get() else {
            return Vec::new();
        };
        let effective = Arc::new(found::effective(new, &self.state.lock().found));
        let snapshot = self.corridor.snapshot().successor(effective, now);
        let upstreams = snapshot.upstreams();
        // Without the lock: what is found comes here at once.
        discovery.settle(upstreams.clone().into(), FIRST_LOOKUPS);
        upstreams
    }

    /// Writes the state file, if there is one; to be called without the lock of the state, since a disk may be slow.
    fn save(&self) {
        let Some(memory) = &self.memory else {
            return;
        };
        memory.write(|| {
            let mut state = self.state.lock();
            state.saved = Instant::now();
            Document::of(&state.changes, &self.corridor.fleet().upstreams())
        });
    }
}

impl Control for Registry {
    fn put_backend(&self, upstream: &str, id: &str, order: &Order) -> Result<Placed, Objection> {
        let now = Instant::now();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let placed = state
            .changes
            .put(&state.effective, upstream, id, order, now)?;
        match placed {
            Placed::New => log::info!("backend {upstream}/{id} has registered"),
            Placed::Changed => log::info!("backend {upstream}/{id} is changed: {order}"),
            Placed::Same => return Ok(placed),
        }
        self.apply(state, &[], now);
        drop(guard);
        self.save();
        Ok(placed)
    }

    fn remove_backend(&self, upstream: &str, id: &str) -> Result<Removed, Objection> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let removed = state.changes.remove(&state.effective, upstream, id)?;
        match removed {
            Removed::Backend => log::info!("backend {upstream}/{id} is removed"),
            Removed::Settings => log::info!("backend {upstream}/{id} is as it is configured"),
        }
        self.apply(state, &[], Instant::now());
        drop(guard);
        self.save();
        Ok(removed)
    }

    fn expiry(&self, upstream: &str, id: &str) -> Option<Instant> {
        self.state.lock().changes.until(upstream, id)
    }

    fn reload(&self, how: Reload) -> Result<Vec<String>, Vec<String>> {
        let _turn = (how == Reload::Apply).then(|| self.reloads.lock());
        let loaded = self.load().inspect_err(|problems| {
            if how == Reload::Apply {
                log::error!("the new configuration is bad, nothing has changed:");
                problems.iter().for_each(|problem| log::error!("{problem}"));
            }
        })?;
        let encryption = self.encryption.prepare(&loaded.config).map_err(|problem| {
            if how == Reload::Apply {
                log::error!("nothing has changed: {problem}");
            }
            vec![problem]
        })?;
        let prepared = match how {
            Reload::Ask => Vec::new(),
            Reload::Apply => self.prepare(&loaded.config, Instant::now()),
        };
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let differences = diff(&state.configured, &loaded.config);
        let mut texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
        let overridden = overridden(&state.changes, &state.configured, &loaded.config);
        if how == Reload::Ask {
            texts.extend(overridden);
            return Ok(texts);
        }
        for warning in &loaded.warnings {
            log::warn!("{warning}");
        }
        match texts.len() {
            0 => log::info!("reloaded, nothing is different"),
            1 => log::info!("reloaded, one thing is different:"),
            count => log::info!("reloaded, {count} things are different:"),
        }
        texts.iter().for_each(|text| log::info!("{text}"));
        overridden.iter().for_each(|text| log::warn!("{text}"));
        texts.extend(overridden);
        state.configured = Arc::new(without_restart(&state.configured, loaded.config));
        state.credentials.follow(&state.configured);
        found::prune(&state.configured, &mut state.found);
        state.merge();
        self.apply(state, &prepared, Instant::now());
        self.encryption.apply(encryption);
        drop(guard);
        self.save();
        Ok(texts)
    }
}

impl Membership for Registry {
    fn found(&self, upstream: &str, source: discovery::Source, backends: Vec<Backend>) {
        let state = &mut *self.state.lock();
        let known = state.found.entry(upstream.to_owned()).or_default();
        if known.get(&source) == Some(&backends) {
            return;
        }
        if source == discovery::Source::File {
            found::warn_of_shadowed(upstream, &state.configured, &backends);
        }
        known.insert(source, backends);
        state.merge();
        self.apply(state, &[], Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::config::load_str;
    use crate::drain::Drain;

    fn text(attempts: u32) -> String {
        format!(
            "[[upstream]]\nname = \"web\"\nbackends = [\"http://127.0.0.1:1\"]\nretry.attempts = {attempts}\n"
        )
    }

    /// The one that reads first is kept in reading until the other is done, or clearly waits for it.
    #[test]
    fn of_two_reloads_at_once_the_later_reading_wins() {
        let (reading, is_reading) = bounded(1);
        let (done, is_done) = bounded(1);
        let readings = AtomicUsize::new(0);
        let source: Source = Box::new(move || match readings.fetch_add(1, Ordering::SeqCst) {
            0 => {
                reading.send(()).unwrap();
                let _ = is_done.recv_timeout(Duration::from_millis(300));
                load_str("t.toml", &text(5))
            }
            _ => load_str("t.toml", &text(7)),
        });
        let beginning = Beginning::new(load_str("t.toml", &text(3)).unwrap().config);
        let corridor = Corridor::start(Arc::clone(&beginning.snapshot), &Drain::new()).unwrap();
        let registry = Arc::new(beginning.registry(
            Arc::clone(&corridor),
            Some(source),
            None,
            Encryption::new(None),
        ));
        let first = Arc::clone(&registry);
        let first = thread::spawn(move || first.reload(Reload::Apply).unwrap());
        is_reading.recv().unwrap();
        registry.reload(Reload::Apply).unwrap();
        let _ = done.send(());
        first.join().unwrap();
        assert_eq!(corridor.snapshot().config.upstreams[0].retry.attempts, 7);
    }
}
