//! How many clients are connected, in all and from each address. A connection has a seat until it is gone.
//!
//! It only counts; what happens when there is no seat is for [`super::acceptor`] to say.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::message::network::network_of;

/// The counters of one engine, over all its threads.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    most_per_client: usize,
    taken: AtomicUsize,
    by_client: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's seat; free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    /// Also counted under this key.
    client: Option<IpAddr>,
}

impl Seats {
    pub(super) fn new(most: usize, most_per_client: usize) -> Arc<Seats> {
        Arc::new(Seats {
            most,
            most_per_client,
            taken: AtomicUsize::new(0),
            by_client: Mutex::default(),
        })
    }

    /// Takes a seat, even one too many: whoever gets that has to be told so, which takes a connection too.
    pub(super) fn take(self: &Arc<Seats>) -> Seat {
        self.taken.fetch_add(1, Ordering::Relaxed);
        Seat {
            seats: Arc::clone(self),
            client: None,
        }
    }

    /// Whether more are connected than allowed.
    pub(super) fn is_over(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.most
    }

    /// Whether far more are connected than allowed: too many to be told so.
    pub(super) fn is_flooded(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.all()
    }

    /// How many are ever connected, those included who are told that they are too many.
    pub(super) fn all(&self) -> usize {
        self.most + self.most / 4 + 16
    }

    #[cfg(test)]
    fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Seat {
    /// Counts the connection under its client's address. False: that client has too many; it is not counted then.
    pub(super) fn assign(&mut self, client: IpAddr) -> bool {
        let key = network_of(client);
        let mut by_client = self.seats.by_client.lock();
        let count = by_client.entry(key).or_default();
        if *count >= self.seats.most_per_client {
            return false;
        }
        *count += 1;
        drop(by_client);
        self.release();
        self.client = Some(key);
        true
    }

    fn release(&mut self) {
        let Some(key) = self.client.take() else {
            return;
        };
        if let Entry::Occupied(mut entry) = self.seats.by_client.lock().entry(key) {
            *entry.get_mut() = entry.get().saturating_sub(1);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.release();
        self.seats.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_and_given_back() {
        let seats = Seats::new(2, 1);
        let mut one = seats.take();
        let mut two = seats.take();
        assert!(!seats.is_over());
        assert!(one.assign("192.0.2.1".parse().unwrap()));
        assert!(!two.assign("::ffff:192.0.2.1".parse().unwrap()));
        assert!(two.assign("192.0.2.2".parse().unwrap()));
        let three = seats.take();
        assert!(seats.is_over());
        drop((one, three));
        assert!(!seats.is_over());
        assert!(seats.take().assign("192.0.2.1".parse().unwrap()));
        drop(two);
        assert_eq!(seats.taken(), 0);
        assert!(seats.by_client.lock().is_empty());
    }

    #[test]
    fn neighbours_in_ipv6_are_one_client() {
        let seats = Seats::new(9, 1);
        let (mut one, mut two, mut three) = (seats.take(), seats.take(), seats.take());
        assert!(one.assign("2001:db8::1".parse().unwrap()));
        assert!(!two.assign("2001:db8::ffff:1".parse().unwrap()));
        assert!(three.assign("2001:db8:0:1::1".parse().unwrap()));
    }
}
