//! Where a backend is over TCP: the addresses that are known, for a name that somebody else looks up.
//!
//! Nothing is looked up here: who makes connections must not wait for a resolver (see [`crate::discovery`]).

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::Sender;
use parking_lot::RwLock;

use crate::config::model::Resolve;

/// A name or an address with a port, and the addresses that are known for it.
#[derive(Debug)]
pub(super) struct Name {
    /// None: it is an address, or a backend that only stands for others.
    host: Option<String>,
    /// Whether `addresses` may change.
    is_movable: bool,
    port: u16,
    /// In the order to be tried.
    addresses: RwLock<Arc<[SocketAddr]>>,
    /// A connection failed since the last lookup began.
    is_doubted: AtomicBool,
    /// Wakes who looks it up.
    bell: OnceLock<Sender<()>>,
}

/// What a lookup changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// The first addresses.
    Found,
    /// Some came or went.
    Some,
    /// All are others now.
    Moved,
}

impl Name {
    pub(super) fn new(host: &str, port: u16, resolve: &Resolve) -> Name {
        let fixed = match resolve {
            Resolve::At { address, .. } => Some(*address),
            Resolve::One | Resolve::All => host.parse().ok(),
        };
        let is_looked_up = host.parse::<IpAddr>().is_err() && *resolve != Resolve::All;
        let addresses = fixed.map(|address| SocketAddr::new(address, port));
        Name {
            host: is_looked_up.then(|| host.to_owned()),
            is_movable: fixed.is_none() && is_looked_up,
            port,
            addresses: RwLock::new(addresses.into_iter().collect()),
            is_doubted: AtomicBool::new(false),
            bell: OnceLock::new(),
        }
    }

    pub(super) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// In the order to be tried; empty: none is known.
    pub(super) fn addresses(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.addresses.read())
    }

    /// Takes in what a lookup found, unless this is at an address of its own.
    pub(super) fn set(&self, found: &[IpAddr]) -> Change {
        if !self.is_movable || found.is_empty() {
            return Change::Nothing;
        }
        let found = found.iter().map(|ip| SocketAddr::new(*ip, self.port));
        let found: Arc<[SocketAddr]> = found.collect();
        let before = std::mem::replace(&mut *self.addresses.write(), Arc::clone(&found));
        let kept = before.iter().filter(|one| found.contains(one)).count();
        match (before.len(), kept) {
            (0, _) => Change::Found,
            // The same in another order.
            (all, kept) if kept == all && kept == found.len() => Change::Nothing,
            (_, 0) => Change::Moved,
            _ => Change::Some,
        }
    }

    /// A connection failed: perhaps the addresses are old.
    pub(super) fn doubt(&self) {
        if self.host.is_some()
            && !self.is_doubted.swap(true, Ordering::Relaxed)
            && let Some(bell) = self.bell.get()
        {
            // When it is full, it has been rung.
            let _ = bell.try_send(());
        }
    }

    pub(super) fn take_doubt(&self) -> bool {
        self.is_doubted.load(Ordering::Relaxed) && self.is_doubted.swap(false, Ordering::Relaxed)
    }

    pub(super) fn set_bell(&self, bell: &Sender<()>) {
        // Whoever came first looks after it.
        let _ = self.bell.set(bell.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_a_lookup_changes() {
        let name = Name::new("app.test", 80, &Resolve::One);
        assert!(name.addresses().is_empty());
        for (found, change) in [
            (&[] as &[&str], Change::Nothing),
            (&["10.0.0.1", "10.0.0.2"], Change::Found),
            (&["10.0.0.2", "10.0.0.1"], Change::Nothing),
            (&["10.0.0.2"], Change::Some),
            (&["10.0.0.2", "::1"], Change::Some),
            (&[], Change::Nothing),
            (&["10.0.0.3"], Change::Moved),
        ] {
            assert_eq!(name.set(&ips(found)), change, "{found:?}");
        }
        assert_eq!(*name.addresses(), ["10.0.0.3:80".parse().unwrap()]);
    }

    #[test]
    fn an_address_is_no_name() {
        let literal = Name::new("::1", 80, &Resolve::One);
        assert_eq!(literal.host(), None);
        assert_eq!(*literal.addresses(), ["[::1]:80".parse().unwrap()]);
        assert_eq!(literal.set(&ips(&["10.0.0.1"])), Change::Nothing);
        // One address of a name: where it is does not change, but the name may be looked up early.
        let template = "app".to_owned();
        let address = "10.0.0.1".parse().unwrap();
        let one = Name::new("app", 80, &Resolve::At { template, address });
        assert_eq!(one.host(), Some("app"));
        assert_eq!(one.set(&ips(&["10.0.0.2"])), Change::Nothing);
        assert_eq!(*one.addresses(), ["10.0.0.1:80".parse().unwrap()]);
        let all = Name::new("app", 80, &Resolve::All);
        assert_eq!(all.set(&ips(&["10.0.0.2"])), Change::Nothing);
        assert!(all.addresses().is_empty());
    }

    #[test]
    fn a_doubt_rings_once() {
        let (bell, rings) = crossbeam_channel::bounded(1);
        let name = Name::new("app.test", 80, &Resolve::One);
        name.doubt();
        assert!(name.take_doubt() && !name.take_doubt());
        name.set_bell(&bell);
        name.doubt();
        name.doubt();
        assert_eq!(rings.try_iter().count(), 1);
        assert!(name.take_doubt());
        let literal = Name::new("127.0.0.1", 80, &Resolve::One);
        literal.set_bell(&bell);
        literal.doubt();
        assert!(!literal.take_doubt() && rings.is_empty());
    }
}
