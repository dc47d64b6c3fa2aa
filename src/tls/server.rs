//! TLS for clients: the certificates of the server, kept as they are in their files, and with them the configuration that rustls
//! takes for each connection.
//!
//! Moves no bytes, and has no thread: somebody calls [`Terminator::look`] every second.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;

use super::assemble::{self, Resumption};
use super::source::{Authorities, Source};
use super::{Fault, Validity};
use crate::config::model::{Certificates, ClientAuthMode, ServerTls, TlsVersion};

/// Who renews certificates should have done so by then.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// How often one is reminded.
const REMINDED: Duration = Duration::from_secs(86_400);

/// Ends TLS for clients.
pub struct Terminator {
    config: ArcSwap<ServerConfig>,
    asks_for_certificates: AtomicBool,
    state: Mutex<State>,
    /// Held by who changes it, while files are read: the lock of the state is for moments only.
    turn: Mutex<()>,
}

#[derive(Debug, Clone)]
struct State {
    min_version: TlsVersion,
    sources: Vec<Source>,
    clients: Option<(ClientAuthMode, Authorities)>,
    resumption: Resumption,
    reminded: Option<Instant>,
}

/// Settings whose files are read, and that can take effect at any time.
pub struct Prepared {
    state: State,
    config: Arc<ServerConfig>,
}

/// A certificate of the server, for people.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its file. None: it was made at the start.
    pub file: Option<PathBuf>,
    /// Host names and addresses it is for; the subject where there are none.
    pub names: Vec<String>,
    /// As in [`super::fingerprint`].
    pub fingerprint: String,
    /// From when until when it is valid.
    pub validity: Validity,
    /// What is odd about it but keeps nobody from using it.
    pub oddity: Option<String>,
    /// Why what is in its files now is not in use.
    pub trouble: Option<String>,
}

/// The authorities of clients, for people.
#[derive(Debug, Clone)]
pub struct ShownClients {
    /// Their file.
    pub file: PathBuf,
    /// Whether clients have to show a certificate.
    pub mode: ClientAuthMode,
    /// How many there are.
    pub authorities: usize,
    /// Why what is in the file now is not in use.
    pub trouble: Option<String>,
}

impl fmt::Debug for Terminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminator").finish_non_exhaustive()
    }
}

impl Terminator {
    /// Reads all files.
    ///
    /// # Errors
    /// The first file that cannot be used. A certificate that has expired can.
    pub fn open(settings: &ServerTls) -> Result<Terminator, Fault> {
        let state = State::open(settings, None)?;
        Ok(Terminator {
            config: ArcSwap::new(state.config()?),
            asks_for_certificates: AtomicBool::new(state.clients.is_some()),
            state: Mutex::new(state),
            turn: Mutex::new(()),
        })
    }

    /// For a new connection: the certificates as they are now.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Whether clients of new connections may have to show certificates, which are judged with public-key operations.
    pub fn asks_for_certificates(&self) -> bool {
        self.asks_for_certificates.load(Ordering::Relaxed)
    }

    /// Logs what is in use from the start, and what is odd about it.
    pub fn announce(&self, now: Instant) {
        let mut state = self.state.lock();
        state.reminded = Some(now);
        state.sources.iter().for_each(tell);
    }

    /// Looks whether files have changed, and uses what is good of them: a certificate with the key that belongs to it, or
    /// neither. What cannot be used is logged, once. Reads files, so it may take its time.
    pub fn look(&self, now: Instant) {
        let _turn = self.turn.lock();
        let mut state = self.state.lock().clone();
        let mut is_new = false;
        for source in &mut state.sources {
            if source.look() {
                is_new = true;
                tell(source);
            }
        }
        if let Some((_, authorities)) = &mut state.clients
            && authorities.look()
        {
            is_new = true;
            // Who resumes shows no certificate again.
            match Resumption::new() {
                Ok(resumption) => state.resumption = resumption,
                Err(fault) => log::error!("{fault}"),
            }
        }
        if is_new {
            match state.config() {
                Ok(config) => self.config.store(config),
                Err(fault) => log::error!("{fault}; TLS stays as it was"),
            }
        }
        let is_due = |last: Instant| now.saturating_duration_since(last) >= REMINDED;
        if state.reminded.is_none_or(is_due) {
            state.reminded = Some(now);
            let wall = SystemTime::now();
            state.sources.iter().for_each(|source| remind(source, wall));
        }
        *self.state.lock() = state;
    }

    /// Reads the files of new settings, all of them again. What was made at the start stays.
    ///
    /// # Errors
    /// The first file that cannot be used, unless an earlier version of it is in use.
    pub fn prepare(&self, settings: &ServerTls) -> Result<Prepared, Fault> {
        let known = self.state.lock().clone();
        let state = State::open(settings, Some(&known))?;
        let config = state.config()?;
        Ok(Prepared { state, config })
    }

    /// Has the settings take effect for new connections.
    pub fn apply(&self, prepared: Prepared) {
        let _turn = self.turn.lock();
        let state = &mut *self.state.lock();
        for source in &prepared.state.sources {
            let mut known = state.sources.iter();
            if !known.any(|one| one.pair.fingerprint == source.pair.fingerprint) {
                tell(source);
            }
        }
        *state = prepared.state;
        let asks = state.clients.is_some();
        self.asks_for_certificates.store(asks, Ordering::Relaxed);
        self.config.store(prepared.config);
    }

    /// The certificates, in the order of the configuration.
    pub fn certificates(&self) -> Vec<Shown> {
        let state = self.state.lock();
        let shown = state.sources.iter().map(|source| Shown {
            file: source.files.as_ref().map(|(files, _)| files.cert.clone()),
            names: source.pair.names(),
            fingerprint: source.pair.fingerprint.clone(),
            validity: source.pair.contents.validity,
            oddity: source.pair.oddity.clone(),
            trouble: source.trouble().map(ToString::to_string),
        });
        shown.collect()
    }

    /// Whose certificates clients may show, if they may.
    pub fn clients(&self) -> Option<ShownClients> {
        let state = self.state.lock();
        let (mode, authorities) = state.clients.as_ref()?;
        Some(ShownClients {
            file: authorities.path.clone(),
            mode: *mode,
            authorities: authorities.roots.len(),
            trouble: authorities.watch.trouble().map(ToString::to_string),
        })
    }
}

impl State {
    fn open(settings: &ServerTls, known: Option<&State>) -> Result<State, Fault> {
        let before = known.map_or(&[][..], |known| &known.sources);
        let sources = match &settings.certificates {
            Certificates::Files(files) => {
                let files = files.iter();
                files.map(|files| Source::open(files, before)).collect()
            }
            Certificates::SelfSigned { names } => {
                let mut before = before.iter();
                match before.find(|source| source.files.is_none()) {
                    Some(made) => Ok(vec![made.clone()]),
                    None => Source::make(names).map(|made| vec![made]),
                }
            }
        }?;
        let before = known.and_then(|known| known.clients.as_ref());
        let clients = settings.client_auth.as_ref().map(|settings| {
            let known = before.map(|(_, authorities)| authorities);
            let opened = Authorities::open(&settings.ca, known);
            opened.map(|authorities| (settings.mode, authorities))
        });
        let clients = clients.transpose()?;
        let is_same = match (before, &clients) {
            (None, None) => true,
            (Some((mode, known)), Some((new, authorities))) => {
                mode == new && known.are(authorities)
            }
            _ => false,
        };
        let resumption = known
            .filter(|_| is_same)
            .map(|known| known.resumption.clone());
        Ok(State {
            min_version: settings.min_version,
            sources,
            clients,
            resumption: resumption.map_or_else(Resumption::new, Ok)?,
            reminded: known.and_then(|known| known.reminded),
        })
    }

    fn config(&self) -> Result<Arc<ServerConfig>, Fault> {
        let pairs = self.sources.iter().map(|source| Arc::clone(&source.pair));
        let pairs: Vec<_> = pairs.collect();
        let verifier = self.clients.as_ref();
        let verifier = verifier.map(|(mode, clients)| assemble::verifier(&clients.roots, *mode));
        assemble::config(
            self.min_version,
            &pairs,
            verifier.transpose()?,
            &self.resumption,
        )
    }
}

impl Shown {
    /// What there is to say about how long it is valid, if that is anything.
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        worry(self.validity, now).map(|(_, text)| text)
    }
}

/// Tells what has come into use.
fn tell(source: &Source) {
    let (pair, name) = (&source.pair, source.name());
    let (names, until) = (pair.title(), pair.contents.validity.until_text());
    log::info!(
        "{name} is in use: {names}, until {until}, SHA256 {}",
        pair.fingerprint
    );
    if let Some(oddity) = &pair.oddity {
        log::warn!("{oddity}");
    }
    remind(source, SystemTime::now());
}

fn remind(source: &Source, now: SystemTime) {
    if let Some((level, text)) = worry(source.pair.contents.validity, now) {
        let names = source.pair.title();
        log::log!(level, "{} ({names}) {text}", source.name());
    }
}

fn worry(validity: Validity, now: SystemTime) -> Option<(log::Level, String)> {
    let until = validity.until_text();
    match validity.left(now) {
        None => Some((log::Level::Error, format!("has expired at {until}"))),
        Some(_) if now < validity.from => Some((
            log::Level::Warn,
            format!("is not valid before {}", validity.from_text()),
        )),
        Some(left) if left < SOON => Some((
            log::Level::Warn,
            format!("expires in {}, at {until}", days(validity.days_left(now))),
        )),
        Some(_) => None,
    }
}

fn days(count: i64) -> String {
    match count {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        count => format!("{count} days"),
    }
}
