//! Where a backend listens, and what becomes of it when its name gets other addresses.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;

use crate::config::model::{self, BackendAddress, Resolve};

use super::backend::Backend;
use super::breaker::Breaker;
use super::health::Health;
use super::name::{Change, Name};

/// Where it listens.
#[derive(Debug)]
pub(super) enum Place {
    Tcp(Name),
    Unix(PathBuf),
}

impl Place {
    /// Also the authority (`host:port`, as a `Host` field writes it) and the address for people.
    pub(super) fn new(settings: &model::Backend) -> (Place, String, String) {
        match &settings.at {
            BackendAddress::Tcp { host, port } | BackendAddress::Tls { host, port } => {
                let host_part = if host.contains(':') {
                    format!("[{host}]")
                } else {
                    host.clone()
                };
                let whole = format!("{host_part}:{port}");
                // A `Host` field without a port means the scheme's own (RFC 9110 section 4.2.2), and some servers know their
                // name only so.
                let authority = if settings.at.is_tls() && *port == 443 {
                    host_part
                } else {
                    whole.clone()
                };
                let address = match settings.resolve {
                    Resolve::At { address, .. } => SocketAddr::new(address, *port).to_string(),
                    Resolve::One | Resolve::All => whole,
                };
                let name = Name::new(host, *port, &settings.resolve);
                (Place::Tcp(name), authority, address)
            }
            unix @ BackendAddress::Unix(path) => {
                let address = unix.to_string();
                (Place::Unix(path.clone()), "localhost".into(), address)
            }
        }
    }

    /// Whether a connection can be made, as far as addresses go.
    pub(super) fn is_known(&self) -> bool {
        match self {
            Place::Tcp(name) => !name.addresses().is_empty(),
            Place::Unix(_) => true,
        }
    }

    fn name(&self) -> Option<&Name> {
        match self {
            Place::Tcp(name) => Some(name),
            Place::Unix(_) => None,
        }
    }
}

impl Backend {
    /// The host name that tells where it is; `None`: that is written in the configuration.
    pub fn host(&self) -> Option<&str> {
        self.place.name().and_then(Name::host)
    }

    /// Where connections go, in the order tried; empty for a Unix socket, and as long as its name does not resolve.
    pub fn addresses(&self) -> Arc<[SocketAddr]> {
        self.place.name().map_or_else(|| [].into(), Name::addresses)
    }

    /// Whether it is known where it is. Until then it gets nothing, no probes either.
    pub fn is_resolved(&self) -> bool {
        self.condition.lock().is_resolved
    }

    /// Its name was looked up and has these addresses; none change nothing. Connections to others are not used again. When
    /// all addresses are new, so is everything that was known about it: another server may be there.
    pub fn set_addresses(&self, found: &[IpAddr], now: Instant) {
        let Some(name) = self.place.name() else {
            return;
        };
        let change = name.set(found);
        if change == Change::Nothing {
            return;
        }
        self.idle.keep_only(name.addresses());
        let mut condition = self.condition.lock();
        condition.is_resolved = true;
        if change == Change::Moved {
            condition.health = Health::default();
            condition.breaker = Breaker::default();
            condition.has_moved = true;
            condition.epoch += 1;
            self.join(now);
        }
        self.publish(&condition);
    }

    /// Treats it as one whose name resolves, without a lookup: for those who only want to know what would be decided.
    pub fn assume_resolved(&self) {
        let mut condition = self.condition.lock();
        condition.is_resolved = true;
        self.publish(&condition);
    }

    /// Whether it moved to other addresses since this was last asked: what its probes found is void.
    pub fn take_move(&self) -> bool {
        std::mem::take(&mut self.condition.lock().has_moved)
    }

    /// Whether a connection to it failed since this was last asked, and its name should be looked up.
    pub fn take_doubt(&self) -> bool {
        self.place.name().is_some_and(Name::take_doubt)
    }

    /// Who is to be woken when its name should be looked up.
    pub fn set_bell(&self, bell: &Sender<()>) {
        if let Some(name) = self.place.name() {
            name.set_bell(bell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::backend::{Gate, Skip};
    use crate::upstream::breaker::{Reason, State};
    use crate::upstream::health::Status;

    fn named() -> Backend {
        let host = "app.test".into();
        let at = BackendAddress::Tcp { host, port: 80 };
        Backend::new(&model::Backend::new("b", at))
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_gets_nothing_until_it_resolves() {
        let backend = named();
        let now = Instant::now();
        assert_eq!(backend.skip(now), Some(Skip::Unresolved));
        assert_eq!(backend.gate(1), Gate::Closed);
        assert_eq!(backend.health().status, Status::Unresolved);
        backend.set_addresses(&[], now);
        assert!(!backend.is_resolved());
        backend.set_addresses(&ips(&["10.0.0.1"]), now);
        assert!(backend.skip(now).is_none() && backend.is_resolved());
        assert_eq!(backend.gate(1), Gate::Open);
        assert_eq!(backend.health().status, Status::NotChecked);
        assert!(!backend.take_move());
    }

    #[test]
    fn another_server_is_not_judged_by_the_last_one() {
        let upstream = crate::upstream::Upstream::adjusted(|_| ());
        let backend = named();
        let now = Instant::now();
        backend.set_addresses(&ips(&["10.0.0.1", "10.0.0.2"]), now);
        backend.set_health(Health {
            status: Status::Unreachable,
            ..Health::default()
        });
        backend.eject(&upstream.settings.ejection, Reason::Failures, now);
        backend.set_addresses(&ips(&["10.0.0.2", "10.0.0.3"]), now);
        assert_eq!(backend.skip(now), Some(Skip::Unreachable));
        backend.set_addresses(&ips(&["10.0.0.9"]), now);
        assert_eq!(backend.skip(now), None);
        assert_eq!(backend.breaker(), State::Passing);
        assert!(backend.take_move() && !backend.take_move());
    }

    #[test]
    fn one_of_all_addresses_keeps_the_name_as_its_authority() {
        let host = "app.test".into();
        let at = BackendAddress::Tcp { host, port: 80 };
        let template = model::Backend {
            resolve: Resolve::All,
            ..model::Backend::new("app", at)
        };
        let stand_in = Backend::new(&template);
        assert_eq!(stand_in.skip(Instant::now()), Some(Skip::Unresolved));
        let one = Backend::new(&template.at_address("::1".parse().unwrap()));
        assert_eq!(&*one.id, "app@::1");
        assert_eq!(one.authority, "app.test:80");
        assert_eq!(one.address, "[::1]:80");
        assert!(one.is_resolved() && one.skip(Instant::now()).is_none());
        assert!(!one.is(&template) && !stand_in.is(&template.at_address("::1".parse().unwrap())));
    }
}
