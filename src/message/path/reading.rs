//! The other ways to read a path: by programs that decode `%2F` before they look for segments, take `\` for `/`, cut parameters (`;…`)
//! off segments, look for `?` and `#` after decoding, decode twice, keep empty segments, or see no blanks at their ends. Each alone, and all together.

use super::fault::{Fault, is_overlong};
use super::{append_byte, escape};

/// What a path has that can be read in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doubts(u8);

const SLASH: u8 = 1;
const BACKSLASH: u8 = 2;
const PARAMETER: u8 = 4;
const CUT: u8 = 8;
const TWICE: u8 = 16;
/// Empty segments, which most programs leave out.
const UNMERGED: u8 = 32;
/// Blanks at the begin or the end of segments, which some systems do not see.
const BLANK: u8 = 64;

impl Doubts {
    pub(super) const NONE: Doubts = Doubts(0);

    /// What there is in `path`, also when it is decoded twice.
    pub(super) fn of(path: &str) -> Doubts {
        let once = decoded(path);
        let twice = decoded_again(&once);
        let is_twice = once.len() != twice.len();
        let doubts = Doubts::of_units(&once).0 | Doubts::of_units(&twice).0;
        Doubts(if is_twice { doubts | TWICE } else { doubts })
    }

    fn of_units(units: &[Unit]) -> Doubts {
        let (mut doubts, mut is_begin, mut is_behind_blank) = (0, false, false);
        for unit in units {
            let (doubt, is_separator) = match unit {
                (b'/', false) => (0, true),
                (b'/', true) => (SLASH, true),
                (b'\\', _) => (BACKSLASH, true),
                (b';', _) => (PARAMETER, false),
                (b'?' | b'#', true) => (CUT, false),
                _ => (0, false),
            };
            let (is_blank, is_end) = (unit.0 == b' ', is_separator || doubt != 0);
            doubts |= doubt;
            if is_begin && (is_separator || doubt == PARAMETER) {
                doubts |= UNMERGED;
            }
            if is_begin && is_blank || is_behind_blank && is_end {
                doubts |= BLANK;
            }
            (is_begin, is_behind_blank) = (is_separator, is_blank);
        }
        Doubts(if is_behind_blank {
            doubts | BLANK
        } else {
            doubts
        })
    }

    pub(super) fn has_hidden_separators(self) -> bool {
        self.has(SLASH) || self.has(BACKSLASH)
    }

    pub(super) fn is_encoded_twice(self) -> bool {
        self.has(TWICE)
    }

    /// How many ways to read it that makes.
    pub(super) fn ways(self) -> usize {
        (1 << self.0.count_ones()) - 1
    }

    /// Every choice of some of them.
    pub(super) fn subsets(self) -> impl Iterator<Item = Doubts> {
        (1..=self.0)
            .filter(move |some| some & !self.0 == 0)
            .map(Doubts)
    }

    fn has(self, doubt: u8) -> bool {
        self.0 & doubt != 0
    }
}

/// A character, and whether it was encoded.
type Unit = (u8, bool);

/// What `path` is for programs that read it in these ways.
///
/// # Errors
/// When that has dot segments, or what no path may have.
pub(super) fn read(path: &str, ways: Doubts) -> Result<String, Fault> {
    let mut units = decoded(path);
    if ways.has(TWICE) {
        units = decoded_again(&units);
        if units.iter().any(|(byte, _)| byte.is_ascii_control()) {
            return Err(Fault::Control);
        }
    }
    if ways.has(CUT)
        && let Some(end) = units.iter().position(|unit| is_cut(*unit))
    {
        units.truncate(end);
    }
    let is_separator = |unit: &Unit| match *unit {
        (b'/', is_encoded) => !is_encoded || ways.has(SLASH),
        (b'\\', _) => ways.has(BACKSLASH),
        _ => false,
    };
    let mut text = String::with_capacity(path.len());
    let mut ends_open = true;
    // What stands in front of the first `/` is nothing.
    for segment in units.split(is_separator).skip(1) {
        let parameter = segment
            .iter()
            .position(|unit| ways.has(PARAMETER) && unit.0 == b';');
        let segment = match parameter {
            Some(end) => segment.get(..end).unwrap_or_default(),
            None => segment,
        };
        check(segment)?;
        let segment = match ways.has(BLANK) {
            true => without_blanks(segment),
            false => segment,
        };
        ends_open = segment.is_empty();
        if !segment.is_empty() || ways.has(UNMERGED) {
            text.push('/');
            segment
                .iter()
                .for_each(|unit| append_unit(*unit, &mut text));
        }
    }
    if text.is_empty() || ends_open && !ways.has(UNMERGED) {
        text.push('/');
    }
    Ok(text)
}

fn is_cut(unit: Unit) -> bool {
    matches!(unit, (b'?' | b'#', true))
}

fn decoded(path: &str) -> Vec<Unit> {
    let mut units = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        units.extend(before.bytes().map(|byte| (byte, false)));
        let (unit, behind) = match escape(after) {
            Some((byte, _, behind)) => ((byte, true), behind),
            None => ((b'%', false), after),
        };
        units.push(unit);
        rest = behind;
    }
    units.extend(rest.bytes().map(|byte| (byte, false)));
    units
}

fn decoded_again(units: &[Unit]) -> Vec<Unit> {
    let mut again = Vec::with_capacity(units.len());
    let mut rest = units;
    while let Some((first, behind)) = rest.split_first() {
        let (unit, behind) = match (first, behind) {
            ((b'%', _), [high, low, behind @ ..]) => match byte_of(high.0, low.0) {
                Some(byte) => ((byte, true), behind),
                None => (*first, rest.get(1..).unwrap_or_default()),
            },
            _ => (*first, behind),
        };
        again.push(unit);
        rest = behind;
    }
    again
}

fn byte_of(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

fn check(segment: &[Unit]) -> Result<(), Fault> {
    let mut lead = 0;
    for (byte, _) in segment {
        if is_overlong(lead, *byte) {
            return Err(Fault::Overlong);
        }
        lead = *byte;
    }
    match without_blanks(segment) {
        [(b'.', _)] | [(b'.', _), (b'.', _)] => Err(Fault::Dots),
        _ => Ok(()),
    }
}

/// Without spaces at its begin and its end.
fn without_blanks(segment: &[Unit]) -> &[Unit] {
    let is_blank = |unit: &Unit| unit.0 == b' ';
    let begin = segment.iter().position(|unit| !is_blank(unit));
    let end = segment.iter().rposition(|unit| !is_blank(unit));
    let bare = begin
        .zip(end)
        .and_then(|(begin, end)| segment.get(begin..=end));
    bare.unwrap_or_default()
}

/// In the form for comparing. What was not encoded stays so.
fn append_unit(unit: Unit, text: &mut String) {
    match unit {
        (byte, false) => text.push(char::from(byte)),
        (byte, true) => append_byte(byte, text),
    }
}
