//! May a page of another site do this: preflights, and WebSocket, for which browsers ask nothing beforehand.
//!
//! All other requests go on whoever sent them, as the Fetch standard has it (section 3.3.2): the browser keeps their answers from
//! pages that may not read them. What is written into answers is the business of the room that writes them.

use crate::config::model::{Cors, Names};
use crate::error::Cause;
use crate::message::head::RequestHead;
use crate::message::target::split_port;

use super::Refusal;

/// Judges a preflight.
///
/// # Errors
/// When the origin, the method or a field is not one of those that `cors` names.
pub fn preflight(cors: &Cors, head: &RequestHead) -> Result<(), Refusal> {
    let refused = |message: &str| Err(Refusal::with(Cause::CorsRefused, message));
    if cors.allowed(head.origin()).is_none() {
        return refused("Pages of this origin may not use this route (cors.origins).");
    }
    let method = head.fields.get_str("access-control-request-method");
    if !method.is_some_and(|method| has_method(&cors.methods, method)) {
        return refused("Pages may not use this method here (cors.methods).");
    }
    let mut names = head.fields.members("access-control-request-headers");
    if !names.all(|name| has_field(&cors.headers, name)) {
        return refused("Pages may not send one of these header fields here (cors.headers).");
    }
    Ok(())
}

/// Judges a request that may ask for WebSocket; it comes with cookies, whatever `cors.credentials` says. Pages of the host that
/// is asked are at home; clients that are no browsers name no origin.
///
/// # Errors
/// When it does ask, from a page of an origin that `cors` does not name. `scheme`: what the client itself used.
pub fn websocket(cors: &Cors, head: &RequestHead, scheme: &str) -> Result<(), Refusal> {
    let is_meant = head.fields.contains("origin") && head.fields.has_member("upgrade", "websocket");
    if !is_meant || cors.allowed(head.origin()).is_some() {
        return Ok(());
    }
    if head
        .origin()
        .is_some_and(|origin| is_own(origin, head.host(), scheme))
    {
        return Ok(());
    }
    let message = "Pages of this origin may not open a WebSocket here (cors.origins).";
    Err(Refusal::with(Cause::CorsRefused, message))
}

/// Whether a page from `origin` is one of this very host. Who comes without TLS may have used it up to a proxy that is not
/// believed, so that either scheme will do then.
fn is_own(origin: &str, host: &str, scheme: &str) -> bool {
    let Some((page, authority)) = origin.split_once("://") else {
        return false;
    };
    let is_likely = page == "https" || (page == "http" && scheme == "http");
    let default = if page == "https" { "443" } else { "80" };
    let parts = |authority| {
        let (name, port) = split_port(authority);
        (name, port.unwrap_or(default))
    };
    let ((name, port), (own_name, own_port)) = (parts(authority), parts(host));
    is_likely && !name.is_empty() && name.eq_ignore_ascii_case(own_name) && port == own_port
}

fn has_method(names: &Names, method: &str) -> bool {
    match names {
        Names::Any => true,
        // Methods are compared as they are written (RFC 9110 section 9.1).
        Names::Only(names) => names.iter().any(|name| name == method),
    }
}

/// `*` does not stand for `Authorization` (Fetch standard section 4.8).
fn has_field(names: &Names, field: &[u8]) -> bool {
    match names {
        Names::Any => !field.eq_ignore_ascii_case(b"authorization"),
        Names::Only(names) => names
            .iter()
            .any(|name| name.as_bytes().eq_ignore_ascii_case(field)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_str;

    fn cors(lines: &str) -> Cors {
        let text = format!(
            "[[upstream]]\nname = \"web\"\nbackends = [\"http://127.0.0.1:1\"]\n[[route]]\nupstream = \"web\"\n\
             [route.cors]\n{lines}\n"
        );
        let config = load_str("t.toml", &text).map_err(|problems| problems.to_string());
        let cors = config.unwrap().config.routes.remove(0).cors;
        Cors::clone(&cors.unwrap())
    }

    fn head(list: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::unknown();
        for (name, value) in list {
            head.fields.append(name, value);
        }
        head
    }

    fn asks(cors: &Cors, origin: &str, method: &str, headers: &str) -> bool {
        let mut list = vec![
            ("Origin", origin),
            ("Access-Control-Request-Method", method),
        ];
        if !headers.is_empty() {
            list.push(("Access-Control-Request-Headers", headers));
        }
        preflight(cors, &head(&list)).is_ok()
    }

    #[test]
    fn origin_method_and_every_field_must_be_listed() {
        let cors = cors(
            "origins = [\"https://a.example\"]\nmethods = [\"PUT\"]\nheaders = [\"X-One\", \"authorization\"]",
        );
        let a = "https://a.example";
        assert!(asks(&cors, a, "PUT", "") && asks(&cors, a, "PUT", "x-one,AUTHORIZATION"));
        assert!(!asks(&cors, "https://b.example", "PUT", "") && !asks(&cors, "null", "PUT", ""));
        assert!(!asks(&cors, a, "GET", "") && !asks(&cors, a, "put", ""));
        assert!(!asks(&cors, a, "PUT", "x-one, x-two") && !asks(&cors, a, "PUT", "x-on"));
    }

    #[test]
    fn a_star_stands_for_all_but_authorization() {
        let cors = cors("origins = [\"*\"]\nmethods = [\"*\"]\nheaders = [\"*\"]");
        assert!(asks(&cors, "null", "PATCH", "x-any, content-type"));
        assert!(!asks(
            &cors,
            "https://a.example",
            "GET",
            "x-any, Authorization"
        ));
    }

    #[test]
    fn two_origins_are_none() {
        let cors = cors("origins = [\"https://a.example\"]");
        let list = [
            ("Origin", "https://a.example"),
            ("Origin", "https://a.example"),
            ("Access-Control-Request-Method", "GET"),
            ("Upgrade", "websocket"),
        ];
        assert!(preflight(&cors, &head(&list)).is_err());
        assert!(websocket(&cors, &head(&list), "https").is_err());
    }

    #[test]
    fn a_websocket_is_for_listed_pages_and_those_of_the_same_host() {
        let cors = cors("origins = [\"https://app.example.com\"]");
        let opens = |origin: &str, host: &str, scheme: &str| {
            let list = [("Host", host), ("Upgrade", "WebSocket"), ("Origin", origin)];
            let list = if origin.is_empty() { &list[..2] } else { &list };
            websocket(&cors, &head(list), scheme).is_ok()
        };
        let own = "api.example.com";
        assert!(opens("https://app.example.com", own, "https") && opens("", own, "https"));
        assert!(opens("https://api.example.com", own, "https"));
        assert!(opens("https://api.example.com", own, "http"));
        assert!(opens(
            "http://API.example.com",
            "api.example.com:80",
            "http"
        ));
        assert!(opens("http://127.0.0.1:8080", "127.0.0.1:8080", "http"));
        for (origin, scheme) in [
            ("http://api.example.com", "https"),
            ("https://api.example.com:8443", "https"),
            ("https://api.example.com.evil.com", "https"),
            ("https://evil.com", "http"),
            ("null", "http"),
            ("://", "http"),
        ] {
            assert!(!opens(origin, own, scheme), "{origin}");
        }
        let list = [("Origin", "https://evil.com"), ("Upgrade", "other")];
        assert!(websocket(&cors, &head(&list), "http").is_ok());
    }
}
