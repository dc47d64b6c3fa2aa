//! The PROXY protocol header, versions 1 and 2: who the client is, told by a load balancer in front.
//!
//! Pure. Whether the sender may be believed is decided before this is asked. Type-length-value parts of version 2 are skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1, line end included.
const MAX_V1: usize = 107;
/// Longest header of version 2 that is taken: addresses and a reasonable number of extra parts.
const MAX_V2: usize = 4096;
/// What every header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Preamble {
    /// Not a whole header yet.
    Incomplete,
    /// A header of `length` bytes. Without addresses (a health check of the balancer, an unknown protocol) the connection's
    /// own ones stand.
    Header {
        length: usize,
        addresses: Option<Addresses>,
    },
    /// No header, or a broken one.
    Bad,
}

/// Both ends of the connection that the client made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
}

/// Reads the header at the begin of `input`.
pub(super) fn parse(input: &[u8]) -> Preamble {
    if begins_like(input, SIGNATURE) {
        version_2(input)
    } else if begins_like(input, b"PROXY ") {
        version_1(input)
    } else {
        Preamble::Bad
    }
}

/// Whether `input` is the begin of `text`, or the other way round.
fn begins_like(input: &[u8], text: &[u8]) -> bool {
    input.iter().zip(text).all(|(one, other)| one == other)
}

fn version_1(input: &[u8]) -> Preamble {
    let window = input.get(..MAX_V1.min(input.len())).unwrap_or_default();
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if input.len() < MAX_V1 {
            Preamble::Incomplete
        } else {
            Preamble::Bad
        };
    };
    let line = input.get(..end).unwrap_or_default();
    let Some(addresses) = std::str::from_utf8(line).ok().and_then(read_line) else {
        return Preamble::Bad;
    };
    Preamble::Header {
        length: end + 2,
        addresses,
    }
}

/// `PROXY TCP4 1.2.3.4 5.6.7.8 100 200`; `None`: malformed, `Some(None)`: the sender does not know.
fn read_line(line: &str) -> Option<Option<Addresses>> {
    let mut words = line.split(' ');
    let (_, protocol) = (words.next()?, words.next()?);
    if protocol == "UNKNOWN" {
        return Some(None);
    }
    let (source, destination): (IpAddr, IpAddr) =
        (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (from, to) = (port(words.next()?)?, port(words.next()?)?);
    let fits = match protocol {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    (fits && words.next().is_none()).then(|| {
        Some(Addresses {
            source: SocketAddr::new(source, from),
            destination: SocketAddr::new(destination, to),
        })
    })
}

/// Only digits: `parse` alone would take `+80` too.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn version_2(input: &[u8]) -> Preamble {
    let Some((head, rest)) = input.split_at_checked(16) else {
        return Preamble::Incomplete;
    };
    let [.., version_command, family, high, low] = head else {
        return Preamble::Bad;
    };
    let size = usize::from(u16::from_be_bytes([*high, *low]));
    if version_command >> 4 != 2 || size > MAX_V2 {
        return Preamble::Bad;
    }
    let Some(body) = rest.get(..size) else {
        return Preamble::Incomplete;
    };
    let addresses = match (version_command & 0xf, family) {
        // LOCAL: the balancer speaks for itself.
        (0, _) => None,
        (1, 0x11) => match ipv4(body) {
            Some(addresses) => Some(addresses),
            None => return Preamble::Bad,
        },
        (1, 0x21) => match ipv6(body) {
            Some(addresses) => Some(addresses),
            None => return Preamble::Bad,
        },
        // Another family than TCP over IP: nothing to learn from it.
        (1, _) => None,
        _ => return Preamble::Bad,
    };
    Preamble::Header {
        length: 16 + size,
        addresses,
    }
}

fn ipv4(body: &[u8]) -> Option<Addresses> {
    let (source, rest) = body.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    with_ports(
        Ipv4Addr::from(*source).into(),
        Ipv4Addr::from(*destination).into(),
        rest,
    )
}

fn ipv6(body: &[u8]) -> Option<Addresses> {
    let (source, rest) = body.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    with_ports(
        Ipv6Addr::from(*source).into(),
        Ipv6Addr::from(*destination).into(),
        rest,
    )
}

fn with_ports(source: IpAddr, destination: IpAddr, ports: &[u8]) -> Option<Addresses> {
    let (from, rest) = ports.split_first_chunk::<2>()?;
    let (to, _) = rest.split_first_chunk::<2>()?;
    Some(Addresses {
        source: SocketAddr::new(source, u16::from_be_bytes(*from)),
        destination: SocketAddr::new(destination, u16::from_be_bytes(*to)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(source: &str, destination: &str) -> Option<Addresses> {
        Some(Addresses {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        })
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[0x20 | command, family]);
        bytes.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn version_1_tells_both_ends() {
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\nGET / ";
        let header = Preamble::Header {
            length: 40,
            addresses: addresses("192.0.2.1:4711", "192.0.2.2:80"),
        };
        assert_eq!(parse(line), header);
        for end in 0..40 {
            assert_eq!(parse(&line[..end]), Preamble::Incomplete, "{end}");
        }
        let unknown = parse(b"PROXY UNKNOWN ffff::1 ::1 1 2\r\n");
        assert_eq!(
            unknown,
            Preamble::Header {
                length: 31,
                addresses: None
            }
        );
        let v6 = parse(b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n");
        assert!(matches!(
            v6,
            Preamble::Header {
                addresses: Some(_),
                ..
            }
        ));
    }

    #[test]
    fn version_2_tells_both_ends() {
        let bytes = v2(
            1,
            0x11,
            &[192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 0, 80, 9, 9, 9],
        );
        let header = Preamble::Header {
            length: bytes.len(),
            addresses: addresses("192.0.2.1:4711", "192.0.2.2:80"),
        };
        assert_eq!(parse(&bytes), header);
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Preamble::Incomplete, "{end}");
        }
        let mut v6 = [0; 36];
        v6[35] = 80;
        assert_eq!(
            parse(&v2(1, 0x21, &v6)),
            Preamble::Header {
                length: 52,
                addresses: addresses("[::]:0", "[::]:80")
            }
        );
        let local = parse(&v2(0, 0, b""));
        assert_eq!(
            local,
            Preamble::Header {
                length: 16,
                addresses: None
            }
        );
    }

    #[test]
    fn anything_else_is_bad() {
        let long = format!("PROXY TCP4 {}\r\n", "1".repeat(120));
        let bad: [&[u8]; 10] = [
            b"GET / HTTP/1.1\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY\r\n",
            long.as_bytes(),
        ];
        for input in bad {
            assert_eq!(
                parse(input),
                Preamble::Bad,
                "{:?}",
                String::from_utf8_lossy(input)
            );
        }
        assert_eq!(parse(&v2(2, 0x11, &[0; 12])), Preamble::Bad);
        assert_eq!(parse(&v2(1, 0x11, &[0; 11])), Preamble::Bad);
        assert_eq!(parse(&v2(1, 0x11, &[0; 5000])), Preamble::Bad);
    }
}
