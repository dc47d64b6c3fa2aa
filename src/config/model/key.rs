//! What requests are told apart by, where the same client is to get the same: consistent hashing, splits.
//!
//! A key is looked up and hashed here; what the hash is good for is decided elsewhere.

use serde::Serialize;
use std::fmt;
use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

use crate::message::head::RequestHead;

/// What a request is told apart by.
#[derive(Debug, Serialize, Clone, PartialEq, Eq, Hash)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// `client_ip`.
    ClientIp,
    /// `path`, without the query.
    Path,
    /// `header:NAME`: the first field of that name.
    Header(String),
    /// `cookie:NAME`.
    Cookie(String),
}

impl Key {
    /// The request's value, if it has one.
    pub fn value<'a>(&self, head: &'a RequestHead) -> Option<&'a [u8]> {
        let value = match self {
            Key::ClientIp => None,
            Key::Path => Some(head.target.path().as_bytes()),
            Key::Header(name) => head.fields.get(name),
            Key::Cookie(name) => head.cookie(name),
        };
        value.filter(|value| !value.is_empty())
    }

    /// A number for the request's value, the same in every process and every version; that of the client's address where the
    /// request has no such value. `salt` makes numbers for one purpose independent of those for another.
    pub fn hash(&self, head: &RequestHead, client_ip: IpAddr, salt: &str) -> u64 {
        match self.value(head) {
            Some(value) => hash(salt, value),
            None => match client_ip {
                IpAddr::V4(address) => hash(salt, &address.octets()),
                IpAddr::V6(address) => hash(salt, &address.octets()),
            },
        }
    }
}

/// A number for `bytes`, the same in every process and every version.
pub fn hash(salt: &str, bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(salt.as_bytes());
    // Text never has this byte in it, so where one ends and the other begins cannot be mistaken.
    hasher.write_u8(0xff);
    hasher.write(bytes);
    hasher.finish()
}

/// As it is written in the configuration.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::ClientIp => f.write_str("client_ip"),
            Key::Path => f.write_str("path"),
            Key::Header(name) => write!(f, "header:{name}"),
            Key::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::fields::Fields;
    use crate::message::framing::{Framing, Version};
    use crate::message::target::Target;

    fn head(fields: &[(&str, &str)]) -> RequestHead {
        let mut list = Fields::new();
        for (name, value) in fields {
            list.append(name, value);
        }
        RequestHead {
            method: http::Method::GET,
            target: Target::parse("/a/b?q=1").unwrap(),
            version: Version::Http11,
            fields: list,
            framing: Framing::None,
        }
    }

    #[test]
    fn every_kind_finds_its_value() {
        let head = head(&[("X-User", "ann"), ("Cookie", "a=1; side=b; side=c")]);
        let value = |key: Key| key.value(&head).map(|value| String::from_utf8_lossy(value));
        assert_eq!(value(Key::Header("x-user".into())).as_deref(), Some("ann"));
        assert_eq!(value(Key::Cookie("side".into())).as_deref(), Some("b"));
        assert_eq!(value(Key::Path).as_deref(), Some("/a/b"));
        assert_eq!(value(Key::Cookie("none".into())), None);
        assert_eq!(value(Key::ClientIp), None);
    }

    #[test]
    fn hashes_never_change_and_fall_back_to_the_address() {
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let by_user = Key::Header("x-user".into());
        let (with, without) = (head(&[("X-User", "ann")]), head(&[]));
        assert_eq!(by_user.hash(&with, ip, "s"), hash("s", b"ann"));
        assert_ne!(by_user.hash(&with, ip, "s"), by_user.hash(&with, ip, "t"));
        assert_eq!(
            by_user.hash(&without, ip, "s"),
            Key::ClientIp.hash(&with, ip, "s")
        );
        // Two proxies side by side must agree, also after one of them was upgraded.
        assert_eq!(hash("salt", b"value"), 11_781_580_570_139_310_276);
    }
}
