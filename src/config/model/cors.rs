//! `[route.cors]`: which other sites may use a route from a browser, and how (CORS, Fetch standard section 3.3).
//!
//! What an origin is, and whether it is one of those that are meant, is said here; answers are written elsewhere.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::message::target::split_port;

/// `[route.cors]`.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Sites that may read the answers.
    pub origins: Origins,
    /// Methods that they may use. Default: those of the route's `match.method`, else GET, HEAD and POST.
    pub methods: Names,
    /// Fields that their requests may have beside what every page may send. Default: `Content-Type`, with any value.
    pub headers: Names,
    /// Fields of answers that they may read beside the few that every page may. Default none.
    pub expose: Names,
    /// Whether their requests may carry cookies and other credentials; never together with `*`. Default false.
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight; up to 1 d. Default 10 min.
    pub max_age: Duration,
}

/// Sites that are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// All, `["*"]`.
    Any,
    /// One of these.
    Only(Vec<OriginPattern>),
}

/// Names that are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// All, `["*"]`.
    Any,
    /// These.
    Only(Vec<String>),
}

/// One site, or all whose name ends so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern {
    /// In lower case.
    scheme: String,
    /// In lower case; with [`OriginPattern::is_suffix`] it begins with a dot.
    host: String,
    /// One or more labels stand in front of the host.
    is_suffix: bool,
    /// None: the scheme's own.
    port: Option<u16>,
}

/// An origin taken apart: scheme, host, port unless it is the scheme's own.
struct Parts<'a>(&'a str, &'a str, Option<u16>);

impl Cors {
    /// The value of `Access-Control-Allow-Origin` for a request from `origin`. None: that site is none of those that are meant.
    pub fn allowed<'a>(&self, origin: Option<&'a str>) -> Option<&'a str> {
        match &self.origins {
            Origins::Any => Some("*"),
            Origins::Only(patterns) => {
                let origin = origin?;
                let parts = Parts::of(origin)?;
                let mut patterns = patterns.iter();
                patterns
                    .any(|pattern| pattern.matches(&parts))
                    .then_some(origin)
            }
        }
    }
}

impl Names {
    /// The names; `*` for any.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (any, only) = match self {
            Names::Any => (Some("*"), [].as_slice()),
            Names::Only(names) => (None, names.as_slice()),
        };
        any.into_iter().chain(only.iter().map(String::as_str))
    }

    /// As the value of a list field; empty: there is none.
    pub fn joined(&self) -> String {
        let names: Vec<&str> = self.iter().collect();
        names.join(", ")
    }
}

impl OriginPattern {
    /// Takes apart `https://app.example.com`, `https://*.example.com` or either with a port. None: it is neither.
    pub fn parse(text: &str) -> Option<OriginPattern> {
        let lower = text.to_ascii_lowercase();
        let (is_suffix, plain) = match lower.split_once("://*.") {
            Some((scheme, rest)) => (true, format!("{scheme}://{rest}")),
            None => (false, lower),
        };
        let Parts(scheme, host, port) = Parts::of(&plain)?;
        if is_suffix && host.starts_with('[') {
            return None;
        }
        let dot = if is_suffix { "." } else { "" };
        Some(OriginPattern {
            scheme: scheme.to_owned(),
            host: format!("{dot}{host}"),
            is_suffix,
            port,
        })
    }

    /// Whether it means every site below a name of one label, a whole top level for one.
    pub fn is_boundless(&self) -> bool {
        self.is_suffix && self.host.matches('.').count() == 1 && self.host != ".localhost"
    }

    fn matches(&self, origin: &Parts<'_>) -> bool {
        let Parts(scheme, host, port) = origin;
        let fits = if self.is_suffix {
            let front = host.len().checked_sub(self.host.len());
            let Some((front, back)) = front.and_then(|at| host.split_at_checked(at)) else {
                return false;
            };
            !front.is_empty() && back.eq_ignore_ascii_case(&self.host)
        } else {
            host.eq_ignore_ascii_case(&self.host)
        };
        fits && *port == self.port && scheme.eq_ignore_ascii_case(&self.scheme)
    }
}

impl<'a> Parts<'a> {
    /// None: it is no origin that a site could have. `null` is none: sandboxed pages of anybody have it.
    fn of(text: &'a str) -> Option<Parts<'a>> {
        let (scheme, authority) = text.split_once("://")?;
        let mut letters = scheme.bytes();
        let is_scheme = letters
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic())
            && letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let (host, port) = split_port(authority);
        if !is_scheme || !is_host(host) {
            return None;
        }
        let port = match port {
            None => None,
            // `u16` would take a sign.
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(port.parse::<u16>().ok()?)
            }
            Some(_) => return None,
        };
        let own = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => Some(443),
            _ if scheme.eq_ignore_ascii_case("http") => Some(80),
            _ => None,
        };
        Some(Parts(scheme, host, port.filter(|port| Some(*port) != own)))
    }
}

/// A name of labels, none of them empty, or an address.
fn is_host(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = address {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    host.split('.')
        .all(|label| !label.is_empty() && label.bytes().all(is_letter))
}

/// As it is written in the configuration.
impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.is_suffix { "*" } else { "" };
        write!(f, "{}://{star}{}", self.scheme, self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Origins {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Origins::Any => serializer.collect_seq(["*"]),
            Origins::Only(patterns) => {
                serializer.collect_seq(patterns.iter().map(OriginPattern::to_string))
            }
        }
    }
}

impl Serialize for Names {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(pattern: &str, origin: &str) -> bool {
        let pattern = OriginPattern::parse(pattern).unwrap();
        Parts::of(origin).is_some_and(|parts| pattern.matches(&parts))
    }

    #[test]
    fn a_site_is_scheme_host_and_port() {
        for origin in [
            "https://app.example.com",
            "HTTPS://APP.Example.COM",
            "https://app.example.com:443",
        ] {
            assert!(allows("https://app.example.com", origin), "{origin}");
        }
        for origin in [
            "http://app.example.com",
            "https://app.example.com:444",
            "https://app.example.com:",
            "https://app.example.com:+443",
            "https://app.example.com.",
            "https://app.example.com.evil.com",
            "https://evil-app.example.com",
            "https://app.example.com@evil.com",
            "https://evil.com@app.example.com",
            "https://user:pw@app.example.com",
            "https://app.example.com/",
            "https://app.example.com#",
            "https://app.example.com, https://evil.com",
            "https://app.example.com https://evil.com",
            "https://app_example.com",
            "https://appxexample.com",
            "app.example.com",
            "//app.example.com",
            "null",
            "NULL",
            "",
            "*",
            "file://",
            "https://",
            "https://app.ex\u{e4}mple.com",
        ] {
            assert!(!allows("https://app.example.com", origin), "{origin}");
        }
    }

    #[test]
    fn a_pattern_stands_for_one_or_more_labels() {
        let pattern = "https://*.Example.com";
        for origin in [
            "https://a.example.com",
            "https://a.b.example.com",
            "https://A.EXAMPLE.COM",
            "https://xn--mller-kva.example.com",
        ] {
            assert!(allows(pattern, origin), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://.example.com",
            "https://a..example.com",
            "https://evil-example.com",
            "https://evilexample.com",
            "https://a.example.com.evil.com",
            "https://a.example.com:8443",
            "http://a.example.com",
            "https://evil.com/.example.com",
            "https://evil.com?.example.com",
            "https://evil.com#.example.com",
            "https://evil.com\\.example.com",
            "https://evil.com:443@a.example.com",
            "https://*.example.com",
            "null",
        ] {
            assert!(!allows(pattern, origin), "{origin}");
        }
        assert!(allows(
            "https://*.example.com:8443",
            "https://a.example.com:8443"
        ));
    }

    #[test]
    fn other_forms() {
        assert!(allows("http://[::1]:3000", "http://[::1]:3000"));
        assert!(allows("http://127.0.0.1:80", "http://127.0.0.1"));
        assert!(allows("capacitor://localhost", "capacitor://localhost"));
        for bad in [
            "*",
            "null",
            "example.com",
            "https://",
            "https://*",
            "https://*.",
            "https://*example.com",
            "https://a.*.com",
            "https://example.com/",
            "https://*.[::1]",
            "*://example.com",
            "https://a b",
            "https://a:99999",
        ] {
            assert_eq!(OriginPattern::parse(bad), None, "{bad}");
        }
        let shown = |text| OriginPattern::parse(text).unwrap().to_string();
        assert_eq!(shown("HTTPS://*.Example.com:443"), "https://*.example.com");
        assert!(
            OriginPattern::parse("https://*.com")
                .unwrap()
                .is_boundless()
        );
        assert!(
            !OriginPattern::parse("https://*.a.com")
                .unwrap()
                .is_boundless()
        );
    }
}
