//! Names that only one process knows: a mount namespace with an `/etc/hosts` of its own. Needs root.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use super::program::Program;

const UNSHARE: Program = Program::new("unshare", "util-linux");

/// Mounts what is in the directory `$0` over the system's files, then becomes the program.
const SCRIPT: &str = "for name in hosts nsswitch.conf resolv.conf; do \
    [ ! -e /etc/$name ] || mount --bind \"$0/$name\" /etc/$name || exit 1; done; exec \"$@\"";

/// Ends the test here where the user may not do this; root may.
pub fn available() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        // Not `eprintln!`: that is captured, and a skipped test passes.
        let _ = writeln!(io::stderr(), "skipped: names of one's own take root");
    }
    is_root
}

pub(super) fn prepare(directory: &Path, hosts: &str) {
    fs::write(directory.join("hosts"), hosts).unwrap();
    // Nobody else is asked: a name that is not in the file does not resolve.
    fs::write(directory.join("nsswitch.conf"), "hosts: files\n").unwrap();
    fs::write(directory.join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
}

/// In place: what is mounted is the file, not its name.
pub(super) fn change(directory: &Path, hosts: &str) {
    fs::write(directory.join("hosts"), hosts).unwrap();
}

pub(super) fn command(directory: &Path, program: &str) -> Command {
    let mut command = UNSHARE.command();
    command.args(["--mount", "/bin/sh", "-c", SCRIPT]);
    command.arg(directory).arg(program);
    command
}
