//! The program itself, started as users start it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::client::{Client, Response, get};
use super::eventually::{eventually, eventually_some};
use super::{names, secure};

/// A running program. Dropping it kills it.
pub struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    directory: TempDir,
}

/// A command line in the making, with a directory of its own.
pub struct Start {
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    descriptors: Option<u32>,
    passed: Vec<OwnedFd>,
    has_own_names: bool,
    directory: TempDir,
}

impl Process {
    /// `tollgate` with these arguments, in an empty directory and an empty environment.
    pub fn with(arguments: &[&str]) -> Start {
        Start {
            arguments: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            variables: Vec::new(),
            descriptors: None,
            passed: Vec::new(),
            has_own_names: false,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// `tollgate run --config FILE` with this configuration. `DIR` in it becomes the process's own directory.
    pub fn config(text: &str) -> Start {
        let mut start = Process::with(&["run", "--config"]);
        let file = start.directory.path().join("tollgate.toml");
        let directory = start.directory.path().display().to_string();
        fs::write(&file, text.replace("DIR", &directory)).unwrap();
        start.arguments.push(file.display().to_string());
        start
    }

    /// Its working directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Changes what names it finds; see [`Start::hosts`].
    pub fn set_hosts(&self, text: &str) {
        names::change(self.directory.path(), text);
    }

    /// Everything it has written so far, to both outputs.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for a line that contains `text`.
    #[track_caller]
    pub fn line_with(&self, text: &str) -> String {
        let found = || self.lines().into_iter().find(|line| line.contains(text));
        eventually_some(
            &format!("no line with {text:?}: {:#?}", self.lines()),
            found,
        )
    }

    /// Waits until it says where clients connect.
    #[track_caller]
    pub fn traffic(&self) -> SocketAddr {
        let line = self.line_with("listening on http");
        let address = address_in(&line);
        if line.contains("https://") {
            secure::note(address);
        }
        address
    }

    /// Waits until it says where the admin listener is.
    #[track_caller]
    pub fn admin(&self) -> SocketAddr {
        address_in(&self.line_with("admin on http://"))
    }

    /// A new connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.traffic())
    }

    /// A GET on a connection of its own.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        get(self.traffic(), target)
    }

    /// Its threads.
    pub fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.child.id()))
            .unwrap()
            .count()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end and gives the exit code.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        eventually("the process ends", || {
            self.child.try_wait().unwrap().is_some()
        });
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        self.child.wait().unwrap().code().expect("an exit code")
    }

    /// Resident memory in bytes, now.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most resident memory it ever had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kilobytes = line.split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() << 10
    }

    /// The flags of a descriptor, as open(2) has them.
    pub fn descriptor_flags(&self, descriptor: u32) -> u32 {
        let path = format!("/proc/{}/fdinfo/{descriptor}", self.child.id());
        let info = fs::read_to_string(path).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("flags:"));
        u32::from_str_radix(line.unwrap().trim(), 8).unwrap()
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let lines = self.lines();
        let secure = lines.iter().filter(|line| line.contains(" on https://"));
        secure.for_each(|line| secure::forget(address_in(line)));
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("it wrote: {:#?}", self.lines());
        }
    }
}

impl Start {
    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &dyn ToString) -> Start {
        self.variables.push((name.to_owned(), value.to_string()));
        self
    }

    /// Writes a file into its working directory.
    pub fn file(self, name: &str, text: &str) -> Start {
        fs::write(self.directory.path().join(name), text).unwrap();
        self
    }

    /// The working directory it will have.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Limits the number of open file descriptors.
    pub fn descriptors(mut self, limit: u32) -> Start {
        self.descriptors = Some(limit);
        self
    }

    /// Passes a socket as a supervisor does: the first as descriptor 3, the second, which is the last, as 4.
    pub fn passing(mut self, socket: impl Into<OwnedFd>) -> Start {
        self.passed.push(socket.into());
        self
    }

    /// What has to be done in a shell before the program begins: only a process knows its own id, and std passes descriptors
    /// 0 to 2 only.
    fn script(&self) -> Option<String> {
        let limit = self.descriptors.map(|limit| format!("ulimit -n {limit}; "));
        let passed = match self.passed.len() {
            0 => None,
            1 => Some("exec 3<&0 </dev/null; "),
            2 => Some("exec 3<&0 4<&1 </dev/null >/dev/null; "),
            _ => panic!("two at most"),
        };
        let count = self.passed.len();
        let passed = passed.map(|script| {
            format!(
                "{script}export LISTEN_FDS=${{LISTEN_FDS-{count}}} LISTEN_PID=${{LISTEN_PID-$$}}; "
            )
        });
        (limit.is_some() || passed.is_some()).then(|| {
            let (limit, passed) = (limit.unwrap_or_default(), passed.unwrap_or_default());
            format!("{limit}{passed}exec \"$0\" \"$@\"")
        })
    }

    /// Gives it an `/etc/hosts` of its own, with nothing but this, and no other source of names. For tests that began with
    /// [`names::available`].
    pub fn hosts(mut self, text: &str) -> Start {
        names::prepare(self.directory.path(), text);
        self.has_own_names = true;
        self
    }

    /// Starts it.
    pub fn start(self) -> Process {
        let program = env!("CARGO_BIN_EXE_tollgate");
        let mut command = match self.script() {
            None if self.has_own_names => names::command(self.directory.path(), program),
            None => Command::new(program),
            Some(script) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &script, program]);
                shell
            }
        };
        let mut passed = self.passed.into_iter().map(Stdio::from);
        let mut child = command
            .args(&self.arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .envs(self.variables)
            .stdin(passed.next().unwrap_or_else(Stdio::null))
            .stdout(passed.next().unwrap_or_else(Stdio::piped))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::default();
        let mut readers = vec![collect(child.stderr.take().unwrap(), &lines)];
        // The second passed socket stands in its place.
        readers.extend(child.stdout.take().map(|stdout| collect(stdout, &lines)));
        Process {
            child,
            lines,
            readers,
            directory: self.directory,
        }
    }
}

fn collect(from: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            lines
                .lock()
                .unwrap()
                .push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}

/// The address in a line such as `tollgate: listening on http://127.0.0.1:8080`.
#[track_caller]
pub fn address_in(line: &str) -> SocketAddr {
    let (_, rest) = line.split_once("://").expect("a URL");
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
    let address = &rest[..end.unwrap_or(rest.len())];
    address
        .parse()
        .unwrap_or_else(|_| panic!("no address in {line:?}"))
}
