//! A typed cursor over a TOML document: asks for keys one by one and reports what does not fit.
//!
//! Knows types, units and variables; does not know what a value means (see [`super::check`]).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::interpolate;
use super::keys;
use super::report::{At, Place, Report};
use super::units::{self, UnitError};

/// What every table of one document shares.
pub(crate) struct Document<'a> {
    /// Where problems go.
    pub(crate) report: &'a Report,
    /// The document as a source of the report.
    pub(crate) source: Place,
    /// For `${VAR}`.
    pub(crate) variables: &'a BTreeMap<String, String>,
    /// Where relative paths of `…_file` keys start.
    pub(crate) directory: &'a Path,
}

/// One table of the document.
pub(crate) struct Table<'a> {
    /// The document.
    pub(crate) document: &'a Document<'a>,
    /// Where it stands.
    pub(crate) place: Place,
    /// Dotted name, as in [`keys::TABLES`].
    name: &'static str,
    entries: &'a DeTable<'a>,
}

/// One value of the document.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    document: &'a Document<'a>,
    value: &'a DeValue<'a>,
    /// Where it stands.
    pub(crate) place: Place,
}

impl<'a> Table<'a> {
    /// The table `name`; every key it does not have is reported here and now.
    pub(crate) fn open(
        document: &'a Document<'a>,
        name: &'static str,
        entries: &'a DeTable<'a>,
        place: Place,
    ) -> Table<'a> {
        for (key, _) in entries {
            if !keys::of(name).contains(&key.get_ref().as_ref()) {
                let (message, hint) = keys::unknown(name, key.get_ref());
                let place = document.source.at(&key.span());
                document.report.problem_hint(place, message, hint);
            }
        }
        Table {
            document,
            place,
            name,
            entries,
        }
    }

    /// The value of `key`.
    pub(crate) fn item(&self, key: &str) -> Option<Item<'a>> {
        let (_, value) = self
            .entries
            .iter()
            .find(|(name, _)| name.get_ref() == key)?;
        Some(Item::new(self.document, value))
    }

    /// A string, variables filled in.
    pub(crate) fn string(&self, key: &str) -> Option<At<String>> {
        self.item(key)?.string(&format!("`{key}`"))
    }

    /// A whole number.
    pub(crate) fn integer(&self, key: &str) -> Option<At<i64>> {
        self.item(key)?.integer(&format!("`{key}`"))
    }

    /// True or false.
    pub(crate) fn boolean(&self, key: &str) -> Option<At<bool>> {
        self.item(key)?.boolean(&format!("`{key}`"))
    }

    /// A duration such as `"5s"`.
    pub(crate) fn duration(&self, key: &str) -> Option<At<Duration>> {
        self.item(key)?.duration(&format!("`{key}`"))
    }

    /// A size such as `"10MiB"`, or a number of bytes.
    pub(crate) fn size(&self, key: &str) -> Option<At<u64>> {
        self.item(key)?.size(&format!("`{key}`"))
    }

    /// A string or a list of strings.
    pub(crate) fn strings(&self, key: &str) -> Option<At<Vec<At<String>>>> {
        let item = self.item(key)?;
        let what = format!("every entry of `{key}`");
        let strings = match item.items() {
            Some(items) => items.iter().filter_map(|item| item.string(&what)).collect(),
            None => vec![item.string(&format!("`{key}`"))?],
        };
        Some(At::new(strings, item.place))
    }

    /// A table inside this one.
    pub(crate) fn table(&self, key: &str, name: &'static str) -> Option<Table<'a>> {
        self.item(key)?.table(&format!("`{key}`"), name)
    }

    /// A list of tables, `[[key]]`.
    pub(crate) fn tables(&self, key: &str, name: &'static str) -> Vec<Table<'a>> {
        let Some(item) = self.item(key) else {
            return Vec::new();
        };
        let Some(items) = item.items() else {
            let message = format!("`{key}` must be a list of tables, not {}", item.kind());
            let hint = format!("write `[[{key}]]` with two brackets");
            self.document.report.problem_hint(item.place, message, hint);
            return Vec::new();
        };
        items
            .iter()
            .filter_map(|item| item.table(&format!("every entry of `{key}`"), name))
            .collect()
    }

    /// Key and value pairs in the order written, for tables whose keys are names the user chose.
    pub(crate) fn pairs(item: &Item<'a>, what: &str) -> Option<Vec<(String, Item<'a>)>> {
        let DeValue::Table(entries) = item.value else {
            return item.wrong(what, "a table");
        };
        let mut pairs: Vec<(String, Item<'a>)> = entries
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), Item::new(item.document, value)))
            .collect();
        pairs.sort_by_key(|(_, item)| item.place.start());
        Some(pairs)
    }

    /// What a person calls this table.
    pub(crate) fn title(&self) -> String {
        keys::title(self.name)
    }
}

impl<'a> Item<'a> {
    fn new(document: &'a Document<'a>, value: &'a Spanned<DeValue<'a>>) -> Item<'a> {
        Item {
            document,
            value: value.get_ref(),
            place: document.source.at(&value.span()),
        }
    }

    /// The entries, when this is a list.
    pub(crate) fn items(&self) -> Option<Vec<Item<'a>>> {
        let DeValue::Array(entries) = self.value else {
            return None;
        };
        let items = entries.iter();
        Some(items.map(|value| Item::new(self.document, value)).collect())
    }

    /// Whether this is a table.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// Whether this is a string.
    pub(crate) fn is_string(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    /// Whether this is a string with a variable in it.
    pub(crate) fn has_variable(&self) -> bool {
        matches!(self.value, DeValue::String(text) if text.contains("${"))
    }

    /// Whether this is true or false, or may become that.
    pub(crate) fn is_boolean(&self) -> bool {
        match self.value {
            DeValue::Boolean(_) => true,
            DeValue::String(text) => text.contains("${"),
            _ => false,
        }
    }

    /// Whether this is a number.
    pub(crate) fn is_integer(&self) -> bool {
        matches!(self.value, DeValue::Integer(_))
    }

    /// This as the table `name`.
    pub(crate) fn table(&self, what: &str, name: &'static str) -> Option<Table<'a>> {
        match self.value {
            DeValue::Table(entries) => Some(Table::open(self.document, name, entries, self.place)),
            _ => self.wrong(what, "a table"),
        }
    }

    /// This as a string, variables filled in.
    pub(crate) fn string(&self, what: &str) -> Option<At<String>> {
        match self.value {
            DeValue::String(text) => self.filled(text),
            _ => self.wrong(what, "a string"),
        }
    }

    /// This as a whole number; a string with a variable in it counts when it yields one.
    pub(crate) fn integer(&self, what: &str) -> Option<At<i64>> {
        let number = match self.value {
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix()),
            DeValue::String(text) if text.contains("${") => self.filled(text)?.value.parse(),
            _ => return self.wrong(what, "a whole number"),
        };
        match number {
            Ok(number) => Some(At::new(number, self.place)),
            Err(_) => self.bad(format!("{what} is not a whole number that fits"), ""),
        }
    }

    /// This as true or false; a string with a variable in it counts when it yields one.
    pub(crate) fn boolean(&self, what: &str) -> Option<At<bool>> {
        match self.value {
            DeValue::Boolean(value) => Some(At::new(*value, self.place)),
            DeValue::String(text) if text.contains("${") => {
                match self.filled(text)?.value.as_str() {
                    "true" => Some(At::new(true, self.place)),
                    "false" => Some(At::new(false, self.place)),
                    _ => self.bad(format!("{what} must become true or false"), ""),
                }
            }
            _ => self.wrong(what, "true or false"),
        }
    }

    /// This as a duration.
    pub(crate) fn duration(&self, what: &str) -> Option<At<Duration>> {
        let text = match self.value {
            DeValue::String(text) => self.filled(text)?.value,
            DeValue::Integer(digits) => {
                let message = format!("{what} needs a unit");
                return self.bad(message, &format!("write \"{digits}s\" or \"{digits}ms\""));
            }
            _ => return self.wrong(what, "a duration such as \"5s\""),
        };
        match units::parse_duration(&text) {
            Ok(duration) => Some(At::new(duration, self.place)),
            Err(error) => {
                let message = format!("{what} is not a duration: \"{text}\" {}", error.describe());
                let hint = match error {
                    UnitError::TooLarge => "the longest duration is \"366d\"",
                    _ => "a number and one unit, as in \"250ms\", \"5s\", \"2m\", \"1h\", \"1d\"",
                };
                self.bad(message, hint)
            }
        }
    }

    /// This as a number of bytes.
    pub(crate) fn size(&self, what: &str) -> Option<At<u64>> {
        let text = match self.value {
            DeValue::String(text) => self.filled(text)?.value,
            DeValue::Integer(digits) => {
                return match u64::from_str_radix(digits.as_str(), digits.radix()) {
                    Ok(bytes) => Some(At::new(bytes, self.place)),
                    Err(_) => self.bad(format!("{what} is not a number of bytes that fits"), ""),
                };
            }
            _ => return self.wrong(what, "a size such as \"10MiB\""),
        };
        match units::parse_size(&text) {
            Ok(bytes) => Some(At::new(bytes, self.place)),
            Err(error) => self.bad(
                format!("{what} is not a size: \"{text}\" {}", error.describe()),
                "a number and one unit, as in \"512B\", \"32KiB\", \"10MiB\", \"1GB\"",
            ),
        }
    }

    /// What kind of value this is, with article.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        }
    }

    /// Reports that this is of the wrong type.
    pub(crate) fn wrong<T>(&self, what: &str, wanted: &str) -> Option<T> {
        let message = format!("{what} must be {wanted}, not {}", self.kind());
        self.document.report.problem(self.place, message);
        None
    }

    fn bad<T>(&self, message: String, hint: &str) -> Option<T> {
        if hint.is_empty() {
            self.document.report.problem(self.place, message);
        } else {
            self.document.report.problem_hint(self.place, message, hint);
        }
        None
    }

    fn filled(&self, text: &str) -> Option<At<String>> {
        match interpolate::interpolate(text, self.document.variables) {
            Ok(filled) => Some(At::new(filled, self.place)),
            Err(errors) => {
                for error in errors {
                    let (message, hint) = (error.describe(), error.hint());
                    self.document.report.problem_hint(self.place, message, hint);
                }
                None
            }
        }
    }
}
