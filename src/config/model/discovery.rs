//! Where backends come from besides the list in the configuration: the addresses of a name, and a file that is watched.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

/// `[upstream.discovery]`.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// How often the names of backends are looked up. At least 1 s; default 10 s.
    pub dns_interval: Duration,
    /// More backends are in this file. Default none.
    pub file: Option<WatchedFile>,
}

/// A file with backends.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct WatchedFile {
    /// JSON where it ends in `.json`, else TOML. A relative path starts at the configuration file.
    pub path: PathBuf,
    /// How often it is looked at. Default 1 s.
    pub interval: Duration,
    /// For its backends that say nothing else: the upstream's `max_connections`; `usize::MAX`: no limit.
    pub max_connections: usize,
}

/// What the addresses of a backend's name are to it.
#[derive(Debug, Serialize, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum Resolve {
    /// `one`: it is one backend, and a connection goes to the first address that accepts it. The default.
    #[default]
    One,
    /// `all`: it stands for as many backends as the name has addresses, and gets no request itself.
    All,
    /// It is one of those.
    At {
        /// The id of the backend that stands for them.
        template: String,
        /// Its address.
        address: IpAddr,
    },
}
