//! Finds out where backends are and which there are: looks up the names of backends, and watches files with backends.
//!
//! Requests and probes never wait for any of this: they use what was found last. Addresses of a name go to the backends that
//! have it (see [`Backend::set_addresses`](crate::upstream::backend::Backend::set_addresses)); which backends there are goes to
//! a [`Membership`], which knows who else has a say.

mod file;
mod files;
mod lookup;
mod merge;
mod names;
mod round;
mod share;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use crate::config::model::{self, Listen};
use crate::drain::Drain;
use crate::upstream::Upstream;
use crate::upstream::fleet::Fleet;

pub use file::{Glance, Watched};
pub use merge::{Found, merge};
pub use share::share_addresses;

use lookup::Look;
use names::Ask;

/// Who may wait for first lookups at the same time.
const ASKS: usize = 8;

/// Where backends of an upstream come from besides its configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The addresses of a name (`resolve = "all"`).
    Dns {
        /// The id of the backend that stands for them.
        backend: String,
    },
    /// The file that is watched.
    File,
}

/// Takes what was found. Called from the threads of this room, one call for each change.
pub trait Membership: Send + Sync {
    /// From `source`, the upstream of this name now has exactly these backends. It stays true until the next call, also when
    /// the configuration changes: whoever replaces the upstreams keeps it. To hear it twice must change nothing.
    fn found(&self, upstream: &str, source: Source, backends: Vec<model::Backend>);
}

/// The two threads that find backends.
#[derive(Debug, Clone)]
pub struct Discovery {
    asks: Sender<Ask>,
}

impl Discovery {
    /// Looks at the files of the fleet once, then starts to watch them and to look up names. `own`: where this proxy listens.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        fleet: &Fleet,
        membership: &Arc<dyn Membership>,
        own: Vec<Listen>,
        drain: &Drain,
    ) -> io::Result<(Discovery, Vec<JoinHandle<()>>)> {
        let files = files::start(fleet.clone(), Arc::clone(membership), own, drain.clone())?;
        let (asks, asked) = bounded(ASKS);
        let look: Look = Arc::new(lookup::system);
        let names = names::start(fleet.clone(), Arc::clone(membership), look, asked, drain)?;
        Ok((Discovery { asks }, vec![files, names]))
    }

    /// Waits until the names of these upstreams were looked up once, whether they resolve or not; at most `patience`. For
    /// those who are about to send requests there. Not to be called while a [`Membership`] is held up.
    pub fn settle(&self, upstreams: Arc<[Arc<Upstream>]>, patience: Duration) {
        let (done, is_done) = bounded(1);
        let ask = Ask {
            upstreams,
            done,
            until: Instant::now() + patience,
        };
        if self.asks.send_timeout(ask, patience).is_ok() {
            // Late or never: then they are unresolved for now.
            let _ = is_done.recv_timeout(patience);
        }
    }
}

#[cfg(test)]
mod tests;
