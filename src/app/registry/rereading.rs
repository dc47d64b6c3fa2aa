//! Files of credentials that have changed: what is in them takes effect without a reload.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::config::model::Config;
use crate::config::{Reread, reread};

use super::Registry;

impl Registry {
    /// Reads files of credentials again, and has those that are good take effect.
    pub(super) fn reread_credentials(&self, changed: &[PathBuf]) {
        // What is configured changes in a reload only, and none happens meanwhile.
        let _turn = self.reloads.lock();
        let before = Arc::clone(&self.state.lock().configured);
        let Reread {
            config,
            good,
            problems,
        } = reread(&before, changed);
        for problem in &problems {
            log::error!("credentials stay as they were: {problem}");
        }
        let auths = |config: &Config| -> Vec<_> {
            let routes = config.routes.iter();
            routes.map(|route| route.auth.clone()).collect()
        };
        if auths(&config) == auths(&before) {
            return;
        }
        for (path, count) in good {
            log::info!("{} is read again: {count} credentials", path.display());
        }
        let state = &mut *self.state.lock();
        state.configured = Arc::new(config);
        state.merge();
        self.apply(state, &[], Instant::now());
    }
}
