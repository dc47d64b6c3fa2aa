//! Reads `Forwarded` (RFC 7239 section 4) from its end: what stands at the begin may be anybody's, and must not change how the
//! rest is read.
//!
//! Whom to believe is not decided here.

use std::net::IpAddr;

use super::super::fields::{Fields, is_token};
use super::parse_address;

/// What one element says of the hop that it was written about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Element {
    /// `for`, where it is an address: neither `unknown` nor a name that hides one.
    pub(super) address: Option<IpAddr>,
    /// `proto`.
    pub(super) scheme: Option<&'static str>,
}

/// All elements, the last one first. `None`: one that is not well-formed.
pub(super) fn backwards(fields: &Fields) -> impl Iterator<Item = Option<Element>> {
    let lines: Vec<&[u8]> = fields.all("forwarded").collect();
    let elements = lines
        .into_iter()
        .rev()
        .flat_map(|line| Backwards::new(line, b','));
    elements
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .map(parse)
}

/// The parts between separators that are not quoted, the last one first.
struct Backwards<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Backwards<'a> {
    fn new(text: &'a [u8], separator: u8) -> Backwards<'a> {
        let rest = Some(text);
        Backwards { rest, separator }
    }
}

impl<'a> Iterator for Backwards<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.rest.take()?;
        let mut is_quoted = false;
        for (at, byte) in text.iter().enumerate().rev() {
            if *byte == b'"' && !is_escaped(text, at) {
                is_quoted = !is_quoted;
            } else if *byte == self.separator && !is_quoted {
                self.rest = text.get(..at);
                return text.get(at + 1..);
            }
        }
        Some(text)
    }
}

/// Whether a backslash takes the meaning from what stands at `at`.
fn is_escaped(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let slashes = before.iter().rev().take_while(|byte| **byte == b'\\');
    slashes.count() % 2 == 1
}

/// `None`: it is not well-formed, or says one thing twice.
fn parse(text: &[u8]) -> Option<Element> {
    let (mut element, mut node, mut proto) = (Element::default(), None, None);
    let pairs = Backwards::new(text, b';').map(<[u8]>::trim_ascii);
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair.get(..equals)?, unquoted(pair.get(equals + 1..)?)?);
        let place = match name {
            name if name.eq_ignore_ascii_case(b"for") => &mut node,
            name if name.eq_ignore_ascii_case(b"proto") => &mut proto,
            name if is_token(name) => continue,
            _ => return None,
        };
        if place.replace(value).is_some() {
            return None;
        }
    }
    element.address = node.and_then(parse_address);
    element.scheme = proto.map(|proto| match proto.eq_ignore_ascii_case(b"https") {
        true => "https",
        false => "http",
    });
    Some(element)
}

/// What a value says. Addresses and schemes need no escapes, so those stay as they are. A bare value may also have the colons and
/// brackets of addresses, since not everybody quotes them.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let is_bare = |byte: &u8| is_token(&[*byte]) || b":[]".contains(byte);
    match value {
        [b'"', inner @ .., b'"'] if !has_open_quote(inner) => Some(inner),
        [] => None,
        bare => bare.iter().all(is_bare).then_some(bare),
    }
}

/// Whether a quoted text would end within `inner`, or would not end behind it.
fn has_open_quote(inner: &[u8]) -> bool {
    let mut quotes = inner.iter().enumerate().filter(|(_, byte)| **byte == b'"');
    quotes.any(|(at, _)| !is_escaped(inner, at)) || is_escaped(inner, inner.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Vec<Option<Element>> {
        let mut fields = Fields::new();
        for line in lines {
            fields.append("Forwarded", line);
        }
        backwards(&fields).collect()
    }

    fn element(address: &str, scheme: Option<&'static str>) -> Option<Element> {
        let address = address.parse().ok();
        Some(Element { address, scheme })
    }

    #[test]
    fn elements_are_read_as_the_standard_has_them() {
        for (line, expected) in [
            ("for=192.0.2.43", element("192.0.2.43", None)),
            ("For=\"192.0.2.43:80\"", element("192.0.2.43", None)),
            (
                "for=\"[2001:db8:cafe::17]:4711\"",
                element("2001:db8:cafe::17", None),
            ),
            ("for=\"[::ffff:10.0.0.1]\"", element("10.0.0.1", None)),
            (
                "for=192.0.2.43:80 ; PROTO=HTTPS",
                element("192.0.2.43", Some("https")),
            ),
            (
                "for=192.0.2.60;proto=http;by=203.0.113.43",
                element("192.0.2.60", Some("http")),
            ),
            (";proto=\"https\";", element("", Some("https"))),
            ("for=unknown;x=\"a,b;\\\"c\"", element("", None)),
            ("for=\"_gazonk\"", element("", None)),
        ] {
            assert_eq!(read(&[line]), [expected], "{line}");
        }
        for bad in [
            "for",
            "for=",
            "=1",
            "for=1.2.3.4;for=1.2.3.4",
            "proto=https;for=1.2.3.4;proto=http",
            "for=\"1.2.3.4",
            "for=1.2.3.4\"",
            "for=\"1.2.3.4\\\"",
            "for=\"a\"b\"",
            "for=1.2.3.4 5",
            "a b=1;for=1.2.3.4",
        ] {
            assert_eq!(read(&[bad]), [None], "{bad}");
        }
        assert!(read(&["", ", ,"]).is_empty());
    }

    #[test]
    fn the_last_one_comes_first_whatever_stands_before_it() {
        let last = element("192.0.2.1", Some("https"));
        for before in [
            "for=203.0.113.66",
            "for=\"203.0.113.66",
            "for=\"203.0.113.66\\",
            "\"",
            "for=203.0.113.66;x=\"",
            "nonsense",
        ] {
            for line in [
                format!("{before}, for=192.0.2.1;proto=https"),
                format!("{before}, for=\"192.0.2.1\";host=\"a,for=203.0.113.66;x=\";proto=https"),
            ] {
                assert_eq!(read(&[&line])[0], last, "{line}");
            }
            assert_eq!(read(&[before, "for=192.0.2.1;proto=https"])[0], last);
        }
    }
}
