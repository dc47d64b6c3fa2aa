//! Values of a configuration as they may be shown to people who see no secrets.
//!
//! Does not compare them.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::units;

/// Longest value that is shown whole.
const LONGEST: usize = 80;

/// How paths of numbers end that stand for what is not shown.
pub(super) const HIDDEN: &str = ".hidden";

/// Whether what is at `path` is shown to nobody.
pub(super) fn is_secret(path: &str) -> bool {
    let words = ["token", "secret", "password", "content.body", "page.body"];
    words.iter().any(|word| path.ends_with(word)) || path.ends_with(HIDDEN)
}

/// What may be shown of `value`, which is at `path`. The numbers that stand for secrets say nothing to anybody.
pub(super) fn without_secrets(path: &str, value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        _ if is_secret(path) => "…".into(),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, entry)| {
                let entry = without_secrets(&format!("{path}.{key}"), entry);
                (key.clone(), entry)
            });
            Value::Object(entries.collect())
        }
        Value::Array(list) => list
            .iter()
            .map(|entry| without_secrets(path, entry))
            .collect(),
        other => other.clone(),
    }
}

/// For people.
pub(super) fn show(value: &Value) -> String {
    if let Some(duration) = duration(value) {
        return units::format_duration(duration);
    }
    match value {
        Value::Null => "none".to_owned(),
        Value::Number(number) if number.as_u64() == Some(u64::MAX) => "no limit".to_owned(),
        other => {
            let text = other.to_string();
            match text.char_indices().nth(LONGEST) {
                Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
                None => text,
            }
        }
    }
}

/// How serde writes a duration.
pub(super) fn duration(value: &Value) -> Option<Duration> {
    let object: &Map<String, Value> = value.as_object().filter(|object| object.len() == 2)?;
    let seconds = object.get("secs")?.as_u64()?;
    let nanos = u32::try_from(object.get("nanos")?.as_u64()?).ok()?;
    Some(Duration::new(seconds, nanos))
}
