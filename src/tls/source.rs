//! Where the server's certificates and the authorities of clients come from, with what was read there last.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;

use super::pair::Pair;
use super::self_signed::{self, SelfSigned};
use super::watch::{Glance, Watch};
use super::{Fault, assemble};
use crate::config::model::CertificateFiles;

/// One certificate with its key.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// None: it was made here.
    pub(super) files: Option<(CertificateFiles, Watch)>,
    pub(super) pair: Arc<Pair>,
}

/// The authorities that sign the certificates of clients.
#[derive(Debug, Clone)]
pub(super) struct Authorities {
    pub(super) path: PathBuf,
    pub(super) watch: Watch,
    pub(super) roots: Arc<RootCertStore>,
}

impl Source {
    /// Reads both files. Where they cannot be used, but what was `known` of the same files can, that stays in use.
    pub(super) fn open(files: &CertificateFiles, known: &[Source]) -> Result<Source, Fault> {
        let paths = vec![files.cert.clone(), files.key.clone()];
        match Watch::open(paths, |contents| parse(files, contents)) {
            Ok((watch, pair)) => Ok(Source {
                files: Some((files.clone(), watch)),
                pair: Arc::new(pair),
            }),
            Err(fault) => {
                let mut known = known.iter();
                let same = |one: &&Source| one.files.as_ref().is_some_and(|(of, _)| of == files);
                let mut kept = known.find(same).cloned().ok_or_else(|| fault.clone())?;
                log::warn!("{fault}; the certificate before it stays in use");
                if let Some((_, watch)) = &mut kept.files {
                    watch.set_trouble(fault);
                }
                Ok(kept)
            }
        }
    }

    /// Makes one for `names` and the name of this machine.
    pub(super) fn make(names: &[String]) -> Result<Source, Fault> {
        let mut names = names.to_vec();
        let machine = self_signed::machine().filter(|machine| !names.contains(machine));
        names.extend(machine);
        let made = SelfSigned::new(&names, self_signed::VALID_DAYS)?;
        let here = Path::new("self-signed");
        let pair = Pair::new(vec![made.certificate()], made.private_key(), here, here)?;
        Ok(Source {
            files: None,
            pair: Arc::new(pair),
        })
    }

    /// Looks at the files. Whether the pair is another one now; what is wrong with new files is logged.
    pub(super) fn look(&mut self) -> bool {
        let Some((files, watch)) = &mut self.files else {
            return false;
        };
        match watch.look(|contents| parse(files, contents)) {
            Glance::Same => false,
            Glance::Trouble(fault) => {
                log::warn!("{fault}; the certificate before it stays in use");
                false
            }
            Glance::New(pair) => {
                self.pair = Arc::new(pair);
                true
            }
        }
    }

    /// What people call it.
    pub(super) fn name(&self) -> String {
        match &self.files {
            Some((files, _)) => format!("certificate {}", files.cert.display()),
            None => "the self-signed certificate".to_owned(),
        }
    }

    pub(super) fn trouble(&self) -> Option<&Fault> {
        self.files.as_ref()?.1.trouble()
    }
}

fn parse(files: &CertificateFiles, contents: &[Vec<u8>]) -> Result<Pair, Fault> {
    let [cert, key] = contents else {
        return Err(Fault::general("a certificate is read from two files"));
    };
    Pair::parse((&files.cert, cert), (&files.key, key))
}

impl Authorities {
    /// Reads the file. Where it cannot be used, but what was `known` of the same file can, that stays in use.
    pub(super) fn open(path: &Path, known: Option<&Authorities>) -> Result<Authorities, Fault> {
        match Watch::open(vec![path.to_owned()], |contents| {
            parse_roots(path, contents)
        }) {
            Ok((watch, roots)) => Ok(Authorities {
                path: path.to_owned(),
                watch,
                roots,
            }),
            Err(fault) => {
                let known = known.filter(|known| known.path == path);
                let mut kept = known.cloned().ok_or_else(|| fault.clone())?;
                log::warn!("{fault}; the authorities before stay in use");
                kept.watch.set_trouble(fault);
                Ok(kept)
            }
        }
    }

    /// Looks at the file. Whether they are others now.
    pub(super) fn look(&mut self) -> bool {
        let path = &self.path;
        match self.watch.look(|contents| parse_roots(path, contents)) {
            Glance::Same => false,
            Glance::Trouble(fault) => {
                log::warn!("{fault}; the authorities before stay in use");
                false
            }
            Glance::New(roots) => {
                log::info!("{}: {} authorities of clients", path.display(), roots.len());
                self.roots = roots;
                true
            }
        }
    }

    /// Whether both stand for the same authorities.
    pub(super) fn are(&self, other: &Authorities) -> bool {
        self.roots.roots == other.roots.roots
    }
}

fn parse_roots(path: &Path, contents: &[Vec<u8>]) -> Result<Arc<RootCertStore>, Fault> {
    let bytes = contents.first().map_or(&[][..], Vec::as_slice);
    assemble::roots(path, bytes)
}
