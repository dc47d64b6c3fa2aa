//! Which fields tollgate adds to an answer, and what its route changes.

use crate::config::model::Change;
use crate::message::fields::Fields;

/// Adds `X-Request-ID`, and `X-Backend-Server` when a backend is given.
pub fn decorate(fields: &mut Fields, request_id: &str, backend: Option<&str>) {
    fields.set("X-Request-ID", request_id);
    if let Some(backend) = backend {
        fields.set("X-Backend-Server", backend);
    }
}

/// Makes the changes of a route. What goes out as a field is one line, whatever the request held.
pub fn change(fields: &mut Fields, change: &Change<'_>) {
    let changes = &change.changes.response;
    for name in changes.replaced() {
        fields.remove(name);
    }
    for (name, value) in changes.written(&change.values) {
        fields.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{FieldChanges, HeaderChanges, Piece, Template, Values};
    use crate::message::forwarded::Client;
    use crate::message::head::RequestHead;

    #[test]
    fn ours_replace_theirs() {
        let mut fields = Fields::new();
        fields.append("x-request-id", "theirs");
        decorate(&mut fields, "ours", Some("b1"));
        assert_eq!(fields.get_str("X-Request-ID"), Some("ours"));
        assert_eq!(fields.get_str("X-Backend-Server"), Some("b1"));
        assert_eq!(fields.len(), 2);
    }

    #[test]
    fn a_route_changes_what_is_there() {
        let text = |text: &str| Template::new(vec![Piece::Text(text.into())]);
        let changes = HeaderChanges {
            response: FieldChanges {
                remove: vec!["server".into()],
                set: vec![("X-Frame-Options".into(), text("DENY"))],
                add: vec![
                    ("Link".into(), text("two")),
                    ("X-Bad".into(), text("a\r\nb")),
                    ("X-Empty".into(), text(" ")),
                ],
            },
            ..HeaderChanges::default()
        };
        let head = RequestHead::unknown();
        let client = Client::identify("192.0.2.1".parse().unwrap(), &head.fields, &[]);
        let mut fields = Fields::new();
        for (name, value) in [
            ("Server", "x"),
            ("x-frame-options", "ALLOW"),
            ("Link", "one"),
        ] {
            fields.append(name, value);
        }
        let values = Values::of(&head, &client);
        change(
            &mut fields,
            &Change {
                changes: &changes,
                values,
            },
        );
        let fields: Vec<(&str, &[u8])> = fields.iter().collect();
        assert_eq!(
            fields,
            [
                ("Link", b"one".as_slice()),
                ("X-Frame-Options", b"DENY"),
                ("Link", b"two"),
                ("X-Bad", b"a??b"),
            ]
        );
    }
}
