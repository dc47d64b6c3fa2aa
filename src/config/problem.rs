//! What is wrong with a configuration, and how a person reads it: message, place, source line, way out.
//!
//! Does not find problems (see [`super::check`]) and does not decide what happens because of them.

use std::fmt;

/// Source lines longer than this are cut: nobody reads them, and a terminal wraps them.
const LONGEST_LINE: usize = 160;

/// One thing that is wrong (or, as a warning, odd) in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the configuration came from: a path, `environment variable NAME`, `command line`.
    pub origin: String,
    /// Line, counted from 1; none when the origin has no lines.
    pub line: Option<usize>,
    /// Column in characters, counted from 1.
    pub column: Option<usize>,
    /// How many characters of the source line are meant.
    pub width: usize,
    /// What is wrong, in one line.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
    /// The source line as it may be shown: secrets are already masked.
    pub source_line: Option<String>,
}

impl Problem {
    /// A problem that has no place inside its origin.
    pub fn new(origin: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem {
            origin: origin.into(),
            line: None,
            column: None,
            width: 1,
            message: message.into(),
            hint: None,
            source_line: None,
        }
    }

    /// The same problem with a way out.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.origin))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            if let Some(column) = self.column {
                write!(f, ":{column}")?;
            }
        }
        write!(f, ": {}", printable(&self.message))?;
        if let (Some(line), Some(text)) = (self.line, &self.source_line) {
            write!(f, "\n    {line} | {}", shortened(text))?;
            let column = self.column.unwrap_or(1);
            if column <= LONGEST_LINE {
                let gutter = " ".repeat(line.to_string().len());
                let space = " ".repeat(column.saturating_sub(1));
                let room = (LONGEST_LINE + 1).saturating_sub(column);
                let marks = "^".repeat(self.width.clamp(1, room.max(1)));
                write!(f, "\n    {gutter} | {space}{marks}")?;
            }
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {}", printable(hint))?;
        }
        Ok(())
    }
}

/// Everything that is wrong, sorted by place; never empty where it is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        match self.0.len() {
            1 => f.write_str("1 problem"),
            count => write!(f, "{count} problems"),
        }
    }
}

impl std::error::Error for Problems {}

/// Control characters could move a terminal's cursor; each becomes one visible character, so columns stay right.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

fn shortened(text: &str) -> String {
    let text = printable(text);
    if text.chars().count() <= LONGEST_LINE {
        return text;
    }
    text.chars().take(LONGEST_LINE).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Problem {
        Problem {
            origin: "tollgate.toml".to_owned(),
            line: Some(7),
            column: Some(1),
            width: 5,
            message: "unknown key `lisen` in [server]".to_owned(),
            hint: Some("did you mean `listen`?".to_owned()),
            source_line: Some("lisen = \"127.0.0.1:8080\"".to_owned()),
        }
    }

    #[test]
    fn prints_message_line_marks_and_hint() {
        let text = Problems(vec![sample()]).to_string();
        assert_eq!(
            text,
            "tollgate.toml:7:1: unknown key `lisen` in [server]\n    7 | lisen = \"127.0.0.1:8080\"\n      | ^^^^^\n  \
             hint: did you mean `listen`?\n1 problem"
        );
    }

    #[test]
    fn without_place_only_origin_and_message() {
        let problems = Problems(vec![Problem::new("command line", "no"), sample()]);
        assert!(problems.to_string().starts_with("command line: no\n"));
        assert!(problems.to_string().ends_with("2 problems"));
    }

    #[test]
    fn control_characters_and_long_lines_are_tamed() {
        let mut problem = sample();
        problem.source_line = Some(format!("\u{1b}[2J{}", "x".repeat(500)));
        problem.column = Some(400);
        let text = problem.to_string();
        assert!(!text.contains('\u{1b}'));
        assert!(text.lines().all(|line| line.chars().count() < 180));
        assert!(!text.contains('^'));
    }
}
