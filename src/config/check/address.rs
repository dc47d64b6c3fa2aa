//! Addresses: where to listen, backend URLs, networks, host conditions; each text to value or the reason why not.
//!
//! Pure: resolves no name and opens nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::model::{Address, BackendAddress, HostMatch};
use crate::config::report::{At, Report};

/// `sun_path` has 108 bytes, and the last one ends the path (unix(7)).
const LONGEST_SOCKET_PATH: usize = 107;

/// Message and hint.
pub(crate) type Fault = (String, String);

fn fault<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Fault> {
    Err((message.into(), hint.into()))
}

/// Parses `unix:/run/tollgate.sock` and everything that [`parse_ip`] does.
pub(super) fn parse_listen(text: &str) -> Result<Address, Fault> {
    if text.starts_with('/') {
        let hint = format!("a unix socket is written \"unix:{text}\"");
        return fault(format!("\"{text}\" has no port"), hint);
    }
    match text.strip_prefix("unix:") {
        Some(path) => parse_socket_path(path).map(Address::Unix),
        None => parse_ip(text).map(Address::Ip),
    }
}

/// The path of a Unix socket, as it stands behind `unix:`.
fn parse_socket_path(path: &str) -> Result<PathBuf, Fault> {
    let example = "write it as in \"unix:/run/app.sock\"";
    if path.chars().any(char::is_control) {
        let message = "the path of a unix socket cannot hold control characters";
        return fault(message, example);
    }
    if path.len() > LONGEST_SOCKET_PATH {
        let bytes = path.len();
        return fault(
            format!(
                "the path of this unix socket has {bytes} bytes, and the system takes at most {LONGEST_SOCKET_PATH}"
            ),
            "choose a shorter path, as in \"unix:/run/app.sock\"",
        );
    }
    let bare = path.trim_start_matches('/');
    if !path.starts_with('/') {
        let message = format!("\"unix:{path}\" has no absolute path: it must start with `/`");
        return fault(message, example);
    }
    if bare.is_empty() || bare.ends_with('/') {
        let message = format!("\"unix:{path}\" is a directory, not a socket");
        return fault(message, example);
    }
    if path.starts_with("//") {
        // Neither a URL with a host nor one with three slashes, although some programs write it so.
        let message =
            format!("\"unix:{path}\" has too many slashes: what follows `unix:` is a path");
        return fault(message, format!("write \"unix:/{bare}\""));
    }
    Ok(PathBuf::from(path))
}

/// Parses `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` and `:8080`.
///
/// Without an address it is the loopback one: being reachable from elsewhere is never a default.
pub(super) fn parse_ip(text: &str) -> Result<SocketAddr, Fault> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let example =
        "write an address and a port, as in \"127.0.0.1:8080\", \"[::1]:8080\" or \":8080\"";
    let Some((host, port)) = text.rsplit_once(':') else {
        return match text.parse::<u16>() {
            Ok(port) => fault(
                format!("\"{text}\" is not an address"),
                format!("write \":{port}\" for port {port} on this machine"),
            ),
            Err(_) => fault(format!("\"{text}\" has no port"), example),
        };
    };
    let Ok(port) = parse_port(port) else {
        return fault(format!("\"{text}\" has no port from 0 to 65535"), example);
    };
    match host.to_ascii_lowercase().as_str() {
        "" | "localhost" => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        "*" => fault(
            format!("\"{text}\" is not an address"),
            format!("write \"0.0.0.0:{port}\" for every IPv4 address of this machine"),
        ),
        host if host.contains("//") => fault(
            format!("\"{text}\" is a URL, not an address to listen on"),
            example,
        ),
        host => fault(
            format!("cannot listen on \"{text}\": \"{host}\" is not an IP address"),
            example,
        ),
    }
}

/// Only digits: `parse` alone would take `+80` too.
fn parse_port(text: &str) -> Result<u16, ()> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_digit()) {
        return Err(());
    }
    text.parse().map_err(|_| ())
}

/// Whether only this machine can connect to `address`.
pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Whether the two cannot both be bound.
pub(super) fn collide(one: &Address, other: &Address) -> bool {
    let (one, other) = match (one, other) {
        (Address::Ip(one), Address::Ip(other)) => (one, other),
        (Address::Unix(one), Address::Unix(other)) => return one == other,
        _ => return false,
    };
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() != 0
        && one.port() == other.port()
        && (a == b || a.is_unspecified() || b.is_unspecified())
}

/// What a backend is called unless it was given an id: `host:port`, with brackets around an IPv6 address, or
/// `unix:/path`.
pub(super) fn backend_id(backend: &BackendAddress) -> String {
    match backend.host_and_port() {
        Some((host, port)) if host.contains(':') => format!("[{host}]:{port}"),
        Some((host, port)) => format!("{host}:{port}"),
        None => backend.to_string(),
    }
}

/// Whether a connection to `backend` arrives at `listener`, as far as can be told without asking anyone.
pub(super) fn reaches(backend: &BackendAddress, listener: &Address) -> bool {
    if let (BackendAddress::Unix(path), Address::Unix(own)) = (backend, listener) {
        return path == own;
    }
    let (Some((host, port)), Address::Ip(listener)) = (backend.host_and_port(), listener) else {
        return false;
    };
    let own = listener.ip().to_canonical();
    let host = match host {
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host => host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical()),
    };
    port == listener.port()
        && host.is_some_and(|ip| ip == own || (ip.is_loopback() && own.is_unspecified()))
}

/// Parses `http://host`, `http://host:port`, `http://[::1]:port`, each perhaps with a `/` at the end, the same with `https`,
/// and `unix:/path`. The host is in lower case and without brackets.
pub(crate) fn parse_backend(text: &str) -> Result<BackendAddress, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        return parse_unix_backend(path);
    }
    if text.starts_with('/') {
        let hint = format!("a unix socket is written \"unix:{text}\"");
        return fault(format!("backend \"{text}\" is not a URL"), hint);
    }
    let example = "a backend is written \"http://host:port\"";
    let Some((scheme, rest)) = text.split_once("://") else {
        let hint = format!("write \"http://{text}\"");
        return fault(format!("backend \"{text}\" is not a URL"), hint);
    };
    let is_tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => {
            let message = format!("backends speak http or https, not `{scheme}`");
            return fault(message, example);
        }
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if authority.contains('@') {
        // The message must not repeat what may be a password.
        return fault("a backend URL cannot hold a user name or password", example);
    }
    if !matches!(tail, "" | "/") {
        return fault(
            format!("backend \"{text}\" has a path or query"),
            format!(
                "write \"{scheme}://{authority}\"; use `strip_prefix` of a route to change paths"
            ),
        );
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = match port.map(parse_port) {
        None if is_tls => 443,
        None => 80,
        Some(Ok(port)) if port > 0 => port,
        Some(_) => {
            let message = format!("backend \"{text}\" has no port from 1 to 65535");
            return fault(message, example);
        }
    };
    match parse_host(host) {
        Some(host) if is_tls => Ok(BackendAddress::Tls { host, port }),
        Some(host) => Ok(BackendAddress::Tcp { host, port }),
        None => fault(format!("backend \"{text}\" has no usable host"), example),
    }
}

/// The path is part of the id, so it holds what an id may hold.
fn parse_unix_backend(path: &str) -> Result<BackendAddress, Fault> {
    let parsed = parse_socket_path(path)?;
    if path
        .chars()
        .any(|c| !c.is_ascii_graphic() || matches!(c, '"' | '\\'))
    {
        return fault(
            format!("backend \"unix:{path}\" cannot be used"),
            "use a path of letters, digits and signs, without spaces, quotes and backslashes",
        );
    }
    Ok(BackendAddress::Unix(parsed))
}

/// A host name or address in lower case; IPv6 addresses stand in brackets, which are removed.
fn parse_host(host: &str) -> Option<String> {
    if let Some(inside) = host.strip_prefix('[') {
        let address: Ipv6Addr = inside.strip_suffix(']')?.parse().ok()?;
        return Some(address.to_string());
    }
    is_host_name(host).then(|| host.to_ascii_lowercase())
}

/// Letters, digits, `-` and `_` in labels (RFC 1123, and the underscore that container networks use); a name whose
/// last label is a number must be an IPv4 address, or a resolver would read it as one in an odd notation.
fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let numeric = host
        .rsplit('.')
        .next()
        .is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()) && is_number(last));
    host.len() <= 253
        && host.split('.').all(label)
        && (!numeric || host.parse::<Ipv4Addr>().is_ok())
}

fn is_number(label: &str) -> bool {
    label.chars().all(|c| c.is_ascii_digit())
        || label
            .strip_prefix("0x")
            .is_some_and(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()))
}

/// Parses `example.com` and `*.example.com`; the result is in lower case.
pub(super) fn parse_host_match(text: &str) -> Result<HostMatch, Fault> {
    let lower = text.to_ascii_lowercase();
    if lower == "*" {
        return fault("host \"*\" matches everything", "leave `host` out");
    }
    if let Some(suffix) = lower.strip_prefix('*') {
        let name = suffix.strip_prefix('.').unwrap_or_default();
        if is_host_name(name) {
            return Ok(HostMatch::Suffix(suffix.to_owned()));
        }
    } else if lower.starts_with('[') {
        if let Some(address) = parse_host(&lower) {
            return Ok(HostMatch::Exact(format!("[{address}]")));
        }
    } else if is_host_name(&lower) {
        return Ok(HostMatch::Exact(lower));
    }
    let hint = match lower.rsplit_once(':') {
        Some((host, port)) if is_host_name(host) && parse_port(port).is_ok() => {
            format!("write \"{host}\": hosts are compared without port")
        }
        _ => "write a name such as \"example.com\", or \"*.example.com\" for every name below it"
            .to_owned(),
    };
    fault(format!("host \"{text}\" can never match"), hint)
}

/// Parses `10.0.0.0/8`, `192.0.2.7` and the like of IPv6; bits beyond the prefix are cleared.
pub(super) fn parse_network(text: &str) -> Result<IpNet, Fault> {
    let network = text.parse::<IpNet>().ok();
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    match network.or_else(address) {
        Some(network) => Ok(canonical(network.trunc())),
        None => fault(
            format!("\"{text}\" is not a network or an address"),
            "write it as in \"10.0.0.0/8\", \"192.168.1.7\" or \"fd00::/8\"",
        ),
    }
}

/// Says it when `written` names one address of `network` together with the length of its prefix: one of both may be meant.
pub(super) fn warn_of_host_bits(written: &At<String>, network: IpNet, report: &Report) {
    let parsed = written.value.parse::<IpNet>();
    if parsed.is_ok_and(|parsed| parsed.addr() != parsed.network()) {
        let message = format!("\"{}\" is the whole network {network}", written.value);
        let hint = "write the network, or the address without `/`";
        report.warning(written.place, message, hint);
    }
}

/// A network of IPv4-mapped addresses is one of IPv4: that is what clients are compared as.
fn canonical(network: IpNet) -> IpNet {
    let mapped = match network.network() {
        IpAddr::V6(address) => address.to_ipv4_mapped(),
        IpAddr::V4(_) => None,
    };
    let length = network.prefix_len().checked_sub(96);
    match mapped.zip(length) {
        Some((address, length)) => IpNet::new(address.into(), length).unwrap_or(network),
        None => network,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn listen_forms() {
        for (text, expected) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("0.0.0.0:8080", "0.0.0.0:8080"),
            (":8080", "127.0.0.1:8080"),
            ("localhost:0", "127.0.0.1:0"),
            ("LOCALHOST:1", "127.0.0.1:1"),
            ("[::1]:8080", "[::1]:8080"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
        ] {
            assert_eq!(parse_listen(text).unwrap().to_string(), expected);
        }
        for (text, part) in [
            ("/run/x.sock", "has no port"),
            ("8080", "is not an address"),
            ("", "has no port"),
            ("127.0.0.1", "has no port"),
            ("127.0.0.1:", "no port from 0"),
            ("127.0.0.1:+80", "no port from 0"),
            (":65536", "no port from 0"),
            ("*:80", "is not an address"),
            ("http://127.0.0.1:80", "is a URL"),
            ("example.com:80", "is not an IP address"),
            ("::1:80:", "no port"),
        ] {
            let (message, hint) = parse_listen(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
            assert!(!hint.is_empty());
        }
    }

    #[test]
    fn collisions() {
        let collide =
            |a: &str, b: &str| super::collide(&parse_listen(a).unwrap(), &parse_listen(b).unwrap());
        assert!(collide("127.0.0.1:80", "127.0.0.1:80"));
        assert!(collide("0.0.0.0:80", "127.0.0.1:80"));
        assert!(collide("[::ffff:127.0.0.1]:80", "127.0.0.1:80"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!collide("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!collide("127.0.0.1:80", "127.0.0.1:81"));
        assert!(collide("unix:/run/a.sock", "unix:/run/./a.sock"));
        assert!(!collide("unix:/run/a.sock", "unix:/run/b.sock"));
        assert!(!collide("unix:/run/a.sock", "127.0.0.1:80"));
    }

    #[test]
    fn socket_paths() {
        let longest = format!("/{}", "x".repeat(106));
        for good in ["/a", "/run/app.sock", "/run/with space", longest.as_str()] {
            assert_eq!(parse_socket_path(good), Ok(PathBuf::from(good)));
        }
        let too_long = format!("{longest}x");
        for (path, message, hint) in [
            ("", "no absolute path", "unix:/run/app.sock"),
            ("run/app.sock", "no absolute path", "unix:/run/app.sock"),
            ("@abstract", "no absolute path", "unix:/run/app.sock"),
            ("/", "is a directory", "unix:/run/app.sock"),
            ("/run/", "is a directory", "unix:/run/app.sock"),
            (
                "///run/app.sock",
                "too many slashes",
                "\"unix:/run/app.sock\"",
            ),
            (
                "//run/app.sock",
                "too many slashes",
                "\"unix:/run/app.sock\"",
            ),
            ("/run/\0", "control characters", "unix:/run/app.sock"),
            (too_long.as_str(), "108 bytes", "shorter path"),
        ] {
            let fault = parse_socket_path(path).unwrap_err();
            assert!(fault.0.contains(message), "{path}: {fault:?}");
            assert!(fault.1.contains(hint), "{path}: {fault:?}");
        }
    }

    #[test]
    fn backends() {
        for (text, id) in [
            ("http://127.0.0.1:9001", "127.0.0.1:9001"),
            ("HTTP://Web.Example:9001/", "web.example:9001"),
            ("http://web", "web:80"),
            ("http://my_service:1", "my_service:1"),
            ("http://[::1]:9001", "[::1]:9001"),
            ("http://[::1]", "[::1]:80"),
            ("https://web", "web:443"),
            ("HTTPS://[::1]:8443/", "[::1]:8443"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
        ] {
            assert_eq!(backend_id(&parse_backend(text).unwrap()), id);
        }
        for (text, part) in [
            ("127.0.0.1:9001", "is not a URL"),
            ("ftp://web", "speak http or https"),
            ("https://web/path", "path or query"),
            ("http://web/path", "path or query"),
            ("http://web?x", "path or query"),
            ("http://", "no usable host"),
            ("http://:80", "no usable host"),
            ("http://web:0", "no port"),
            ("http://web:", "no port"),
            ("http://web:99999", "no port"),
            ("http://256.1.1.1:80", "no usable host"),
            ("http://127.1:80", "no usable host"),
            ("http://[::1:80", "no usable host"),
            ("http://::1:80", "no usable host"),
            ("http://a b:80", "no usable host"),
            ("/run/app.sock", "is not a URL"),
            ("unix:app.sock", "no absolute path"),
            ("unix:///run/app.sock", "too many slashes"),
            ("unix:/run/my app.sock", "cannot be used"),
            ("unix:/run/a\"b", "cannot be used"),
            ("unix:/run/a\\b", "cannot be used"),
            ("unix:/run/\u{e4}", "cannot be used"),
        ] {
            let (message, _) = parse_backend(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
        let (message, hint) = parse_backend("http://me:hunter2@web").unwrap_err();
        assert!(!message.contains("hunter2") && !hint.contains("hunter2"));
    }

    #[test]
    fn own_address() {
        let reaches = |url: &str, own: &str| {
            super::reaches(&parse_backend(url).unwrap(), &parse_listen(own).unwrap())
        };
        assert!(reaches("http://127.0.0.1:80", "127.0.0.1:80"));
        assert!(reaches("http://localhost:80", "0.0.0.0:80"));
        assert!(!reaches("http://127.0.0.1:81", "127.0.0.1:80"));
        assert!(!reaches("http://10.0.0.1:80", "127.0.0.1:80"));
        assert!(reaches("unix:/run/a.sock", "unix:/run/a.sock"));
        assert!(!reaches("unix:/run/a.sock", "unix:/run/b.sock"));
        assert!(!reaches("unix:/run/a.sock", "127.0.0.1:80"));
    }

    #[test]
    fn hosts() {
        assert_eq!(
            parse_host_match("Example.COM"),
            Ok(HostMatch::Exact("example.com".to_owned()))
        );
        assert_eq!(
            parse_host_match("*.Example.com"),
            Ok(HostMatch::Suffix(".example.com".to_owned()))
        );
        assert_eq!(
            parse_host_match("[0::1]"),
            Ok(HostMatch::Exact("[::1]".to_owned()))
        );
        for bad in [
            "*",
            "",
            "*.",
            "*example.com",
            "a.*.com",
            "example.com:80",
            "a b",
            "ä.de",
            "x..y",
        ] {
            assert!(parse_host_match(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,20}|(http://|unix:/?)?[\\[\\]:.@/a-z0-9*]{0,20}") {
            let _ = parse_listen(&text);
            let _ = parse_backend(&text);
            let _ = parse_host_match(&text);
        }
    }
}
