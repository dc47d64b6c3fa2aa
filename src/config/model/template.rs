//! Text with variables in braces, `https://{host}{path}`: the parsed pieces, and what they make for one request.
//!
//! Parsing is the business of [`super::super::check`]. Whatever a request holds, the text that is made here cannot end a line.

use serde::{Serialize, Serializer};
use std::fmt;
use std::io::Write;
use std::sync::Arc;

use crate::message::fields::is_value;
use crate::message::forwarded::Client;
use crate::message::head::RequestHead;
use crate::message::target::split_port;

/// Text with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// One part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Stays as it is.
    Text(String),
    /// Taken from the request.
    Variable(Variable),
}

/// What a template can ask for. What is not known at the time is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// `client_ip`.
    ClientIp,
    /// `request_id`.
    RequestId,
    /// `backend`: the id of the one that answered.
    Backend,
    /// `upstream`: its name.
    Upstream,
    /// `route`: its name.
    Route,
    /// `host`: the one that is asked for, without port.
    Host,
    /// `method`.
    Method,
    /// `path`: as it came, without query.
    Path,
    /// `query`: as it came, with its `?`.
    Query,
    /// `scheme`: `http`, or what a trusted proxy says.
    Scheme,
    /// `rest`: what follows the matched prefix or pattern, with its leading `/`.
    Rest,
    /// The path parameter of this name, as it came.
    Parameter(String),
    /// `user`: who was let in; see `[route.auth]`.
    User,
    /// `claim:NAME`: what is known of who was let in under this name.
    Claim(String),
    /// `header:NAME`: the first field of this name in the request.
    Header(String),
}

/// What is known of one exchange; empty where it is not known.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The request.
    pub head: &'a RequestHead,
    /// Who sent it.
    pub client: &'a Client,
    /// The id of the exchange.
    pub request_id: &'a str,
    /// Name of the route.
    pub route: &'a str,
    /// Name of the upstream.
    pub upstream: &'a str,
    /// Id of the backend.
    pub backend: &'a str,
    /// The query with its `?`, without secrets that stay here.
    pub query: &'a str,
    /// Who was let in.
    pub user: &'a str,
    /// What else is known of who was let in: name and value.
    pub claims: &'a [(Arc<str>, String)],
    /// The path, without query. `OPTIONS *` has none; routes take it for `/`.
    pub path: &'a str,
    /// What follows the matched part of the path.
    pub rest: &'a str,
    /// The path's parameters.
    pub parameters: &'a [(&'a str, &'a str)],
}

impl<'a> Values<'a> {
    /// What the request alone tells.
    pub fn of(head: &'a RequestHead, client: &'a Client) -> Values<'a> {
        let path = match head.target.is_asterisk() {
            true => "/",
            false => head.target.path(),
        };
        Values {
            head,
            client,
            path,
            request_id: "",
            route: "",
            upstream: "",
            backend: "",
            query: head.target.query(),
            user: "",
            claims: &[],
            rest: "",
            parameters: &[],
        }
    }

    fn host(&self) -> &'a str {
        split_port(self.head.host()).0
    }

    fn append(&self, variable: &Variable, out: &mut Vec<u8>) {
        let value = match variable {
            Variable::ClientIp => {
                // Writing to memory cannot fail.
                let _ = write!(out, "{}", self.client.ip);
                return;
            }
            Variable::Header(name) => {
                out.extend_from_slice(self.head.fields.get(name).unwrap_or_default());
                return;
            }
            Variable::RequestId => self.request_id,
            Variable::Backend => self.backend,
            Variable::Upstream => self.upstream,
            Variable::Route => self.route,
            Variable::Host => self.host(),
            Variable::Method => self.head.method.as_str(),
            Variable::Path => self.path,
            Variable::Query => self.query,
            Variable::Scheme => self.client.scheme(&self.head.fields),
            Variable::User => self.user,
            Variable::Claim(name) => {
                let mut claims = self.claims.iter();
                let found = claims.find(|(other, _)| **other == **name);
                found.map_or("", |(_, value)| value)
            }
            Variable::Rest => self.rest,
            Variable::Parameter(name) => {
                let mut parameters = self.parameters.iter();
                let found = parameters.find(|(other, _)| other == name);
                found.map_or("", |(_, value)| value)
            }
        };
        out.extend_from_slice(value.as_bytes());
    }
}

impl Template {
    /// A template of these pieces.
    pub fn new(pieces: Vec<Piece>) -> Template {
        Template(pieces)
    }

    /// The pieces in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// Whether it has this variable.
    pub fn uses(&self, variable: &Variable) -> bool {
        let mut pieces = self.0.iter();
        pieces.any(|piece| matches!(piece, Piece::Variable(used) if used == variable))
    }

    /// A value for a header field: without control characters, which become `?`, and without blanks around it. `None`: nothing is
    /// left.
    pub fn field_value(&self, values: &Values<'_>) -> Option<Vec<u8>> {
        let mut value = self.render(values);
        for byte in &mut value {
            if !is_value(&[*byte]) {
                *byte = b'?';
            }
        }
        let trimmed = value.trim_ascii();
        if trimmed.len() < value.len() {
            value = trimmed.to_vec();
        }
        Some(value).filter(|value| !value.is_empty())
    }

    /// A path for a request line. It starts with one `/`. What came is passed on as it came; only what would end a path, or the
    /// line, becomes `%XX`, should it ever get here.
    pub fn path(&self, values: &Values<'_>) -> String {
        let ends_it = |byte| matches!(byte, 0..=b' ' | b'?' | b'#' | 0x7f..);
        rooted(&escaped(&self.render(values), ends_it))
    }

    /// A value for `Location`: an absolute URL as far as the template says so, else a path that starts with one `/`, so that no
    /// path can name another host. What cannot stand in a URL becomes `%XX`: clients take `\` for `/`.
    pub fn location(&self, values: &Values<'_>) -> String {
        let location = escaped(&self.render(values), |byte| !is_url_character(byte));
        if self.is_absolute() {
            location
        } else {
            rooted(&location)
        }
    }

    /// Whether the template itself names a scheme and a host.
    fn is_absolute(&self) -> bool {
        match self.0.as_slice() {
            [Piece::Text(text), ..] => !text.starts_with('/'),
            [Piece::Variable(Variable::Scheme), ..] => true,
            _ => false,
        }
    }

    fn render(&self, values: &Values<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Variable(variable) => values.append(variable, &mut out),
            }
        }
        out
    }
}

fn rooted(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

/// Whether it can stand in a URL (RFC 3986 section 2). So can `%`: it is taken for the begin of an escape.
fn is_url_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

/// `bytes` with all that `is_bad` as `%XX`; `is_bad` has to hold for everything that is not ASCII.
fn escaped(bytes: &[u8], is_bad: impl Fn(u8) -> bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if is_bad(*byte) {
            text.push_str(&format!("%{byte:02X}"));
        } else {
            text.push(char::from(*byte));
        }
    }
    text
}

/// As it is written in the configuration.
impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => {
                    f.write_str(&text.replace('{', "{{").replace('}', "}}"))?;
                }
                Piece::Variable(variable) => write!(f, "{{{variable}}}")?,
            }
        }
        Ok(())
    }
}

/// As it is written between the braces.
impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Variable::ClientIp => "client_ip",
            Variable::RequestId => "request_id",
            Variable::Backend => "backend",
            Variable::Upstream => "upstream",
            Variable::Route => "route",
            Variable::Host => "host",
            Variable::Method => "method",
            Variable::Path => "path",
            Variable::Query => "query",
            Variable::Scheme => "scheme",
            Variable::Rest => "rest",
            Variable::User => "user",
            Variable::Claim(name) => return write!(f, "claim:{name}"),
            Variable::Parameter(name) => name,
            Variable::Header(name) => return write!(f, "header:{name}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::target::Target;

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn head(target: &str, list: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::unknown();
        head.target = Target::parse(target).unwrap();
        for (name, value) in list {
            head.fields.append(name, value);
        }
        head
    }

    fn client() -> Client {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let peer = "10.0.0.1".parse().unwrap();
        Client::identify(peer, &crate::message::fields::Fields::new(), &trusted)
    }

    fn location(pieces: Vec<Piece>, target: &str) -> String {
        let (head, client) = (head(target, &[("Host", "h:81")]), client());
        let rest = head.target.path().strip_prefix("/old").unwrap_or_default();
        let values = Values {
            rest,
            parameters: &[("id", "\\evil")],
            ..Values::of(&head, &client)
        };
        Template::new(pieces).location(&values)
    }

    #[test]
    fn every_variable_has_its_value() {
        let head = head(
            "/p/%41?q=\"",
            &[
                ("Host", "h:81"),
                ("X-A", "first"),
                ("x-a", "second"),
                ("X-Forwarded-Proto", "https"),
            ],
        );
        let client = client();
        let values = Values {
            request_id: "id1",
            route: "r",
            upstream: "u",
            backend: "b",
            rest: "/rest",
            parameters: &[("x", "1")],
            ..Values::of(&head, &client)
        };
        for (variable, value) in [
            (Variable::ClientIp, "10.0.0.1"),
            (Variable::RequestId, "id1"),
            (Variable::Backend, "b"),
            (Variable::Upstream, "u"),
            (Variable::Route, "r"),
            (Variable::Host, "h"),
            (Variable::Method, "-"),
            (Variable::Path, "/p/%41"),
            (Variable::Query, "?q=\""),
            (Variable::Scheme, "https"),
            (Variable::Rest, "/rest"),
            (Variable::Parameter("x".into()), "1"),
            (Variable::Header("X-a".into()), "first"),
        ] {
            let template = Template::new(vec![Piece::Variable(variable)]);
            let rendered = template.field_value(&values).unwrap();
            assert_eq!(String::from_utf8(rendered).unwrap(), value, "{template}");
        }
        let none = Template::new(vec![Piece::Variable(Variable::Header("X-None".into()))]);
        assert_eq!(none.field_value(&values), None);
    }

    #[test]
    fn what_is_shown_is_what_was_written() {
        let template = Template::new(vec![
            text("a{b} "),
            Piece::Variable(Variable::Header("X-A".into())),
            Piece::Variable(Variable::Host),
        ]);
        assert_eq!(template.to_string(), "a{{b}} {header:X-A}{host}");
    }

    #[test]
    fn no_field_value_ends_a_line() {
        let head = head("/", &[("X-A", " a\r\nSet-Cookie: b\0\x7f\tc\u{e4} ")]);
        let client = client();
        let template = Template::new(vec![Piece::Variable(Variable::Header("x-a".into()))]);
        let value = template.field_value(&Values::of(&head, &client)).unwrap();
        assert_eq!(
            String::from_utf8(value).unwrap(),
            "a??Set-Cookie: b??\tc\u{e4}"
        );
        assert!(
            !template
                .location(&Values::of(&head, &client))
                .contains(['\r', '\n', '\0'])
        );
    }

    #[test]
    fn a_location_leads_nowhere_else() {
        let variable = Piece::Variable;
        for (pieces, target, expected) in [
            (
                vec![variable(Variable::Path)],
                "//evil.example/x",
                "/evil.example/x",
            ),
            (
                vec![variable(Variable::Path)],
                "/\\evil.example",
                "/%5Cevil.example",
            ),
            (
                vec![variable(Variable::Rest)],
                "/old//evil.example",
                "/evil.example",
            ),
            (
                vec![variable(Variable::Rest), variable(Variable::Query)],
                "/old?a",
                "/?a",
            ),
            (
                vec![text("/"), variable(Variable::Parameter("id".into()))],
                "/x",
                "/%5Cevil",
            ),
            (vec![text("/"), variable(Variable::Rest)], "/old", "/"),
            (
                vec![
                    text("https://"),
                    variable(Variable::Host),
                    variable(Variable::Path),
                    variable(Variable::Query),
                ],
                "//a/\"|`<>?b={}^",
                "https://h//a/%22%7C%60%3C%3E?b=%7B%7D%5E",
            ),
            (
                vec![
                    variable(Variable::Scheme),
                    text("://new"),
                    variable(Variable::Path),
                ],
                "*",
                "http://new/",
            ),
        ] {
            assert_eq!(location(pieces, target), expected, "{target}");
        }
    }

    fn part() -> impl Strategy<Value = Piece> {
        prop_oneof![
            "[a-z/]{1,3}".prop_map(Piece::Text),
            Just(Piece::Variable(Variable::Path)),
            Just(Piece::Variable(Variable::Rest)),
            Just(Piece::Variable(Variable::Query)),
            Just(Piece::Variable(Variable::Header("x".into()))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_comes_the_line_and_the_host_stay(
            parts in prop::collection::vec(part(), 0..5),
            target in "/[ -~]{0,20}",
            rest in "(/[ -~]{0,10})?",
            field in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut head = RequestHead::unknown();
            head.target = Target::parse(&target).unwrap_or(head.target);
            head.fields.append("X", &field);
            let client = client();
            let values = Values { rest: &rest, ..Values::of(&head, &client) };
            let mut pieces = vec![text("/")];
            pieces.extend(parts);
            let template = Template::new(pieces);
            for rendered in [template.location(&values), template.path(&values)] {
                prop_assert!(rendered.starts_with('/') && !rendered.starts_with("//"), "{rendered:?}");
                prop_assert!(rendered.bytes().all(|byte| byte.is_ascii_graphic()), "{rendered:?}");
            }
            prop_assert!(!template.location(&values).contains('\\'));
            prop_assert!(template.field_value(&values).is_none_or(|value| is_value(&value)));
        }
    }
}
