//! `${VAR}` and `${VAR:-default}` in strings; `$$` is a literal `$`.
//!
//! Does not read the process environment (the variables are handed in) and does not nest.

use std::collections::BTreeMap;

/// Why a string could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InterpolateError {
    /// `${NAME}` without a default, and no such variable.
    Missing(String),
    /// `${` without `}`.
    Open,
    /// What stands between `${` and `}` is not a variable name.
    Name(String),
}

impl InterpolateError {
    /// What is wrong, in one line.
    pub(crate) fn describe(&self) -> String {
        match self {
            InterpolateError::Missing(name) => format!("environment variable `{name}` is not set"),
            InterpolateError::Open => "`${` has no closing `}`".to_owned(),
            InterpolateError::Name(name) => format!("`${{{name}}}` is not a variable name"),
        }
    }

    /// The way out.
    pub(crate) fn hint(&self) -> String {
        match self {
            InterpolateError::Missing(name) => {
                format!("set it, or give a default: `${{{name}:-default}}`")
            }
            InterpolateError::Open => "write `$$` for a literal `$`".to_owned(),
            InterpolateError::Name(_) => {
                "a name has letters, digits and `_`; write `$$` for a literal `$`".to_owned()
            }
        }
    }
}

/// Fills in every variable of `text`, or tells everything that is wrong with it.
pub(crate) fn interpolate(
    text: &str,
    variables: &BTreeMap<String, String>,
) -> Result<String, Vec<InterpolateError>> {
    let mut filled = String::with_capacity(text.len());
    let mut errors = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        filled.push_str(before);
        if let Some(after) = behind.strip_prefix('$') {
            filled.push('$');
            rest = after;
        } else if let Some(inside) = behind.strip_prefix('{') {
            let Some((variable, after)) = inside.split_once('}') else {
                errors.push(InterpolateError::Open);
                rest = "";
                break;
            };
            match lookup(variable, variables) {
                Ok(value) => filled.push_str(value),
                Err(error) => errors.push(error),
            }
            rest = after;
        } else {
            filled.push('$');
            rest = behind;
        }
    }
    filled.push_str(rest);
    if errors.is_empty() {
        Ok(filled)
    } else {
        Err(errors)
    }
}

/// As in a shell, the default of `:-` also stands in for a variable that is set but empty.
fn lookup<'a>(
    variable: &'a str,
    variables: &'a BTreeMap<String, String>,
) -> Result<&'a str, InterpolateError> {
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    if !is_name(name) {
        return Err(InterpolateError::Name(name.to_owned()));
    }
    match (variables.get(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(InterpolateError::Missing(name.to_owned())),
    }
}

/// Whether `name` can be the name of an environment variable.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn variables() -> BTreeMap<String, String> {
        [("HOST", "web"), ("EMPTY", ""), ("DOLLAR", "${HOST}")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn fills_in() {
        for (text, expected) in [
            ("plain", "plain"),
            ("http://${HOST}:1", "http://web:1"),
            ("${NONE:-a:-b}", "a:-b"),
            ("${NONE:-}", ""),
            ("${EMPTY}|${EMPTY:-x}", "|x"),
            ("$$ $$${HOST} $5 $", "$ $web $5 $"),
            ("${DOLLAR}", "${HOST}"),
            ("$${HOST}", "${HOST}"),
        ] {
            assert_eq!(interpolate(text, &variables()).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn tells_everything_that_is_wrong() {
        let errors = interpolate("${NONE} ${a b} ${1} ${HOST", &variables()).unwrap_err();
        assert_eq!(
            errors,
            [
                InterpolateError::Missing("NONE".to_owned()),
                InterpolateError::Name("a b".to_owned()),
                InterpolateError::Name("1".to_owned()),
                InterpolateError::Open,
            ]
        );
        assert!(
            errors
                .iter()
                .all(|e| !e.describe().is_empty() && !e.hint().is_empty())
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in "[$\\{\\}A-Z:\\-ä]{0,40}") {
            let _ = interpolate(&text, &variables());
        }
    }
}
