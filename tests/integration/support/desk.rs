//! A folder with certificates, and proxies and clients that have them.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::certificates::{Authority, When};
use super::openssl::{Said, s_client};
use super::proxy::Setup;
use super::{Backend, Engine, Proxy};

/// A folder with an authority and what it has signed.
pub struct Desk {
    folder: TempDir,
    /// Signs everything in it.
    pub authority: Authority,
}

impl Desk {
    /// With `ca.pem`, and with `a.pem` and `a.key` for localhost.
    pub fn new() -> Desk {
        let desk = Desk {
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::new("our authority"),
        };
        fs::write(desk.path().join("ca.pem"), desk.authority.pem()).unwrap();
        desk.sign("a", &["localhost", "127.0.0.1"], When::Now);
        desk
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The path of one of its files.
    pub fn file(&self, name: &str) -> String {
        self.path().join(name).display().to_string()
    }

    /// Signs, and writes `NAME.pem` and then `NAME.key`; the fingerprint.
    pub fn sign(&self, name: &str, hosts: &[&str], when: When) -> String {
        let leaf = self.authority.leaf(hosts, when);
        leaf.write(self.path(), name);
        leaf.fingerprint()
    }

    /// A proxy with these pairs, and with more lines for `[server.tls]`, each with a dotted key.
    pub fn proxy(&self, engine: Engine, backend: &Backend, pairs: &[&str], more: &str) -> Proxy {
        self.setup(engine, backend, pairs, more).start()
    }

    /// The same before it is started. `DIR` is the folder.
    pub fn setup(&self, engine: Engine, backend: &Backend, pairs: &[&str], more: &str) -> Setup {
        let pairs: Vec<String> = pairs
            .iter()
            .map(|name| {
                let (cert, key) = (
                    self.file(&format!("{name}.pem")),
                    self.file(&format!("{name}.key")),
                );
                format!("{{ cert = \"{cert}\", key = \"{key}\" }}")
            })
            .collect();
        let pairs = pairs.join(", ");
        let more = more.replace("DIR", &self.path().display().to_string());
        Proxy::to(engine, [backend])
            .listen("{ address = \"127.0.0.1:0\", tls = true }")
            .server(&format!("tls.certificates = [{pairs}]\n{more}"))
    }

    /// Asks as openssl, which trusts the authority and takes nothing that it cannot verify.
    pub fn ask(&self, proxy: &Proxy, arguments: &[&str]) -> Said {
        let ca = self.file("ca.pem");
        let first = ["-CAfile", &ca, "-verify_return_error"];
        s_client(proxy.traffic(), &[&first[..], arguments].concat())
    }

    /// The same with a client certificate.
    pub fn ask_as(&self, proxy: &Proxy, name: &str, version: &str) -> Said {
        let (cert, key) = (
            self.file(&format!("{name}.pem")),
            self.file(&format!("{name}.key")),
        );
        self.ask(proxy, &["-cert", &cert, "-key", &key, version])
    }
}
