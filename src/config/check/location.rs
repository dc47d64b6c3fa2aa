//! `redirect.to`: whether a template can only lead where the configuration says.

use crate::config::model::{Piece, Template, Variable};

/// Message and hint.
type Fault = (&'static str, &'static str);

const BEGIN: Fault = (
    "must start with `https://`, `http://`, `{scheme}://` or `/`",
    "write `/new{rest}` or `https://new.example{path}`",
);

/// An absolute path, or a URL whose host is fixed or the one that was asked for: nothing that a client writes into a path may
/// become part of the host.
pub(super) fn judge_location(template: &Template) -> Result<(), Fault> {
    let mut texts = template.pieces().iter().filter_map(|piece| match piece {
        Piece::Text(text) => Some(text),
        Piece::Variable(_) => None,
    });
    let is_bad = |c: char| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(c);
    if texts.any(|text| text.contains(is_bad)) {
        return Err(("holds characters that no URL has", "write them as %XX"));
    }
    match begin(template)? {
        Some((authority, rest)) => judge_authority(authority, rest),
        None => Ok(()),
    }
}

/// What follows the `://`, in the same piece and in later ones. `None`: there is no host.
fn begin(template: &Template) -> Result<Option<(&str, &[Piece])>, Fault> {
    match template.pieces() {
        [Piece::Variable(Variable::Path | Variable::Rest), ..] => Ok(None),
        [
            Piece::Variable(Variable::Scheme),
            Piece::Text(text),
            rest @ ..,
        ] => {
            let authority = text.strip_prefix("://").ok_or(BEGIN)?;
            Ok(Some((authority, rest)))
        }
        [Piece::Text(text), ..] if text.starts_with("//") => Err((
            "names a host without a scheme",
            "write `https://` or `{scheme}://`",
        )),
        [Piece::Text(text), ..] if text.starts_with('/') => Ok(None),
        [Piece::Text(text), rest @ ..] => {
            let authority = text.strip_prefix("https://");
            let authority = authority.or_else(|| text.strip_prefix("http://"));
            Ok(Some((authority.ok_or(BEGIN)?, rest)))
        }
        _ => Err(BEGIN),
    }
}

fn judge_authority(begin: &str, rest: &[Piece]) -> Result<(), Fault> {
    const ENDS: [char; 3] = ['/', '?', '#'];
    let mut has_host = !begin.is_empty() && !begin.starts_with(ENDS);
    let mut is_open = !begin.contains(ENDS);
    for piece in rest {
        if !is_open {
            break;
        }
        match piece {
            Piece::Text(text) => {
                has_host |= !text.starts_with(ENDS);
                is_open = !text.contains(ENDS);
            }
            Piece::Variable(Variable::Host) => has_host = true,
            Piece::Variable(Variable::Path) => is_open = false,
            // These begin with `/` or `?`, or they are empty.
            Piece::Variable(Variable::Rest | Variable::Query) => (),
            Piece::Variable(_) => {
                return Err((
                    "lets the request name a part of the host",
                    "put a `/` before it",
                ));
            }
        }
    }
    if has_host {
        Ok(())
    } else {
        Err((
            "names no host",
            "write one, or `{host}` for the one that was asked for",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::template::{Scope, check_template};
    use super::*;
    use crate::config::report::{At, Report};

    fn judged(text: &str) -> Result<(), &'static str> {
        let report = Report::default();
        let place = report.add_source("test", None);
        let scope = Scope::Location(&["id"]);
        let template = check_template(&At::new(text.to_owned(), place), "t", scope, &report);
        judge_location(&template.unwrap()).map_err(|(message, _)| message)
    }

    #[test]
    fn a_location_names_its_host_itself() {
        for good in [
            "/",
            "/new{rest}",
            "{path}",
            "{rest}{query}",
            "https://{host}{path}{query}",
            "{scheme}://www.{host}:8443{path}",
            "https://a.example",
            "https://a.example/{id}",
            "https://a.example?x={id}",
            "https://a.example{rest}",
            "http://[::1]:80{path}#part",
        ] {
            assert_eq!(judged(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "//a.example",
            "a.example/",
            "ftp://a.example/",
            "{host}/",
            "{id}",
            "{query}",
            "{scheme}:/a",
            "{scheme}{host}",
            "https://{id}.example/",
            "https://a.example{id}",
            "https://a.example{rest}{id}",
            "https://a.example{query}{id}",
            "https://{scheme}/",
            "https://",
            "https:///a",
            "https://{path}",
            "https://?x",
            "/a b",
            "/a\\b",
            "/\u{e4}",
            "/a\nb",
            "/{{",
        ] {
            assert!(judged(bad).is_err(), "{bad}");
        }
    }
}
