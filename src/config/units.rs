//! Durations such as `"5s"` and sizes such as `"10MiB"`: text to value and back.
//!
//! Knows no bounds of single settings; those are in [`super::check`].

use std::time::Duration;

/// Longest duration that can be written. Larger ones could overflow when added to a point in time.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

const DURATION_UNITS: [(&str, u64); 5] = [
    // "ms" before "s" and "m": the suffix is looked for in this order.
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];

const SIZE_UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// Why a duration or size cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitError {
    /// The number is missing or is none.
    Number,
    /// The unit is missing.
    NoUnit,
    /// The unit is not known.
    Unit,
    /// More than can be held.
    TooLarge,
}

impl UnitError {
    /// What is wrong, to follow the quoted text.
    pub fn describe(self) -> &'static str {
        match self {
            UnitError::Number => "does not start with a number",
            UnitError::NoUnit => "has no unit",
            UnitError::Unit => "has an unknown unit",
            UnitError::TooLarge => "is too large",
        }
    }
}

/// Parses `"250ms"`, `"5s"`, `"1.5s"`, `"2m"`, `"1h"`, `"1d"`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text)?;
    let nanoseconds = unit_of(unit, &DURATION_UNITS)?;
    let duration = Duration::from_nanos(scaled(number, nanoseconds)?);
    if duration > LONGEST {
        return Err(UnitError::TooLarge);
    }
    Ok(duration)
}

/// Parses `"10MiB"`, `"1.5GiB"`, `"1GB"`, `"100B"` and a plain number of bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    match split(text) {
        Ok((number, unit)) => scaled(number, unit_of(unit, &SIZE_UNITS)?),
        Err(UnitError::NoUnit) if !text.contains('.') => scaled(text.trim(), 1),
        Err(error) => Err(error),
    }
}

/// Writes a duration in its largest whole unit: `1500ms`, `2s`, `1m`.
pub fn format_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let whole = DURATION_UNITS
        .iter()
        .rev()
        .find(|(_, size)| nanoseconds > 0 && nanoseconds.is_multiple_of(u128::from(*size)));
    match whole {
        Some((unit, size)) => format!("{}{unit}", nanoseconds / u128::from(*size)),
        None if nanoseconds == 0 => "0s".to_owned(),
        None => format!("{}s", duration.as_secs_f64()),
    }
}

/// Writes a size in its largest whole binary unit: `10MiB`, `1000B`.
pub fn format_size(bytes: u64) -> String {
    let whole = SIZE_UNITS
        .iter()
        .take(4)
        .rev()
        .find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size));
    match whole {
        Some((unit, size)) => format!("{}{unit}", bytes / size),
        None => format!("{bytes}B"),
    }
}

/// Number and unit, both trimmed.
fn split(text: &str) -> Result<(&str, &str), UnitError> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end).ok_or(UnitError::Number)?;
    if !number.starts_with(|c: char| c.is_ascii_digit()) || number.ends_with('.') {
        return Err(UnitError::Number);
    }
    if unit.is_empty() {
        return Err(UnitError::NoUnit);
    }
    Ok((number, unit.trim_start()))
}

fn unit_of(unit: &str, units: &[(&str, u64)]) -> Result<u64, UnitError> {
    units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, size)| *size)
        .ok_or(UnitError::Unit)
}

/// `number` (digits, perhaps with a fraction) times `unit`, rounded down.
fn scaled(number: &str, unit: u64) -> Result<u64, UnitError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') {
        return Err(UnitError::Number);
    }
    let whole: u64 = whole.parse().map_err(|_| UnitError::TooLarge)?;
    let total = whole.checked_mul(unit).ok_or(UnitError::TooLarge)?;
    // Nine digits are a nanosecond; what is finer is nobody's intention.
    let digits: String = fraction.chars().take(9).collect();
    let share = digits.parse::<u128>().unwrap_or(0) * u128::from(unit)
        / 10_u128.pow(u32::try_from(digits.len()).unwrap_or(0));
    u64::try_from(share)
        .ok()
        .and_then(|share| total.checked_add(share))
        .ok_or(UnitError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("5s", 5000),
            ("250ms", 250),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("0s", 0),
            ("1.5s", 1500),
            (" 3 s ", 3000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for (text, error) in [
            ("5", UnitError::NoUnit),
            ("", UnitError::Number),
            ("s", UnitError::Number),
            ("-5s", UnitError::Number),
            ("1.s", UnitError::Number),
            ("1.2.3s", UnitError::Number),
            ("5 sec", UnitError::Unit),
            ("5S", UnitError::Unit),
            ("1m30s", UnitError::Unit),
            ("99999999999h", UnitError::TooLarge),
            ("400d", UnitError::TooLarge),
            ("99999999999999999999999s", UnitError::TooLarge),
        ] {
            assert_eq!(parse_duration(text), Err(error), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("10MiB", 10 << 20),
            ("32KiB", 32 << 10),
            ("1GB", 1_000_000_000),
            ("1.5KiB", 1536),
            ("100B", 100),
            ("4096", 4096),
            ("0", 0),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "MiB",
            "-1",
            "1.5",
            "10mib",
            "10 apples",
            "99999999999TiB",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn written_back() {
        assert_eq!(format_duration(Duration::from_millis(1500)), "1500ms");
        assert_eq!(format_duration(Duration::from_secs(120)), "2m");
        assert_eq!(format_duration(Duration::ZERO), "0s");
        assert_eq!(format_duration(Duration::from_micros(1500)), "0.0015s");
        assert_eq!(format_size(10 << 20), "10MiB");
        assert_eq!(format_size(1000), "1000B");
        assert_eq!(format_size(0), "0B");
    }

    proptest! {
        #[test]
        fn round_trip(milliseconds in 0u64..40_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn never_panics(text in "\\PC{0,12}|[0-9.]{0,30}[a-zA-Z]{0,3}") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }
    }
}
