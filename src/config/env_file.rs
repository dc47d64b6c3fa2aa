//! The syntax of `.env` files: `KEY=VALUE`, `export KEY=…`, `#` comments, quotes, CRLF.
//!
//! Does not know what the keys mean, does not fill in variables, and sets nothing in the process environment.

use super::interpolate::is_name;
use super::report::{At, Report};

/// One line `KEY=VALUE`.
pub(crate) struct Line {
    /// The key.
    pub(crate) key: String,
    /// The value, without quotes.
    pub(crate) value: At<String>,
}

/// Reads `text`; lines that cannot be understood are reported.
pub(crate) fn read(origin: &str, text: &str, report: &Report) -> Vec<Line> {
    let source = report.add_source(origin, Some(text));
    let mut lines = Vec::new();
    let mut start = 0;
    for raw in text.split_inclusive('\n') {
        let line = raw.trim();
        let from = start + (raw.len() - raw.trim_start().len());
        start += raw.len();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = source.at(&(from..from + line.len()));
        match parse_line(line) {
            Ok((key, value)) => lines.push(Line {
                key: key.to_owned(),
                value: At::new(value, place),
            }),
            Err((message, hint)) => report.problem_hint(place, message, hint),
        }
    }
    lines
}

fn parse_line(line: &str) -> Result<(&str, String), (&'static str, &'static str)> {
    let exported = line
        .strip_prefix("export")
        .filter(|rest| rest.starts_with([' ', '\t']));
    let line = exported.unwrap_or(line);
    let Some((key, value)) = line.split_once('=') else {
        return Err((
            "this line has no `=`",
            "write KEY=VALUE, or start a comment with `#`",
        ));
    };
    let key = key.trim();
    if !is_name(key) {
        return Err((
            "this is not the name of a variable",
            "a name has letters, digits and `_`",
        ));
    }
    let value = value.trim();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let Some(quote) = quote else {
        return Ok((key, without_comment(value).to_owned()));
    };
    let inside = value.get(1..).unwrap_or_default();
    let Some((quoted, rest)) = closing(inside, quote) else {
        return Err(("the quote is not closed", "a value ends on its line"));
    };
    let rest = rest.trim();
    if !rest.is_empty() && !rest.starts_with('#') {
        return Err((
            "there is text behind the closing quote",
            "quote the whole value",
        ));
    }
    Ok((key, quoted))
}

/// `#` starts a comment only after white space, so that `http://host/#x` stays whole.
fn without_comment(value: &str) -> &str {
    if value.starts_with('#') {
        return "";
    }
    [" #", "\t#"]
        .iter()
        .filter_map(|sign| value.find(sign))
        .min()
        .and_then(|at| value.get(..at))
        .unwrap_or(value)
        .trim_end()
}

/// Text up to the closing quote and the rest behind it; `\"` and `\\` stand for themselves in double quotes.
fn closing(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some((value, text.get(at + 1..).unwrap_or_default()));
        }
        if c == '\\' && quote == '"' {
            match chars.next() {
                Some((_, escaped @ ('"' | '\\' | '$'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => return None,
            }
        } else {
            value.push(c);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let report = Report::default();
        let lines = read(".env", text, &report);
        assert!(report.is_clean(), "{text}");
        lines
            .into_iter()
            .map(|line| (line.key, line.value.value))
            .collect()
    }

    #[test]
    fn forms() {
        let text = "# comment\r\n\r\nA=1\r\nexport B=two words # comment\n C = 'it''s'\n";
        let report = Report::default();
        assert_eq!(read(".env", text, &report).len(), 2);
        let (problems, _) = report.finish();
        assert_eq!(problems.len(), 1);
        assert_eq!((problems[0].line, problems[0].column), (Some(5), Some(2)));

        for (text, key, value) in [
            ("A=1\r\n", "A", "1"),
            ("export\tA=1", "A", "1"),
            ("exported=1", "exported", "1"),
            ("A=", "A", ""),
            ("A=#x", "A", ""),
            ("A=a#b", "A", "a#b"),
            ("A=a # b", "A", "a"),
            ("A='a # b' # c", "A", "a # b"),
            (r#"A="a \"b\" \\ \n""#, "A", "a \"b\" \\ \\n"),
            ("A=b=c", "A", "b=c"),
        ] {
            assert_eq!(pairs(text), [(key.to_owned(), value.to_owned())], "{text}");
        }
    }

    #[test]
    fn broken_lines() {
        for text in ["A", "=1", "A B=1", "1A=1", "A=\"x", "A='x'y", "A=\"x\\"] {
            let report = Report::default();
            assert!(read(".env", text, &report).is_empty(), "{text}");
            assert!(!report.is_clean(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}|[A-Z=\"'#\\\\ \n\r\t$ä]{0,60}") {
            read(".env", &text, &Report::default());
        }
    }
}
