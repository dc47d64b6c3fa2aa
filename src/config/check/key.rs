//! Keys that requests are told apart by: `client_ip`, `path`, `header:NAME`, `cookie:NAME`.

use crate::config::model::Key;
use crate::config::report::{At, Report};
use crate::message::fields::is_token;

const FORMS: &str = "write \"client_ip\", \"path\", \"header:NAME\" or \"cookie:NAME\"";

/// Parses the key that `name` asks for; a problem is reported, and the default stands in.
pub(super) fn check_key(written: Option<&At<String>>, name: &str, report: &Report) -> Key {
    let Some(written) = written else {
        return Key::ClientIp;
    };
    parse_key(&written.value).unwrap_or_else(|| {
        let message = format!("`{name}` \"{}\" is not a key", written.value);
        report.problem_hint(written.place, message, FORMS);
        Key::ClientIp
    })
}

/// The key that `text` stands for.
pub(super) fn parse_key(text: &str) -> Option<Key> {
    match text.split_once(':') {
        None if text == "client_ip" => Some(Key::ClientIp),
        None if text == "path" => Some(Key::Path),
        Some(("header", name)) if is_token(name.as_bytes()) => Some(Key::Header(name.to_owned())),
        Some(("cookie", name)) if is_token(name.as_bytes()) => Some(Key::Cookie(name.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_shown() {
        for good in ["client_ip", "path", "header:X-User", "cookie:side"] {
            assert_eq!(
                parse_key(good).map(|key| key.to_string()).as_deref(),
                Some(good)
            );
        }
        for bad in [
            "",
            "ip",
            "header",
            "header:",
            "header:a b",
            "cookie:a;b",
            "query:x",
        ] {
            assert_eq!(parse_key(bad), None, "{bad}");
        }
    }
}
