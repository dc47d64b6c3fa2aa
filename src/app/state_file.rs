//! The state file on disk: read whole, written beside and renamed, so that it is whole at any time. What is in it is somebody
//! else's matter ([`super::memory`]).
//!
//! Two processes may have the same one while they run side by side: each writes under a name of its own, and one at a time.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use crate::plain_file::{self, Unreadable};

/// Bytes that no state file has: a thousand registrations of each of a hundred upstreams take less.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Files that were put aside; with more, somebody has to look.
const MOST_ASIDE: u32 = 100;

/// Where it is.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
}

/// What came of writing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Whole,
    /// Another process was at it.
    Skipped,
}

/// For messages.
impl fmt::Display for StateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl StateFile {
    pub(super) fn new(path: &Path) -> StateFile {
        StateFile {
            path: path.to_owned(),
        }
    }

    /// What it holds; `None`: there is no such file.
    ///
    /// # Errors
    /// When there is something that cannot be read.
    pub(super) fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match plain_file::read(&self.path, LARGEST) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Unreadable::Failed(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(Unreadable::Failed(error)) => Err(error),
            Err(Unreadable::Directory | Unreadable::NotRegular) => {
                Err(io::Error::other("it is not a regular file"))
            }
            Err(Unreadable::TooLarge) => Err(io::Error::other("it is too large to be one")),
        }
    }

    /// Gives it another name, one that nothing has yet, and returns that.
    ///
    /// # Errors
    /// When there is none left, or the system refuses.
    pub(super) fn put_aside(&self) -> io::Result<PathBuf> {
        for number in 1..=MOST_ASIDE {
            let aside = match number {
                1 => self.beside("bad"),
                _ => self.beside(&format!("bad.{number}")),
            };
            match fs::symlink_metadata(&aside) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::rename(&self.path, &aside)?;
                    return Ok(aside);
                }
                _ => continue,
            }
        }
        let message = format!("{MOST_ASIDE} of them lie beside it");
        Err(io::Error::other(message))
    }

    /// Puts `bytes` into its place, on the disk when this returns.
    ///
    /// # Errors
    /// When the system refuses; what was there is there still.
    pub(super) fn replace(&self, bytes: &[u8]) -> io::Result<Written> {
        let Some(_lock) = self.lock()? else {
            return Ok(Written::Skipped);
        };
        let beside = self.beside(&format!("{}.new", std::process::id()));
        let written = write_new(&beside, bytes).and_then(|()| fs::rename(&beside, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written.map(|()| Written::Whole)
    }

    /// Ends with the descriptor. `None`: somebody else has it.
    fn lock(&self) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let lock = rustix::fs::open(self.beside("lock"), flags, mode)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(lock)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The same name with another ending behind it.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(ending);
        name.into()
    }
}

/// A file that was not there before: no link that somebody put there is followed.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // An earlier process of the same number may have been killed while it wrote.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => (),
    }
    let mut options = OpenOptions::new();
    let mut file: File = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn it_is_whole_private_and_leaves_nothing_else_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let file = StateFile::new(&path);
        assert_eq!(file.read().unwrap(), None);
        // Left behind by an earlier process, and pointing elsewhere.
        let precious = folder.path().join("precious");
        fs::write(&precious, "untouched").unwrap();
        symlink(
            &precious,
            file.beside(&format!("{}.new", std::process::id())),
        )
        .unwrap();
        assert_eq!(file.replace(b"one").unwrap(), Written::Whole);
        assert_eq!(file.replace(b"two").unwrap(), Written::Whole);
        assert_eq!(file.read().unwrap().unwrap(), b"two");
        assert_eq!(fs::read_to_string(precious).unwrap(), "untouched");
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let names = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = names.map(|one| one.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["precious", "state.json", "state.json.lock"]);
    }

    #[test]
    fn one_writes_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(&folder.path().join("state.json"));
        let lock = file.lock().unwrap();
        assert!(lock.is_some());
        assert_eq!(file.replace(b"x").unwrap(), Written::Skipped);
        drop(lock);
        assert_eq!(file.replace(b"x").unwrap(), Written::Whole);
    }

    #[test]
    fn no_link_is_followed_to_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(&folder.path().join("state.json"));
        symlink(folder.path().join("elsewhere"), file.beside("lock")).unwrap();
        assert!(file.replace(b"x").is_err());
        assert!(!folder.path().join("elsewhere").exists());
    }
}
