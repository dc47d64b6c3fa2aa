//! Who may come, and how requests have to be written: addresses, hosts, methods, rules about fields and parameters, spellings of
//! paths.
//!
//! What becomes of a request that may not come is decided elsewhere; nothing here knows requests.

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use ipnet::IpNet;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::condition::as_texts;
use super::{Conditions, HostMatch};

/// Who may come to the server as a whole.
#[derive(Debug, Serialize, Clone, Default)]
pub struct ServerAccess {
    /// Who may come by each entry of `listen`, in its order.
    #[serde(serialize_with = "by_address")]
    pub listeners: Vec<ListenerAccess>,
    /// Hosts that are served; none: all. Default none.
    pub hosts: Option<Arc<Hosts>>,
    /// Methods that get as far as a route, sorted; empty: all. Default empty.
    #[serde(serialize_with = "as_texts")]
    pub methods: Vec<Method>,
    /// How paths have to be spelt. Default [`Spelling::Normal`].
    pub paths: Spelling,
}

/// Who may come by one entry of `listen`.
#[derive(Debug, Clone)]
pub struct ListenerAccess {
    /// The entry's address, as configured.
    pub address: String,
    /// None: everybody.
    pub lists: Option<Arc<AddressLists>>,
}

/// Who may come to one route.
#[derive(Debug, Serialize, Clone, Default)]
pub struct RouteAccess {
    /// `allow` and `deny`. None: everybody.
    pub lists: Option<Arc<AddressLists>>,
    /// `allow_if` and `deny_if`. None: whatever the request is like.
    pub rules: Option<Arc<RequestRules>>,
    /// None: as the server has it.
    pub paths: Option<Spelling>,
}

/// `paths`: which paths are taken, and which form of them backends get. Routes see the same form in all cases.
#[derive(Debug, Serialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum Spelling {
    /// Refused is what programs read in different ways; of the rest backends get the normal form.
    #[default]
    Normal,
    /// Refused is also what has another normal form, `//`, `%2F`, `%5C`, and what is encoded twice.
    Strict,
    /// Nothing is refused, and backends get what came.
    AsSent,
}

impl Spelling {
    /// All of them, as they are written.
    pub const ALL: [Spelling; 3] = [Spelling::Normal, Spelling::Strict, Spelling::AsSent];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Spelling::Normal => "normal",
            Spelling::Strict => "strict",
            Spelling::AsSent => "as_sent",
        }
    }
}

/// `allow` and `deny`.
#[derive(Debug, Serialize, Clone, PartialEq, Eq, Default)]
pub struct AddressLists {
    /// Only these; none: everybody.
    pub allow: Option<Networks>,
    /// Never these, also where `allow` has them.
    pub deny: Networks,
}

/// Why an address may not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barred {
    /// It is in `deny`.
    Denied,
    /// There is an `allow`, and it is not in it.
    NotAllowed,
}

impl AddressLists {
    /// Whether `address` may come.
    ///
    /// # Errors
    /// When it may not; says why.
    pub fn judge(&self, address: IpAddr) -> Result<(), Barred> {
        let address = address.to_canonical();
        if self.deny.contains(address) {
            return Err(Barred::Denied);
        }
        match &self.allow {
            Some(allow) if !allow.contains(address) => Err(Barred::NotAllowed),
            _ => Ok(()),
        }
    }
}

/// Any number of networks, of which none is within another: finding out whether an address is in one of them takes as many steps as
/// their number has binary digits.
#[derive(Debug, Serialize, Clone, PartialEq, Eq, Default)]
#[serde(transparent)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Sorts `networks` and puts together those that belong together.
    pub fn new(networks: &[IpNet]) -> Networks {
        let mut networks = IpNet::aggregate(&networks.to_vec());
        networks.sort_unstable();
        Networks(networks)
    }

    /// Whether one of them has `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        // The last one that begins at the address or before it; an IPv4 address is less than any IPv6 address.
        let behind = self
            .0
            .partition_point(|network| network.network() <= address);
        let candidate = behind.checked_sub(1).and_then(|at| self.0.get(at));
        candidate.is_some_and(|network| network.contains(&address))
    }
}

/// `hosts`: those that are served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hosts {
    /// Sorted.
    exact: Vec<String>,
    /// Each with its leading dot; sorted.
    suffixes: Vec<String>,
}

impl Hosts {
    /// From conditions as a route has them. [`HostMatch::Any`] adds nothing.
    pub fn new(hosts: impl IntoIterator<Item = HostMatch>) -> Hosts {
        let mut all = Hosts::default();
        for host in hosts {
            match host {
                HostMatch::Exact(host) => all.exact.push(host),
                HostMatch::Suffix(suffix) => all.suffixes.push(suffix),
                HostMatch::Any => (),
            }
        }
        for list in [&mut all.exact, &mut all.suffixes] {
            list.sort_unstable();
            list.dedup();
        }
        all
    }

    /// Whether `host` is one of them; in lower case, without port and root dot.
    pub fn contains(&self, host: &str) -> bool {
        let has = |list: &[String], wanted: &str| {
            list.binary_search_by(|entry| entry.as_str().cmp(wanted))
                .is_ok()
        };
        let mut tails = host.match_indices('.').filter(|(at, _)| *at > 0);
        has(&self.exact, host)
            || tails.any(|(at, _)| has(&self.suffixes, host.get(at..).unwrap_or_default()))
    }
}

impl Serialize for Hosts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let suffixes = self.suffixes.iter().map(|suffix| format!("*{suffix}"));
        serializer.collect_seq(self.exact.iter().cloned().chain(suffixes))
    }
}

/// `allow_if` and `deny_if`: what requests to a route have to be like.
#[derive(Debug, Serialize, Clone, PartialEq, Eq, Default)]
pub struct RequestRules {
    /// One of these has to hold; empty: none has to.
    pub allow_if: Vec<Conditions>,
    /// None of these may hold.
    pub deny_if: Vec<Conditions>,
}

fn by_address<S: Serializer>(
    listeners: &[ListenerAccess],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(listeners.len()))?;
    for listener in listeners {
        map.serialize_entry(&listener.address, &listener.lists)?;
    }
    map.end()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    fn networks(list: &[&str]) -> Networks {
        let list: Vec<IpNet> = list.iter().map(|text| text.parse().unwrap()).collect();
        Networks::new(&list)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_have_their_ends() {
        let list = networks(&["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "fd00::/8"]);
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "192.0.2.7",
            "2001:db8::",
            "2001:db8:ffff::1",
            "fdff::1",
        ] {
            assert!(list.contains(ip(inside)), "{inside}");
        }
        for outside in [
            "9.255.255.255",
            "11.0.0.0",
            "192.0.2.6",
            "192.0.2.8",
            "2001:db7:ffff::",
            "2001:db9::",
            "::",
            "0.0.0.0",
            "::ffff:10.0.0.1",
        ] {
            assert!(!list.contains(ip(outside)), "{outside}");
        }
        assert!(!Networks::default().contains(ip("10.0.0.1")));
        let all = networks(&["0.0.0.0/0", "::/0", "10.0.0.0/8"]);
        assert!(all.contains(ip("255.255.255.255")) && all.contains(ip("ffff::")));
    }

    #[test]
    fn deny_wins_and_allow_shuts_out_the_rest() {
        let lists = AddressLists {
            allow: Some(networks(&["10.0.0.0/8", "::1/128"])),
            deny: networks(&["10.1.0.0/16"]),
        };
        assert_eq!(lists.judge(ip("10.0.0.1")), Ok(()));
        assert_eq!(lists.judge(ip("::ffff:10.0.0.1")), Ok(()));
        assert_eq!(lists.judge(ip("::1")), Ok(()));
        assert_eq!(lists.judge(ip("10.1.2.3")), Err(Barred::Denied));
        assert_eq!(lists.judge(ip("::ffff:10.1.2.3")), Err(Barred::Denied));
        assert_eq!(lists.judge(ip("11.0.0.1")), Err(Barred::NotAllowed));
        let open = AddressLists {
            allow: None,
            deny: networks(&["2001:db8::/32"]),
        };
        assert_eq!(open.judge(ip("10.0.0.1")), Ok(()));
        assert_eq!(open.judge(ip("2001:db8::1")), Err(Barred::Denied));
    }

    proptest! {
        #[test]
        fn a_search_finds_what_a_scan_finds(
            v4 in prop::collection::vec((0u32..4096, 20u8..=32), 0..40),
            v6 in prop::collection::vec((0u128..4096, 116u8..=128), 0..40),
            asked in prop::collection::vec(0u32..5000, 40),
        ) {
            let v4 = v4.iter().map(|(bits, length)| IpNet::new(Ipv4Addr::from(*bits).into(), *length).unwrap().trunc());
            let v6 = v6.iter().map(|(bits, length)| IpNet::new(Ipv6Addr::from(*bits).into(), *length).unwrap().trunc());
            let all: Vec<IpNet> = v4.chain(v6).collect();
            let found = Networks::new(&all);
            for bits in asked {
                let both: [IpAddr; 2] = [Ipv4Addr::from(bits).into(), Ipv6Addr::from(u128::from(bits)).into()];
                for address in both {
                    prop_assert_eq!(found.contains(address), all.iter().any(|net| net.contains(&address)));
                }
            }
        }
    }

    #[test]
    fn long_lists_are_as_quick_as_short_ones() {
        // Every other /24, so that nothing can be put together.
        let long: Vec<IpNet> = (0..10_000u32)
            .map(|number| IpNet::new(Ipv4Addr::from(number << 9).into(), 24).unwrap())
            .collect();
        let long = Networks::new(&long);
        let begun = Instant::now();
        let asked = (0..200_000u32).map(|number| Ipv4Addr::from(number << 6));
        let inside = asked.filter(|address| long.contains((*address).into()));
        // They go up to 10,000 · 512 addresses, of which half are inside; every 64th is asked for.
        assert_eq!(inside.count(), 10_000 * 256 / 64);
        // A scan would take minutes in a test build.
        assert!(begun.elapsed().as_secs() < 20);
    }

    #[test]
    fn hosts_are_exact_or_below_a_name() {
        let hosts = Hosts::new([
            HostMatch::Exact("example.com".into()),
            HostMatch::Suffix(".example.org".into()),
            HostMatch::Exact("[::1]".into()),
        ]);
        for host in ["example.com", "a.example.org", "a.b.example.org", "[::1]"] {
            assert!(hosts.contains(host), "{host}");
        }
        for host in [
            "",
            "www.example.com",
            "example.org",
            ".example.org",
            "example.com.",
            "xexample.org",
            "example.com.evil.test",
            "[::2]",
        ] {
            assert!(!hosts.contains(host), "{host}");
        }
    }
}
