//! Templates: `https://{host}{path}` to pieces, with the variables that there are at that place.
//!
//! Does not make values of them; that is done for every request.

use crate::config::model::{Piece, Template, Variable};
use crate::config::report::{At, Report};
use crate::config::suggest;
use crate::message::fields::is_token;

/// Longest template, in bytes.
const LONGEST: usize = 4096;

/// Where a template stands: decides which variables it may use.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope<'a> {
    /// `redirect.to`, with these path parameters.
    Location(&'a [&'a str]),
    /// `rewrite`, with these path parameters.
    Path(&'a [&'a str]),
    /// The value of a request's field.
    RequestField,
    /// The value of a request's Host.
    Host,
    /// The value of an answer's field.
    ResponseField,
}

impl Scope<'_> {
    fn variables(&self) -> &'static [Variable] {
        match self {
            Scope::Location(_) => &[
                Variable::Host,
                Variable::Path,
                Variable::Rest,
                Variable::Query,
                Variable::Scheme,
            ],
            Scope::Path(_) => &[Variable::Path, Variable::Rest],
            Scope::Host => &[Variable::Host],
            Scope::RequestField => OF_A_REQUEST,
            Scope::ResponseField => OF_AN_ANSWER,
        }
    }

    fn parameters(&self) -> &[&str] {
        match self {
            Scope::Location(parameters) | Scope::Path(parameters) => parameters,
            _ => &[],
        }
    }

    fn takes_headers(&self) -> bool {
        matches!(self, Scope::RequestField | Scope::ResponseField)
    }

    /// Why a variable that exists elsewhere cannot be used here.
    fn why_not(&self, name: &str) -> Option<&'static str> {
        match (self, name) {
            (Scope::Path(_), "query") => {
                Some("leave it out: the query is passed on as it is, behind the new path")
            }
            (Scope::Location(_), name) if name.starts_with("header:") => Some(
                "where a client is sent must not depend on what it, or another site, can write there",
            ),
            (Scope::RequestField, "backend") => Some(
                "it is for [route.headers.response]: a request is written once, for whichever backend takes it",
            ),
            (Scope::Host, _) => Some("`Host` takes fixed text and `{host}` only"),
            _ => None,
        }
    }
}

const OF_A_REQUEST: &[Variable] = &[
    Variable::ClientIp,
    Variable::RequestId,
    Variable::Upstream,
    Variable::Route,
    Variable::Host,
    Variable::Method,
    Variable::Path,
    Variable::Query,
    Variable::Scheme,
    Variable::User,
];
const OF_AN_ANSWER: &[Variable] = &[
    Variable::ClientIp,
    Variable::RequestId,
    Variable::Backend,
    Variable::Upstream,
    Variable::Route,
    Variable::Host,
    Variable::Method,
    Variable::Path,
    Variable::Query,
    Variable::Scheme,
    Variable::User,
];

/// Parses the template that `what` holds. None: it is reported why not.
pub(super) fn check_template(
    written: &At<String>,
    what: &str,
    scope: Scope<'_>,
    report: &Report,
) -> Option<Template> {
    parse(&written.value, scope)
        .map_err(|(message, hint)| {
            report.problem_hint(written.place, format!("{what}: {message}"), hint);
        })
        .ok()
}

/// The error is message and hint.
fn parse(text: &str, scope: Scope<'_>) -> Result<Template, (String, String)> {
    const DOUBLE: &str = "write `{{` and `}}` for literal braces";
    if text.len() > LONGEST {
        let message = format!("it is longer than {LONGEST} bytes");
        return Err((message, "make it shorter".to_owned()));
    }
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, behind) = rest.split_at(at);
        literal.push_str(before);
        if let Some(after) = behind.strip_prefix("{{") {
            literal.push('{');
            rest = after;
        } else if let Some(after) = behind.strip_prefix("}}") {
            literal.push('}');
            rest = after;
        } else if let Some(inside) = behind.strip_prefix('{') {
            let Some((name, after)) = inside.split_once('}') else {
                return Err(("`{` has no closing `}`".to_owned(), DOUBLE.to_owned()));
            };
            let variable = find(name, scope)?;
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Variable(variable));
            rest = after;
        } else {
            return Err(("`}` has no opening `{`".to_owned(), DOUBLE.to_owned()));
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(Template::new(pieces))
}

fn find(name: &str, scope: Scope<'_>) -> Result<Variable, (String, String)> {
    // The path's own parameters first: their names are the user's.
    if scope.parameters().contains(&name) {
        return Ok(Variable::Parameter(name.to_owned()));
    }
    let known = scope.variables().iter();
    if let Some(variable) = known.clone().find(|known| known.to_string() == name) {
        return Ok(variable.clone());
    }
    if let Some(field) = name.strip_prefix("header:")
        && scope.takes_headers()
    {
        if is_token(field.as_bytes()) {
            return Ok(Variable::Header(field.to_owned()));
        }
        let message = format!("`{{{name}}}` names no header field");
        return Err((message, "write it as in `{header:User-Agent}`".to_owned()));
    }
    if let Some(claim) = name.strip_prefix("claim:").filter(|name| !name.is_empty())
        && scope.takes_headers()
    {
        return Ok(Variable::Claim(claim.to_owned()));
    }
    let message = format!("`{{{name}}}` is not a variable here");
    if let Some(why) = scope.why_not(name) {
        return Err((message, why.to_owned()));
    }
    let mut names: Vec<String> = known.map(ToString::to_string).collect();
    names.extend(scope.parameters().iter().map(|name| (*name).to_owned()));
    if scope.takes_headers() {
        names.push("header:NAME".to_owned());
        names.push("claim:NAME".to_owned());
    }
    let names = names.iter().map(String::as_str);
    Err((message, suggest::hint(name, "the variables are", names)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str, scope: Scope<'_>) -> Result<String, (String, String)> {
        parse(text, scope).map(|template| template.to_string())
    }

    #[test]
    fn what_was_written_comes_back() {
        for text in [
            "",
            "plain",
            "{client_ip}",
            "a{{b}}c{host}{header:X-A}d",
            "{{{host}}}",
            "{backend}",
        ] {
            assert_eq!(parsed(text, Scope::ResponseField).as_deref(), Ok(text));
        }
        let parameters = Scope::Location(&["id", "host"]);
        let template = parse("/{id}{host}{rest}", parameters).unwrap();
        assert!(template.uses(&Variable::Parameter("host".into())));
        assert!(template.uses(&Variable::Rest) && !template.uses(&Variable::Host));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let hint = |text: &str, scope| parsed(text, scope).unwrap_err().1;
        assert_eq!(
            hint("{client-ip}", Scope::RequestField),
            "did you mean `client_ip`?"
        );
        assert_eq!(
            hint("{zebra}", Scope::Path(&["user", "x"])),
            "the variables are: `path`, `rest`, `user`, `x`"
        );
        assert!(hint("{backend}", Scope::RequestField).contains("headers.response"));
        assert!(hint("{query}", Scope::Path(&[])).contains("as it is"));
        assert!(hint("{header:X}", Scope::Location(&[])).contains("must not depend"));
        for bad in [
            "{",
            "}",
            "{host",
            "host}",
            "{}",
            "{header:}",
            "{header:a b}",
            "{a{b}",
        ] {
            assert!(parsed(bad, Scope::ResponseField).is_err(), "{bad}");
        }
        assert!(parsed(&"x".repeat(4097), Scope::ResponseField).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_taken_comes_back(text in "([a-z/]{0,3}|[{}]{1,2}|[{](host|path|header:X-A)[}]){0,8}") {
            if let Ok(template) = parse(&text, Scope::ResponseField) {
                let shown = template.to_string();
                prop_assert_eq!(parse(&shown, Scope::ResponseField), Ok(template));
                prop_assert_eq!(shown, text);
            }
        }
    }
}
