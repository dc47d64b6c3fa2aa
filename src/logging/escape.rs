//! Escaping: whatever a client sends, one record stays one line, and no terminal obeys it.
//!
//! [`Escaped`] renders a message once, replaces its control characters, and passes it on. [`quoted`] writes a field's
//! value so that it can be told from the next field. It does not cut long values (see [`super::access`]) and it does not
//! hide secrets: those must never be logged.

use std::fmt::{self, Display, Write};

use log::{LevelFilter, Log, Metadata, Record};

/// Targets with this beginning are heard up to this level only.
const QUIET: &[(&str, LevelFilter)] = &[
    // Describes every request it makes.
    ("ureq", LevelFilter::Warn),
    // Its one message above debug says that its accept loop has ended, also when that was wanted. Whoever owns the
    // server learns it from `recv`, and says it when it matters.
    ("tiny_http", LevelFilter::Off),
];

/// The target of access lines, which are switched on and off by themselves.
pub(crate) const ACCESS_TARGET: &str = "access";

/// A logger in front of another: filters by level, and makes every message a single line.
pub(crate) struct Escaped {
    inner: Box<dyn Log>,
    level: LevelFilter,
    access: bool,
}

impl Escaped {
    /// Passes records of at least `level` to `inner`; the access lines only if `access`.
    pub(crate) fn new(inner: Box<dyn Log>, level: LevelFilter, access: bool) -> Escaped {
        Escaped {
            inner,
            level,
            access,
        }
    }
}

impl Log for Escaped {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        metadata.level() <= self.level
            && QUIET
                .iter()
                .all(|(quiet, most)| metadata.level() <= *most || !target.starts_with(quiet))
            && (self.access || target != ACCESS_TARGET)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = escape(record.args());
        let target = escape(&record.target());
        self.inner.log(
            &Record::builder()
                .level(record.level())
                .target(&target)
                .module_path(record.module_path())
                .file(record.file())
                .line(record.line())
                .args(format_args!("{message}"))
                .build(),
        );
    }

    fn flush(&self) {
        self.inner.flush();
    }
}

/// The text of `value` with its control characters replaced.
fn escape(value: &dyn Display) -> String {
    let mut line = Escaping(String::with_capacity(128));
    if write!(line, "{value}").is_err() {
        // A `Display` of someone else gave up half way: what it wrote so far is still worth having.
        line.0.push('…');
    }
    line.0
}

/// Text that takes no control character.
struct Escaping(String);

impl Write for Escaping {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_escaped(&mut self.0, text, is_unsafe)
    }
}

/// Characters that could end the line, move the cursor or start a terminal sequence.
fn is_unsafe(character: char) -> bool {
    // `is_control` is exactly C0, DEL and C1 (U+0080..U+009F).
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// Copies `text`, with every character that `must_escape` names replaced.
fn write_escaped(out: &mut dyn Write, text: &str, must_escape: fn(char) -> bool) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(must_escape) {
        let (plain, tail) = rest.split_at(at);
        out.write_str(plain)?;
        let mut characters = tail.chars();
        if let Some(character) = characters.next() {
            write_one(out, character)?;
        }
        rest = characters.as_str();
    }
    out.write_str(rest)
}

fn write_one(out: &mut dyn Write, character: char) -> fmt::Result {
    match character {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '"' => out.write_str("\\\""),
        '\\' => out.write_str("\\\\"),
        other if u32::from(other) < 0x100 => write!(out, "\\x{:02x}", u32::from(other)),
        other => write!(out, "\\u{{{:x}}}", u32::from(other)),
    }
}

/// `bytes` in double quotes: `"` and `\` get a backslash, control characters become `\n` or `\xNN`, and so do bytes
/// that are not UTF-8.
pub fn quoted(bytes: &[u8]) -> impl Display {
    Quoted(bytes)
}

struct Quoted<'a>(&'a [u8]);

impl Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            write_escaped(formatter, chunk.valid(), |character| {
                is_unsafe(character) || matches!(character, '"' | '\\')
            })?;
            for byte in chunk.invalid() {
                write!(formatter, "\\x{byte:02x}")?;
            }
        }
        formatter.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    #[test]
    fn control_characters_become_text() {
        let hostile = "a\nb\rc\td\0\u{1b}[31m\u{7f}\u{85}\u{9b}\u{2028}\u{2029}é€😀";
        assert_eq!(
            escape(&hostile),
            "a\\nb\\rc\\td\\x00\\x1b[31m\\x7f\\x85\\x9b\\u{2028}\\u{2029}é€😀"
        );
    }

    #[test]
    fn plain_text_stays_as_it_is() {
        let plain = r#"path="C:\x" ok"#;
        assert_eq!(escape(&plain), plain);
        assert_eq!(escape(&""), "");
    }

    #[test]
    fn quoted_values_cannot_end_their_quotes() {
        assert_eq!(quoted(b"plain").to_string(), r#""plain""#);
        assert_eq!(quoted(b"").to_string(), r#""""#);
        assert_eq!(
            quoted(b"a\" status=200 \\\n").to_string(),
            r#""a\" status=200 \\\n""#
        );
    }

    #[test]
    fn quoted_shows_bytes_that_are_not_utf8() {
        assert_eq!(
            quoted(b"caf\xc3\xa9 \xff\xc3(").to_string(),
            "\"café \\xff\\xc3(\""
        );
    }

    #[test]
    fn a_failing_display_keeps_what_it_wrote() {
        struct Half;
        impl Display for Half {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("half")?;
                Err(fmt::Error)
            }
        }
        assert_eq!(escape(&Half), "half…");
    }

    #[test]
    fn chatty_targets_are_quiet_and_access_is_heard_only_when_wanted() {
        struct Nowhere;
        impl Log for Nowhere {
            fn enabled(&self, _: &Metadata<'_>) -> bool {
                true
            }
            fn log(&self, _: &Record<'_>) {}
            fn flush(&self) {}
        }
        let allows = |access: bool, target: &str, level: Level| {
            let logger = Escaped::new(Box::new(Nowhere), LevelFilter::Debug, access);
            logger.enabled(&Metadata::builder().target(target).level(level).build())
        };
        assert!(!allows(true, "ureq::run", Level::Info));
        assert!(!allows(true, "ureq_proto::client", Level::Debug));
        assert!(allows(true, "ureq::run", Level::Warn));
        assert!(!allows(true, "tiny_http", Level::Error));
        assert!(allows(true, "tollgate::forward", Level::Debug));
        assert!(!allows(true, "tollgate::forward", Level::Trace));
        assert!(allows(true, "access", Level::Info));
        assert!(!allows(false, "access", Level::Info));
    }
}
