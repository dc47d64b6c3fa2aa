//! What is wrong with a path.

use std::fmt;

/// What makes a path one that no two programs need to read in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A `%` without two hexadecimal digits behind it.
    Escape,
    /// `%00` to `%1F`, `%7F`.
    Control,
    /// An overlong UTF-8 sequence (RFC 3629 section 10): `%C0%AE` is a dot to careless decoders.
    Overlong,
    /// `\`, which some programs take for `/`. (`%5C` is one that shows on another reading.)
    Backslash,
    /// `..` behind an empty segment.
    DotsBehindEmpty,
    /// A dot segment that shows on another reading.
    Dots,
    /// On another reading it belongs to another route, or to none.
    OtherRoute,
    /// There are more readings than can be looked at in the time that one request may take.
    Readings,
}

/// What makes a path one that is not written in the only way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrictFault {
    /// `%2F`, `%5C`.
    Separator,
    /// `%25` in front of two hexadecimal digits.
    Twice,
    /// `//`.
    EmptySegment,
    /// Dot segments, needless escapes.
    NotNormal,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Escape => "a % without two hexadecimal digits behind it",
            Fault::Control => "a control character (%00 to %1F, %7F)",
            Fault::Overlong => "an overlong UTF-8 sequence",
            Fault::Backslash => "a backslash",
            Fault::DotsBehindEmpty => "\"..\" behind an empty segment",
            Fault::Dots => {
                "a dot segment that shows when it is decoded once more, or when %2F, %5C or \";\" end segments"
            }
            Fault::OtherRoute => {
                "a part (%2F, %5C, \";\", %3F, %23, %25XX, //, %20) that makes it one of another route, or of none, when it is \
                 read in another way"
            }
            Fault::Readings => {
                "too many kinds of parts that can be read in two ways (%2F, %5C, \";\", %3F, %23, %25XX, //, %20) for its length"
            }
        })
    }
}

impl fmt::Display for StrictFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StrictFault::Separator => "an encoded separator (%2F, %5C)",
            StrictFault::Twice => "a part that is encoded twice (%25XX)",
            StrictFault::EmptySegment => "an empty segment (//)",
            StrictFault::NotNormal => "a dot segment or a needless escape",
        })
    }
}

/// Whether `byte` behind `lead`, both encoded, makes a sequence that is longer than it has to be, for decoders that take up to six
/// bytes. C0 and C1 never begin anything else.
pub(super) fn is_overlong(lead: u8, byte: u8) -> bool {
    matches!(
        (lead, byte),
        (_, 0xc0 | 0xc1)
            | (0xe0, 0x80..=0x9f)
            | (0xf0, 0x80..=0x8f)
            | (0xf8, 0x80..=0x87)
            | (0xfc, 0x80..=0x83)
    )
}

/// Whether it is a dot segment for programs that cut blanks off.
pub(super) fn is_padded_dots(segment: &str) -> bool {
    let bare = segment.trim_start_matches("%20").trim_end_matches("%20");
    bare.len() < segment.len() && matches!(bare, "." | "..")
}
