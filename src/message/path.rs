//! A path as it is judged: the form that routes are compared with, the form that backends get, and what is wrong with it.
//!
//! Both are made once, from what was sent, so that no backend gets another path than the one that was judged. What programs read in
//! different ways is found here too; what becomes of it is decided elsewhere. The target itself stays as it came (see [`super::target`]).

mod fault;
mod reading;

use std::borrow::Cow;

pub use fault::{Fault, StrictFault};
use reading::Doubts;

/// A path without query, in the forms that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path<'a> {
    sent: &'a str,
    normal: Cow<'a, str>,
    canonical: Cow<'a, str>,
    fault: Option<Fault>,
    doubts: Doubts,
}

impl<'a> Path<'a> {
    /// The path `sent`, which starts with `/`; of anything else all forms are what was sent.
    pub fn new(sent: &'a str) -> Path<'a> {
        if !is_odd(sent) || !sent.starts_with('/') {
            return Path::canonical_already(sent);
        }
        let (decoded, fault) = decode(sent);
        let (segments, more_fault) = resolve(&decoded);
        let normal = join(segments.iter().copied());
        let canonical = canonical(&segments);
        let doubts = Doubts::of(&normal);
        Path {
            sent,
            fault: fault.or(more_fault),
            normal: if normal == sent {
                sent.into()
            } else {
                normal.into()
            },
            canonical: if canonical == sent {
                sent.into()
            } else {
                canonical.into()
            },
            doubts,
        }
    }

    /// A path that is in the form for comparing, as one of [`Path::readings`] is.
    pub fn canonical_already(path: &'a str) -> Path<'a> {
        Path {
            sent: path,
            normal: path.into(),
            canonical: path.into(),
            fault: None,
            doubts: Doubts::NONE,
        }
    }

    /// Whether all its forms are the same for everybody: most paths are.
    pub fn is_plain(&self) -> bool {
        matches!(self.normal, Cow::Borrowed(_))
            && matches!(self.canonical, Cow::Borrowed(_))
            && self.fault.is_none()
            && self.doubts == Doubts::NONE
    }

    /// As it came.
    pub fn sent(&self) -> &'a str {
        self.sent
    }

    /// For backends: escapes of letters, digits, `-`, `.`, `_` and `~` decoded, `.` and `..` resolved, which never leads above the root,
    /// and no more than one `/` at the begin. All else is as it came: other escapes, and `//` within the path.
    pub fn normal(&self) -> &str {
        &self.normal
    }

    /// For comparing: like [`Path::normal`], with every escape decoded that stands for a visible ASCII character other than `/`, `\`, `;`,
    /// `?`, `#` and `%`, with those that stay in capitals, and with runs of slashes made one.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// What is wrong with it whatever the routes are.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// What is wrong with it for those who want paths to be written in one way only.
    pub fn strict_fault(&self) -> Option<StrictFault> {
        if self.doubts.has_hidden_separators() {
            Some(StrictFault::Separator)
        } else if self.doubts.is_encoded_twice() {
            Some(StrictFault::Twice)
        } else if self.sent.contains("//") {
            Some(StrictFault::EmptySegment)
        } else if self.normal != self.sent {
            Some(StrictFault::NotNormal)
        } else {
            None
        }
    }

    /// How many [`Path::readings`] there are: up to 127.
    pub fn ways(&self) -> usize {
        self.doubts.ways()
    }

    /// What else programs may take it for, in the form for comparing: one for each way to read it. Most paths have none.
    pub fn readings(&self) -> impl Iterator<Item = Result<String, Fault>> {
        self.doubts
            .subsets()
            .map(|doubts| reading::read(&self.normal, doubts))
    }
}

/// Where all segments but the first `skip` non-empty ones begin, in a path of any form; the end, if there are no more.
pub fn behind(path: &str, skip: usize) -> &str {
    let mut rest = path;
    for _ in 0..skip {
        let segment = rest.trim_start_matches('/');
        rest = segment
            .find('/')
            .and_then(|at| segment.get(at..))
            .unwrap_or_default();
    }
    rest
}

/// The segments that are not empty.
pub fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// The form for comparing of what stands in a configuration: a path, or one segment.
pub fn canonical_text(text: &str) -> String {
    let mut canonical = String::with_capacity(text.len());
    append_canonical(&decode(text).0, &mut canonical);
    canonical
}

/// Whether it may have other forms than the one that was sent.
fn is_odd(path: &str) -> bool {
    let mut before = 0;
    path.bytes().any(|byte| {
        let is_odd =
            matches!(byte, b'%' | b'\\' | b';') || (before == b'/' && matches!(byte, b'/' | b'.'));
        before = byte;
        is_odd
    })
}

/// With `%XX` replaced where it stands for a character that needs no encoding (RFC 3986 section 2.3). A `%` that begins no escape
/// becomes one, so that decoding never makes a new one.
fn decode(path: &str) -> (String, Option<Fault>) {
    let mut decoded = String::with_capacity(path.len());
    let mut fault = path.contains('\\').then_some(Fault::Backslash);
    let mut rest = path;
    let mut lead = 0;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let Some((byte, digits, behind)) = escape(after) else {
            fault = fault.or(Some(Fault::Escape));
            decoded.push_str("%25");
            (rest, lead) = (after, 0);
            continue;
        };
        if !before.is_empty() {
            lead = 0;
        }
        if byte.is_ascii_control() {
            fault = fault.or(Some(Fault::Control));
        } else if fault::is_overlong(lead, byte) {
            fault = fault.or(Some(Fault::Overlong));
        }
        if is_unreserved(byte) {
            decoded.push(char::from(byte));
        } else {
            decoded.push('%');
            decoded.push_str(digits);
        }
        (rest, lead) = (behind, byte);
    }
    decoded.push_str(rest);
    (decoded, fault)
}

/// What the two digits at the begin of `text` stand for, they themselves, and what follows.
fn escape(text: &str) -> Option<(u8, &str, &str)> {
    let (digits, behind) = text.split_at_checked(2)?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let byte = u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    Some((byte, digits, behind))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The segments without dot segments, and without empty ones at the begin. An empty one at the end stands for a `/` there.
fn resolve(path: &str) -> (Vec<&str>, Option<Fault>) {
    let mut kept: Vec<&str> = Vec::new();
    let mut fault = None;
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "" if kept.is_empty() && !is_last => (),
            "." => (),
            // One reader takes away the empty segment, another one that in front of it.
            ".." if kept.pop() == Some("") => fault = Some(Fault::DotsBehindEmpty),
            ".." => (),
            part => {
                if fault::is_padded_dots(part) {
                    fault = fault.or(Some(Fault::Dots));
                }
                kept.push(part);
            }
        }
        if is_last && matches!(part, "." | "..") {
            kept.push("");
        }
    }
    (kept, fault)
}

fn join<'a>(segments: impl Iterator<Item = &'a str>) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        path.push_str(segment);
    }
    if path.is_empty() {
        path.push('/');
    }
    path
}

fn canonical(segments: &[&str]) -> String {
    let mut path = String::new();
    for segment in segments.iter().filter(|segment| !segment.is_empty()) {
        path.push('/');
        append_canonical(segment, &mut path);
    }
    if segments.last().is_none_or(|last| last.is_empty()) {
        path.push('/');
    }
    path
}

fn append_canonical(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        match escape(after) {
            Some((byte, _, behind)) => {
                append_byte(byte, out);
                rest = behind;
            }
            None => {
                out.push('%');
                rest = after;
            }
        }
    }
    out.push_str(rest);
}

/// A byte that was encoded, in the form for comparing.
fn append_byte(byte: u8, out: &mut String) {
    if byte.is_ascii_graphic() && !b"/\\;?#%".contains(&byte) {
        out.push(char::from(byte));
    } else {
        let digit = |four: u8| char::from_digit(four.into(), 16).unwrap_or_default();
        out.push('%');
        out.push(digit(byte >> 4).to_ascii_uppercase());
        out.push(digit(byte & 15).to_ascii_uppercase());
    }
}

#[cfg(test)]
mod tests;
