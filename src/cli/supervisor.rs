//! What the program tells the supervisor that started it: ready, stopping, and in a few words what it does (sd_notify(3)).
//!
//! Without one, nothing is told. Telling never fails the program: what cannot be told is logged.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

use super::notice::say;

/// How long a supervisor may take to take a message.
const PATIENCE: Duration = Duration::from_secs(1);

/// The way to the supervisor.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    address: Option<SocketAddr>,
    /// Whether it knows that the drain has begun. A reload may end later; that must not be taken for a new begin.
    is_stopping: Mutex<bool>,
}

impl Supervisor {
    /// The one at `address`, which is the value of `$NOTIFY_SOCKET`: a path, or `@` and an abstract name. None without it.
    pub(super) fn at(address: Option<&str>) -> Supervisor {
        let parsed = address.filter(|address| !address.is_empty()).map(parse);
        let address = parsed.and_then(|parsed| {
            let tell = |error: &io::Error| {
                say(&format!("tollgate: NOTIFY_SOCKET cannot be used: {error}"));
            };
            parsed.inspect_err(tell).ok()
        });
        Supervisor {
            address,
            is_stopping: Mutex::default(),
        }
    }

    /// Everything listens.
    pub(super) fn ready(&self) {
        self.tell_unless_stopping("READY=1\nSTATUS=serving");
    }

    /// A reload has begun; [`Supervisor::ready`] ends it.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell_unless_stopping(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The drain has begun.
    pub(super) fn stopping(&self) {
        let mut is_stopping = self.is_stopping.lock();
        *is_stopping = true;
        self.tell("STOPPING=1\nSTATUS=draining");
    }

    /// How many requests the drain still waits for.
    pub(super) fn draining(&self, left: usize) {
        self.tell(&format!("STATUS=draining: {left} in flight"));
    }

    fn tell_unless_stopping(&self, message: &str) {
        let is_stopping = self.is_stopping.lock();
        if !*is_stopping {
            self.tell(message);
        }
    }

    fn tell(&self, message: &str) {
        if let Some(address) = &self.address
            && let Err(error) = send(address, message)
        {
            log::warn!("the supervisor cannot be told {message:?}: {error}");
        }
    }
}

fn parse(text: &str) -> io::Result<SocketAddr> {
    match text.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None if text.starts_with('/') => SocketAddr::from_pathname(text),
        None => Err(io::Error::other(format!(
            "{text:?} is neither an absolute path nor an abstract name (@…)"
        ))),
    }
}

fn send(address: &SocketAddr, message: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send_to_addr(message.as_bytes(), address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 256];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    #[test]
    fn it_is_told_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Supervisor::at(path.to_str()).ready();
        assert_eq!(received(&socket), "READY=1\nSTATUS=serving");

        let name = format!("tollgate-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let supervisor = Supervisor::at(Some(&format!("@{name}")));
        supervisor.reloading();
        assert!(received(&socket).starts_with("RELOADING=1\nMONOTONIC_USEC="));
        supervisor.draining(3);
        assert_eq!(received(&socket), "STATUS=draining: 3 in flight");
        supervisor.stopping();
        assert_eq!(received(&socket), "STOPPING=1\nSTATUS=draining");
        // The end of a reload that nobody waits for any more.
        supervisor.ready();
        supervisor.draining(2);
        assert_eq!(received(&socket), "STATUS=draining: 2 in flight");
    }

    #[test]
    fn nobody_there_is_no_fault() {
        for address in [None, Some(""), Some("relative"), Some("/no/such/socket")] {
            Supervisor::at(address).ready();
        }
    }
}
