//! Signals: INT, TERM and QUIT drain, a second one of them forces, USR1 reopens the logs, HUP reloads.
//!
//! `ctrlc` listens for INT alone: with its `termination` feature it could not tell TERM from HUP.

use std::io;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select_biased};
use signal_hook::consts::{SIGHUP, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

/// What a signal asks for, of the thread that waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Drain; when that is going on already, stop at once.
    Stop,
    /// Close the log file and open it anew.
    ReopenLogs,
}

/// Where what signals ask for arrives. Each kind has its own way in: none is lost behind many of another.
#[derive(Debug)]
pub(super) struct Asks {
    stop: Receiver<()>,
    reopen: Receiver<()>,
    reload: Receiver<()>,
}

/// The other ends.
#[derive(Debug, Clone)]
struct Ways {
    stop: Sender<()>,
    reopen: Sender<()>,
    reload: Sender<()>,
}

/// Starts listening.
pub(super) fn listen() -> io::Result<Asks> {
    let (ways, asks) = channels();
    let interrupted = ways.clone();
    ctrlc::set_handler(move || interrupted.pass_on(SIGTERM)).map_err(io::Error::other)?;
    let mut signals = Signals::new([SIGTERM, SIGQUIT, SIGUSR1, SIGHUP])?;
    let work = move || signals.forever().for_each(|signal| ways.pass_on(signal));
    thread::Builder::new().name("signals".into()).spawn(work)?;
    Ok(asks)
}

/// Two stops are a drain and its end. The others say the same however often they are said.
fn channels() -> (Ways, Asks) {
    let (stop, stops) = bounded(2);
    let (reopen, reopens) = bounded(1);
    let (reload, reloads) = bounded(1);
    let ways = Ways {
        stop,
        reopen,
        reload,
    };
    let asks = Asks {
        stop: stops,
        reopen: reopens,
        reload: reloads,
    };
    (ways, asks)
}

impl Ways {
    fn pass_on(&self, signal: i32) {
        let way = match signal {
            SIGUSR1 => &self.reopen,
            SIGHUP => &self.reload,
            _ => &self.stop,
        };
        // What finds no place is asked for already.
        let _ = way.try_send(());
    }
}

impl Asks {
    /// Waits for the next one; a stop comes before what came earlier. `None`: nothing can come any more.
    pub(super) fn next(&self) -> Option<Ask> {
        self.next_until(None)
    }

    /// The same, but waits no longer than until `deadline`, if there is one; then there is none.
    pub(super) fn next_until(&self, deadline: Option<Instant>) -> Option<Ask> {
        let late = deadline.map_or_else(never, at);
        select_biased! {
            recv(self.stop) -> asked => asked.ok().map(|()| Ask::Stop),
            recv(self.reopen) -> asked => asked.ok().map(|()| Ask::ReopenLogs),
            recv(late) -> _ => None,
        }
    }

    /// Takes the way of the reloads, for a thread of their own: they may take long. At most one waits there.
    pub(super) fn reloads(&mut self) -> Receiver<()> {
        std::mem::replace(&mut self.reload, never())
    }
}

#[cfg(test)]
impl Asks {
    /// As if these signals had come, and none will come any more.
    pub(super) fn of(signals: &[i32]) -> Asks {
        let (ways, asks) = channels();
        for signal in signals {
            ways.pass_on(*signal);
        }
        asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_never_lost_and_comes_first() {
        let (ways, mut asks) = channels();
        let reloads = asks.reloads();
        for _ in 0..100 {
            ways.pass_on(SIGHUP);
            ways.pass_on(SIGUSR1);
        }
        ways.pass_on(SIGTERM);
        ways.pass_on(SIGQUIT);
        assert_eq!(asks.next(), Some(Ask::Stop));
        assert_eq!(asks.next(), Some(Ask::Stop));
        assert_eq!(asks.next(), Some(Ask::ReopenLogs));
        assert_eq!(reloads.try_iter().count(), 1);
        drop(ways);
        assert_eq!(asks.next(), None);
    }
}
