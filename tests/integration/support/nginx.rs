//! nginx as an origin, with everything it writes in a directory of its own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use rustix::process::{Signal, geteuid};
use socket2::Socket;
use tempfile::TempDir;

use super::backend::reserve;
use super::eventually;
use super::program::{NGINX, Running};

/// A running nginx with one server. Dropping it ends it.
pub struct Nginx {
    running: Running,
    directory: TempDir,
    address: SocketAddr,
    processes: Processes,
    /// Bound but never listening: nginx can listen on the port, and nobody else gets it while nginx is down.
    _reserve: Socket,
}

/// How nginx is made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Processes {
    MasterAndWorkers,
    Single,
}

/// One line of its access log.
#[derive(Debug, Clone, Copy)]
pub struct Logged {
    /// Number of the connection.
    pub connection: u64,
    /// Requests on it so far, this one included.
    pub nth: u64,
}

impl Nginx {
    /// A master and two workers; `server` goes into the server block.
    #[track_caller]
    pub fn start(server: &str) -> Nginx {
        Nginx::launch(server, Processes::MasterAndWorkers)
    }

    /// One process, so that a kill leaves nobody behind.
    #[track_caller]
    pub fn single(server: &str) -> Nginx {
        Nginx::launch(server, Processes::Single)
    }

    #[track_caller]
    fn launch(server: &str, processes: Processes) -> Nginx {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("www")).unwrap();
        let (reserve, address) = reserve();
        configure(&directory, address, processes, server);
        let mut nginx = Nginx {
            running: run(&directory),
            directory,
            address,
            processes,
            _reserve: reserve,
        };
        nginx.wait();
        nginx
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL on it, around the proxy.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where a file of its document root is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("www").join(name)
    }

    /// Puts a file into its document root.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Nginx {
        fs::write(self.path(name), content).unwrap();
        self
    }

    /// Its access log so far.
    pub fn log(&self) -> Vec<Logged> {
        let log = fs::read_to_string(self.directory.path().join("access.log")).unwrap();
        let line = |line: &str| {
            let (connection, nth) = line.split_once(' ')?;
            Some(Logged {
                connection: connection.parse().ok()?,
                nth: nth.parse().ok()?,
            })
        };
        log.lines().filter_map(line).collect()
    }

    /// Goes on with this server block, as after `nginx -s reload`. Old workers finish what they have.
    #[track_caller]
    pub fn reload(&mut self, server: &str) {
        configure(&self.directory, self.address, self.processes, server);
        self.running.signal(Signal::HUP);
    }

    /// Ends it with SIGTERM: it closes every connection.
    #[track_caller]
    pub fn stop(&mut self) {
        self.running.stop();
    }

    /// Ends it with SIGKILL: connections break off wherever they are.
    #[track_caller]
    pub fn kill(&mut self) {
        assert_eq!(self.processes, Processes::Single, "workers would live on");
        self.running.kill();
    }

    /// Starts it again on the same port.
    #[track_caller]
    pub fn restart(&mut self) {
        self.running = run(&self.directory);
        self.wait();
    }

    #[track_caller]
    fn wait(&mut self) {
        eventually("nginx listens", || {
            let alive = self.running.is_alive();
            assert!(alive, "nginx has ended: {}", self.running.output());
            TcpStream::connect(self.address).is_ok()
        });
    }
}

#[track_caller]
fn run(directory: &TempDir) -> Running {
    let mut command = NGINX.command();
    let prefix = directory.path();
    // Without -e it would also write to the log file it was built with.
    command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]);
    Running::start(command.arg(prefix), prefix)
}

/// Paths are relative to the prefix, its own directory.
fn configure(directory: &TempDir, address: SocketAddr, processes: Processes, server: &str) {
    let user = match geteuid().is_root() {
        true => "user root root;",
        false => "",
    };
    let master = match processes {
        Processes::MasterAndWorkers => "on",
        Processes::Single => "off",
    };
    let text = format!(
        "{user}
daemon off;
master_process {master};
worker_processes 2;
pid nginx.pid;
lock_file nginx.lock;
error_log stderr notice;
events {{ worker_connections 256; }}
http {{
    log_format connections '$connection $connection_requests';
    access_log access.log connections;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    types {{ text/plain txt; }}
    server {{
        listen {address};
        root www;
        {server}
    }}
}}
"
    );
    fs::write(directory.path().join("nginx.conf"), text).unwrap();
}
