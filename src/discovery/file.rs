//! A file with backends that is looked at again and again: has it changed, and is it good?
//!
//! A change shows in size, time or inode; then the text is compared. What is bad changes nothing and is told once.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use crate::config::model::{Backend, Listen, WatchedFile};
use crate::config::{self, FoundBackends, Problem, Problems};

/// A file that was written this short a time ago may be written once more without a trace: clocks of file systems are coarse.
const FRESH: Duration = Duration::from_secs(2);
/// Problems of one file that are told.
const TOLD: usize = 10;

/// A file, and what was in it.
#[derive(Debug)]
pub struct Watched {
    settings: WatchedFile,
    stamp: Option<Stamp>,
    /// The last text that was good.
    good: Option<String>,
    /// The last text that was not, and whether that was told.
    bad: Option<(String, Told)>,
    /// Why it could not be read, as told.
    trouble: Option<String>,
    looks: u64,
}

/// What one look brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Glance {
    /// Nothing new.
    Same,
    /// It has these backends now.
    Backends(Vec<Backend>, Vec<String>),
    /// Nothing that can be used; these are the reasons, told for the first time.
    Trouble(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Yes,
    /// It may be in the middle of being written.
    NotYet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    seconds: i64,
    nanoseconds: i64,
    device: u64,
    inode: u64,
}

impl Stamp {
    /// None: it is so young that it says nothing.
    fn of(metadata: &Metadata) -> Option<Stamp> {
        let age = SystemTime::now().duration_since(metadata.modified().ok()?);
        age.is_ok_and(|age| age > FRESH).then(|| Stamp {
            size: metadata.size(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

impl Watched {
    /// A file that nobody has looked at.
    pub fn new(settings: WatchedFile) -> Watched {
        Watched {
            settings,
            stamp: None,
            good: None,
            bad: None,
            trouble: None,
            looks: 0,
        }
    }

    pub(super) fn settings(&self) -> &WatchedFile {
        &self.settings
    }

    /// Looks at it. `own`: where this proxy listens.
    pub fn look(&mut self, own: &[Listen]) -> Glance {
        self.looks += 1;
        let metadata = match fs::metadata(&self.settings.path) {
            // Anything else might never end.
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return self.unreadable("is not a file".into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return self.unreadable("does not exist".into());
            }
            Err(error) => return self.unreadable(format!("cannot be read: {error}")),
        };
        let stamp = Stamp::of(&metadata);
        if stamp.is_some() && stamp == self.stamp {
            return Glance::Same;
        }
        let text = match config::read_text(&self.settings.path) {
            Ok(text) => text,
            Err(why) => return self.unreadable(why),
        };
        self.stamp = stamp;
        self.trouble = None;
        self.consider(text, own)
    }

    fn unreadable(&mut self, why: String) -> Glance {
        self.stamp = None;
        if self.trouble.as_ref() == Some(&why) {
            return Glance::Same;
        }
        let name = self.settings.path.display();
        let so = match self.good {
            Some(_) => "; the backends that it had stay",
            None => "; it is looked for again and again",
        };
        let text = format!("{name} {why}{so}");
        self.trouble = Some(why);
        Glance::Trouble(vec![text])
    }

    fn consider(&mut self, text: String, own: &[Listen]) -> Glance {
        if self.good.as_ref() == Some(&text) {
            self.bad = None;
            return Glance::Same;
        }
        let told = match &self.bad {
            Some((bad, told)) if *bad == text => Some(*told),
            _ => None,
        };
        if told == Some(Told::Yes) {
            return Glance::Same;
        }
        let WatchedFile {
            path,
            max_connections,
            ..
        } = &self.settings;
        match config::load_backends(path, &text, *max_connections, own) {
            Ok(FoundBackends { backends, warnings }) => {
                self.good = Some(text);
                self.bad = None;
                Glance::Backends(backends, warnings.iter().map(line).collect())
            }
            // Who writes it has the time until the next look; at the start there is nothing to wait for.
            Err(_) if told.is_none() && self.looks > 1 => {
                self.bad = Some((text, Told::NotYet));
                self.stamp = None;
                Glance::Same
            }
            Err(Problems(problems)) => {
                self.bad = Some((text, Told::Yes));
                let mut lines: Vec<String> = problems.iter().take(TOLD).map(line).collect();
                if problems.len() > TOLD {
                    lines.push(format!("and {} more problems", problems.len() - TOLD));
                }
                Glance::Trouble(lines)
            }
        }
    }
}

/// A problem in one line.
fn line(problem: &Problem) -> String {
    let bare = Problem {
        source_line: None,
        hint: None,
        ..problem.clone()
    };
    match &problem.hint {
        Some(hint) => format!("{bare} ({hint})"),
        None => bare.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn watched(path: PathBuf) -> Watched {
        Watched::new(WatchedFile {
            path,
            interval: Duration::from_secs(1),
            max_connections: 7,
        })
    }

    fn ids(glance: Glance) -> Vec<String> {
        match glance {
            Glance::Backends(backends, _) => backends.into_iter().map(|one| one.id).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn trouble(glance: Glance) -> String {
        match glance {
            Glance::Trouble(lines) => lines.join("\n"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_comes_changes_breaks_and_recovers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.json");
        let mut file = watched(path.clone());
        let missing = trouble(file.look(&[]));
        assert!(
            missing.contains("b.json does not exist; it is looked for"),
            "{missing}"
        );
        assert_eq!(file.look(&[]), Glance::Same);

        fs::write(&path, r#"["http://a", {"url": "http://b", "weight": 3}]"#).unwrap();
        assert_eq!(ids(file.look(&[])), ["a:80", "b:80"]);
        assert_eq!(file.look(&[]), Glance::Same);

        // As if it was read while it was written: only what stays bad is told.
        fs::write(&path, "[\n \"http://a\",").unwrap();
        assert_eq!(file.look(&[]), Glance::Same);
        let bad = trouble(file.look(&[]));
        assert!(
            bad.contains("b.json:2:") && bad.contains("not valid JSON"),
            "{bad}"
        );
        assert_eq!(file.look(&[]), Glance::Same);

        fs::write(&path, "[]").unwrap();
        assert_eq!(ids(file.look(&[])), Vec::<String>::new());
        fs::remove_file(&path).unwrap();
        assert!(trouble(file.look(&[])).ends_with("stay"));
        fs::write(&path, "[]").unwrap();
        assert_eq!(file.look(&[]), Glance::Same);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(trouble(file.look(&[])).contains("is not a file"));
    }

    #[test]
    fn toml_has_every_key_and_messages_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.toml");
        let text = "backends = [\n  { id = \"x\", url = \"http://a\", resolve = \"all\", backup = true, max_connections = 0 },\n  \"http://b\",\n]\n";
        fs::write(&path, text).unwrap();
        let Glance::Backends(backends, warnings) = watched(path.clone()).look(&[]) else {
            panic!("it is good")
        };
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(backends[0].resolve, crate::config::model::Resolve::All);
        assert!(backends[0].is_backup && backends[0].max_connections == usize::MAX);
        assert_eq!(backends[1].max_connections, 7);

        fs::write(&path, "backends = [\"http://a\",\n\"b\"]\nport = 1\n").unwrap();
        let bad = trouble(watched(path.clone()).look(&[]));
        assert!(
            bad.contains("b.toml:2:1: backend \"b\" is not a URL (write \"http://b\")"),
            "{bad}"
        );
        assert!(
            bad.contains("b.toml:3:1: unknown key `port` in a file of backends"),
            "{bad}"
        );
        fs::write(&path, "").unwrap();
        let bad = trouble(watched(path).look(&[]));
        assert!(bad.contains("`backends` is missing"), "{bad}");
    }

    #[test]
    fn an_old_file_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.json");
        fs::write(&path, "[]").unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        let handle = fs::File::options().write(true).open(&path).unwrap();
        handle.set_modified(old).unwrap();
        let mut file = watched(path.clone());
        assert_eq!(ids(file.look(&[])), Vec::<String>::new());
        assert!(file.stamp.is_some());
        fs::write(&path, "[\"http://a\"]").unwrap();
        handle.set_modified(old).unwrap();
        assert_eq!(ids(file.look(&[])), ["a:80"], "its size is another");
    }
}
