//! Reads a whole file that somebody named: a regular one, bounded in size, without ever waiting for a writer.
//!
//! A pipe without a writer, a terminal or a device could keep its reader waiting for ever, or never end. Does not know what the
//! files are for, and says in no words what was wrong.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Why there is nothing.
#[derive(Debug)]
pub enum Unreadable {
    /// There is none, it may not be read, or the system failed.
    Failed(io::Error),
    /// It is a directory.
    Directory,
    /// It is a pipe, a device or a socket.
    NotRegular,
    /// It has more bytes than were allowed.
    TooLarge,
}

/// What is in the file at `path`, or that a link there leads to: at most `largest` bytes.
///
/// # Errors
/// When it is no regular file, cannot be read, or is larger.
pub fn read(path: &Path, largest: u64) -> Result<Vec<u8>, Unreadable> {
    // Asked before it is opened too: opening alone does something to some devices.
    judge(&fs::metadata(path).map_err(Unreadable::Failed)?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    let file = File::from(opened.map_err(|error| Unreadable::Failed(error.into()))?);
    judge(&file.metadata().map_err(Unreadable::Failed)?)?;
    let mut bytes = Vec::new();
    let read = file.take(largest.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(Unreadable::Failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > largest {
        return Err(Unreadable::TooLarge);
    }
    Ok(bytes)
}

fn judge(known: &fs::Metadata) -> Result<(), Unreadable> {
    match known.file_type() {
        kind if kind.is_file() => Ok(()),
        kind if kind.is_dir() => Err(Unreadable::Directory),
        _ => Err(Unreadable::NotRegular),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, mknodat};

    #[test]
    fn regular_files_are_read_up_to_their_bound() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a"), folder.path().join("link"));
        fs::write(&path, "four").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        assert_eq!(read(&link, u64::MAX).unwrap(), b"four");
        assert!(matches!(read(&path, 3), Err(Unreadable::TooLarge)));
    }

    #[test]
    fn what_could_keep_its_reader_waiting_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &path, FileType::Fifo, mode, 0).unwrap();
        for path in [&path, Path::new("/dev/zero"), Path::new("/dev/tty")] {
            assert!(matches!(read(path, 9), Err(Unreadable::NotRegular)));
        }
        assert!(matches!(read(folder.path(), 9), Err(Unreadable::Directory)));
        let missing = read(&folder.path().join("b"), 9);
        assert!(
            matches!(missing, Err(Unreadable::Failed(error)) if error.kind() == io::ErrorKind::NotFound)
        );
    }
}
