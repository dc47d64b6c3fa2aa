//! Conditions of a route.

/// Host condition of a route; always lower case, without port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostMatch {
    /// No condition.
    Any,
    /// This host.
    Exact(String),
    /// `*.example.com`: one label or more before the suffix, which is kept with its leading dot.
    Suffix(String),
}

/// Path condition of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// The path starts with this; on a `/` boundary unless the prefix ends with `/`.
    Prefix(String),
    /// A pattern with parameters such as `/items/{service}`; the rest of the path may follow the last segment.
    Pattern(Vec<Segment>),
}

/// One segment of a path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This text.
    Literal(String),
    /// `{name}`: any one non-empty segment.
    Parameter(String),
}
