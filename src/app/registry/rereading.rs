//! Files of credentials that have changed: what is in them takes effect without a reload.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::config::model::Config;
use crate::config::{Reread, reread};

use super::{Registry, State};

impl Registry {
    /// Looks whether files of credentials have changed, and has another thread read them then.
    pub(super) fn look_at_credentials(self: &Arc<Self>, state: &mut State) {
        if self.recrediting.is_under_way() {
            return;
        }
        let changed = state.credentials.changed();
        if !changed.is_empty() {
            let registry = Arc::clone(self);
            self.recrediting
                .run(move || registry.reread_credentials(&changed));
        }
    }

    /// Reads files of credentials again, and has those that are good take effect.
    fn reread_credentials(&self, changed: &[PathBuf]) {
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
