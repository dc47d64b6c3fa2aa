//! Conditions of a route: what a request has to be like.
//!
//! Whether a request is like that is found out in the room `route`; how they are written is checked in `config::check`.

use std::fmt;

use http::Method;
use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::super::secret::fingerprint;

/// Host condition of a route; always lower case, without port.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum HostMatch {
    /// No condition.
    Any,
    /// This host.
    Exact(String),
    /// `*.example.com`: one label or more before the suffix, which is kept with its leading dot.
    Suffix(String),
}

/// Path condition of a route.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum PathMatch {
    /// The path is this.
    Exact(String),
    /// The path starts with this; on a `/` boundary unless the prefix ends with `/`.
    Prefix(String),
    /// A pattern with parameters such as `/items/{service}`; the rest of the path may follow the last segment.
    Pattern(Vec<Segment>),
}

/// One segment of a path pattern.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// This text.
    Literal(String),
    /// `{name}`: any one non-empty segment.
    Parameter(String),
}

/// The conditions beside host and path; all of them must hold. Each list is sorted and has nothing twice, so that equal
/// conditions are equal values.
#[derive(Debug, Serialize, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// One of these; empty: any.
    #[serde(serialize_with = "as_texts")]
    pub methods: Vec<Method>,
    /// Header fields; their names are in lower case.
    #[serde(serialize_with = "as_hidden")]
    pub headers: Vec<NamedValue>,
    /// Parameters of the query, percent-decoded.
    #[serde(serialize_with = "as_texts")]
    pub query: Vec<NamedValue>,
    /// Cookies.
    #[serde(serialize_with = "as_hidden")]
    pub cookies: Vec<NamedValue>,
    /// The client is in one of these networks; empty: anywhere.
    pub client_ip: Vec<IpNet>,
}

impl Conditions {
    /// How many there are, which is how special a route is: every header, parameter and cookie counts, the methods count once,
    /// and so do the networks.
    pub fn count(&self) -> usize {
        usize::from(!self.methods.is_empty())
            + usize::from(!self.client_ip.is_empty())
            + self.headers.len()
            + self.query.len()
            + self.cookies.len()
    }
}

/// Something with a name whose value has to be like this.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedValue {
    /// Of the header field, the parameter or the cookie.
    pub name: String,
    /// What its value is like.
    pub value: ValueMatch,
}

/// What a value is like.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueMatch {
    /// This, byte for byte.
    Exact(String),
    /// `a*b*c`: any characters, or none, in place of each `*`.
    Wildcard {
        /// Before the first `*`.
        start: String,
        /// Between two of them, never empty texts.
        middle: Vec<String>,
        /// After the last one.
        end: String,
    },
}

pub(super) fn as_texts<T: ToString, S: Serializer>(
    values: &[T],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

fn as_hidden<S: Serializer>(values: &[NamedValue], serializer: S) -> Result<S::Ok, S::Error> {
    let hidden = |wanted: &NamedValue| Hidden::new(&wanted.name, &wanted.value);
    serializer.collect_seq(values.iter().map(hidden))
}

/// A value that is known to few, as far as it may be shown.
#[derive(Debug, Serialize)]
pub(super) struct Hidden {
    name: String,
    /// Tells whether it is another one, and nothing else.
    hidden: u64,
}

impl Hidden {
    pub(super) fn new(name: &str, value: &impl ToString) -> Hidden {
        Hidden {
            name: name.to_owned(),
            hidden: fingerprint(&value.to_string()),
        }
    }
}

impl NamedValue {
    /// For places that more people see than the configuration: that there is a value to be had, not which one.
    pub fn without_value(&self) -> String {
        let value = self.value.to_string();
        let value = if value == "*" { "\"*\"" } else { "…" };
        format!("{} = {value}", self.name)
    }
}

/// As it is written in the configuration.
impl fmt::Display for NamedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = \"{}\"", self.name, self.value)
    }
}

impl fmt::Display for ValueMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueMatch::Exact(text) => f.write_str(text),
            ValueMatch::Wildcard { start, middle, end } => {
                f.write_str(start)?;
                for text in middle {
                    write!(f, "*{text}")?;
                }
                write!(f, "*{end}")
            }
        }
    }
}
