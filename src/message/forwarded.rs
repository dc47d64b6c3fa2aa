//! Who the client is, and what a backend is told about it: X-Forwarded-*, X-Real-IP, Forwarded, Via, X-Request-ID.
//!
//! One rule for all: what a peer claims is believed only if the peer is trusted. Nothing here is I/O.

mod list;

use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::fields::Fields;
use super::head::{RequestHead, Version};
use list::Element;

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
    /// What it uses, as far as trusted proxies say so in `Forwarded` (RFC 7239).
    pub said_scheme: Option<&'static str>,
    /// Whether the peer itself is a trusted proxy.
    pub is_peer_trusted: bool,
    /// The request id a trusted peer sent.
    pub request_id: Option<String>,
    /// Which entry of `listen` it came by; the first one, until something else is known.
    pub listener: usize,
    /// Whether its connection to us speaks TLS; false, until something else is known.
    pub has_tls: bool,
}

impl Client {
    /// Finds out who sent `fields` over a connection from `peer`.
    pub fn identify(peer: IpAddr, fields: &Fields, trusted: &[IpNet]) -> Client {
        let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
        if !is_trusted(&peer) {
            return Client {
                ip: peer,
                said_scheme: None,
                is_peer_trusted: false,
                request_id: None,
                listener: 0,
                has_tls: false,
            };
        }
        // One of the two, so that nobody can put something beside what a proxy says: X-Forwarded-For, which more of them write.
        let (ip, said_scheme) = if fields.contains("x-forwarded-for") {
            let hops: Vec<&[u8]> = fields.members("x-forwarded-for").collect();
            let hops = hops.into_iter().rev().map(|hop| {
                let address = Some(parse_address(hop)?);
                Some(Element {
                    address,
                    ..Element::default()
                })
            });
            walk(peer, hops, is_trusted)
        } else {
            walk(peer, list::backwards(fields), is_trusted)
        };
        let request_id = fields
            .get_str("x-request-id")
            .filter(|id| is_request_id(id))
            .map(str::to_owned);
        Client {
            ip,
            said_scheme,
            is_peer_trusted: true,
            request_id,
            listener: 0,
            has_tls: false,
        }
    }

    /// What the client itself used: what a trusted peer says, else what is spoken here.
    pub fn scheme(&self, fields: &Fields) -> &'static str {
        let said = fields
            .get_str("x-forwarded-proto")
            .filter(|_| self.is_peer_trusted);
        match said {
            Some(said) if said.eq_ignore_ascii_case("https") => "https",
            Some(_) => "http",
            None => self.other_scheme(),
        }
    }

    /// The same without X-Forwarded-Proto.
    fn other_scheme(&self) -> &'static str {
        self.said_scheme.unwrap_or(self.own_scheme())
    }

    /// What is spoken here.
    fn own_scheme(&self) -> &'static str {
        if self.has_tls { "https" } else { "http" }
    }
}

/// Who the client is and what it uses, from what proxies say, the last one first; as long as those who say it are trusted.
fn walk(
    peer: IpAddr,
    hops: impl Iterator<Item = Option<Element>>,
    is_trusted: impl Fn(&IpAddr) -> bool,
) -> (IpAddr, Option<&'static str>) {
    let (mut ip, mut scheme) = (peer, None);
    // What cannot be read ends the walk: what stands left of it cannot be believed.
    for hop in hops.map_while(|hop| hop) {
        scheme = hop.scheme;
        // So does an entry that is no address.
        let Some(address) = hop.address else {
            break;
        };
        ip = address;
        if !is_trusted(&address) {
            break;
        }
    }
    (ip, scheme)
}

/// Whether a field of this name is one of [`OWNED`]; also with `_` for `-`, because a CGI-like backend would take both names for
/// the same variable.
pub fn is_owned(name: &str) -> bool {
    OWNED.iter().any(|own| is_same_variable(name, own))
}

/// Whether a field of this name tells of a client's certificate: `X-Client-Cert` and what begins so, `Client-Cert` and
/// `Client-Cert-Chain` (RFC 9440), all of them also with `_` for `-`.
pub fn is_about_certificates(name: &str) -> bool {
    const FAMILY: &str = "x-client-cert";
    let begin = name.get(..FAMILY.len());
    begin.is_some_and(|begin| is_same_variable(begin, FAMILY))
        || is_same_variable(name, "client-cert")
        || is_same_variable(name, "client-cert-chain")
}

/// Whether a CGI-like backend would take both names for the same variable: it turns `-` into `_`.
pub fn is_same_variable(name: &str, other: &str) -> bool {
    let fold = |byte: u8| {
        if byte == b'_' {
            b'-'
        } else {
            byte.to_ascii_lowercase()
        }
    };
    name.len() == other.len() && name.bytes().map(fold).eq(other.bytes().map(fold))
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
    /// The local port that was connected to; 0: none, it is a Unix socket.
    pub local_port: u16,
    /// The id of this exchange.
    pub request_id: &'a str,
}

/// Writes the fields of [`OWNED`] that a backend gets, each as a line of a head.
pub fn write_fields(head: &RequestHead, hop: Hop<'_>, out: &mut Vec<u8>) {
    let incoming = &head.fields;
    let is_trusted = hop.client.is_peer_trusted;
    let believed = |name: &str| incoming.get_str(name).filter(|_| is_trusted);
    let host = head.host();

    write_list(out, "X-Forwarded-For", incoming, is_trusted);
    if hop.client.ip != hop.peer && !incoming.contains("x-forwarded-for") {
        // It is in `Forwarded` only.
        write_number(out, hop.client.ip);
        out.extend_from_slice(b", ");
    }
    // Putting addresses into words costs more than all the rest here: it is done once.
    let begin = out.len();
    write_number(out, hop.peer);
    let peer = begin..out.len();
    end_line(out);
    let proto = believed("x-forwarded-proto").unwrap_or(hop.client.other_scheme());
    write_line(out, "X-Forwarded-Proto", proto);
    if let Some(host) = believed("x-forwarded-host")
        .or(Some(host))
        .filter(|host| !host.is_empty())
    {
        write_line(out, "X-Forwarded-Host", host);
    }
    // The port of the listener, not the one in Host: that is only what the client wrote.
    if let Some(port) = believed("x-forwarded-port") {
        write_line(out, "X-Forwarded-Port", port);
    } else if hop.local_port > 0 {
        begin_line(out, "X-Forwarded-Port");
        write_number(out, hop.local_port);
        end_line(out);
    }
    begin_line(out, "X-Real-IP");
    if hop.client.ip == hop.peer {
        out.extend_from_within(peer.clone());
    } else {
        write_number(out, hop.client.ip);
    }
    end_line(out);
    write_list(out, "Forwarded", incoming, is_trusted);
    write_element(out, peer, hop.peer.is_ipv6(), host, hop.client.own_scheme());
    end_line(out);
    write_list(out, "Via", incoming, true);
    let version: &[u8] = if head.version == Version::Http10 {
        b"1.0 "
    } else {
        b"1.1 "
    };
    out.extend_from_slice(version);
    out.extend_from_slice(PSEUDONYM.as_bytes());
    end_line(out);
    write_line(out, "X-Request-ID", hop.request_id);
}

fn begin_line(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
}

fn end_line(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

fn write_line(out: &mut Vec<u8>, name: &str, value: &str) {
    begin_line(out, name);
    out.extend_from_slice(value.as_bytes());
    end_line(out);
}

/// Writes an address or a port.
fn write_number(out: &mut Vec<u8>, number: impl fmt::Display) {
    // Writing to memory cannot fail.
    let _ = write!(out, "{number}");
}

/// Begins a list field with the members that came, if they are believed; the last one is for the caller to write.
fn write_list(out: &mut Vec<u8>, name: &str, incoming: &Fields, is_believed: bool) {
    begin_line(out, name);
    for member in incoming.members(name).filter(|_| is_believed) {
        out.extend_from_slice(member);
        out.extend_from_slice(b", ");
    }
}

/// One element of `Forwarded` (RFC 7239): IPv6 addresses need brackets and with them quotes. The peer's address stands in
/// `out` already, at `peer`.
fn write_element(out: &mut Vec<u8>, peer: Range<usize>, is_v6: bool, host: &str, proto: &str) {
    let (before, after): (&[u8], &[u8]) = if is_v6 {
        (b"for=\"[", b"]\"")
    } else {
        (b"for=", b"")
    };
    out.extend_from_slice(before);
    out.extend_from_within(peer);
    out.extend_from_slice(after);
    if !host.is_empty() {
        out.extend_from_slice(b";host=\"");
        out.extend_from_slice(host.as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(proto.as_bytes());
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
    fn only_a_trusted_peer_says_what_the_client_used() {
        let fields = fields(&[("X-Forwarded-Proto", "HTTPS")]);
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let scheme = |peer| Client::identify(ip(peer), &fields, &trusted).scheme(&fields);
        assert_eq!((scheme("10.0.0.1"), scheme("9.9.9.9")), ("https", "http"));
        for (peer, said, expected) in [
            ("9.9.9.9", "http", "https"),
            ("10.0.0.1", "http", "http"),
            ("10.0.0.1", "", "https"),
        ] {
            let list = [("X-Forwarded-Proto", said)];
            let fields = super::tests::fields(list.get(usize::from(said.is_empty())..).unwrap());
            let mut client = Client::identify(ip(peer), &fields, &trusted);
            client.has_tls = true;
            assert_eq!(client.scheme(&fields), expected, "{peer} {said}");
        }
        assert!(is_owned("x_real-ip") && !is_owned("x-real"));
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
        let mut out = Vec::new();
        let hop = Hop {
            peer: ip("::1"),
            client: &client,
            local_port: 8080,
            request_id: "id",
        };
        write_fields(&head, hop, &mut out);
        let expected = "X-Forwarded-For: ::1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a:81\r\n\
             X-Forwarded-Port: 8080\r\nX-Real-IP: ::1\r\nForwarded: for=\"[::1]\";host=\"a:81\";proto=http\r\n\
             Via: 1.1 front, 1.1 tollgate\r\nX-Request-ID: id\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn backends_learn_that_it_is_tls() {
        let mut head = RequestHead::unknown();
        head.fields = fields(&[("Host", "a"), ("X-Forwarded-Proto", "http")]);
        let mut client = Client::identify(ip("192.0.2.1"), &head.fields, &[]);
        client.has_tls = true;
        let hop = Hop {
            peer: ip("192.0.2.1"),
            client: &client,
            local_port: 443,
            request_id: "id",
        };
        let mut out = Vec::new();
        write_fields(&head, hop, &mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("X-Forwarded-Proto: https\r\n"), "{out}");
        assert!(out.contains(";proto=https\r\n"), "{out}");
    }

    #[test]
    fn forwarded_is_believed_where_there_is_no_x_forwarded_for() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let heard = |peer: &str, list: &[(&str, &str)]| {
            let fields = fields(list);
            let client = Client::identify(ip(peer), &fields, &trusted);
            (client.ip.to_string(), client.scheme(&fields))
        };
        let one = "for=6.6.6.6;proto=http, for=192.0.2.1;proto=https, for=10.0.0.2;proto=http";
        for (list, address, scheme) in [
            (&[("Forwarded", one)][..], "192.0.2.1", "https"),
            (
                &[
                    ("Forwarded", "for=6.6.6.6"),
                    ("forwarded", "for=192.0.2.1;proto=https"),
                ],
                "192.0.2.1",
                "https",
            ),
            // One without an address ends the walk; what it says of the scheme is a trusted proxy's word.
            (
                &[("Forwarded", "for=6.6.6.6;proto=http, proto=https")],
                "10.0.0.1",
                "https",
            ),
            (
                &[(
                    "Forwarded",
                    "for=6.6.6.6;proto=https, for=unknown, for=10.0.0.2",
                )],
                "10.0.0.2",
                "http",
            ),
            (
                &[("Forwarded", "for=6.6.6.6;proto=https, nonsense")],
                "10.0.0.1",
                "http",
            ),
            (
                &[("Forwarded", "for=\"6.6.6.6, for=\"[2001:db8::1]:9\"")],
                "2001:db8::1",
                "http",
            ),
        ] {
            assert_eq!(
                heard("10.0.0.1", list),
                (address.to_owned(), scheme),
                "{list:?}"
            );
        }
        let stranger = heard("9.9.9.9", &[("Forwarded", one)]);
        assert_eq!(stranger, ("9.9.9.9".to_owned(), "http"));
    }

    #[test]
    fn forwarded_counts_for_nothing_beside_x_forwarded_for() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let one = ("Forwarded", "for=192.0.2.1;proto=https");
        for (other, address, scheme) in [
            (("X-Forwarded-For", "192.0.2.9"), "192.0.2.9", "http"),
            (("X-Forwarded-For", "nonsense"), "10.0.0.1", "http"),
            (("X-Forwarded-Proto", "http"), "192.0.2.1", "http"),
        ] {
            let fields = fields(&[one, other]);
            let client = Client::identify(ip("10.0.0.1"), &fields, &trusted);
            assert_eq!((client.ip, client.scheme(&fields)), (ip(address), scheme));
        }
    }

    #[test]
    fn backends_are_told_what_forwarded_says() {
        let head = RequestHead {
            fields: fields(&[("Forwarded", "for=192.0.2.1;proto=https")]),
            ..RequestHead::unknown()
        };
        let peer = ip("10.0.0.1");
        let client = Client::identify(peer, &head.fields, &["10.0.0.0/8".parse().unwrap()]);
        let hop = Hop {
            peer,
            client: &client,
            local_port: 80,
            request_id: "id",
        };
        let mut out = Vec::new();
        write_fields(&head, hop, &mut out);
        let expected = "X-Forwarded-For: 192.0.2.1, 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 80\r\n\
             X-Real-IP: 192.0.2.1\r\nForwarded: for=192.0.2.1;proto=https, for=10.0.0.1;proto=http\r\n";
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with(expected), "{out}");
    }

    #[test]
    fn a_trusted_peer_is_believed() {
        let head = RequestHead {
            method: http::Method::GET,
            target: Target::parse("/").unwrap(),
            version: Version::Http10,
            fields: fields(&[
                ("X-Forwarded-For", "6.6.6.6, 10.0.0.2"),
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-Port", "443"),
                ("Forwarded", "for=6.6.6.6"),
            ]),
            framing: Framing::None,
        };
        let client = Client::identify(
            ip("10.0.0.1"),
            &head.fields,
            &["10.0.0.0/8".parse().unwrap()],
        );
        let mut out = Vec::new();
        let hop = Hop {
            peer: ip("10.0.0.1"),
            client: &client,
            local_port: 8080,
            request_id: "id",
        };
        write_fields(&head, hop, &mut out);
        let expected = "X-Forwarded-For: 6.6.6.6, 10.0.0.2, 10.0.0.1\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Port: 443\r\nX-Real-IP: 6.6.6.6\r\n\
             Forwarded: for=6.6.6.6, for=10.0.0.1;proto=http\r\nVia: 1.0 tollgate\r\nX-Request-ID: id\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
