//! A log file that starts anew by size or by age and keeps its last N predecessors: `x.log.1` (newest) to `x.log.N`.
//!
//! It follows its name: when someone renames or deletes the file, the next line goes to a new one. It does not compress,
//! and it never rotates while nothing is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::sink::Destination;

/// Lines hold client addresses and request-targets: not for everyone on the machine.
const FILE_MODE: u32 = 0o640;

/// When to rotate, and what to keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rotation {
    /// Bytes a file may have; 0 = no limit. Only a single line longer than this makes a larger file.
    pub(super) size: u64,
    /// How old a file may get; zero = no limit.
    pub(super) age: Duration,
    /// Predecessors kept; with 0 a full file is deleted.
    pub(super) keep: usize,
}

/// The open file. A write may take less than it was given, up to the end of a line, where the next file begins.
pub(super) struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    clock: Clock,
    current: Option<Current>,
}

/// Where the time comes from.
type Clock = Box<dyn Fn() -> SystemTime + Send>;

struct Current {
    file: File,
    /// Device and inode, to notice that the name belongs to another file by now.
    identity: (u64, u64),
    size: u64,
    born: SystemTime,
}

// === impl RotatingFile ===

impl RotatingFile {
    /// Opens the file for appending; creates it and the folders above it.
    ///
    /// # Errors
    /// What the system says, with the path in front.
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<RotatingFile> {
        RotatingFile::with_clock(path, rotation, Box::new(SystemTime::now))
    }

    fn with_clock(path: &Path, rotation: Rotation, clock: Clock) -> io::Result<RotatingFile> {
        let current = Current::open(path, (*clock)()).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot open the log file {}: {error}", path.display()),
            )
        })?;
        Ok(RotatingFile {
            path: path.to_owned(),
            rotation,
            clock,
            current: Some(current),
        })
    }

    /// Rotates if the next `first_line` bytes do not fit any more, or the file is too old.
    fn rotate_if_due(&mut self, first_line: u64) {
        let now = (self.clock)();
        let Some(current) = &mut self.current else {
            return;
        };
        let Rotation { size, age, .. } = self.rotation;
        let is_full = size > 0 && current.size.saturating_add(first_line) > size;
        let is_old = !age.is_zero()
            && now
                .duration_since(current.born)
                .is_ok_and(|since| since >= age);
        if current.size == 0 || !(is_full || is_old) {
            return;
        }
        if shift(&self.path, self.rotation.keep).is_ok() {
            self.current = None;
        } else {
            // Rather a file too large than no log. The next try is due when this much has come again.
            current.size = 0;
            current.born = now;
        }
    }

    /// The open file; opens it when there is none, or when the name belongs to another one.
    fn follow_name(&mut self) -> io::Result<&mut Current> {
        let is_ours = self.current.as_ref().is_some_and(|current| {
            fs::metadata(&self.path).is_ok_and(|found| identity(&found) == current.identity)
        });
        let current = match self.current.take() {
            Some(current) if is_ours => current,
            _ => Current::open(&self.path, (self.clock)())?,
        };
        Ok(self.current.insert(current))
    }

    /// How many of these bytes go into the file with this size: whole lines, and always at least the first one.
    fn share(&self, bytes: &[u8], size: u64) -> usize {
        let room = match self.rotation.size {
            0 => return bytes.len(),
            limit => usize::try_from(limit.saturating_sub(size)).unwrap_or(usize::MAX),
        };
        if bytes.len() <= room {
            return bytes.len();
        }
        let fitting = bytes.get(..room).unwrap_or_default();
        match fitting.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None => first_line(bytes),
        }
    }
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.follow_name()?;
        self.rotate_if_due(u64::try_from(first_line(bytes)).unwrap_or(u64::MAX));
        let size = self.current.as_ref().map_or(0, |current| current.size);
        let share = bytes.get(..self.share(bytes, size)).unwrap_or(bytes);
        let current = match &mut self.current {
            Some(current) => current,
            None => self.follow_name()?,
        };
        let written = current.file.write(share)?;
        current.size = current
            .size
            .saturating_add(u64::try_from(written).unwrap_or(0));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        // A `File` has no buffer of its own.
        Ok(())
    }
}

impl Destination for RotatingFile {
    fn reopen(&mut self) {
        self.current = None;
        // At once, so that the file exists when its rotation tool looks; a failure shows with the next line.
        let _ = self.follow_name();
    }
}

// === impl Current ===

impl Current {
    fn open(path: &Path, now: SystemTime) -> io::Result<Current> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(FILE_MODE)
            .open(path)?;
        let found = file.metadata()?;
        let born = if found.len() == 0 {
            now
        } else {
            found.created().or_else(|_| found.modified()).unwrap_or(now)
        };
        Ok(Current {
            identity: identity(&found),
            size: found.len(),
            born,
            file,
        })
    }
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Length of the first line with its end.
fn first_line(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(bytes.len(), |end| end + 1)
}

/// Moves every file one number up and frees the name itself.
fn shift(path: &Path, keep: usize) -> io::Result<()> {
    // The oldest one, and what an earlier configuration kept beyond it.
    let mut surplus = keep.max(1);
    while fs::remove_file(numbered(path, surplus)).is_ok() {
        surplus += 1;
    }
    if keep == 0 {
        return unless_missing(fs::remove_file(path));
    }
    for number in (1..keep).rev() {
        unless_missing(fs::rename(
            numbered(path, number),
            numbered(path, number + 1),
        ))?;
    }
    unless_missing(fs::rename(path, numbered(path, 1)))
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
