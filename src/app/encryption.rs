//! TLS for clients while the process runs: files are looked at every second, and a reload reads them again.
//!
//! A process that has no listener with TLS at the start gets none until the next one: what is here does nothing then.

use std::sync::Arc;
use std::time::Instant;

use crate::config::model::Config;
use crate::tls::Fault;
use crate::tls::server::{Prepared, Terminator};

use super::errand::Errand;

/// What is shown to clients, where TLS is spoken with them.
///
/// # Errors
/// What is wrong with a file.
pub(super) fn open(config: &Config) -> Result<Option<Arc<Terminator>>, Fault> {
    let terminator = config.server.tls.as_ref().map(Terminator::open);
    Ok(terminator.transpose()?.map(Arc::new))
}

/// The terminator, if there is one.
pub(super) struct Encryption {
    terminator: Option<Arc<Terminator>>,
    /// Files may be on disks that are slow.
    looking: Errand,
}

impl Encryption {
    pub(super) fn new(terminator: Option<Arc<Terminator>>) -> Encryption {
        if let Some(terminator) = &terminator {
            terminator.announce(Instant::now());
        }
        Encryption {
            terminator,
            looking: Errand::new("certificates"),
        }
    }

    /// To be called every second; waits for nothing.
    pub(super) fn tick(&self, now: Instant) {
        if let Some(terminator) = &self.terminator {
            let terminator = Arc::clone(terminator);
            self.looking.run(move || terminator.look(now));
        }
    }

    /// Reads the files that `new` names.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn prepare(&self, new: &Config) -> Result<Option<Prepared>, String> {
        let settings = self.terminator.as_ref().zip(new.server.tls.as_ref());
        let prepared = settings.map(|(terminator, settings)| terminator.prepare(settings));
        prepared.transpose().map_err(|fault| fault.to_string())
    }

    /// Has what was prepared take effect.
    pub(super) fn apply(&self, prepared: Option<Prepared>) {
        if let Some((terminator, prepared)) = self.terminator.as_ref().zip(prepared) {
            terminator.apply(prepared);
        }
    }
}
