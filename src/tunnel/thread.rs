//! The thread: waits for connections that are ready, for newcomers and for the end, and lets the table do the rest.
//!
//! Nothing wakes it while there is no tunnel.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use super::table::Table;
use super::{Doorway, Newcomer};

/// Far beyond the tokens of any tunnel.
const DOORBELL: Token = Token(usize::MAX);
/// Changes that are taken at once; more of them come with the next look.
const EVENTS: usize = 256;

/// Starts the thread and gives the way to it.
///
/// # Errors
/// When the system gives no poller or no thread.
pub(super) fn spawn(idle: Duration) -> io::Result<(Arc<Doorway>, JoinHandle<()>)> {
    let poll = Poll::new()?;
    let doorway = Arc::new(Doorway::new(Waker::new(poll.registry(), DOORBELL)?));
    let table = Table::new(poll.registry().try_clone()?, idle);
    let inside = Arc::clone(&doorway);
    let thread = Builder::new()
        .name("tunnel".into())
        .spawn(move || run(poll, table, &inside))?;
    Ok((doorway, thread))
}

fn run(mut poll: Poll, mut table: Table, doorway: &Doorway) {
    if let Err(error) = carry(&mut poll, &mut table, doorway) {
        log::error!("the tunnel thread ends: {error}");
        doorway.close();
    }
    // The doorway is closed by now, so these are the last.
    let (newcomers, _) = doorway.clear();
    newcomers.into_iter().for_each(Newcomer::turn_away);
    table.end_all();
}

/// Carries the tunnels until the doorway is closed.
fn carry(poll: &mut Poll, table: &mut Table, doorway: &Doorway) -> io::Result<()> {
    let mut events = Events::with_capacity(EVENTS);
    loop {
        match poll.poll(&mut events, table.patience(Instant::now())) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        }
        let now = Instant::now();
        let mut has_rung = false;
        // All are noted before any tunnel ends or begins.
        for event in &events {
            if event.token() == DOORBELL {
                has_rung = true;
            } else {
                table.note(event);
            }
        }
        if has_rung {
            let (newcomers, is_closed) = doorway.clear();
            if is_closed {
                newcomers.into_iter().for_each(Newcomer::turn_away);
                return Ok(());
            }
            for newcomer in newcomers {
                table.adopt(newcomer, now);
            }
        }
        table.give_turns(now);
        table.sweep(now);
    }
}
