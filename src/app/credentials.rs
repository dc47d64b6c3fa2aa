//! Files of credentials: looked at every second, and read again when they are others. A bad new one changes nothing.

use std::path::PathBuf;

use crate::config::model::Config;

use super::watched::Watched;

/// Those that the configuration names.
#[derive(Debug, Default)]
pub(super) struct CredentialFiles(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    path: PathBuf,
    file: Watched,
    is_gone: bool,
}

impl CredentialFiles {
    /// The files of `config`; nothing is known about those that were not there before, so they are read once more.
    pub(super) fn follow(&mut self, config: &Config) {
        let auths = config.routes.iter().filter_map(|route| route.auth.as_ref());
        let mut paths: Vec<&PathBuf> = auths.flat_map(|auth| auth.files()).collect();
        paths.sort_unstable();
        paths.dedup();
        self.0.retain(|entry| paths.contains(&&entry.path));
        for path in paths {
            if !self.0.iter().any(|entry| entry.path == *path) {
                self.0.push(Entry {
                    path: path.clone(),
                    file: Watched::unread(path.clone()),
                    is_gone: false,
                });
            }
        }
    }

    /// Those that have changed since the last look, and are whole by now. Says once that one is gone.
    pub(super) fn changed(&mut self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for Entry {
            path,
            file,
            is_gone,
        } in &mut self.0
        {
            if file.has_changed() {
                changed.push(path.clone());
            }
            let was_gone = std::mem::replace(is_gone, file.is_gone());
            if *is_gone && !was_gone {
                log::warn!("{} is gone; who it let in is still let in", path.display());
            }
        }
        changed
    }
}
