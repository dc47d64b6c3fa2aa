//! The PROXY protocol, versions 1 and 2, before the requests of a trusted peer.

use std::net::Ipv4Addr;

use crate::support::{Backend, Client, Engine, Process, Proxy, dial, on_reactor};

on_reactor!(
    version_1_tells_the_client,
    version_2_tells_the_client,
    headers_without_an_address_keep_the_peer,
    a_header_may_come_byte_by_byte,
    a_header_and_requests_may_come_at_once,
    malformed_headers_are_refused,
    a_missing_header_is_refused,
    a_header_that_never_comes_is_given_up,
    an_untrusted_peer_may_not_send_one,
    an_untrusted_peer_needs_none,
    without_the_setting_it_is_no_request,
    the_log_has_the_client,
);

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn start(engine: Engine, backend: &Backend) -> Proxy {
    setup(engine, backend).start()
}

fn setup(engine: Engine, backend: &Backend) -> crate::support::proxy::Setup {
    Proxy::to(engine, [backend])
        .listen("{ address = \"127.0.0.1:0\", proxy_protocol = true }")
        .server("trusted_proxies = [\"127.0.0.1/32\"]\ntimeouts.head = \"2s\"")
}

/// A header of version 2.
fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[0x20 | command, family], &length, rest].concat()
}

/// 203.0.113.7:5555 to 192.0.2.1:80.
const TCP4: &[u8] = &[203, 0, 113, 7, 192, 0, 2, 1, 0x15, 0xb3, 0, 80];

/// 2001:db8::7 to 2001:db8::1, the same ports.
fn tcp6() -> Vec<u8> {
    let mut rest = vec![0; 36];
    for (at, last) in [(0, 7), (16, 1)] {
        rest[at..at + 4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        rest[at + 15] = last;
    }
    rest[32..].copy_from_slice(&[0x15, 0xb3, 0, 80]);
    rest
}

/// Who the client is after this header, as the backend hears it.
#[track_caller]
fn told(engine: Engine, header: &[u8]) -> String {
    let backend = Backend::fixed("fine");
    let proxy = start(engine, &backend);
    let mut client = proxy.client();
    client.send(header);
    // The header stands for all requests of the connection.
    for _ in 0..3 {
        assert_eq!(client.ask(REQUEST).text(), "fine");
    }
    let seen = backend.seen();
    let mut clients = seen.iter().map(|seen| seen.get("x-real-ip").unwrap());
    let first = clients.next().unwrap();
    assert!(clients.all(|client| client == first));
    let forwarded = seen[0].get("x-forwarded-for").unwrap();
    assert!(forwarded.ends_with(&first), "{forwarded}");
    first
}

fn version_1_tells_the_client(engine: Engine) {
    let tcp4 = b"PROXY TCP4 203.0.113.7 192.0.2.1 5555 80\r\n";
    assert_eq!(told(engine, tcp4), "203.0.113.7");
    let tcp6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 5555 80\r\n";
    assert_eq!(told(engine, tcp6), "2001:db8::7");
    let longest = b"PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0007 2001:0db8:0000:0000:0000:0000:0000:0001 65535 65535\r\n";
    assert_eq!(told(engine, longest), "2001:db8::7");
}

fn version_2_tells_the_client(engine: Engine) {
    assert_eq!(told(engine, &version_2(1, 0x11, TCP4)), "203.0.113.7");
    assert_eq!(told(engine, &version_2(1, 0x21, &tcp6())), "2001:db8::7");
    // Extensions behind the addresses: a name and some padding.
    let extended = [TCP4, b"\x02\0\x04test\x04\0\x80", &[0; 128]].concat();
    assert_eq!(told(engine, &version_2(1, 0x11, &extended)), "203.0.113.7");
}

/// The peer is a trusted proxy then, so it is believed about who is behind it.
fn headers_without_an_address_keep_the_peer(engine: Engine) {
    let unknown = b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n";
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        unknown.to_vec(),
        version_2(0, 0, b""),
        version_2(0, 0x11, TCP4),
        version_2(0, 0, &[1; 40]),
    ] {
        let backend = Backend::fixed("fine");
        let proxy = start(engine, &backend);
        let answer = proxy.client().send(header).ask(REQUEST);
        assert_eq!(answer.text(), "fine");
        let seen = backend.only();
        let forwarded = seen.get("x-forwarded-for");
        assert_eq!(forwarded.as_deref(), Some("198.51.100.1, 127.0.0.1"));
    }
}

fn a_header_may_come_byte_by_byte(engine: Engine) {
    let version_1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 5555 80\r\n".to_vec();
    for header in [version_1, version_2(1, 0x11, TCP4)] {
        let backend = Backend::fixed("fine");
        let proxy = start(engine, &backend);
        let mut client = proxy.client();
        for byte in header {
            client.send([byte]);
            std::thread::yield_now();
        }
        for byte in REQUEST.bytes() {
            client.send([byte]);
        }
        assert_eq!(client.read().text(), "fine");
        let client_ip = backend.only().get("x-real-ip");
        assert_eq!(client_ip.as_deref(), Some("203.0.113.7"));
    }
}

fn a_header_and_requests_may_come_at_once(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = start(engine, &backend);
    let version_1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 5555 80\r\n".to_vec();
    for header in [version_1, version_2(1, 0x11, TCP4)] {
        let all = [&header, REQUEST.as_bytes(), REQUEST.as_bytes()].concat();
        let mut client = proxy.client();
        client.send(all);
        assert_eq!(client.read().text(), "fine");
        assert_eq!(client.read().text(), "fine");
    }
}

/// Refused or just closed: a peer that speaks no PROXY protocol may not speak HTTP either.
#[track_caller]
fn assert_refused(mut client: Client, what: &[u8]) {
    client.send(what).send(REQUEST);
    let status = client.receive().status();
    assert!(matches!(status, None | Some(400)), "{what:?}: {status:?}");
}

fn malformed_headers_are_refused(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = start(engine, &backend);
    let mut bad: Vec<Vec<u8>> = [
        "PROXY\r\n",
        "PROXY \r\n",
        "proxy TCP4 203.0.113.7 192.0.2.1 5555 80\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 5555\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 5555 80 1\r\n",
        "PROXY TCP4 203.0.113.7  192.0.2.1 5555 80\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 5555 65536\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 +5 80\r\n",
        "PROXY TCP4 203.0.113.256 192.0.2.1 5555 80\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 5555 80\r\n",
        "PROXY TCP6 203.0.113.7 192.0.2.1 5555 80\r\n",
        "PROXY UDP4 203.0.113.7 192.0.2.1 5555 80\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 5555 80\n",
        "PROXYTCP4 203.0.113.7 192.0.2.1 5555 80\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    bad.push(format!("PROXY UNKNOWN {}\r\n", "x".repeat(200)).into_bytes());
    bad.push(version_2(2, 0x11, TCP4));
    bad.push(version_2(1, 0x11, &TCP4[..8]));
    bad.push(version_2(1, 0x21, TCP4));
    bad.push([&version_2(1, 0x11, TCP4)[..12], &[0x11, 0x11, 0, 12], TCP4].concat());
    bad.push([&SIGNATURE[..11], b"x!\x11\0\x0c", TCP4].concat());
    for header in &bad {
        assert_refused(proxy.client(), header);
    }
    assert_eq!(backend.count(), 0);
    let good = b"PROXY TCP4 203.0.113.7 192.0.2.1 5555 80\r\n";
    assert_eq!(proxy.client().send(good).ask(REQUEST).text(), "fine");
}

fn a_missing_header_is_refused(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = start(engine, &backend);
    assert_refused(proxy.client(), b"");
    // A second header is no request.
    let header = "PROXY TCP4 203.0.113.7 192.0.2.1 5555 80\r\n".repeat(2);
    assert_refused(proxy.client(), header.as_bytes());
    assert_eq!(backend.count(), 0);
}

fn a_header_that_never_comes_is_given_up(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = start(engine, &backend);
    for part in [&b""[..], b"PROXY TCP4 203.0.113.7", SIGNATURE] {
        let mut client = proxy.client();
        let status = client.send(part).receive().status();
        assert!(matches!(status, None | Some(400 | 408)), "{status:?}");
    }
    assert_eq!(backend.count(), 0);
}

fn an_untrusted_peer_may_not_send_one(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = start(engine, &backend);
    let untrusted = || dial::from(Ipv4Addr::new(127, 0, 0, 2), proxy.traffic());
    let version_1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 5555 80\r\n".to_vec();
    for header in [version_1, version_2(1, 0x11, TCP4)] {
        let mut client = untrusted();
        let answer = client.send(header).ask(REQUEST);
        answer.refused(400, "bad_request");
        client.assert_ended();
    }
    assert_eq!(backend.count(), 0);
}

fn an_untrusted_peer_needs_none(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = start(engine, &backend);
    let mut client = dial::from(Ipv4Addr::new(127, 0, 0, 2), proxy.traffic());
    assert_eq!(client.ask(REQUEST).text(), "fine");
    let seen = backend.only();
    assert_eq!(seen.get("x-forwarded-for").as_deref(), Some("127.0.0.2"));
}

fn without_the_setting_it_is_no_request(engine: Engine) {
    let backend = Backend::fixed("fine");
    let proxy = Proxy::to(engine, [&backend])
        .server("trusted_proxies = [\"127.0.0.1/32\"]")
        .start();
    let header = "PROXY TCP4 203.0.113.7 192.0.2.1 5555 80\r\n";
    let answer = proxy.client().send(header).ask(REQUEST);
    answer.refused(400, "bad_request");
    assert_eq!(backend.count(), 0);
}

fn the_log_has_the_client(engine: Engine) {
    let backend = Backend::fixed("fine");
    let process = Process::config(&setup(engine, &backend).text()).start();
    let header = "PROXY TCP4 203.0.113.7 192.0.2.1 5555 80\r\n";
    let request = "GET /logged HTTP/1.1\r\nHost: test\r\n\r\n";
    assert_eq!(process.client().send(header).ask(request).text(), "fine");
    let line = process.line_with("target=\"/logged\"");
    assert!(line.contains("client_ip=203.0.113.7 "), "{line}");
}
