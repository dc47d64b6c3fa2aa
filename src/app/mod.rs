//! Builds every room from the configuration, starts the threads, and takes everything down again in order.
//!
//! No signals and no printing here: that is the command line's. Tests start it in their own process.

mod explain;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::accept::{self, BindError, Opened};
use crate::admin::{self, Admin, AdminIntake, LoadView, MirrorView};
use crate::config::model::{self, Address, Config, Listen, Log, Server};
use crate::exchange::{Intake, Listener};
use crate::health;
use crate::logging;
use crate::serve::Corridor;
use crate::serve::snapshot::Snapshot;
use crate::upstream::Upstream;

pub use crate::demo::DemoBackend;
pub use crate::drain::{Drain, Flight, Phase};
pub use crate::logging::Logging;
pub use explain::{Explanation, Question, explain};

/// How often the queue is searched for requests that waited too long.
const TICK: Duration = Duration::from_millis(100);
/// Idle connections are looked through every so many ticks: once a second.
const REAP: u32 = 10;
/// How often progress is told while draining.
const PROGRESS: Duration = Duration::from_secs(1);

/// A running tollgate. Dropping it without [`Running::shut_down`] ends listening and probing at once; idle workers stay
/// parked until the process ends.
pub struct Running {
    drain: Drain,
    traffic: Vec<Address>,
    admin: Option<SocketAddr>,
    corridor: Arc<Corridor>,
    admin_intake: Option<Arc<AdminIntake>>,
    drain_delay: Duration,
    drain_timeout: Duration,
    threads: Vec<JoinHandle<()>>,
}

/// Why tollgate does not start.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Bind(BindError),
    /// A thread cannot be started.
    Thread(io::Error),
}

/// How a shutdown ended.
#[derive(Debug)]
pub enum Outcome {
    /// Everything in flight was finished.
    Clean,
    /// The time was over, or a second signal came; this was cut.
    Cut(Vec<Flight>),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Bind(error) => error.fmt(f),
            StartError::Thread(error) => {
                write!(
                    f,
                    "cannot start a thread: {error}; fewer server.workers or a higher limit help"
                )
            }
        }
    }
}

impl std::error::Error for StartError {}

impl From<BindError> for StartError {
    fn from(error: BindError) -> StartError {
        StartError::Bind(error)
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError::Thread(error)
    }
}

impl Running {
    /// Starts without a log of its own; what is logged goes where the process sends it.
    ///
    /// # Errors
    /// When an address cannot be bound or a thread not be started; nothing listens then.
    pub fn start(config: Config) -> Result<Running, StartError> {
        Running::start_with_log(config, None)
    }

    /// Starts; the status page tells how many lines `logging` had to drop.
    ///
    /// # Errors
    /// As [`Running::start`].
    pub fn start_with_log(
        config: Config,
        logging: Option<&Arc<Logging>>,
    ) -> Result<Running, StartError> {
        let server = config.server.clone();
        // All sockets first: when one cannot be had, no thread was started in vain.
        let traffic = accept::open(&config.server.listen, &config.server)?;
        let admin = config.admin.clone().map(|admin| open_admin(admin, &config));
        let admin = admin.transpose()?;
        let drain = Drain::new();
        let snapshot = Arc::new(Snapshot::new(Arc::new(config)));
        let corridor = Corridor::start(snapshot, &drain)?;
        let fleet = corridor.fleet().clone();
        let mut running = Running {
            drain: drain.clone(),
            traffic: traffic.addresses,
            admin: admin
                .as_ref()
                .and_then(|(_, opened)| opened.addresses.first()?.ip()),
            corridor: Arc::clone(&corridor),
            admin_intake: None,
            drain_delay: server.drain_delay,
            drain_timeout: server.drain_timeout,
            threads: Vec::new(),
        };
        running
            .threads
            .push(health::spawn(fleet.clone(), drain.clone())?);
        running
            .threads
            .push(spawn_ticker(Arc::clone(&corridor), drain.clone())?);
        if let Some((settings, opened)) = admin {
            let load = load_view(Arc::clone(&corridor), logging.map(Arc::downgrade));
            let intake = Admin::new(settings, admin::view(&drain, fleet, load)).start()?;
            running.admin_intake = Some(Arc::clone(&intake));
            for listener in opened.listeners {
                running.listen(
                    "admin-listener",
                    listener,
                    Arc::<AdminIntake>::clone(&intake),
                )?;
            }
        }
        for listener in traffic.listeners {
            let intake: Arc<dyn Intake> = Arc::<Corridor>::clone(&corridor);
            running.listen("listener", listener, intake)?;
        }
        Ok(running)
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

    /// The admin address.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The handle that stops everything.
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Drains, then stops all threads. `progress` hears how many exchanges are in flight, at once and every second.
    ///
    /// Another thread may cut it short with [`Drain::advance`] to [`Phase::Stopped`].
    pub fn shut_down(mut self, progress: &mut dyn FnMut(usize)) -> Outcome {
        self.drain.advance(Phase::Leaving);
        self.drain.sleep(self.drain_delay);
        self.drain.advance(Phase::Draining);
        let deadline = Instant::now() + self.drain_timeout;
        let mut left = self.drain.in_flight();
        while left > 0 && Instant::now() < deadline && !self.drain.is_stopped() {
            progress(left);
            left = self
                .drain
                .wait_idle(PROGRESS.min(deadline.saturating_duration_since(Instant::now())));
        }
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

fn open_admin(admin: model::Admin, config: &Config) -> Result<(model::Admin, Opened), BindError> {
    let listen = Listen {
        address: Address::Ip(admin.listen),
        proxy_protocol: false,
    };
    // One thread is plenty for it, whatever the traffic gets.
    let server = Server {
        listener_threads: 1,
        ..config.server.clone()
    };
    Ok((admin, accept::open(&[listen], &server)?))
}

fn load_view(
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
        }
    })
}

/// What an upstream needs every second.
fn look_after(upstream: &Upstream, now: Instant) {
    upstream
        .backends()
        .for_each(|backend| backend.idle.reap(now));
    for (backend, ejected) in upstream.eject_slow(now) {
        let (name, id, cooldown) = (&upstream.name, &backend.id, ejected.cooldown.as_secs_f32());
        log::warn!(
            "backend {name}/{id} ejected for {cooldown} s: {}",
            ejected.reason.as_str()
        );
    }
}

/// The thread for what has to happen now and then.
fn spawn_ticker(corridor: Arc<Corridor>, drain: Drain) -> io::Result<JoinHandle<()>> {
    let work = move || {
        let mut tick = 0;
        while !drain.sleep(TICK) {
            let now = Instant::now();
            corridor.expire(now);
            tick = (tick + 1) % REAP;
            if tick == 0 {
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
