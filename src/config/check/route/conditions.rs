//! Conditions of a route beside host and path: methods, header fields, parameters of the query, cookies, client addresses.

use http::Method;
use ipnet::IpNet;

use super::super::address::{parse_network, warn_of_host_bits};
use crate::config::file::{ConditionsFile, Pairs, Written};
use crate::config::model::{Conditions, NamedValue, ValueMatch};
use crate::config::report::{At, Place, Report};
use crate::message::fields::{is_token, is_value};

/// Headers, parameters and cookies of one route. Every request may be compared with all of them.
const MOST_VALUES: usize = 32;
/// Networks of one route.
const MOST_NETWORKS: usize = 1000;
/// `*` in one value.
const MOST_WILDCARDS: usize = 8;
/// No longer method gets as far as a route.
const LONGEST_METHOD: usize = 64;

/// What a name of this kind may be, and what its values can be.
struct Kind {
    /// As the table is called.
    key: &'static str,
    what: &'static str,
    example: &'static str,
    name_fault: fn(&str) -> Option<(&'static str, &'static str)>,
    is_possible: fn(&str) -> bool,
}

const HEADER: Kind = Kind {
    key: "header",
    what: "header",
    example: "write it as in `header = { X-Beta = \"1\" }`",
    name_fault: |name| match name {
        name if name.eq_ignore_ascii_case("host") => Some((
            "is compared in a way of its own",
            "write `host = \"…\"` in `match`",
        )),
        name if is_token(name.as_bytes()) => None,
        _ => Some((
            "is no name of a header",
            "letters, digits and `-`, as in `X-Beta`",
        )),
    },
    is_possible: |value| value.trim_ascii() == value && is_value(value.as_bytes()),
};

const QUERY: Kind = Kind {
    key: "query",
    what: "parameter",
    example: "write it as in `query = { version = \"2*\" }`",
    name_fault: |name| {
        name.is_empty().then_some((
            "is no name of a parameter",
            "write what stands before the `=`",
        ))
    },
    is_possible: |_| true,
};

const COOKIE: Kind = Kind {
    key: "cookie",
    what: "cookie",
    example: "write it as in `cookie = { side = \"b\" }`",
    name_fault: |name| {
        (!is_token(name.as_bytes())).then_some((
            "is no name of a cookie",
            "letters, digits, `-` and `_`, as in `side`",
        ))
    },
    is_possible: |value| {
        value.trim_ascii() == value && is_value(value.as_bytes()) && !value.contains(';')
    },
};

/// None: one of them cannot be used; that is reported.
pub(in crate::config::check) fn check_conditions(
    file: &ConditionsFile,
    report: &Report,
) -> Option<Conditions> {
    let methods = check_methods(&file.method, report);
    let [headers, query, cookies] = [
        (&HEADER, &file.header),
        (&QUERY, &file.query),
        (&COOKIE, &file.cookie),
    ]
    .map(|(kind, written)| check_values(kind, written, report));
    let client_ip = check_networks(&file.client_ip, report);
    let conditions = Conditions {
        methods: methods?,
        headers: headers?,
        query: query?,
        cookies: cookies?,
        client_ip: client_ip?,
    };
    let count = conditions.headers.len() + conditions.query.len() + conditions.cookies.len();
    let written = [&file.header, &file.query, &file.cookie];
    let last = written.into_iter().flatten().last();
    if let Some(last) = last.filter(|_| count > MOST_VALUES) {
        let message = format!("a route has at most {MOST_VALUES} headers, parameters and cookies");
        let hint = format!("these are {count}");
        report.problem_hint(last.place, message, hint);
        return None;
    }
    Some(conditions)
}

/// A list of methods, sorted; empty when nothing was written. None: the reason is reported.
pub(in crate::config::check) fn check_methods(
    written: &Written<Vec<At<String>>>,
    report: &Report,
) -> Option<Vec<Method>> {
    let Some(written) = written else {
        return Some(Vec::new());
    };
    if written.value.is_empty() {
        let hint = "write \"GET\" or [\"GET\", \"HEAD\"]; without `method` all are let in";
        report.problem_hint(written.place, "`method` is empty", hint);
        return None;
    }
    let parsed = written.value.iter().map(|entry| {
        parse_method(&entry.value)
            .map_err(|(message, hint)| report.problem_hint(entry.place, message, hint))
            .ok()
    });
    // All of them are looked at before the first bad one ends it.
    let parsed: Vec<Option<Method>> = parsed.collect();
    let mut methods: Vec<Method> = parsed.into_iter().collect::<Option<_>>()?;
    methods.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    methods.dedup();
    Some(methods)
}

fn parse_method(text: &str) -> Result<Method, (String, String)> {
    let method = Method::from_bytes(text.as_bytes())
        .ok()
        .filter(|method| method.as_str().len() <= LONGEST_METHOD);
    let Some(method) = method else {
        let hint = "write it as in \"GET\", or a list: [\"GET\", \"HEAD\"]";
        return Err((format!("\"{text}\" is no method"), hint.to_owned()));
    };
    if method == Method::CONNECT || method == Method::TRACE {
        let message = format!("{method} never gets as far as a route");
        return Err((message, "leave it out: it is always refused".to_owned()));
    }
    let upper = text.to_ascii_uppercase();
    if text != upper && is_well_known(&upper) {
        let message = format!("method \"{text}\" is not \"{upper}\": case matters");
        return Err((message, format!("write \"{upper}\"")));
    }
    Ok(method)
}

fn is_well_known(method: &str) -> bool {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&method)
}

fn check_values(kind: &Kind, written: &Pairs, report: &Report) -> Option<Vec<NamedValue>> {
    let Some(written) = written else {
        return Some(Vec::new());
    };
    if written.value.is_empty() {
        let message = format!("`{}` is empty", kind.key);
        report.problem_hint(written.place, message, kind.example);
        return None;
    }
    let mut values: Vec<NamedValue> = Vec::with_capacity(written.value.len());
    let mut is_good = true;
    for (name, value) in &written.value {
        let Some(found) = check_value(kind, name, value, report) else {
            is_good = false;
            continue;
        };
        if values.iter().any(|other| other.name == found.name) {
            let message = format!("{} `{}` is given twice", kind.what, found.name);
            let hint = "keep one: upper and lower case are the same here";
            report.problem_hint(value.place, message, hint);
            is_good = false;
        }
        values.push(found);
    }
    values.sort_unstable();
    is_good.then_some(values)
}

fn check_value(kind: &Kind, name: &str, value: &At<String>, report: &Report) -> Option<NamedValue> {
    let refuse = |place: Place, message: String, hint: &str| {
        report.problem_hint(place, message, hint);
        None
    };
    let what = kind.what;
    if let Some((fault, hint)) = (kind.name_fault)(name) {
        return refuse(value.place, format!("{what} `{name}` {fault}"), hint);
    }
    if !(kind.is_possible)(&value.value) {
        let message = format!("{what} `{name}` never has the value \"{}\"", value.value);
        let hint = "no value has spaces at its ends or control characters, and no cookie a `;`";
        return refuse(value.place, message, hint);
    }
    if value.value.matches('*').count() > MOST_WILDCARDS {
        let message = format!("{what} `{name}` has more than {MOST_WILDCARDS} `*`");
        return refuse(value.place, message, "use fewer of them");
    }
    let name = match kind.key {
        "header" => name.to_ascii_lowercase(),
        _ => name.to_owned(),
    };
    let value = parse_value(&value.value);
    Some(NamedValue { name, value })
}

fn parse_value(text: &str) -> ValueMatch {
    let Some((start, rest)) = text.split_once('*') else {
        return ValueMatch::Exact(text.to_owned());
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let middle = middle.split('*').filter(|part| !part.is_empty());
    ValueMatch::Wildcard {
        start: start.to_owned(),
        middle: middle.map(str::to_owned).collect(),
        end: end.to_owned(),
    }
}

fn check_networks(written: &Written<Vec<At<String>>>, report: &Report) -> Option<Vec<IpNet>> {
    let Some(written) = written else {
        return Some(Vec::new());
    };
    let count = written.value.len();
    if count == 0 || count > MOST_NETWORKS {
        let message = format!("`client_ip` must have 1 to {MOST_NETWORKS} entries, not {count}");
        let hint = "write it as in [\"10.0.0.0/8\", \"192.168.1.7\"]";
        report.problem_hint(written.place, message, hint);
        return None;
    }
    let parsed = written.value.iter().map(|entry| {
        parse_network(&entry.value)
            .inspect(|network| warn_of_host_bits(entry, *network, report))
            .map_err(|(message, hint)| report.problem_hint(entry.place, message, hint))
            .ok()
    });
    let parsed: Vec<Option<IpNet>> = parsed.collect();
    let mut networks: Vec<IpNet> = parsed.into_iter().collect::<Option<_>>()?;
    networks.sort_unstable();
    networks.dedup();
    Some(networks)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_taken_apart_and_shown_as_written() {
        let wildcard = |start: &str, middle: &[&str], end: &str| ValueMatch::Wildcard {
            start: start.into(),
            middle: middle.iter().map(|part| (*part).into()).collect(),
            end: end.into(),
        };
        for (text, expected) in [
            ("", ValueMatch::Exact(String::new())),
            ("1", ValueMatch::Exact("1".into())),
            ("*", wildcard("", &[], "")),
            ("2*", wildcard("2", &[], "")),
            ("*2", wildcard("", &[], "2")),
            ("a*b*c*d", wildcard("a", &["b", "c"], "d")),
        ] {
            assert_eq!(parse_value(text), expected, "{text}");
            assert_eq!(expected.to_string(), text);
        }
        assert_eq!(parse_value("a***b"), wildcard("a", &[], "b"));
    }

    #[test]
    fn methods_are_told_apart_by_case() {
        for good in ["GET", "PURGE", "purge", "M-SEARCH"] {
            assert_eq!(parse_method(good).unwrap().as_str(), good);
        }
        for bad in ["", "get", "Post", "G T", "CONNECT", "TRACE", "GET,HEAD"] {
            assert!(parse_method(bad).is_err(), "{bad}");
        }
        assert!(parse_method(&"A".repeat(65)).is_err());
    }
}
