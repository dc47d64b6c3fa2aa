//! The changes that a route makes to the head of a request: which fields stay behind, which are new, which `Host` a backend sees.

use std::borrow::Cow;

use crate::config::model::Change;
use crate::message::forwarded::{is_owned, is_same_variable};
use crate::message::target::is_host;

use super::outbound::write_field;

/// The Host to be sent instead of the client's. `None`: the client's.
pub(super) fn host(change: Option<&Change<'_>>) -> Option<Vec<u8>> {
    let change = change?;
    let template = change.changes.host.as_ref()?;
    let host = template.field_value(&change.values)?;
    // A client that names no host leaves `{host}` empty; then there may be nothing that could be sent.
    let is_good = std::str::from_utf8(&host).is_ok_and(is_host);
    Some(host).filter(|_| is_good)
}

/// Whether a field that the client sent stays behind. A name that a CGI-like backend would take for the same variable is the
/// same name here, so that nobody can slip in what the route sets.
pub(super) fn drops(change: Option<&Change<'_>>, name: &str) -> bool {
    change.is_some_and(|change| {
        let mut replaced = change.changes.request.replaced();
        replaced.any(|other| is_same_variable(name, other))
    })
}

/// The value of a field that goes on, without the cookie that stays here. `None`: nothing else was in it.
pub(super) fn without_cookie<'a>(
    change: Option<&Change<'_>>,
    name: &str,
    value: &'a [u8],
) -> Option<Cow<'a, [u8]>> {
    let kept = change.and_then(|change| change.changes.kept_cookie.as_deref());
    let Some(kept) = kept.filter(|_| is_same_variable(name, "cookie")) else {
        return Some(value.into());
    };
    let pairs = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let is_kept = |pair: &&[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        name.trim_ascii_end() == kept.as_bytes()
    };
    if !pairs.clone().any(|pair| is_kept(&pair)) {
        return Some(value.into());
    }
    let others: Vec<&[u8]> = pairs.filter(|pair| !is_kept(pair)).collect();
    (!others.is_empty()).then(|| others.join(b"; ".as_slice()).into())
}

/// Writes the route's own fields, behind what tollgate has written from `begin` on; of that, what the route does not want its
/// backends to see goes.
pub(super) fn write(change: Option<&Change<'_>>, begin: usize, out: &mut Vec<u8>) {
    let Some(Change { changes, values }) = change else {
        return;
    };
    let removed = &changes.request.remove;
    if removed.iter().any(|name| is_owned(name)) {
        let written = out.split_off(begin.min(out.len()));
        for line in written.split_inclusive(|byte| *byte == b'\n') {
            let name = line.split(|byte| *byte == b':').next();
            let name = name.and_then(|name| std::str::from_utf8(name).ok());
            let is_unwanted =
                name.is_some_and(|name| removed.iter().any(|other| is_same_variable(name, other)));
            if !is_unwanted {
                out.extend_from_slice(line);
            }
        }
    }
    for (name, value) in changes.request.written(values) {
        write_field(out, name, &value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbound::Outbound;
    use super::without_cookie;
    use crate::config::load_str;
    use crate::config::model::{Change, HeaderChanges, Values};
    use crate::message::fields::Fields;
    use crate::message::forwarded::{Client, Hop};
    use crate::message::head::RequestHead;
    use crate::message::target::Target;

    /// The lines that a backend gets on a route with these changes.
    fn sent(changes: &str, list: &[(&str, &str)]) -> Vec<String> {
        let text = format!(
            "[[upstream]]\nname = \"web\"\nbackends = [\"http://127.0.0.1:1\"]\n[[route]]\nupstream = \"web\"\n\
             [route.headers.request]\n{changes}\n"
        );
        let config = load_str("t.toml", &text).map_err(|problems| problems.to_string());
        let route = config.unwrap().config.routes.remove(0);
        let mut head = RequestHead::unknown();
        head.target = Target::parse("/p?q").unwrap();
        for (name, value) in list {
            head.fields.append(name, value);
        }
        let peer = "192.0.2.1".parse().unwrap();
        let client = Client::identify(peer, &head.fields, &[]);
        let hop = Hop {
            peer,
            client: &client,
            local_port: 80,
            request_id: "id1",
        };
        let change = route.headers.as_deref().map(|changes| Change {
            changes,
            values: Values {
                request_id: "id1",
                ..Values::of(&head, &client)
            },
        });
        let outbound = Outbound::prepare(&head, ("/p", "?q"), hop, false, change.as_ref());
        let text = String::from_utf8(outbound.head("backend:1").to_vec()).unwrap();
        assert!(text.ends_with("\r\n\r\n"));
        text.trim_end().split("\r\n").map(str::to_owned).collect()
    }

    fn has(lines: &[String], line: &str) -> bool {
        lines.iter().any(|other| other == line)
    }

    #[test]
    fn only_the_cookie_that_is_ours_stays_here() {
        let changes = HeaderChanges {
            kept_cookie: Some("token".into()),
            ..HeaderChanges::default()
        };
        let (head, client) = (
            RequestHead::unknown(),
            Client::identify([0, 0, 0, 0].into(), &Fields::new(), &[]),
        );
        let change = Change {
            changes: &changes,
            values: Values::of(&head, &client),
        };
        for (name, value, wanted) in [
            ("Cookie", "a=b; c=d", Some("a=b; c=d")),
            ("cookie", "a=b;token=x.y.z;c=d", Some("a=b; c=d")),
            ("Cookie", "token=1; token = 2;a=token=3", Some("a=token=3")),
            ("Cookie", "token", None),
            ("Cookie", "Token=1; tokens=2", Some("Token=1; tokens=2")),
            ("X-Cookie", "token=1", Some("token=1")),
        ] {
            let kept = without_cookie(Some(&change), name, value.as_bytes());
            assert_eq!(kept.as_deref(), wanted.map(str::as_bytes), "{value}");
        }
        assert!(without_cookie(None, "Cookie", b"token=1").is_some());
    }

    #[test]
    fn first_gone_then_set_then_added() {
        let changes = "set = { X-Set = \"{client_ip} {method} {path}{query}\", X-Empty = \"{header:X-None}\" }\n\
            add = { X-Add = \"two\", X-Set = \"again\" }\nremove = [\"x-gone\"]";
        let came = [
            ("Host", "h"),
            ("X-GONE", "1"),
            ("x-set", "theirs"),
            ("X_Set", "theirs"),
            ("X-Empty", "theirs"),
            ("X-Add", "one"),
            ("X-Stays", "1"),
            ("Connection", "X-Set"),
        ];
        let lines = sent(changes, &came);
        let ours = ["Host: h", "X-Add: one", "X-Stays: 1"];
        assert_eq!(lines[1..4], ours, "{lines:#?}");
        let new = ["X-Set: 192.0.2.1 - /p?q", "X-Add: two", "X-Set: again"];
        assert_eq!(lines[lines.len() - 3..], new, "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("theirs")));
        assert!(has(&lines, "X-Real-IP: 192.0.2.1"));
    }

    #[test]
    fn what_tells_of_the_client_can_be_kept_back() {
        let changes = "remove = [\"x-real-ip\", \"Forwarded\", \"X-Forwarded-For\"]";
        let lines = sent(changes, &[("Host", "h"), ("X-Forwarded-For", "6.6.6.6")]);
        let text = lines.join("\n").to_ascii_lowercase();
        assert!(
            !text.contains("192.0.2.1") && !text.contains("6.6.6.6"),
            "{text}"
        );
        assert!(has(&lines, "X-Forwarded-Host: h") && has(&lines, "Via: 1.1 tollgate"));
        assert!(has(&lines, "X-Request-ID: id1"));
    }

    #[test]
    fn backends_see_another_host() {
        let host = "set = { Host = \"app.internal:81\" }";
        let lines = sent(host, &[("Host", "h")]);
        assert_eq!(lines[1], "Host: app.internal:81");
        assert!(has(&lines, "X-Forwarded-Host: h"));
        assert_eq!(
            lines
                .iter()
                .filter(|line| line.starts_with("Host:"))
                .count(),
            1
        );
        let derived = "set = { Host = \"{host}\" }";
        assert_eq!(sent(derived, &[("Host", "h:81")])[1], "Host: h");
        // Nothing to make a host of: the backend's own name.
        assert_eq!(sent(derived, &[])[1], "Host: backend:1");
    }

    #[test]
    fn no_value_ends_a_line() {
        let changes = "set = { X-Copy = \"{header:X-Evil}\" }";
        let lines = sent(changes, &[("Host", "h"), ("X-Evil", "a\r\nX-Admin: yes\0")]);
        // The head parser lets no such value in; should one ever come, the copy is one line all the same.
        assert!(has(&lines, "X-Copy: a??X-Admin: yes?"), "{lines:#?}");
    }
}
