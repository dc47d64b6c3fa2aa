//! The request-target (RFC 9112 section 3.2): parsed once, kept byte for byte.
//!
//! It normalises nothing: what a client wrote is what a backend gets. `CONNECT`'s authority-form is not a form of ours.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// A request-target in one of the forms a proxy's origin side accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    raw: String,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `/path?query`
    Origin,
    /// `http://authority/path?query`: where the authority and the path start.
    Absolute { authority: usize, path: usize },
    /// `*`
    Asterisk,
}

/// Why a target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetError {
    /// Empty, or neither `/…`, `http://…` nor `*`.
    Form,
    /// A space, a control character or a byte above 127.
    Character,
    /// `#`: a fragment never belongs into a request.
    Fragment,
    /// An absolute-form without host, or with user information.
    Authority,
}

impl TargetError {
    /// For people.
    pub fn describe(self) -> &'static str {
        match self {
            TargetError::Form => {
                "the request-target must start with \"/\", be \"*\", or be an absolute http URL"
            }
            TargetError::Character => {
                "the request-target has a space, a control character or a byte above 127"
            }
            TargetError::Fragment => "the request-target has a fragment (\"#\")",
            TargetError::Authority => "the absolute request-target has no usable host",
        }
    }
}

impl Target {
    /// Parses what stood between method and version.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn parse(raw: &str) -> Result<Target, TargetError> {
        if raw.bytes().any(|byte| byte <= 0x20 || byte >= 0x7f) {
            return Err(TargetError::Character);
        }
        if raw.contains('#') {
            return Err(TargetError::Fragment);
        }
        let form = if raw.starts_with('/') {
            Form::Origin
        } else if raw == "*" {
            Form::Asterisk
        } else {
            absolute(raw)?
        };
        Ok(Target {
            raw: raw.to_owned(),
            form,
        })
    }

    /// Stands in for a target that could not be read; `-` in logs, and no path of anything.
    pub fn unknown() -> Target {
        Target {
            raw: "-".into(),
            form: Form::Asterisk,
        }
    }

    /// As it came.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// Host and port of an absolute-form target.
    pub fn authority(&self) -> Option<&str> {
        match self.form {
            Form::Absolute { authority, path } => self.raw.get(authority..path),
            Form::Origin | Form::Asterisk => None,
        }
    }

    /// Whether it is `*`.
    pub fn is_asterisk(&self) -> bool {
        self.form == Form::Asterisk
    }

    /// The path without query: `/` for an absolute-form without path, `*` for the asterisk-form.
    pub fn path(&self) -> &str {
        let path = self.path_and_query();
        let path = path.split('?').next().unwrap_or_default();
        if path.is_empty() { "/" } else { path }
    }

    /// The query with its `?`, or nothing.
    pub fn query(&self) -> &str {
        let whole = self.path_and_query();
        whole
            .find('?')
            .and_then(|at| whole.get(at..))
            .unwrap_or_default()
    }

    /// Path and query as written; may be empty or start with `?` in absolute-form.
    fn path_and_query(&self) -> &str {
        match self.form {
            Form::Absolute { path, .. } => self.raw.get(path..).unwrap_or_default(),
            Form::Origin | Form::Asterisk => &self.raw,
        }
    }
}

fn absolute(raw: &str) -> Result<Form, TargetError> {
    let scheme_end = raw.find("://").ok_or(TargetError::Form)?;
    let scheme = raw.get(..scheme_end).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(TargetError::Form);
    }
    let authority = scheme_end + 3;
    let rest = raw.get(authority..).unwrap_or_default();
    let path = authority + rest.find(['/', '?']).unwrap_or(rest.len());
    let host = raw.get(authority..path).unwrap_or_default();
    if is_host(host) {
        Ok(Form::Absolute { authority, path })
    } else {
        Err(TargetError::Authority)
    }
}

/// Whether `host` can be a `Host` value or an authority: a name, an address or a bracketed IPv6 address, with an optional
/// port (RFC 9112 section 3.2). User information is refused.
///
/// Names are those of DNS, with `_`, which names inside of networks have. The other signs that RFC 3986 allows are in none, and
/// what some program takes for the end of a name is no part of one.
pub fn is_host(host: &str) -> bool {
    let (name, port) = split_port(host);
    let address = name
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'));
    let name_fits = match address {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => name
            .strip_suffix('.')
            .unwrap_or(name)
            .split('.')
            .all(is_label),
    };
    port.is_none_or(is_port) && name_fits
}

fn is_label(label: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !label.is_empty() && label.bytes().all(fits)
}

/// Digits for a port, or none (RFC 3986 section 3.2.3).
fn is_port(port: &str) -> bool {
    let are_digits = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    are_digits && (port.is_empty() || port.parse::<u16>().is_ok())
}

/// Splits `host:port` into host (brackets kept) and port.
pub fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rfind(':') {
        Some(colon) if !host.get(colon..).unwrap_or_default().contains(']') => {
            (host.get(..colon).unwrap_or_default(), host.get(colon + 1..))
        }
        _ => (host, None),
    }
}

/// A host as hosts are compared: without port and without the root dot, in lower case, an IPv6 address in its shortest form.
pub fn canonical_host(host: &str) -> Cow<'_, str> {
    let name = split_port(host).0;
    let address = name
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'));
    if let Some(address) = address.and_then(|text| text.parse::<Ipv6Addr>().ok()) {
        return format!("[{address}]").into();
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let target = Target::parse("/a/./b//%2e?x=\"|`").unwrap();
        assert_eq!((target.path(), target.query()), ("/a/./b//%2e", "?x=\"|`"));
        let target = Target::parse("HTTP://Example.com:8080?q").unwrap();
        assert_eq!(
            (target.authority(), target.path(), target.query()),
            (Some("Example.com:8080"), "/", "?q")
        );
        assert!(Target::parse("*").unwrap().is_asterisk());
    }

    #[test]
    fn refused() {
        for (raw, error) in [
            ("", TargetError::Form),
            ("a/b", TargetError::Form),
            ("host:443", TargetError::Form),
            ("ftp://a/", TargetError::Form),
            ("/a b", TargetError::Character),
            ("/a\tb", TargetError::Character),
            ("/\u{e4}", TargetError::Character),
            ("/a#b", TargetError::Fragment),
            ("http://", TargetError::Authority),
            ("http://u:p@h/", TargetError::Authority),
        ] {
            assert_eq!(Target::parse(raw), Err(error), "{raw}");
        }
    }

    #[test]
    fn hosts_lose_port_root_dot_and_case() {
        for (host, canonical) in [
            ("A.Example:80", "a.example"),
            ("a.example.", "a.example"),
            ("[::1]:8080", "[::1]"),
            ("[0:0::0:1]", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("[x]", "[x]"),
            ("", ""),
        ] {
            assert_eq!(canonical_host(host), canonical);
        }
    }

    #[test]
    fn hosts() {
        for good in [
            "a",
            "a.b:80",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:8080",
            "a_b",
            "a:",
            "a:0",
            "a:65535",
            "A-1.b_c.",
            "a.:80",
            "_sip._tcp.a",
            "xn--bcher-kva.example",
        ] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a b",
            "a:b",
            "a:123456",
            "a:65536",
            "a:99999",
            "a:+1",
            "[::1",
            "[x]",
            "u@h",
            "a/b",
            "::1",
            ".",
            "..",
            "a..",
            ".a",
            "a..b",
            "..example.com",
            ",",
            "*.x",
            "a%41",
            "evil.com,.example.com",
            "evil.com%0d.example.com",
            "a~b",
            "a!",
            "a;b",
            "a=b",
            "b\u{fc}cher",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
