//! Programs of other people, as peers: found or skipped, started with their output in a file, ended when dropped.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::patience;

/// A program, and the Debian package it comes in.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    name: &'static str,
    package: &'static str,
}

/// The client that everybody has.
pub const CURL: Program = Program::new("curl", "curl");
/// The origin that most people have.
pub const NGINX: Program = Program::new("nginx", "nginx-light");
/// For origins that speak HTTP/1.0.
pub const PYTHON: Program = Program::new("python3", "python3");

/// Ends the test here when one of these programs is missing; where `CI` is `true`, fails it.
macro_rules! skip_without {
    ($($program:expr),+ $(,)?) => {
        if !$crate::support::program::installed(&[$($program),+]) {
            return;
        }
    };
}
pub(crate) use skip_without;

/// Whether all of these are there; panics when they must be.
#[track_caller]
pub fn installed(programs: &[Program]) -> bool {
    let in_ci = env::var("CI").is_ok_and(|value| value == "true");
    programs.iter().all(|program| program.is_installed(in_ci))
}

impl Program {
    /// By the name of the executable and of the package.
    pub const fn new(name: &'static str, package: &'static str) -> Program {
        Program { name, package }
    }

    /// Says on stderr when it is missing, or panics when that must not be.
    #[track_caller]
    pub fn is_installed(&self, is_required: bool) -> bool {
        let Program { name, package } = self;
        let is_there = self.path().is_some();
        assert!(
            is_there || !is_required,
            "{name} is not installed: it is in the Debian package {package}"
        );
        if !is_there {
            // Not `eprintln!`: that is captured, and a skipped test passes.
            let _ = writeln!(io::stderr(), "skipped: {name} is not installed");
        }
        is_there
    }

    /// A command line in the making.
    #[track_caller]
    pub fn command(&self) -> Command {
        Command::new(self.path().expect("the test began with skip_without!"))
    }

    /// Where it is.
    pub fn path(&self) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        // Debian puts servers there, and does not put that on the PATH of ordinary users.
        let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        folders
            .map(|folder| folder.join(self.name))
            .find(|file| file.is_file())
    }
}

/// A program that runs. Dropping it ends it, gently first so that it can end its own children.
pub struct Running {
    child: Child,
    output: PathBuf,
}

impl Running {
    /// Starts it in this directory, where `output` takes what it writes.
    #[track_caller]
    pub fn start(command: &mut Command, directory: &Path) -> Running {
        let output = directory.join("output");
        let file = File::create(&output).unwrap();
        let child = command
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Running { child, output }
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Whether it is still there.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal.
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) {
        assert!(self.is_alive(), "it has ended: {}", self.output());
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it with SIGTERM and waits for that.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        assert!(self.ends(), "still there after SIGTERM: {}", self.output());
    }

    /// Ends it with SIGKILL; its children, if any, stay.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn ends(&mut self) -> bool {
        let deadline = Instant::now() + patience();
        while self.is_alive() && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        !self.is_alive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            if !self.ends() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
        if std::thread::panicking() {
            eprintln!("it wrote: {}", self.output());
        }
    }
}
