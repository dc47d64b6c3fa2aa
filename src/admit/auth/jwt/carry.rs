//! Claims as values of header fields for the backend.
//!
//! Control characters and what is not ASCII are percent-encoded, and with them `%` itself, spaces at either end, and in the items
//! of a list the comma that joins them: a value can be read back, and no claim can end a field or add an item.

use std::sync::Arc;

use crate::config::model::Jwt;
use crate::jose::json::{Json, Members};

use super::super::LONGEST_NAME;
use super::claims;
use super::fault::Fault;

/// Longest value in bytes.
const LONGEST: usize = 4096;

/// Name and value of each claim that is a text, a number, a boolean or a list of these: those that backends are told, and all
/// others that are no longer than a field may be.
///
/// # Errors
/// [`Fault::Uncarriable`]: one that backends are told is too long. Without it they might take the client for another one.
pub(super) fn values(claims: &Members, rules: &Jwt) -> Result<Vec<(Arc<str>, String)>, Fault> {
    let mut values: Vec<(Arc<str>, String)> = Vec::with_capacity(claims.len());
    for (name, claim) in claims {
        match value(claim) {
            Some(value) if value.len() <= LONGEST => values.push((name.as_str().into(), value)),
            _ => (),
        }
    }
    for wanted in rules.headers.iter().map(|header| &header.claim) {
        let found = claims::find(claims, wanted).and_then(value);
        let is_there = values.iter().any(|(name, _)| **name == **wanted);
        match found {
            Some(value) if value.len() > LONGEST => return Err(Fault::Uncarriable),
            Some(value) if !is_there => values.push((wanted.as_str().into(), value)),
            _ => (),
        }
    }
    Ok(values)
}

/// The subject as a name, written as values are: two subjects never have the same. Empty, if there is none.
///
/// # Errors
/// [`Fault::Uncarriable`]: it is too long. A part of it could be somebody else.
pub(super) fn subject(claims: &Members) -> Result<String, Fault> {
    let subject = claims.get("sub").and_then(Json::text).unwrap_or_default();
    let name = encode(subject, false);
    if name.len() > LONGEST_NAME {
        return Err(Fault::Uncarriable);
    }
    Ok(name)
}

/// `None`: no field can say it.
fn value(claim: &Json) -> Option<String> {
    match claim {
        Json::List(items) => {
            let items: Option<Vec<String>> = items
                .iter()
                .map(|item| scalar(item).map(|item| encode(&item, true)))
                .collect();
            items.map(|items| items.join(","))
        }
        claim => scalar(claim).map(|text| encode(&text, false)),
    }
}

fn scalar(claim: &Json) -> Option<String> {
    match claim {
        Json::Text(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(value) => Some(value.to_string()),
        Json::Null | Json::List(_) | Json::Object(_) => None,
    }
}

fn encode(text: &str, is_item: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        let is_plain = match byte {
            b'%' => false,
            b',' => !is_item,
            b' ' => at != 0 && at != last,
            byte => byte.is_ascii_graphic(),
        };
        if is_plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
