//! Files that belong together and are looked at again and again: is there something new in them, and can it be used?
//!
//! A change shows in size, time or inode, of the file that a link leads to; then what is in them is compared. What cannot be
//! used changes nothing and is told once. Between two looks there is no memory of a key: only of its hash.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ring::digest::{Context, SHA256};

use super::{Fault, pem};

/// A file that was written this short a time ago may be written once more without a trace: clocks of file systems are coarse.
const FRESH: Duration = Duration::from_secs(2);

/// Files, and what was in them.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    paths: Vec<PathBuf>,
    /// As they were when they were read. None: they have to be read again.
    stamps: Option<Vec<Stamp>>,
    /// What is in use.
    good: Hash,
    /// What was found since, and cannot be used.
    bad: Option<Bad>,
}

/// What one look brought.
#[derive(Debug)]
pub(super) enum Glance<T> {
    /// Nothing new.
    Same,
    /// Something else that can be used.
    New(T),
    /// Something else that cannot be used; told for the first time.
    Trouble(Fault),
}

type Hash = Vec<u8>;

#[derive(Debug, Clone)]
struct Bad {
    /// None: they could not be read.
    hash: Option<Hash>,
    fault: Fault,
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Yes,
    /// Somebody may be in the middle of writing the files.
    NotYet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Watch {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// When one cannot be read, and what `parse` says.
    pub(super) fn open<T>(
        paths: Vec<PathBuf>,
        parse: impl FnOnce(&[Vec<u8>]) -> Result<T, Fault>,
    ) -> Result<(Watch, T), Fault> {
        let stamps = stamps(&paths);
        let contents = read(&paths)?;
        let good = hash(&contents);
        let value = parse(&contents)?;
        let watch = Watch {
            paths,
            stamps,
            good,
            bad: None,
        };
        Ok((watch, value))
    }

    /// Looks at the files.
    pub(super) fn look<T>(
        &mut self,
        parse: impl FnOnce(&[Vec<u8>]) -> Result<T, Fault>,
    ) -> Glance<T> {
        let stamps = stamps(&self.paths);
        if stamps.is_some() && stamps == self.stamps {
            return Glance::Same;
        }
        let contents = match read(&self.paths) {
            Ok(contents) => contents,
            Err(fault) => return self.doubt(None, fault, None),
        };
        let hash = hash(&contents);
        if hash == self.good {
            self.stamps = stamps;
            self.bad = None;
            return Glance::Same;
        }
        match parse(&contents) {
            Ok(value) => {
                self.stamps = stamps;
                self.good = hash;
                self.bad = None;
                Glance::New(value)
            }
            Err(fault) => self.doubt(Some(hash), fault, stamps),
        }
    }

    /// Who writes files has until the next look to be done.
    fn doubt<T>(
        &mut self,
        hash: Option<Hash>,
        fault: Fault,
        stamps: Option<Vec<Stamp>>,
    ) -> Glance<T> {
        let known = self.bad.as_ref();
        let told = known.filter(|bad| bad.hash == hash && bad.fault == fault);
        let told = told.map(|bad| bad.told);
        self.stamps = stamps.filter(|_| told.is_some());
        self.bad = Some(Bad {
            hash,
            fault: fault.clone(),
            told: told.map_or(Told::NotYet, |_| Told::Yes),
        });
        match told {
            Some(Told::NotYet) => Glance::Trouble(fault),
            _ => Glance::Same,
        }
    }

    /// Takes note that `fault` was told already.
    pub(super) fn set_trouble(&mut self, fault: Fault) {
        self.stamps = None;
        self.bad = Some(Bad {
            hash: read(&self.paths).ok().map(|contents| hash(&contents)),
            fault,
            told: Told::Yes,
        });
    }

    /// Why what is in the files now is not in use.
    pub(super) fn trouble(&self) -> Option<&Fault> {
        let bad = self.bad.as_ref().filter(|bad| bad.told == Told::Yes)?;
        Some(&bad.fault)
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, Fault> {
    paths.iter().map(|path| pem::read(path)).collect()
}

fn hash(contents: &[Vec<u8>]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in contents {
        context.update(&part.len().to_le_bytes());
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

/// None: one of the files is gone, or so young that its stamp says nothing.
fn stamps(paths: &[PathBuf]) -> Option<Vec<Stamp>> {
    paths.iter().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    let age = SystemTime::now().duration_since(file.modified().ok()?);
    age.is_ok_and(|age| age > FRESH).then(|| Stamp {
        device: file.dev(),
        inode: file.ino(),
        size: file.size(),
        modified: (file.mtime(), file.mtime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(contents: &[Vec<u8>]) -> Result<String, Fault> {
        let texts: Vec<String> = contents
            .iter()
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect();
        match texts.iter().any(|text| text == "bad") {
            true => Err(Fault::general("it is bad")),
            false => Ok(texts.join("+")),
        }
    }

    fn new(glance: Glance<String>) -> String {
        match glance {
            Glance::New(text) => text,
            other => panic!("{other:?}"),
        }
    }

    fn is_same(glance: &Glance<String>) -> bool {
        matches!(glance, Glance::Same)
    }

    fn age(path: &Path) {
        let old = SystemTime::now() - Duration::from_secs(60);
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(old)
            .unwrap();
    }

    #[test]
    fn what_is_bad_is_told_once_and_kept_out() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&a, "1").unwrap();
        fs::write(&b, "2").unwrap();
        let (mut watch, first) = Watch::open(vec![a.clone(), b.clone()], parse).unwrap();
        assert_eq!(first, "1+2");
        assert!(is_same(&watch.look(parse)));
        fs::write(&a, "bad").unwrap();
        assert!(is_same(&watch.look(parse)), "somebody may be writing");
        assert!(watch.trouble().is_none());
        assert!(matches!(watch.look(parse), Glance::Trouble(fault) if fault.what() == "it is bad"));
        assert!(is_same(&watch.look(parse)) && is_same(&watch.look(parse)));
        assert_eq!(watch.trouble().unwrap().what(), "it is bad");
        fs::write(&b, "bad").unwrap();
        watch.look(parse);
        assert!(
            matches!(watch.look(parse), Glance::Trouble(_)),
            "another change is told again"
        );
        fs::write(&a, "3").unwrap();
        fs::write(&b, "4").unwrap();
        assert_eq!(new(watch.look(parse)), "3+4");
        assert!(watch.trouble().is_none());
    }

    #[test]
    fn a_file_that_has_gone_is_missed_once_and_may_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let a = folder.path().join("a");
        assert!(Watch::open(vec![a.clone()], parse).is_err());
        fs::write(&a, "1").unwrap();
        let (mut watch, _) = Watch::open(vec![a.clone()], parse).unwrap();
        fs::remove_file(&a).unwrap();
        assert!(is_same(&watch.look(parse)));
        assert!(
            matches!(watch.look(parse), Glance::Trouble(fault) if fault.what() == "there is no such file")
        );
        assert!(is_same(&watch.look(parse)));
        fs::write(&a, "1").unwrap();
        assert!(is_same(&watch.look(parse)));
        assert!(watch.trouble().is_none(), "it is what is in use");
    }

    #[test]
    fn an_old_file_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let a = folder.path().join("a");
        fs::write(&a, "1").unwrap();
        age(&a);
        let (mut watch, _) = Watch::open(vec![a.clone()], parse).unwrap();
        let must_not = |_: &[Vec<u8>]| -> Result<String, Fault> { panic!("it is not to be read") };
        assert!(is_same(&watch.look(must_not)));
        fs::write(&a, "22").unwrap();
        age(&a);
        assert_eq!(new(watch.look(parse)), "22");
        assert!(is_same(&watch.look(must_not)));
        fs::write(&a, "bad").unwrap();
        age(&a);
        assert!(is_same(&watch.look(parse)));
        assert!(matches!(watch.look(parse), Glance::Trouble(_)));
        assert!(is_same(&watch.look(must_not)), "nor is one that is bad");
    }

    /// As certbot and Kubernetes do it: the path stays, and leads elsewhere.
    #[test]
    fn a_link_that_leads_elsewhere_is_a_change() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (place, text) in [("one", "1"), ("two", "2")] {
            fs::create_dir(at(place)).unwrap();
            fs::write(at(place).join("a"), text).unwrap();
            age(&at(place).join("a"));
        }
        symlink("one", at("data")).unwrap();
        symlink("data/a", at("a")).unwrap();
        let (mut watch, first) = Watch::open(vec![at("a")], parse).unwrap();
        assert_eq!(first, "1");
        assert!(is_same(&watch.look(parse)));
        symlink("two", at("other")).unwrap();
        fs::rename(at("other"), at("data")).unwrap();
        assert_eq!(new(watch.look(parse)), "2");
    }
}
