//! What opens sockets and passes them to one process after the other.

use std::net::{SocketAddr, TcpListener};

use super::Process;
use super::proxy::Setup;

/// What a supervisor has: the sockets.
pub struct Supervisor {
    traffic: TcpListener,
    admin: TcpListener,
}

impl Supervisor {
    /// With sockets on ports that the system picks.
    pub fn new() -> Supervisor {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        Supervisor {
            traffic: listen(),
            admin: listen(),
        }
    }

    /// Where clients connect.
    pub fn traffic(&self) -> SocketAddr {
        self.traffic.local_addr().unwrap()
    }

    /// Starts a process with both sockets, and waits until it listens.
    #[track_caller]
    pub fn start(&self, setup: &Setup) -> Process {
        let admin = self.admin.local_addr().unwrap();
        let text = setup
            .clone()
            .listen(&format!("\"{}\"", self.traffic()))
            .text()
            .replace(
                "[admin]\nlisten = \"127.0.0.1:0\"",
                &format!("[admin]\nlisten = \"{admin}\""),
            );
        let process = Process::config(&text)
            .passing(self.traffic.try_clone().unwrap())
            .passing(self.admin.try_clone().unwrap())
            .start();
        assert_eq!(process.traffic(), self.traffic());
        assert_eq!(process.admin(), admin);
        process
    }
}
