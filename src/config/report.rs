//! Collects problems while a configuration is read and checked, and knows where every value was written.
//!
//! Does not stop at the first problem, does not print, and never lets a secret into a source line.

use std::cell::RefCell;
use std::ops::Range;

use super::problem::Problem;

/// More problems than this are not collected: nobody reads them, and finding their places takes time.
const MOST_PROBLEMS: usize = 200;

/// Where a value was written: a source and, when it has text, a byte range in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    source: usize,
    start: usize,
    end: usize,
    /// False: the source as a whole.
    inside: bool,
}

impl Place {
    /// The bytes `range` of the same source.
    pub(crate) fn at(self, range: &Range<usize>) -> Place {
        Place {
            source: self.source,
            start: range.start,
            end: range.end,
            inside: true,
        }
    }

    /// Order within one source.
    pub(crate) fn start(self) -> usize {
        self.start
    }
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it was written.
    pub(crate) place: Place,
}

impl<T> At<T> {
    /// `value`, written at `place`.
    pub(crate) fn new(value: T, place: Place) -> At<T> {
        At { value, place }
    }
}

/// The collected problems and warnings, with the sources they point into.
#[derive(Debug, Default)]
pub(crate) struct Report {
    sources: RefCell<Vec<Source>>,
    problems: RefCell<Vec<Found>>,
    warnings: RefCell<Vec<Found>>,
}

#[derive(Debug)]
struct Source {
    origin: String,
    text: Option<String>,
}

#[derive(Debug)]
struct Found {
    order: (usize, usize),
    problem: Problem,
}

impl Report {
    /// Adds a source of values; `text` when lines of it can be shown.
    pub(crate) fn add_source(&self, origin: impl Into<String>, text: Option<&str>) -> Place {
        let mut sources = self.sources.borrow_mut();
        sources.push(Source {
            origin: origin.into(),
            text: text.map(str::to_owned),
        });
        Place {
            source: sources.len().saturating_sub(1),
            ..Place::default()
        }
    }

    /// Records something that makes the configuration unusable.
    pub(crate) fn problem(&self, place: Place, message: impl Into<String>) {
        self.record(&self.problems, place, message.into(), None);
    }

    /// Records something that makes the configuration unusable, with the way out.
    pub(crate) fn problem_hint(
        &self,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.record(&self.problems, place, message.into(), Some(hint.into()));
    }

    /// Records something odd that does no harm.
    pub(crate) fn warning(
        &self,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.record(&self.warnings, place, message.into(), Some(hint.into()));
    }

    /// Records what makes the configuration unusable, without the line that it is in: a secret may be in it.
    pub(crate) fn problem_unseen(&self, place: Place, message: impl Into<String>, hint: &str) {
        self.record(&self.problems, place, message.into(), Some(hint.to_owned()));
        hide_last(&self.problems);
    }

    /// Records something odd that does no harm, without the line that it is in: a secret may be in it.
    pub(crate) fn warning_unseen(&self, place: Place, message: impl Into<String>, hint: &str) {
        self.record(&self.warnings, place, message.into(), Some(hint.to_owned()));
        hide_last(&self.warnings);
    }

    /// Names a place for use in the message of another: `line 7`, or the origin when it has no lines.
    pub(crate) fn name(&self, place: Place) -> String {
        let sources = self.sources.borrow();
        let Some(source) = sources.get(place.source) else {
            return "elsewhere".to_owned();
        };
        match &source.text {
            Some(text) if place.inside => format!("line {}", Spot::find(text, place).line),
            _ => source.origin.clone(),
        }
    }

    /// Whether no problem was recorded so far; warnings do not count.
    pub(crate) fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// The problems and the warnings, each sorted by place.
    pub(crate) fn finish(self) -> (Vec<Problem>, Vec<Problem>) {
        (sorted(self.problems), sorted(self.warnings))
    }

    fn record(
        &self,
        list: &RefCell<Vec<Found>>,
        place: Place,
        message: String,
        hint: Option<String>,
    ) {
        if list.borrow().len() >= MOST_PROBLEMS {
            return;
        }
        let mut problem = Problem::new("", message);
        problem.hint = hint;
        if let Some(source) = self.sources.borrow().get(place.source) {
            problem.origin.clone_from(&source.origin);
            if let (Some(text), true) = (&source.text, place.inside) {
                Spot::find(text, place).fill(&mut problem);
            }
        }
        let order = (place.source, place.start);
        list.borrow_mut().push(Found { order, problem });
    }
}

/// Takes the line out of what was recorded last. (When the list was full, that was something else, which can do without.)
fn hide_last(list: &RefCell<Vec<Found>>) {
    if let Some(last) = list.borrow_mut().last_mut() {
        last.problem.source_line = None;
    }
}

fn sorted(list: RefCell<Vec<Found>>) -> Vec<Problem> {
    let mut list = list.into_inner();
    list.sort_by_key(|found| found.order);
    let mut problems: Vec<Problem> = list.into_iter().map(|found| found.problem).collect();
    problems.dedup();
    problems
}

/// A place turned into what people count: line, column, width.
struct Spot<'a> {
    line: usize,
    column: usize,
    width: usize,
    text: &'a str,
    before: &'a str,
}

impl<'a> Spot<'a> {
    fn find(text: &'a str, place: Place) -> Spot<'a> {
        let start = floor(text, place.start);
        let end = floor(text, place.end).max(start);
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let rest = text.get(line_start..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default();
        let meant = text.get(start..end).unwrap_or_default();
        Spot {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            width: meant.lines().next().unwrap_or_default().chars().count(),
            text: line,
            before: before.get(..line_start).unwrap_or_default(),
        }
    }

    fn fill(&self, problem: &mut Problem) {
        problem.line = Some(self.line);
        problem.column = Some(self.column);
        problem.width = self.width.max(1);
        let is_hidden = inside_long_secret(self.before) || inside_secret_table(self.before);
        let (text, masked_from) = if is_hidden {
            ("…".to_owned(), Some(0))
        } else {
            masked(self.text)
        };
        if let Some(from) = masked_from {
            // The marks must not tell how long the hidden part is.
            problem.width = problem
                .width
                .min((from + 1).saturating_sub(self.column).max(1));
        }
        problem.source_line = Some(text);
    }
}

/// The largest character boundary that is not above `index`.
fn floor(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// The line as it may be shown, and the character from which on it is hidden.
fn masked(line: &str) -> (String, Option<usize>) {
    let secret = secret_value(line);
    let user = line
        .find("://")
        .filter(|slashes| line.get(*slashes..).is_some_and(|rest| rest.contains('@')))
        .map(|slashes| slashes + "://".len());
    match secret.into_iter().chain(user).min() {
        Some(from) => {
            let shown = line.get(..from).unwrap_or_default();
            (format!("{shown}…"), Some(shown.chars().count()))
        }
        None => (line.to_owned(), None),
    }
}

/// Tables whose values are secrets, by the last word of their names.
const SECRET_TABLES: [&str; 3] = ["keys", "tokens", "users"];

/// Byte position of the value behind a key that ends in `token`, `password` or `secret`, or of a whole table of secrets.
fn secret_value(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    let mut first = None;
    let words = ["token", "password", "secret"];
    for word in words.into_iter().chain(SECRET_TABLES) {
        for (at, found) in lower.match_indices(word) {
            let mut behind = lower.get(at + found.len()..).unwrap_or_default();
            if SECRET_TABLES.contains(&word) && behind.starts_with('.') {
                behind = behind
                    .find('=')
                    .and_then(|at| behind.get(at..))
                    .unwrap_or_default();
            }
            let sign = behind.trim_start_matches(['"', '\'', ' ', '\t']);
            if sign.starts_with(['=', ':']) {
                let space = sign.get(1..).unwrap_or_default();
                let value = space.trim_start_matches([' ', '\t']);
                let from = line.len() - value.len();
                first = Some(first.map_or(from, |earlier: usize| earlier.min(from)));
            }
        }
    }
    first
}

/// Whether the text before a line opens a table of secrets that may still be open: by its header, or by a brace.
fn inside_secret_table(before: &str) -> bool {
    const FAR: usize = 2_000;
    let is_secret = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or_default();
        SECRET_TABLES.contains(&last.trim().trim_matches(['"', '\'']))
    };
    for line in before.lines().rev().take(FAR).map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            return is_secret(header.split(']').next().unwrap_or_default());
        }
        let opened = line.rfind('{').and_then(|brace| line.get(..brace));
        let is_open = line.rfind('{') > line.rfind('}');
        let name = opened.and_then(|text| text.trim_end().strip_suffix('='));
        let name = name.and_then(|text| text.rsplit([',', '{']).next());
        if is_open && name.is_some_and(|name| is_secret(name.trim())) {
            return true;
        }
    }
    false
}

/// Whether the text before a line opens a multi-line string of a secret and does not close it.
fn inside_long_secret(before: &str) -> bool {
    ["\"\"\"", "'''"].iter().any(|quotes| {
        let count = before.matches(quotes).count();
        let opening = before.rfind(quotes).and_then(|at| before.get(..at));
        let line = opening.and_then(|text| text.lines().next_back());
        count % 2 == 1 && line.is_some_and(|line| secret_value(line).is_some())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn one(text: &str, range: Range<usize>) -> Problem {
        let report = Report::default();
        let source = report.add_source("t.toml", Some(text));
        report.problem(source.at(&range), "bad");
        report.finish().0.remove(0)
    }

    #[test]
    fn lines_and_columns_count_characters() {
        let problem = one("a = 1\nä = \"ö\" # x\r\n", 12..15);
        assert_eq!(
            (problem.line, problem.column, problem.width),
            (Some(2), Some(6), 2)
        );
        assert_eq!(problem.source_line.as_deref(), Some("ä = \"ö\" # x"));
    }

    #[test]
    fn any_range_is_safe() {
        for start in 0..12 {
            for end in 0..12 {
                assert!(one("ä\n€ö", start..end).line.is_some());
            }
        }
    }

    #[test]
    fn secrets_are_hidden() {
        for line in [
            "token = \"hunter2\"",
            "  \"token\"='hunter2'",
            "admin = { token = \"hunter2\", x = 1 }",
            "{\"token\": \"hunter2\"}",
            "API_TOKEN=hunter2",
            "url = \"http://me:hunter2@host:1\"",
        ] {
            let problem = one(line, 0..line.len());
            let shown = problem.source_line.clone().unwrap_or_default();
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(problem.width <= shown.chars().count(), "{problem}");
        }
        for before in [
            "[route.auth.api_keys.keys]\n",
            "[route.auth.basic.users]\n# x\nb = \"c\"\n",
            "auth.bearer = { tokens = {\n",
        ] {
            let text = format!("{before}alice = \"hunter2\"\n");
            let problem = one(&text, before.len()..before.len() + 5);
            assert_eq!(problem.source_line.as_deref(), Some("…"), "{before}");
        }
        for line in [
            "api_keys = { keys = { alice = \"hunter2\" } }",
            "auth.api_keys.keys.alice = \"hunter2\"",
            "basic.users.alice = \"hunter2\"",
        ] {
            let shown = one(line, 0..3).source_line.unwrap();
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let text = "token = \"\"\"\nhunter2\n\"\"\"\nlisten = 1\n";
        assert_eq!(one(text, 12..13).source_line.as_deref(), Some("…"));
        assert_eq!(one(text, 24..25).source_line.as_deref(), Some("listen = 1"));
        assert_eq!(
            one("token_file = \"x\"", 0..1).source_line.as_deref(),
            Some("token_file = \"x\"")
        );
    }

    #[test]
    fn sorted_by_source_and_place() {
        let report = Report::default();
        let first = report.add_source("one", Some("abc\ndef"));
        let second = report.add_source("two", None);
        report.problem(second, "3");
        report.problem(first.at(&(4..5)), "2");
        report.problem(first.at(&(0..1)), "1");
        assert_eq!(report.name(first.at(&(4..5))), "line 2");
        assert_eq!(report.name(second), "two");
        let (problems, _) = report.finish();
        let messages: Vec<_> = problems.iter().map(|p| p.message.as_str()).collect();
        assert_eq!(messages, ["1", "2", "3"]);
    }
}
