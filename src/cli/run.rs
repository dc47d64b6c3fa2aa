//! `tollgate run`: loads, starts, waits for a signal, drains.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, at, never};

use crate::app::{self, Drain, Inherited, Logging, Options, Outcome, Phase, Running, StartError};
use crate::config::model::{Config, ListenTls};
use crate::config::{self, Loaded};

use super::notice::say;
use super::signals::{self, Ask, Asks};
use super::supervisor::Supervisor;
use super::{Exit, Where, report};

pub(super) fn run(place: &Where) -> Exit {
    // First of all: no thread runs yet and nothing is open.
    let inherited = match Inherited::from_environment() {
        Ok(inherited) => inherited,
        Err(error) => {
            say(&format!("tollgate: {error}"));
            return Exit::BadConfig;
        }
    };
    let supervisor = std::env::var("NOTIFY_SOCKET").ok();
    let supervisor = Arc::new(Supervisor::at(supervisor.as_deref()));
    match config::load(&place.request()) {
        Err(problems) => report(&problems),
        Ok(Loaded {
            config,
            warnings,
            file,
        }) => {
            for warning in &warnings {
                say(&format!("warning: {warning}"));
            }
            let request = place.request();
            let options = Options {
                source: Some(Box::new(move || config::load(&request))),
                file,
                inherited,
                ..Options::default()
            };
            serve(config, options, &supervisor, |_| ())
        }
    }
}

/// Runs `config` until a signal ends it, and tells the supervisor. `greet` is called once everything listens.
pub(super) fn serve(
    config: Config,
    options: Options,
    supervisor: &Arc<Supervisor>,
    greet: impl FnOnce(&Running),
) -> Exit {
    let logging = match app::start_log(&config.log) {
        Ok(logging) => Arc::new(logging),
        Err(error) => {
            say(&format!("tollgate: {error}"));
            return Exit::Failure;
        }
    };
    log_panics();
    // Before anything listens: a signal in between must not kill what has begun.
    let mut asks = match signals::listen() {
        Ok(asks) => asks,
        Err(error) => {
            say(&format!("tollgate: cannot listen for signals: {error}"));
            return Exit::Failure;
        }
    };
    let options = Options {
        logging: Some(Arc::clone(&logging)),
        ..options
    };
    let running = match Running::start_with(config, options) {
        Ok(running) => running,
        Err(error) => {
            say(&format!("tollgate: {error}"));
            // The supervisor and the configuration disagree: starting again would not help.
            return match error {
                StartError::Inherit(_) | StartError::Tls(_) | StartError::Authorities(_) => {
                    Exit::BadConfig
                }
                StartError::Bind(_) | StartError::Thread(_) => Exit::Failure,
            };
        }
    };
    announce(&running);
    greet(&running);
    supervisor.ready();
    reload_when_asked(asks.reloads(), &running, supervisor);
    wait(&asks, &logging);
    supervisor.stopping();
    let exit = drain(running, asks, &logging, supervisor);
    if let Some(logging) = Arc::into_inner(logging) {
        logging.shut_down();
    }
    exit
}

fn announce(running: &Running) {
    for url in running.urls() {
        say(&format!("tollgate: listening on {url}"));
    }
    for made in running
        .certificates()
        .iter()
        .filter(|one| one.file.is_none())
    {
        let (names, print) = (made.names.join(", "), &made.fingerprint);
        say(&format!(
            "tollgate: self-signed certificate for {names}\n  SHA256 Fingerprint={print}"
        ));
    }
    if let Some(address) = running.admin_address() {
        let address = address.url(ListenTls::Plain);
        say(&format!("tollgate: admin on {address}"));
    }
}

/// Blocks until a signal asks to stop.
fn wait(asks: &Asks, logging: &Logging) {
    while asks.next() == Some(Ask::ReopenLogs) {
        logging.reopen();
    }
}

/// On a thread of its own, which ends with the process: a reload may have to wait for files and names, a stop must not.
fn reload_when_asked(reloads: Receiver<()>, running: &Running, supervisor: &Arc<Supervisor>) {
    let (reloader, drain) = (running.reloader(), running.drain().clone());
    let supervisor = Arc::clone(supervisor);
    let work = move || {
        for () in reloads {
            if drain.phase() > Phase::Serving {
                return;
            }
            supervisor.reloading();
            // Its outcome is in the log.
            drop(reloader.reload());
            supervisor.ready();
        }
    };
    if let Err(error) = thread::Builder::new().name("reload".into()).spawn(work) {
        log::error!("signals will not reload: {error}");
    }
}

/// How much longer than it may a drain takes before the process ends all the same.
const LATE: Duration = Duration::from_secs(5);
/// How long a process that is stopped by force may take to say what it cuts.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Most exchanges that the log names when it is stopped.
const NAMED: usize = 50;

fn drain(running: Running, asks: Asks, logging: &Arc<Logging>, supervisor: &Supervisor) -> Exit {
    let drain = running.drain().clone();
    log::info!("draining");
    watch_for_force(asks, drain, running.patience(), Arc::downgrade(logging));
    let outcome = running.shut_down(&mut |left| {
        say(&format!("draining: {left} in flight…"));
        supervisor.draining(left);
    });
    match outcome {
        Outcome::Clean => {
            say("tollgate: drained, all requests finished");
            log::info!("drained");
            Exit::Clean
        }
        Outcome::Cut(flights) => {
            say(&format!(
                "tollgate: stopped with {} in flight:",
                flights.len()
            ));
            for flight in &flights {
                say(&format!(
                    "  cut after {:.1} s: {}",
                    flight.since.elapsed().as_secs_f32(),
                    flight.label
                ));
            }
            let named: Vec<&str> = flights
                .iter()
                .take(NAMED)
                .map(|flight| &*flight.label)
                .collect();
            log::warn!(
                "stopped with {} in flight: {}",
                flights.len(),
                named.join(", ")
            );
            Exit::Cut
        }
    }
}

/// A second signal stops the wait, and the process when a thread hangs: so does a drain that takes longer than it may. The
/// thread ends with the process.
fn watch_for_force(
    asks: Asks,
    drain: Drain,
    patience: Duration,
    logging: std::sync::Weak<Logging>,
) {
    let work = move || {
        let reopen = || {
            if let Some(logging) = logging.upgrade() {
                logging.reopen();
            }
        };
        let late = Instant::now().checked_add(patience.saturating_add(LATE));
        wait_for_the_end(&asks, &drain, late, LAST_WORDS, &reopen);
        say("tollgate: stopped; a thread does not end");
        std::process::exit(Exit::Cut as i32);
    };
    if let Err(error) = thread::Builder::new().name("force".into()).spawn(work) {
        log::error!("a second signal will not be noticed: {error}");
    }
}

/// Returns when the process should have ended: at `late`, or `last_words` after a stop that is the second one.
fn wait_for_the_end(
    asks: &Asks,
    drain: &Drain,
    mut late: Option<Instant>,
    last_words: Duration,
    reopen: &dyn Fn(),
) {
    while let Some(ask) = asks.next_until(late) {
        match ask {
            Ask::Stop if !drain.is_stopped() => {
                drain.advance(Phase::Stopped);
                let soon = Instant::now().checked_add(last_words);
                late = late.min(soon).or(soon);
            }
            Ask::Stop => (),
            Ask::ReopenLogs => reopen(),
        }
    }
    // No signal can come any more, the end can.
    let _ = late.map_or_else(never, at).recv();
}

/// Panics go to the log, where they are escaped and bounded, with the thread's name and the place.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("a library's thread");
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("no message");
        log::error!("{name} panicked at {place}: {what}");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::consts::{SIGTERM, SIGUSR1};

    #[test]
    fn a_second_stop_and_a_drain_that_is_late_end_the_process() {
        let far = Instant::now().checked_add(Duration::from_secs(3600));
        for late in [far, None] {
            let (asks, drain) = (Asks::of(&[SIGUSR1, SIGTERM]), Drain::new());
            let began = Instant::now();
            wait_for_the_end(&asks, &drain, late, Duration::from_millis(50), &|| ());
            assert!(drain.is_stopped() && began.elapsed() >= Duration::from_millis(50));
        }
        let (asks, drain) = (Asks::of(&[]), Drain::new());
        wait_for_the_end(&asks, &drain, Some(Instant::now()), LAST_WORDS, &|| ());
        assert!(!drain.is_stopped());
    }
}
