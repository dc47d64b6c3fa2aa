//! Whom an address stands for, where clients are counted.

use std::net::{IpAddr, Ipv6Addr};

/// The network that stands for one client: an IPv4 address itself, also one that was mapped into IPv6; of an IPv6 address its
/// /64, since one client usually has all of that to itself.
pub fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_ipv6_are_one_client() {
        let network = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:0:1:2:3:4:5"), "2001:db8:0:1::");
        assert_eq!(network("2001:db8:0:1::9"), "2001:db8:0:1::");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
