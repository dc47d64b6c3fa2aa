//! Builds every room from the configuration, starts the threads, and takes everything down again in order.
//!
//! No signals and no printing here: that is the command line's. Tests start it in their own process.

mod authorities;
mod by_hand;
mod changes;
mod credentials;
mod doors;
mod encryption;
mod errand;
mod explain;
mod found;
mod limits;
mod load;
mod memory;
mod registry;
mod start_error;
mod state_file;
mod ticker;
mod watched;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::accept;
use crate::admin::{self, Admin, AdminIntake, Control, Reload};
use crate::config::model::{Address, Config, ListenTls, Log};
use crate::discovery::{Discovery, Membership};
use crate::exchange::{Intake, Listener};
use crate::health;
use crate::logging;
use crate::serve::Corridor;
use crate::tls::server::{Shown, Terminator};
use crate::upstream::fleet::Fleet;

use doors::{addresses, open_admin};
use encryption::Encryption;
use load::load_view;
use registry::{Beginning, Registry};

pub use crate::accept::{InheritError, Inherited};
pub use crate::demo::DemoBackend;
pub use crate::drain::{Drain, Flight, Phase};
pub use crate::logging::Logging;
use authorities::demand_authorities;
pub use authorities::without_authorities;
pub use explain::{Explanation, Question, explain};
pub use found::with_files;
pub use registry::Source;
pub use start_error::StartError;

/// A start, and a reload, waits this long for names to be looked up, all at the same time.
const FIRST_LOOKUPS: Duration = Duration::from_secs(2);
/// How often progress is told while draining.
const PROGRESS: Duration = Duration::from_secs(1);

/// A running tollgate. Dropping it without [`Running::shut_down`] ends listening and probing at once; idle workers stay
/// parked until the process ends.
pub struct Running {
    drain: Drain,
    traffic: Vec<Address>,
    /// For each of them.
    tls: Vec<ListenTls>,
    terminator: Option<Arc<Terminator>>,
    admin: Option<Address>,
    corridor: Arc<Corridor>,
    registry: Arc<Registry>,
    admin_intake: Option<Arc<AdminIntake>>,
    drain_delay: Duration,
    drain_timeout: Duration,
    /// Another process may listen on the same addresses while this one drains.
    has_successor: bool,
    threads: Vec<JoinHandle<()>>,
}

/// How a shutdown ended.
#[derive(Debug)]
pub enum Outcome {
    /// Everything in flight was finished.
    Clean,
    /// The time was over, or a second signal came; this was cut.
    Cut(Vec<Flight>),
}

/// What a start may bring along.
#[derive(Default)]
pub struct Options {
    /// The status page tells how many lines it had to drop.
    pub logging: Option<Arc<Logging>>,
    /// Reads the configuration again; without it there is no reload.
    pub source: Option<Source>,
    /// The file that the configuration came from, for `server.watch_config`.
    pub file: Option<PathBuf>,
    /// Sockets that are listened on where they are what the configuration asks for.
    pub inherited: Inherited,
}

/// A way to have the configuration read again.
pub struct Reloader(Arc<Registry>);

impl Reloader {
    /// Reads the configuration again and has it take effect, after all reloads that have begun earlier. What is different, in
    /// words; the log tells it too.
    ///
    /// # Errors
    /// All problems of the new configuration; nothing has changed then.
    pub fn reload(&self) -> Result<Vec<String>, Vec<String>> {
        self.0.reload(Reload::Apply)
    }
}

impl Running {
    /// Starts with nothing but a configuration.
    ///
    /// # Errors
    /// When an address cannot be bound or a thread not be started; nothing listens then.
    pub fn start(config: Config) -> Result<Running, StartError> {
        Running::start_with(config, Options::default())
    }

    /// Starts.
    ///
    /// # Errors
    /// As [`Running::start`]; and when an inherited socket is asked for nowhere, or an upstream has nobody to trust.
    pub fn start_with(config: Config, options: Options) -> Result<Running, StartError> {
        let mut inherited = options.inherited;
        let server = config.server.clone();
        let has_successor = server.reuse_port || inherited.count() > 0;
        inherited.expect_only(&addresses(&config))?;
        demand_authorities(&config)?;
        let terminator = encryption::open(&config)?;
        // All sockets first: when one cannot be had, no thread was started in vain.
        let traffic = accept::open(&server.listen, &server, terminator.as_ref(), &mut inherited)?;
        let admin = config.admin.clone();
        let admin = admin.map(|admin| open_admin(admin, &config, &mut inherited));
        let admin = admin.transpose()?;
        let drain = Drain::new();
        let beginning = Beginning::new(config);
        let corridor = Corridor::start(Arc::clone(&beginning.snapshot), &drain)?;
        let encryption = Encryption::new(terminator.clone());
        let registry = beginning.registry(
            Arc::clone(&corridor),
            options.source,
            options.file,
            encryption,
        );
        let registry = Arc::new(registry);
        let fleet = corridor.fleet().clone();
        let members: Arc<dyn Membership> = Arc::<Registry>::clone(&registry);
        let own = server.listen.clone();
        let (discovery, threads) = Discovery::start(&fleet, &members, own, &drain)?;
        discovery.settle(fleet.upstreams(), FIRST_LOOKUPS);
        registry.ask(discovery);
        let mut running = Running {
            drain: drain.clone(),
            traffic: traffic.addresses,
            tls: server.listen.iter().map(|listen| listen.tls).collect(),
            terminator: terminator.clone(),
            admin: admin
                .as_ref()
                .and_then(|(_, opened)| opened.addresses.first().cloned()),
            corridor: Arc::clone(&corridor),
            registry: Arc::clone(&registry),
            admin_intake: None,
            drain_delay: server.drain_delay,
            drain_timeout: server.drain_timeout,
            has_successor,
            threads,
        };
        running.look_after(fleet.clone())?;
        if let Some((settings, opened)) = admin {
            let logging = options.logging.as_ref().map(Arc::downgrade);
            let load = load_view(Arc::clone(&corridor), logging);
            let view = admin::view(&drain, fleet, load, terminator);
            let intake = Admin::new(settings, view, registry).start()?;
            running.admin_intake = Some(Arc::clone(&intake));
            for listener in opened.listeners {
                running.listen(
                    "admin-listener",
                    listener,
                    Arc::<AdminIntake>::clone(&intake),
                )?;
            }
        }
        running.serve(traffic.listeners)?;
        Ok(running)
    }

    /// Starts what works without being asked.
    fn look_after(&mut self, fleet: Fleet) -> io::Result<()> {
        let drain = self.drain.clone();
        self.threads.push(health::spawn(fleet, drain.clone())?);
        let (corridor, registry) = (Arc::clone(&self.corridor), Arc::clone(&self.registry));
        self.threads.push(ticker::spawn(corridor, registry, drain)?);
        Ok(())
    }

    fn serve(&mut self, listeners: Vec<Box<dyn Listener>>) -> io::Result<()> {
        for listener in listeners {
            let intake: Arc<dyn Intake> = Arc::<Corridor>::clone(&self.corridor);
            self.listen("listener", listener, intake)?;
        }
        Ok(())
    }

    /// What reloads it, from whatever thread.
    pub fn reloader(&self) -> Reloader {
        Reloader(Arc::clone(&self.registry))
    }

    fn listen(
        &mut self,
        name: &str,
        listener: Box<dyn Listener>,
        intake: Arc<dyn Intake>,
    ) -> io::Result<()> {
        let drain = self.drain.clone();
        let run = move || {
            let name = listener.name();
            if let Err(error) = listener.run(intake, drain) {
                log::error!("the listener on {name} has failed: {error}");
            }
        };
        self.threads
            .push(thread::Builder::new().name(name.into()).spawn(run)?);
        Ok(())
    }

    /// The addresses that traffic comes in on, with the ports that were picked.
    pub fn traffic(&self) -> &[Address] {
        &self.traffic
    }

    /// The same as people open them.
    pub fn urls(&self) -> impl Iterator<Item = String> {
        let addresses = self.traffic.iter().zip(&self.tls);
        addresses.map(|(address, tls)| address.url(*tls))
    }

    /// The certificates that clients are shown.
    pub fn certificates(&self) -> Vec<Shown> {
        let shown = self.terminator.as_ref().map(|one| one.certificates());
        shown.unwrap_or_default()
    }

    /// The admin address, where it has an IP address.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.ip()
    }

    /// The admin address.
    pub fn admin_address(&self) -> Option<&Address> {
        self.admin.as_ref()
    }

    /// The handle that stops everything.
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// How long [`Running::shut_down`] waits for what is in flight, in all.
    pub fn patience(&self) -> Duration {
        self.drain_delay.saturating_add(self.drain_timeout)
    }

    /// Drains, then stops all threads. `progress` hears how many exchanges are in flight, at once and every second.
    ///
    /// Another thread may cut it short with [`Drain::advance`] to [`Phase::Stopped`].
    pub fn shut_down(mut self, progress: &mut dyn FnMut(usize)) -> Outcome {
        self.drain.advance(Phase::Leaving);
        if self.has_successor {
            self.registry.hand_over();
        }
        self.drain.sleep(self.drain_delay);
        self.drain.advance(Phase::Draining);
        let deadline = Instant::now() + self.drain_timeout;
        let mut left = self.drain.in_flight();
        while self.drain.is_busy() && Instant::now() < deadline && !self.drain.is_stopped() {
            if left > 0 {
                progress(left);
            }
            left = self
                .drain
                .wait_idle(PROGRESS.min(deadline.saturating_duration_since(Instant::now())));
        }
        self.registry.remember();
        let cut = self.drain.flights();
        if !cut.is_empty() {
            // Workers may hang in backends and clients: nobody waits for them any more.
            self.drain.advance(Phase::Stopped);
            self.corridor.cut_off();
            self.threads.clear();
            return Outcome::Cut(cut);
        }
        self.corridor.shut_down();
        self.drain.advance(Phase::Stopped);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        if let Some(intake) = &self.admin_intake {
            intake.shut_down();
        }
        Outcome::Clean
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.drain.advance(Phase::Stopped);
    }
}

/// Starts the log that `settings` ask for. A process has one.
///
/// # Errors
/// When the log file cannot be opened; the message names it.
pub fn start_log(settings: &Log) -> io::Result<Logging> {
    logging::start(&logging::Settings {
        level: settings.level,
        stderr: settings.stderr,
        file: settings.file.clone(),
        rotate_size: settings.rotate_size,
        rotate_age: settings.rotate_age,
        keep: settings.keep,
        access: settings.access,
    })
}
