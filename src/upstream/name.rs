//! A host name or address with a port, and the addresses that were found for it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long resolved addresses are used before the name is looked up again.
const ADDRESS_AGE: Duration = Duration::from_secs(10);

/// A name or an address, with the addresses that were found for it.
#[derive(Debug)]
pub(super) struct Name {
    host: String,
    port: u16,
    known: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
}

impl Name {
    pub(super) fn new(host: &str, port: u16) -> Name {
        Name {
            host: host.to_owned(),
            port,
            known: Mutex::new(None),
        }
    }

    /// The addresses of the name, looked up at most every 10 s. A lookup takes as long as the system's resolver lets it; when
    /// it fails, the addresses that were known before are used for another 10 s.
    ///
    /// # Errors
    /// The resolver's, when nothing was known before; also when the name has no address.
    pub(super) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let known = self.known.lock().clone();
        if let Some((at, addresses)) = &known
            && at.elapsed() < ADDRESS_AGE
        {
            return Ok(addresses.clone());
        }
        // Outside the lock: a slow resolver must not stop those who could use a fresh answer.
        let found = self.look_up().or_else(|error| match known {
            Some((_, addresses)) => {
                log::warn!("{} does not resolve: {error}", self.host);
                Ok(addresses)
            }
            None => Err(error),
        })?;
        *self.known.lock() = Some((Instant::now(), found.clone()));
        Ok(found)
    }

    fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        let addresses: Vec<SocketAddr> =
            (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        Ok(addresses)
    }
}
