//! `[route.headers.request]` and `[route.headers.response]`: which fields may be changed, and their values.

use std::sync::Arc;

use super::template::{Scope, check_template};
use crate::config::file::{FieldsFile, RouteFile};
use crate::config::model::{FieldChanges, HeaderChanges, Piece, Template};
use crate::config::report::{At, Place, Report};
use crate::message::fields::{is_hop_by_hop, is_token, is_value};
use crate::message::forwarded::{is_owned, is_same_variable};
use crate::message::target::is_host;

/// Most entries of one list.
const MOST: usize = 100;

/// Which way the fields go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToBackend,
    ToClient,
}

/// What is done with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Set,
    Add,
    Remove,
}

/// None: nothing is changed.
pub(super) fn check_headers(file: &RouteFile, report: &Report) -> Option<Arc<HeaderChanges>> {
    let mut host = None;
    let request = check_fields(&file.actions.request, Way::ToBackend, &mut host, report);
    let response = check_fields(&file.actions.response, Way::ToClient, &mut None, report);
    if super::action::is_own(file) && (host.is_some() || !request.is_empty()) {
        report.problem_hint(
            file.actions.request.place,
            "[route.headers.request] has no effect on a route that asks no backend",
            "leave it out",
        );
    }
    let changes = HeaderChanges {
        host,
        request,
        kept_cookie: None,
        response,
    };
    (changes != HeaderChanges::default()).then(|| Arc::new(changes))
}

fn check_fields(
    file: &FieldsFile,
    way: Way,
    host: &mut Option<Template>,
    report: &Report,
) -> FieldChanges {
    let removed = file.remove.iter().flat_map(|remove| &remove.value);
    let removed: Vec<&At<String>> = removed.collect();
    for (key, count) in [
        ("set", file.set.len()),
        ("add", file.add.len()),
        ("remove", removed.len()),
    ] {
        if count > MOST {
            let message = format!("`{key}` has {count} entries, the limit is {MOST}");
            report.problem(file.place, message);
        }
    }
    let mut changes = FieldChanges::default();
    for name in removed {
        if may_change(&name.value, Verb::Remove, way, name.place, report) {
            changes.remove.push(name.value.clone());
        }
    }
    let mut names: Vec<&str> = Vec::new();
    for (name, value) in &file.set {
        if names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            let message = format!("`set` has `{}` twice", name.escape_debug());
            report.problem_hint(value.place, message, "keep one of them, or use `add`");
        }
        names.push(name);
        if way == Way::ToBackend && name.eq_ignore_ascii_case("host") {
            *host = check_host(value, report);
        } else if let Some(template) = check_value(name, value, Verb::Set, way, report) {
            changes.set.push((name.clone(), template));
        }
    }
    for (name, value) in &file.add {
        if let Some(template) = check_value(name, value, Verb::Add, way, report) {
            changes.add.push((name.clone(), template));
        }
    }
    changes
}

fn check_value(
    name: &str,
    value: &At<String>,
    verb: Verb,
    way: Way,
    report: &Report,
) -> Option<Template> {
    if !may_change(name, verb, way, value.place, report) {
        return None;
    }
    let scope = match way {
        Way::ToBackend => Scope::RequestField,
        Way::ToClient => Scope::ResponseField,
    };
    let template = check_template(value, &format!("`{name}`"), scope, report)?;
    if value.value.trim().is_empty() {
        let message = format!("`{name}` would have no value");
        let hint = format!("write `remove = [\"{name}\"]` to take it away");
        report.problem_hint(value.place, message, hint);
    } else if !is_value(value.value.as_bytes()) {
        let message = format!("the value of `{name}` holds control characters");
        report.problem_hint(value.place, message, "a field is one line of text");
    }
    Some(template)
}

/// The Host that backends see. It cannot be wrong then: a Host that is none would let every request fail.
fn check_host(value: &At<String>, report: &Report) -> Option<Template> {
    let template = check_template(value, "`Host`", Scope::Host, report)?;
    let example: String = template
        .pieces()
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Variable(_) => "host",
        })
        .collect();
    if !is_host(&example) {
        let message = format!("\"{}\" cannot be a `Host`", value.value);
        let hint = "write a name with or without a port, as in \"app.internal:8080\"";
        report.problem_hint(value.place, message, hint);
        return None;
    }
    Some(template)
}

/// Whether tollgate itself may set this field toward backends on behalf of the configuration; why not is reported.
pub(super) fn may_be_set(name: &str, place: Place, report: &Report) -> bool {
    may_change(name, Verb::Set, Way::ToBackend, place, report)
}

fn may_change(name: &str, verb: Verb, way: Way, place: Place, report: &Report) -> bool {
    let Some((why, hint)) = refused(name, verb, way) else {
        return true;
    };
    let verb = match verb {
        Verb::Set => "set",
        Verb::Add => "added",
        Verb::Remove => "removed",
    };
    let message = format!("`{}` cannot be {verb}: {why}", name.escape_debug());
    report.problem_hint(place, message, hint);
    false
}

/// Why this is not allowed, and the way out. None: it is.
fn refused(name: &str, verb: Verb, way: Way) -> Option<(&'static str, &'static str)> {
    const OUT: &str = "leave it out";
    // Longer names would not fit into what counts their length.
    const LONGEST: usize = 256;
    if !is_token(name.as_bytes()) || name.len() > LONGEST {
        return Some((
            "it is not the name of a header field",
            "a name has letters, digits and `-`, as in \"X-Frame-Options\"",
        ));
    }
    let is = |other: &str| is_same_variable(name, other);
    let starts_with = |begin: &str| name.get(..begin.len()).is_some_and(is_begin(begin));
    if is_hop_by_hop(&name.replace('_', "-")) {
        return Some((
            "it is about one connection, and every hop writes its own",
            OUT,
        ));
    }
    if starts_with("proxy-") {
        return Some((
            "fields that begin with Proxy- are between a client and its proxy",
            OUT,
        ));
    }
    if way == Way::ToClient {
        return match name {
            _ if is("x-request-id") && verb != Verb::Remove => {
                Some(("it is tollgate's own, and the same as in the log", OUT))
            }
            _ if is("host") => Some(("an answer has no Host", OUT)),
            _ => None,
        };
    }
    if is("host") {
        return Some((
            "every request has one Host",
            "use `set = { Host = \"…\" }` to send another",
        ));
    }
    let may_go = is("x-real-ip") || is("forwarded") || starts_with("x-forwarded-");
    if verb == Verb::Remove && may_go {
        return None;
    }
    if is("expect") || is("proxy") {
        return Some(("it is never passed on", OUT));
    }
    if is("via") || is("x-request-id") {
        return Some(("tollgate writes it, so that a request can be traced", OUT));
    }
    if is_owned(name) {
        return Some((
            "tollgate writes it, so that backends can rely on who the client is",
            "use `trusted_proxies` for what a proxy in front says; `remove` takes the field away",
        ));
    }
    None
}

/// Also with `_` for `-`, as in [`is_same_variable`].
fn is_begin(begin: &str) -> impl Fn(&str) -> bool {
    move |text| is_same_variable(text, begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_stay_ours() {
        use Verb::{Add, Remove, Set};
        use Way::{ToBackend, ToClient};
        for name in [
            "Connection",
            "content-length",
            "Transfer-Encoding",
            "Transfer_Encoding",
            "Upgrade",
            "TE",
            "Trailer",
            "Keep-Alive",
            "Proxy-Connection",
            "Proxy-Status",
            "proxy_authorization",
            "",
            "a b",
            "a:",
            "a\r\nb",
        ] {
            for verb in [Set, Add, Remove] {
                assert!(refused(name, verb, ToBackend).is_some(), "{name}");
                assert!(refused(name, verb, ToClient).is_some(), "{name}");
            }
        }
        for name in [
            "X-Forwarded-For",
            "x_forwarded_for",
            "X-Forwarded-Proto",
            "X-Forwarded_Port",
            "X-Real-IP",
            "Forwarded",
        ] {
            assert!(refused(name, Set, ToBackend).is_some(), "{name}");
            assert!(refused(name, Add, ToBackend).is_some(), "{name}");
            assert!(refused(name, Remove, ToBackend).is_none(), "{name}");
        }
        for name in ["Via", "X-Request-ID", "x_request_id", "Expect", "Proxy"] {
            assert!(refused(name, Set, ToBackend).is_some(), "{name}");
            assert!(refused(name, Remove, ToBackend).is_some(), "{name}");
        }
        assert!(refused("X-Request-ID", Set, ToClient).is_some());
        assert!(refused("X-Request-ID", Remove, ToClient).is_none());
        assert!(
            refused("Host", Add, ToBackend).is_some()
                && refused("Host", Remove, ToBackend).is_some()
        );
        for name in [
            "X-A",
            "X-Forwarded-User",
            "X-Forwarded-For-Old",
            "Authorization",
            "Strict-Transport-Security",
            "Server",
        ] {
            for verb in [Set, Add, Remove] {
                assert!(refused(name, verb, ToBackend).is_none(), "{name}");
                assert!(refused(name, verb, ToClient).is_none(), "{name}");
            }
        }
    }
}
