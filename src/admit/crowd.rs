//! How many requests may be under way: in all, and of one client. They count from the decision until what was taken is dropped.
//!
//! Nobody waits here: where there are too many, the next one is refused.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::config::model::Concurrency;
use crate::message::network::network_of;

/// Parts of the table of clients, with a lock each.
const PARTS: usize = 16;

/// The requests that are under way, of a route or of the server.
#[derive(Debug, Default)]
pub struct Crowd {
    settings: Concurrency,
    present: Arc<Present>,
}

/// Who is there. A client is in the table only as long as it has a request under way.
#[derive(Debug, Default)]
struct Present {
    all: AtomicUsize,
    refused: AtomicU64,
    by_client: [Mutex<HashMap<IpAddr, usize>>; PARTS],
}

/// One request that is under way; until dropped it counts.
#[derive(Debug)]
pub struct Presence {
    present: Arc<Present>,
    counts_in_all: bool,
    client: Option<IpAddr>,
}

/// What a request is counted among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Those of its client: nobody knows yet whether it may come at all.
    Client,
    /// Those of everybody, once that is known.
    All,
    /// Both at once.
    Both,
}

/// There are as many as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Of all clients together: so many.
    All(usize),
    /// Of this client: so many.
    Client(usize),
}

/// What a crowd counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Requests under way.
    pub all: usize,
    /// Clients that have some, where they are limited.
    pub clients: usize,
    /// Requests that were refused.
    pub refused: u64,
}

/// How many are under way, and how many may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    /// Requests of all clients.
    pub all: usize,
    /// Requests of the client.
    pub client: usize,
    /// The limits.
    pub most: Concurrency,
}

impl Crowd {
    /// Nobody is there yet.
    pub fn new(settings: Concurrency) -> Crowd {
        Crowd {
            settings,
            present: Arc::default(),
        }
    }

    /// Other limits for the same crowd. Those who came while there was no limit of a kind are not counted by it.
    pub fn successor(&self, settings: Concurrency) -> Crowd {
        Crowd {
            settings,
            present: Arc::clone(&self.present),
        }
    }

    /// Whether anything is limited.
    pub fn is_limited(&self) -> bool {
        self.settings != Concurrency::default()
    }

    /// Lets in one more request of `client`. None: nothing is limited, so nothing is counted.
    ///
    /// # Errors
    /// When there are too many already.
    pub fn enter(&self, client: IpAddr) -> Result<Option<Presence>, Full> {
        self.enter_for(Share::Both, client)
    }

    /// The same for a part of what is counted.
    ///
    /// # Errors
    /// As [`Crowd::enter`].
    pub fn enter_for(&self, share: Share, client: IpAddr) -> Result<Option<Presence>, Full> {
        if !self.is_limited() {
            return Ok(None);
        }
        let entered = self.try_enter(share, client);
        if entered.is_err() {
            self.present.refused.fetch_add(1, Ordering::Relaxed);
        }
        entered.map(Some)
    }

    fn try_enter(&self, share: Share, client: IpAddr) -> Result<Presence, Full> {
        // What has been taken by the time of a refusal is given back by its drop.
        let mut presence = Presence {
            present: Arc::clone(&self.present),
            counts_in_all: false,
            client: None,
        };
        if share != Share::Client {
            let order = Ordering::Relaxed;
            let most = self.settings.most.unwrap_or(usize::MAX);
            let more = |all: usize| (all < most).then_some(all + 1);
            if self.present.all.fetch_update(order, order, more).is_err() {
                return Err(Full::All(most));
            }
            presence.counts_in_all = true;
        }
        if share == Share::All {
            return Ok(presence);
        }
        if let Some(most) = self.settings.most_per_client {
            let client = network_of(client);
            let mut clients = self.present.part(client).lock();
            let count = clients.entry(client).or_default();
            if *count >= most {
                return Err(Full::Client(most));
            }
            *count += 1;
            presence.client = Some(client);
        }
        Ok(presence)
    }

    /// The limits.
    pub fn limits(&self) -> Concurrency {
        self.settings
    }

    /// What is counted.
    pub fn counts(&self) -> Counts {
        let parts = self.present.by_client.iter();
        Counts {
            all: self.present.all.load(Ordering::Relaxed),
            clients: parts.map(|part| part.lock().len()).sum(),
            refused: self.present.refused.load(Ordering::Relaxed),
        }
    }

    /// How many are there, without letting anybody in.
    pub fn occupancy(&self, client: IpAddr) -> Occupancy {
        let client = network_of(client);
        let of_client = self.present.part(client).lock().get(&client).copied();
        Occupancy {
            all: self.present.all.load(Ordering::Relaxed),
            client: of_client.unwrap_or_default(),
            most: self.settings,
        }
    }
}

impl Present {
    fn part(&self, client: IpAddr) -> &Mutex<HashMap<IpAddr, usize>> {
        // Whoever chooses addresses that meet in one part gains a wait for a lock that is held for nanoseconds.
        let number = match client {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        let [first, ..] = &self.by_client;
        let place = (number % PARTS as u64) as usize;
        self.by_client.get(place).unwrap_or(first)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if self.counts_in_all {
            self.present.all.fetch_sub(1, Ordering::Relaxed);
        }
        let Some(client) = self.client else {
            return;
        };
        if let Entry::Occupied(mut entry) = self.present.part(client).lock().entry(client) {
            *entry.get_mut() = entry.get().saturating_sub(1);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limited(most: Option<usize>, most_per_client: Option<usize>) -> Concurrency {
        Concurrency {
            most,
            most_per_client,
        }
    }

    fn entries(crowd: &Crowd) -> usize {
        crowd.counts().clients
    }

    #[test]
    fn places_are_taken_and_given_back() {
        let crowd = Crowd::new(limited(Some(3), Some(2)));
        let (one, two) = (ip("2001:db8::1"), ip("192.0.2.2"));
        let first = crowd.enter(one).unwrap();
        let neighbour = crowd.enter(ip("2001:db8::ffff")).unwrap();
        assert_eq!(crowd.enter(one).err(), Some(Full::Client(2)));
        let third = crowd.enter(two).unwrap();
        assert_eq!(crowd.enter(two).err(), Some(Full::All(3)));
        assert_eq!(
            crowd.counts(),
            Counts {
                all: 3,
                clients: 2,
                refused: 2
            }
        );
        // Who was refused by one of the limits counts for none.
        let occupancy = crowd.occupancy(two);
        assert_eq!((occupancy.all, occupancy.client), (3, 1));
        drop(first);
        let again = crowd.enter(two).unwrap();
        assert_eq!(crowd.occupancy(one).client, 1);
        drop((neighbour, third, again));
        assert_eq!((crowd.occupancy(two).all, entries(&crowd)), (0, 0));
    }

    #[test]
    fn who_is_not_known_yet_counts_for_its_client_only() {
        let crowd = Crowd::new(limited(Some(1), Some(2)));
        let one = ip("192.0.2.1");
        let strangers = [(); 2].map(|()| crowd.enter_for(Share::Client, one).unwrap());
        let full = crowd.enter_for(Share::Client, one);
        assert_eq!(full.err(), Some(Full::Client(2)));
        let known = crowd.enter_for(Share::All, one).unwrap();
        let full = crowd.enter_for(Share::All, ip("192.0.2.2"));
        assert_eq!(full.err(), Some(Full::All(1)));
        let occupancy = crowd.occupancy(one);
        assert_eq!((occupancy.all, occupancy.client), (1, 2));
        drop((strangers, known));
        assert_eq!((crowd.occupancy(one).all, entries(&crowd)), (0, 0));
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let crowd = Crowd::default();
        assert!(crowd.enter(ip("192.0.2.1")).unwrap().is_none());
        assert_eq!(entries(&crowd), 0);
    }

    #[test]
    fn a_successor_has_the_same_crowd() {
        let crowd = Crowd::new(limited(Some(2), None));
        let present = (crowd.enter(ip("192.0.2.1")), crowd.enter(ip("192.0.2.1")));
        let after = crowd.successor(limited(Some(1), Some(9)));
        assert_eq!(after.enter(ip("192.0.2.1")).err(), Some(Full::All(1)));
        drop(present);
        assert!(after.enter(ip("192.0.2.1")).is_ok());
        assert_eq!(entries(&after), 0);
    }

    #[test]
    fn threads_never_are_more_than_may_be() {
        let crowd = Crowd::new(limited(Some(5), Some(3)));
        std::thread::scope(|scope| {
            for thread in 0..8_u8 {
                let crowd = &crowd;
                scope.spawn(move || {
                    let client = IpAddr::from([192, 0, 2, thread % 4]);
                    for _ in 0..2000 {
                        let _presence = crowd.enter(client);
                        let occupancy = crowd.occupancy(client);
                        assert!(occupancy.all <= 5 && occupancy.client <= 3);
                    }
                });
            }
        });
        assert_eq!(
            (crowd.occupancy(ip("192.0.2.1")).all, entries(&crowd)),
            (0, 0)
        );
    }
}
