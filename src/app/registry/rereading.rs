//! What is read again: files of credentials that have changed, whose content takes effect without a reload; and the configuration.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::app::authorities::without_authorities;
use crate::config::model::Config;
use crate::config::{Loaded, Reread, reread};

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

    /// Reads the configuration again, as it was read at the start.
    pub(super) fn load(&self) -> Result<Loaded, Vec<String>> {
        let Some(source) = &self.source else {
            return Err(vec![
                "this process has no configuration to read again".to_owned(),
            ]);
        };
        // At the start a pipe will do. Waiting for one now, for somebody to write into it, could take for ever.
        if let Some(file) = &self.file
            && fs::metadata(file).is_ok_and(|known| !known.is_file())
        {
            let name = file.display();
            return Err(vec![format!(
                "{name} is not a regular file: it cannot be read again"
            )]);
        }
        let loaded: Loaded = source().map_err(|problems| -> Vec<String> {
            problems.0.iter().map(ToString::to_string).collect()
        })?;
        let untrusted = without_authorities(&loaded.config);
        if untrusted.is_empty() {
            Ok(loaded)
        } else {
            Err(untrusted)
        }
    }
}
