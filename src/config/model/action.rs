//! What a route does beside forwarding: answers of its own, maintenance, and changes of header fields.

use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use ipnet::IpNet;

use super::condition::Hidden;
use super::key::hash;
use super::template::{Template, Values};

/// `redirect`: sends the client elsewhere.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// For `Location`.
    pub to: Template,
    /// 301, 302, 303, 307 or 308. Default 308.
    #[serde(serialize_with = "super::as_text")]
    pub status: StatusCode,
}

/// `answer`: the same answer to every request.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct FixedAnswer {
    /// 200 to 599. Default 200.
    #[serde(serialize_with = "super::as_text")]
    pub status: StatusCode,
    /// What is sent. Default: an empty text.
    pub content: Content,
}

/// A body and its type; up to 1 MiB.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct Content {
    /// For `Content-Type`. Default: by the ending of the file, else `text/plain; charset=utf-8`.
    pub content_type: String,
    /// As it is sent.
    #[serde(serialize_with = "as_digest")]
    pub body: Arc<[u8]>,
}

/// `maintenance`, where it is switched on: 503 for all but a few.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// For `Retry-After`. Default 1 min.
    pub retry_after: Duration,
    /// Clients that are served as usual. Default none.
    pub except: Vec<IpNet>,
    /// What the others see; none: JSON, HTML or text of our own.
    pub page: Option<Content>,
}

impl Maintenance {
    /// Whether this client is served as usual.
    pub fn lets_through(&self, client: IpAddr) -> bool {
        self.except.iter().any(|network| network.contains(&client))
    }
}

/// `headers`: changes in both directions.
#[derive(Debug, Serialize, Clone, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// The `Host` that backends see; none: the client's.
    pub host: Option<Template>,
    /// In what backends are sent.
    pub request: FieldChanges,
    /// The cookie that is for us alone: credentials come in it. Default none.
    pub kept_cookie: Option<String>,
    /// In every answer of the route, also in those that are ours.
    pub response: FieldChanges,
}

/// First `remove`, then `set`, then `add`. A value that comes out empty makes no field.
#[derive(Debug, Serialize, Clone, Default, PartialEq, Eq)]
pub struct FieldChanges {
    /// All fields of these names go.
    pub remove: Vec<String>,
    /// Each replaces all fields of its name.
    #[serde(serialize_with = "as_hidden")]
    pub set: Vec<(String, Template)>,
    /// Each comes after what is there.
    #[serde(serialize_with = "as_hidden")]
    pub add: Vec<(String, Template)>,
}

impl FieldChanges {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Names that what came may not keep.
    pub fn replaced(&self) -> impl Iterator<Item = &str> {
        let set = self.set.iter().map(|(name, _)| name);
        self.remove.iter().chain(set).map(String::as_str)
    }

    /// The new fields in order.
    pub fn written<'a>(
        &'a self,
        values: &'a Values<'_>,
    ) -> impl Iterator<Item = (&'a str, Vec<u8>)> {
        let fields = self.set.iter().chain(&self.add);
        fields.filter_map(move |(name, template)| {
            Some((name.as_str(), template.field_value(values)?))
        })
    }
}

/// Changes together with the values for one exchange.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What the route says.
    pub changes: &'a HeaderChanges,
    /// What the variables stand for.
    pub values: Values<'a>,
}

/// For telling whether it has changed: byte for byte, whatever the bytes are.
fn as_digest<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let (length, number) = (bytes.len(), hash("", bytes));
    serializer.serialize_str(&format!("{length} bytes, {number:016x}"))
}

/// The names, and whether the values have changed.
fn as_hidden<S: serde::Serializer>(
    fields: &[(String, Template)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let hidden = |(name, value): &(String, Template)| Hidden::new(name, value);
    serializer.collect_seq(fields.iter().map(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_let_through() {
        let maintenance = Maintenance {
            retry_after: Duration::ZERO,
            except: vec![
                "10.0.0.0/8".parse().unwrap(),
                "2001:db8::/32".parse().unwrap(),
            ],
            page: None,
        };
        for (client, expected) in [
            ("10.9.8.7", true),
            ("2001:db8::1", true),
            ("11.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(
                maintenance.lets_through(client.parse().unwrap()),
                expected,
                "{client}"
            );
        }
    }
}
