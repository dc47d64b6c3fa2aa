//! Where one listens and where backends are. Nothing here resolves or opens anything.

use serde::Serialize;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::tls::ListenTls;

/// Where a listener or a backend is, in words of the kernel.
#[derive(Debug, Serialize, Clone, PartialEq, Eq, Hash)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// TCP.
    Ip(SocketAddr),
    /// A Unix socket, by its path.
    Unix(PathBuf),
}

impl Address {
    /// The TCP address, if it is one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }
}

impl Address {
    /// As people open it: with `http://` or `https://` before an IP address.
    pub fn url(&self, tls: ListenTls) -> String {
        match (self, tls) {
            (Address::Ip(address), ListenTls::Plain) => format!("http://{address}"),
            (Address::Ip(address), ListenTls::Tls) => format!("https://{address}"),
            (Address::Unix(_), ListenTls::Plain) => self.to_string(),
            (Address::Unix(_), ListenTls::Tls) => format!("{self} (TLS)"),
        }
    }
}

/// `127.0.0.1:8080` or `unix:/run/app.sock`, as in the configuration.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One entry of `listen`.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Port 0: the system picks one. Unix sockets need the reactor engine.
    pub address: Address,
    /// Peers in [`super::Server::trusted_proxies`] begin each connection with a PROXY protocol header (v1 or v2); from others it is a
    /// malformed request. Reactor engine only. Default false.
    pub proxy_protocol: bool,
    /// Reactor engine only. Default none.
    pub tls: ListenTls,
    /// Nobody but the user that runs tollgate may connect; a Unix socket of the admin side is so.
    #[serde(skip)]
    pub is_private: bool,
}

/// Where a backend listens.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum BackendAddress {
    /// TCP.
    Tcp {
        /// Host name or address literal, without brackets.
        host: String,
        /// Default 80.
        port: u16,
    },
    /// TLS over TCP.
    Tls {
        /// Host name or address literal, without brackets.
        host: String,
        /// Default 443.
        port: u16,
    },
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
}

impl BackendAddress {
    /// Whether TLS is spoken with it.
    pub fn is_tls(&self) -> bool {
        matches!(self, BackendAddress::Tls { .. })
    }

    /// Host and port, unless it is a Unix socket.
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        match self {
            BackendAddress::Tcp { host, port } | BackendAddress::Tls { host, port } => {
                Some((host, *port))
            }
            BackendAddress::Unix(_) => None,
        }
    }

    /// The host name, where it is one that has to be looked up.
    pub fn name(&self) -> Option<&str> {
        let (host, _) = self.host_and_port()?;
        Some(host).filter(|host| host.parse::<IpAddr>().is_err())
    }
}

/// `http://127.0.0.1:80`, `https://api.internal:443` or `unix:/run/app.sock`, as in the configuration.
impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            BackendAddress::Tcp { host, port } => ("http", host, port),
            BackendAddress::Tls { host, port } => ("https", host, port),
            BackendAddress::Unix(path) => return write!(f, "unix:{}", path.display()),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}
