//! Who the client is, and what a backend is told about it: X-Forwarded-*, X-Real-IP, Forwarded, Via, X-Request-ID.
//!
//! One rule for all: what a peer claims is believed only if the peer is trusted. Nothing here is I/O.

use std::net::IpAddr;

use ipnet::IpNet;

use super::fields::Fields;
use super::head::{RequestHead, Version};

/// The name that this proxy has in `Via` and `Proxy-Status`.
pub const PSEUDONYM: &str = "tollgate";

/// Fields that tollgate alone writes toward a backend; what came in under these names is judged, then replaced.
pub const OWNED: &[&str] = &[
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "x-request-id",
    "forwarded",
    "via",
    // Never forwarded: RFC 3875 programs take it for an environment variable (httpoxy).
    "proxy",
    "expect",
];

/// Longest X-Request-ID that is taken over.
const MAX_REQUEST_ID: usize = 128;

/// What is known of the client of one exchange; computed once, used everywhere.
#[derive(Debug, Clone)]
pub struct Client {
    /// The client's address: from right to left over trusted proxies, else the peer's.
    pub ip: IpAddr,
    /// Whether the peer itself is a trusted proxy.
    pub is_peer_trusted: bool,
    /// The request id a trusted peer sent.
    pub request_id: Option<String>,
}

impl Client {
    /// Finds out who sent `fields` over a connection from `peer`.
    pub fn identify(peer: IpAddr, fields: &Fields, trusted: &[IpNet]) -> Client {
        let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
        if !is_trusted(&peer) {
            return Client {
                ip: peer,
                is_peer_trusted: false,
                request_id: None,
            };
        }
        let mut ip = peer;
        let hops: Vec<&[u8]> = fields.members("x-forwarded-for").collect();
        for hop in hops.iter().rev() {
            // An entry that is no address ends the walk: what stands left of it cannot be believed.
            let Some(address) = parse_address(hop) else {
                break;
            };
            ip = address;
            if !is_trusted(&address) {
                break;
            }
        }
        let request_id = fields
            .get_str("x-request-id")
            .filter(|id| is_request_id(id))
            .map(str::to_owned);
        Client {
            ip,
            is_peer_trusted: true,
            request_id,
        }
    }
}

/// An address as it stands in X-Forwarded-For: bare, or with brackets and port.
fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = |text: &str| text.parse::<IpAddr>().ok();
    bare(text)
        .or_else(|| {
            text.parse::<std::net::SocketAddr>()
                .ok()
                .map(|socket| socket.ip())
        })
        .or_else(|| {
            text.strip_prefix('[')
                .and_then(|text| text.strip_suffix(']'))
                .and_then(bare)
        })
        .map(|ip| ip.to_canonical())
}

fn is_request_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= MAX_REQUEST_ID
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// What [`write_fields`] needs to know beside the head.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// The address of the connection.
    pub peer: IpAddr,
    /// Who the client is.
    pub client: &'a Client,
    /// The local port that was connected to.
    pub local_port: u16,
    /// The id of this exchange.
    pub request_id: &'a str,
}

/// Adds the fields of [`OWNED`] that a backend gets.
pub fn write_fields(head: &RequestHead, hop: Hop<'_>, out: &mut Fields) {
    let incoming = &head.fields;
    let believed = |name: &str| {
        if hop.client.is_peer_trusted {
            incoming.get_str(name)
        } else {
            None
        }
    };
    let host = head.host();

    out.append(
        "X-Forwarded-For",
        chain(
            incoming,
            hop.client.is_peer_trusted,
            "x-forwarded-for",
            &hop.peer.to_string(),
        ),
    );
    out.append(
        "X-Forwarded-Proto",
        believed("x-forwarded-proto").unwrap_or("http"),
    );
    if let Some(host) = believed("x-forwarded-host")
        .or(Some(host))
        .filter(|host| !host.is_empty())
    {
        out.append("X-Forwarded-Host", host);
    }
    // The port of the listener, not the one in Host: that is only what the client wrote.
    let port = hop.local_port.to_string();
    out.append(
        "X-Forwarded-Port",
        believed("x-forwarded-port").unwrap_or(&port),
    );
    out.append("X-Real-IP", hop.client.ip.to_string());
    let element = forwarded_element(hop.peer, host);
    out.append(
        "Forwarded",
        chain(incoming, hop.client.is_peer_trusted, "forwarded", &element),
    );
    let version = if head.version == Version::Http10 {
        "1.0"
    } else {
        "1.1"
    };
    out.append(
        "Via",
        chain(incoming, true, "via", &format!("{version} {PSEUDONYM}")),
    );
    out.append("X-Request-ID", hop.request_id);
}

/// The believed members of a list field with one more at the end.
fn chain(incoming: &Fields, is_believed: bool, name: &str, last: &str) -> Vec<u8> {
    let mut list = Vec::with_capacity(64);
    if is_believed {
        for member in incoming.members(name) {
            list.extend_from_slice(member);
            list.extend_from_slice(b", ");
        }
    }
    list.extend_from_slice(last.as_bytes());
    list
}

/// One element of `Forwarded` (RFC 7239): IPv6 addresses need brackets and with them quotes.
fn forwarded_element(peer: IpAddr, host: &str) -> String {
    let node = match peer {
        IpAddr::V4(ip) => format!("for={ip}"),
        IpAddr::V6(ip) => format!("for=\"[{ip}]\""),
    };
    if host.is_empty() {
        format!("{node};proto=http")
    } else {
        format!("{node};host=\"{host}\";proto=http")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::framing::Framing;
    use crate::message::target::Target;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in list {
            fields.append(name, value);
        }
        fields
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_says() {
        let fields = fields(&[("X-Forwarded-For", "1.2.3.4"), ("X-Request-ID", "mine")]);
        let client = Client::identify(ip("9.9.9.9"), &fields, &["10.0.0.0/8".parse().unwrap()]);
        assert_eq!((client.ip, client.request_id), (ip("9.9.9.9"), None));
    }

    #[test]
    fn the_walk_goes_right_to_left_over_trusted_hops() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let identify = |chain| {
            Client::identify(
                ip("10.0.0.1"),
                &fields(&[("X-Forwarded-For", chain)]),
                &trusted,
            )
            .ip
        };
        assert_eq!(identify("6.6.6.6, 1.2.3.4, 10.0.0.2"), ip("1.2.3.4"));
        assert_eq!(identify("10.0.0.3, 10.0.0.2"), ip("10.0.0.3"));
        assert_eq!(identify("1.2.3.4, unknown, 10.0.0.2"), ip("10.0.0.2"));
        assert_eq!(identify("[2001:db8::1]:99"), ip("2001:db8::1"));
        assert_eq!(identify(""), ip("10.0.0.1"));
    }

    #[test]
    fn a_request_id_of_a_trusted_peer_must_be_harmless() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let identify = |id: &str| {
            Client::identify(ip("10.0.0.1"), &fields(&[("X-Request-ID", id)]), &trusted).request_id
        };
        assert_eq!(identify("a-B_9."), Some("a-B_9.".into()));
        assert_eq!(identify("a b"), None);
        assert_eq!(identify(&"x".repeat(129)), None);
    }

    #[test]
    fn backends_learn_who_asks() {
        let head = RequestHead {
            method: http::Method::GET,
            target: Target::parse("/").unwrap(),
            version: Version::Http11,
            fields: fields(&[
                ("Host", "a:81"),
                ("X-Forwarded-For", "6.6.6.6"),
                ("Via", "1.1 front"),
            ]),
            framing: Framing::None,
        };
        let client = Client::identify(ip("::1"), &head.fields, &[]);
        let mut out = Fields::new();
        let hop = Hop {
            peer: ip("::1"),
            client: &client,
            local_port: 8080,
            request_id: "id",
        };
        write_fields(&head, hop, &mut out);
        let get = |name| out.get_str(name).unwrap();
        assert_eq!(get("X-Forwarded-For"), "::1");
        assert_eq!(get("X-Forwarded-Proto"), "http");
        assert_eq!(get("X-Forwarded-Host"), "a:81");
        assert_eq!(get("X-Forwarded-Port"), "8080");
        assert_eq!(get("Forwarded"), "for=\"[::1]\";host=\"a:81\";proto=http");
        assert_eq!(get("Via"), "1.1 front, 1.1 tollgate");
        assert_eq!(get("X-Request-ID"), "id");
    }
}
