//! JSON as signatures need it: one meaning for each text. Members that come twice are refused, and so is what is nested deeply.
//!
//! Knows nothing of tokens and keys.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// How deep objects and lists may be nested.
const DEEPEST: usize = 16;

/// The members of an object; each name is there once.
pub type Members = BTreeMap<String, Json>;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number that fits into 64 bits, as an integer or as a fraction.
    Number(Number),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object.
    Object(Members),
}

impl Json {
    /// The text that it is.
    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The object that `text` is. `None`: it is something else, more than one thing, no JSON, has a member twice, or is nested too
/// deeply.
pub fn object(text: &[u8]) -> Option<Members> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Room(DEEPEST).deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    match value {
        Json::Object(members) => Some(members),
        _ => None,
    }
}

/// How many levels there may be yet.
#[derive(Clone, Copy)]
struct Room(usize);

impl Room {
    fn inner<E: Error>(self) -> Result<Room, E> {
        let left = self.0.checked_sub(1);
        left.map(Room).ok_or_else(|| E::custom("nested too deeply"))
    }
}

impl<'de> DeserializeSeed<'de> for Room {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Json, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Room {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        let number = Number::from_f64(value);
        number
            .map(Json::Number)
            .ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut members = Members::new();
        while let Some(name) = map.next_key_seed(Name)? {
            let value = map.next_value_seed(inner)?;
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member comes twice"));
            }
        }
        Ok(Json::Object(members))
    }
}

/// The name of a member.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<String, D::Error> {
        String::deserialize(reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_one_meaning() {
        let good = object(br#" {"a": [1, -2, 1.5, "x", null, true], "b": {"a": 1}} "#).unwrap();
        assert_eq!(good.len(), 2);
        for bad in [
            r#"{"alg":"RS256","alg":"none"}"#,
            r#"{"a":{"b":1,"b":1}}"#,
            r#"{"alg":"RS256","\u0061lg":"none"}"#,
            r#"{"a":1}{"b":2}"#,
            r#"{"a":1} x"#,
            r#"{"a":1,}"#,
            r#"{'a':1}"#,
            r#"{"a":NaN}"#,
            r#"{"a":1e999}"#,
            r#"{"a":01}"#,
            r#"{"a":"\ud800"}"#,
            r#"[{"a":1}]"#,
            r#""a""#,
            "null",
            "",
            "{",
            "\u{feff}{}",
        ] {
            assert_eq!(object(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| {
            let text = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
            object(text.as_bytes()).is_some()
        };
        assert!(nested(DEEPEST));
        assert!(!nested(DEEPEST + 1));
        assert!(!nested(100_000));
    }
}
