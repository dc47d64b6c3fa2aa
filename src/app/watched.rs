//! A file that is looked at every second, for whether it is another one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The file.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    known: Option<Stamp>,
    /// As it was at the last look.
    last: Option<Stamp>,
}

/// What is different after a file was written, or another one was put into its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Watched {
    pub(super) fn new(path: PathBuf) -> Watched {
        let known = stamp(&path);
        Watched {
            path,
            known,
            last: known,
        }
    }

    /// One that counts as another one at first, since nobody knows what it was when it was read.
    pub(super) fn unread(path: PathBuf) -> Watched {
        Watched {
            known: None,
            ..Watched::new(path)
        }
    }

    /// Whether there was none at the last look.
    pub(super) fn is_gone(&self) -> bool {
        self.last.is_none()
    }

    /// Whether it is another one than it was, and has been since the last look: who writes it should be done by then.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = stamp(&self.path);
        let is_settled = now == std::mem::replace(&mut self.last, now);
        let has_changed = now.is_some() && is_settled && now != self.known;
        if has_changed {
            self.known = now;
        }
        has_changed
    }
}

fn stamp(path: &PathBuf) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some(Stamp {
        inode: file.ino(),
        size: file.size(),
        modified: (file.mtime(), file.mtime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_when_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        fs::write(&path, "one").unwrap();
        let mut watched = Watched::new(path.clone());
        assert!(!watched.has_changed());
        fs::write(&path, "other").unwrap();
        assert!(!watched.has_changed(), "it may still be written");
        assert!(watched.has_changed());
        assert!(!watched.has_changed());
        fs::remove_file(&path).unwrap();
        assert!(!watched.has_changed() && !watched.has_changed());
        fs::write(&path, "a third").unwrap();
        watched.has_changed();
        assert!(watched.has_changed());
    }
}
