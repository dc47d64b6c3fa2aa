//! `tollgate cert`: makes a self-signed certificate and its key, for development.
//!
//! Signs nothing else, and asks no authority: certificates for the public come from one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::tls::{SelfSigned, fingerprint};

use super::Exit;
use super::notice::{print, say};

/// What the files are called.
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";

#[derive(Debug, Args)]
pub(super) struct Cert {
    /// Host name or address that it is for; repeat it for more [default: localhost, 127.0.0.1 and ::1]
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Folder for cert.pem and key.pem; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How long it is valid
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Replace what is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(cert: &Cert) -> Exit {
    let hosts = match cert.host.is_empty() {
        true => ["localhost", "127.0.0.1", "::1"]
            .map(str::to_owned)
            .to_vec(),
        false => cert.host.clone(),
    };
    let made = match SelfSigned::new(&hosts, cert.days) {
        Ok(made) => made,
        Err(fault) => {
            say(&format!("tollgate: {fault}"));
            return Exit::Usage;
        }
    };
    match write(cert, &made) {
        Ok(folder) => {
            print(&summary(&folder, &hosts, cert.days, &made));
            Exit::Clean
        }
        Err(text) => {
            say(&format!("tollgate: {text}"));
            Exit::Failure
        }
    }
}

/// Where they are now.
fn write(cert: &Cert, made: &SelfSigned) -> Result<PathBuf, String> {
    let folder = &cert.out;
    let told = |path: &Path, error: &io::Error| format!("{}: {error}", path.display());
    if folder.exists() && !folder.is_dir() {
        let folder = folder.display();
        return Err(format!(
            "{folder} is not a folder: `--out` names the one for {CERTIFICATE} and {KEY}"
        ));
    }
    fs::create_dir_all(folder).map_err(|error| told(folder, &error))?;
    let folder = fs::canonicalize(folder).map_err(|error| told(folder, &error))?;
    let files = [
        (folder.join(KEY), made.key_pem(), 0o600),
        (folder.join(CERTIFICATE), made.certificate_pem(), 0o644),
    ];
    if !cert.force {
        // Both before any: half a pair helps nobody.
        for (path, ..) in &files {
            if path.symlink_metadata().is_ok() {
                let path = path.display();
                return Err(format!(
                    "{path} is there already; --force replaces both files"
                ));
            }
        }
    }
    for (path, text, mode) in &files {
        put(path, text, *mode, cert.force).map_err(|error| told(path, &error))?;
    }
    Ok(folder)
}

/// A file that only its owner may write, and that is never there in part: readers of the old one have it until the new one is
/// complete.
fn put(path: &Path, text: &str, mode: u32, replace: bool) -> io::Result<()> {
    if !replace {
        return fill(path, text, mode);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => (),
    }
    fill(&new, text, mode)?;
    fs::rename(&new, path)
}

/// Makes the file; what is there already, be it a link, is an error.
fn fill(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(mode);
    let mut file: File = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn summary(folder: &Path, hosts: &[String], days: u32, made: &SelfSigned) -> String {
    let path = |name: &str| toml_text(&folder.join(name));
    format!(
        "made {} and {KEY} (only for you to read)\n\
         \x20 for {}\n\
         \x20 valid for {days} days\n\
         \x20 SHA256 Fingerprint={}\n\
         \n\
         In the configuration:\n\
         \n\
         [server]\n\
         listen = {{ address = \"127.0.0.1:8443\", tls = true }}\n\
         [server.tls]\n\
         cert = {}\n\
         key = {}\n",
        folder.join(CERTIFICATE).display(),
        hosts.join(", "),
        fingerprint(&made.certificate()),
        path(CERTIFICATE),
        path(KEY),
    )
}

/// A path as TOML writes texts, with `$` doubled since one alone would begin a variable.
fn toml_text(path: &Path) -> String {
    let text = path.to_string_lossy().replace('$', "$$");
    serde_json::Value::String(text).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn cert(folder: &Path, force: bool) -> Cert {
        Cert {
            host: vec!["localhost".to_owned(), "::1".to_owned()],
            out: folder.join("a/b"),
            days: 3,
            force,
        }
    }

    fn read(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join("a/b").join(name)).unwrap()
    }

    #[test]
    fn nothing_is_overwritten_without_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert_eq!(run(&cert(folder, false)), Exit::Clean);
        let (first, key) = (read(folder, CERTIFICATE), read(folder, KEY));
        assert!(first.starts_with("-----BEGIN CERTIFICATE-----"), "{first}");
        let mode = |name: &str| {
            let file = fs::metadata(folder.join("a/b").join(name)).unwrap();
            file.permissions().mode() & 0o777
        };
        assert_eq!(mode(KEY), 0o600);
        assert_eq!(mode(CERTIFICATE) & 0o022, 0);
        assert_eq!(run(&cert(folder, false)), Exit::Failure);
        assert_eq!(
            (&read(folder, CERTIFICATE), &read(folder, KEY)),
            (&first, &key)
        );
        assert_eq!(run(&cert(folder, true)), Exit::Clean);
        assert!(read(folder, CERTIFICATE) != first && read(folder, KEY) != key);
        assert_eq!(mode(KEY), 0o600);
        assert_eq!(fs::read_dir(folder.join("a/b")).unwrap().count(), 2);
    }

    #[test]
    fn a_link_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir_all(folder.join("a/b")).unwrap();
        symlink(folder.join("elsewhere"), folder.join("a/b").join(KEY)).unwrap();
        assert_eq!(run(&cert(folder, false)), Exit::Failure);
        assert!(!folder.join("a/b").join(CERTIFICATE).exists());
        assert!(!folder.join("elsewhere").exists());
        assert_eq!(run(&cert(folder, true)), Exit::Clean);
        assert!(!folder.join("elsewhere").exists());
    }

    #[test]
    fn what_is_no_name_is_refused_and_paths_are_fit_for_toml() {
        let folder = tempfile::tempdir().unwrap();
        let mut asked = cert(folder.path(), false);
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        asked.out = file;
        let made = SelfSigned::new(&["a".to_owned()], 1).ok().unwrap();
        let told = write(&asked, &made).unwrap_err();
        assert!(told.contains("file is not a folder: `--out`"), "{told}");
        asked.host = vec!["b\u{fc}cher.example".to_owned()];
        assert_eq!(run(&asked), Exit::Usage);
        assert_eq!(toml_text(Path::new("/a$\"b\\c")), "\"/a$$\\\"b\\\\c\"");
    }
}
