//! Signals: INT, TERM and QUIT drain, a second one of them forces, USR1 reopens the logs, HUP reloads.
//!
//! `ctrlc` listens for INT alone: with its `termination` feature it could not tell TERM from HUP.

use std::io;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::consts::{SIGHUP, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Drain; when that is going on already, stop at once.
    Stop,
    /// Close the log file and open it anew.
    ReopenLogs,
    /// Read the configuration again.
    Reload,
}

/// Starts listening. The channel gets one message per signal.
pub(super) fn listen() -> io::Result<Receiver<Ask>> {
    let (sender, receiver) = bounded(16);
    let interrupted = sender.clone();
    ctrlc::set_handler(move || pass_on(&interrupted, Ask::Stop)).map_err(io::Error::other)?;
    let mut signals = Signals::new([SIGTERM, SIGQUIT, SIGUSR1, SIGHUP])?;
    let work = move || {
        for signal in signals.forever() {
            let ask = match signal {
                SIGUSR1 => Ask::ReopenLogs,
                SIGHUP => Ask::Reload,
                _ => Ask::Stop,
            };
            pass_on(&sender, ask);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(work)?;
    Ok(receiver)
}

/// Sixteen unread signals say enough; more are dropped.
fn pass_on(sender: &Sender<Ask>, ask: Ask) {
    let _ = sender.try_send(ask);
}
