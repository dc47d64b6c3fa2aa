//! tollgate's own answers: JSON, HTML or text, by what the client accepts. JSON when it does not care.

use std::borrow::Cow;

use http::Method;
use serde_json::json;

use crate::error::Cause;
use crate::message::fields::Fields;
use crate::message::forwarded::PSEUDONYM;
use crate::message::head::ResponseHead;

/// The whole JSON body of a 401.
const NOT_AUTHENTICATED: &str = "{\"message\": \"Not authenticated\"}";

/// Seconds in `Retry-After`, where nothing else is known.
const RETRY_AFTER: &str = "1";

/// A refusal or failure, as it is told to the client.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Status, code and token.
    pub cause: Cause,
    /// More than the cause's own sentence; empty: that one.
    pub message: &'a str,
    /// With [`Cause::Method`], for `Allow` (RFC 9110 section 15.5.6); empty: all that are not refused everywhere.
    pub allow: &'a [Method],
    /// Header fields beside the usual ones.
    pub fields: &'a [(Cow<'static, str>, String)],
    /// So that a person can quote it and an operator find it.
    pub request_id: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Html,
    Text,
}

/// Head and body for `page`, in the format that the request's fields ask for.
pub fn refusal(page: Page<'_>, request: &Fields, close: bool) -> (ResponseHead, Vec<u8>) {
    let format = preferred(request);
    let mut head = ResponseHead::new(page.cause.status_code());
    head.close = close;
    let kind = match format {
        Format::Json => "application/json",
        Format::Html => "text/html; charset=utf-8",
        Format::Text => "text/plain; charset=utf-8",
    };
    head.fields.append("Content-Type", kind);
    head.fields.append("Cache-Control", "no-store");
    head.fields.append("X-Content-Type-Options", "nosniff");
    if format == Format::Html {
        head.fields.append("Content-Security-Policy", POLICY);
    }
    let status = format!(
        "{PSEUDONYM}; error={}; details=\"{}\"",
        page.cause.proxy_status(),
        page.cause.code()
    );
    head.fields.append("Proxy-Status", status);
    if page.cause == Cause::Method {
        head.fields.append("Allow", allowed(page.allow));
    }
    for (name, value) in page.fields {
        head.fields.append(name, value);
    }
    if page.cause.is_temporary() && !head.fields.contains("retry-after") {
        head.fields.append("Retry-After", RETRY_AFTER);
    }
    (head, render(page, format))
}

fn allowed(methods: &[Method]) -> String {
    if methods.is_empty() {
        return "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS".to_owned();
    }
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    names.join(", ")
}

/// The first of our formats in `Accept` that the client takes; quality values other than 0 are not weighed.
fn preferred(request: &Fields) -> Format {
    for member in request.members("accept") {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let is_refused =
            parts.any(|part| matches!(part, b"q=0" | b"q=0.0" | b"q=0.00" | b"q=0.000"));
        match kind.as_slice() {
            _ if is_refused => (),
            b"text/html" | b"application/xhtml+xml" => return Format::Html,
            b"text/plain" => return Format::Text,
            b"application/json" | b"application/*" | b"*/*" => return Format::Json,
            _ => (),
        }
    }
    Format::Json
}

fn render(page: Page<'_>, format: Format) -> Vec<u8> {
    let Page {
        cause, request_id, ..
    } = page;
    let message = if page.message.is_empty() {
        cause.message()
    } else {
        page.message
    };
    let status = cause.status();
    let phrase = cause.status_code().canonical_reason().unwrap_or_default();
    match format {
        // Whoever is not let in is told nothing else.
        Format::Json if cause == Cause::Unauthorized => NOT_AUTHENTICATED.into(),
        Format::Json => {
            let body = json!({ "message": message, "status": status, "cause": cause.code(), "request_id": request_id });
            format!("{body}\n").into_bytes()
        }
        Format::Text => format!(
            "{status} {phrase}\n{message}\ncause: {}\nrequest id: {request_id}\n",
            cause.code()
        )
        .into_bytes(),
        Format::Html => html(status, phrase, message, cause.code(), request_id).into_bytes(),
    }
}

/// The style of our pages, as it stands between its tags.
const STYLE: &str = "\n\
    :root { color-scheme: light dark; }\n\
    body { font: 1rem/1.5 system-ui, sans-serif; color: #1c2733; background: #f5f6f8; margin: 0; }\n\
    main { max-width: 34rem; margin: 18vh auto 0; padding: 0 1.5rem; }\n\
    h1 { font-size: 1.6rem; margin: 0 0 .5rem; }\n\
    p, code { overflow-wrap: anywhere; }\n\
    p { margin: 0 0 1.5rem; }\n\
    small { color: #5b6875; }\ncode { font-size: .95em; }\n\
    @media (prefers-color-scheme: dark) { body { color: #dfe5ec; background: #12171d; } small { color: #97a3b0; } }\n";

/// All that our pages need, which is that style: it is named by its digest (CSP level 3, section 2.3.1), so that the page looks the
/// same whatever policy a site has for its own.
const POLICY: &str = "default-src 'none'; style-src 'sha256-XM06NLijdejgQAswqOPMctWZpWZfcaGnEihn53HCAqM='; \
    base-uri 'none'; form-action 'none'";

fn html(status: u16, phrase: &str, message: &str, code: &str, request_id: &str) -> String {
    let (message, request_id) = (escape(message), escape(request_id));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{status} {phrase}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{status} {phrase}</h1>\n\
         <p>{message}</p>\n<small>Cause <code>{code}</code> · Request id <code>{request_id}</code></small>\n</main>\n\
         </body>\n</html>\n"
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;

    fn page(accept: &str, message: &str) -> (ResponseHead, String) {
        let mut fields = Fields::new();
        if !accept.is_empty() {
            fields.append("Accept", accept);
        }
        let page = Page {
            cause: Cause::NoRoute,
            message,
            allow: &[],
            fields: &[],
            request_id: "id1",
        };
        let (head, body) = refusal(page, &fields, false);
        (head, String::from_utf8(body).unwrap())
    }

    #[test]
    fn json_unless_asked_otherwise() {
        let (head, body) = page("", "Service 'unknown' not found");
        assert_eq!(
            head.fields.get_str("content-type"),
            Some("application/json")
        );
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(value["message"], "Service 'unknown' not found");
        assert_eq!(value["cause"], "no_route");
        assert!(page("*/*", "").1.starts_with('{'));
        assert!(
            page("text/plain;q=0, application/json", "")
                .1
                .starts_with('{')
        );
        assert!(
            page("text/html,application/xhtml+xml,*/*;q=0.8", "")
                .1
                .starts_with("<!doctype")
        );
        assert!(page("text/plain", "").1.starts_with("404 Not Found\n"));
    }

    #[test]
    fn html_is_escaped() {
        let body = page("text/html", "<script>alert('x')</script>").1;
        assert!(body.contains("&lt;script&gt;") && !body.contains("<script>"));
    }

    #[test]
    fn busy_answers_ask_to_come_back() {
        let page = Page {
            cause: Cause::Overloaded,
            message: "",
            allow: &[],
            fields: &[],
            request_id: "",
        };
        let (head, _) = refusal(page, &Fields::new(), true);
        assert_eq!(head.fields.get_str("retry-after"), Some("1"));
        assert_eq!(
            head.fields.get_str("proxy-status"),
            Some("tollgate; error=connection_limit_reached; details=\"overloaded\"")
        );
    }

    #[test]
    fn our_pages_keep_their_style_under_their_policy() {
        let (head, body) = page("text/html", "");
        let style = body.split("<style>").nth(1).unwrap();
        let style = style.split("</style>").next().unwrap();
        let digest = ring::digest::digest(&ring::digest::SHA256, style.as_bytes());
        let digest = base64::engine::general_purpose::STANDARD.encode(digest);
        let policy = head.fields.get_str("content-security-policy").unwrap();
        assert!(policy.contains(&format!("'sha256-{digest}'")), "{digest}");
        let (head, _) = page("application/json", "");
        assert!(!head.fields.contains("content-security-policy"));
    }

    #[test]
    fn a_refused_method_is_told_which_are_allowed() {
        let allow = |allow: &[Method]| {
            let page = Page {
                cause: Cause::Method,
                message: "",
                allow,
                fields: &[],
                request_id: "",
            };
            let (head, _) = refusal(page, &Fields::new(), false);
            head.fields.get_str("allow").unwrap().to_owned()
        };
        assert_eq!(allow(&[Method::GET, Method::POST]), "GET, POST");
        assert!(allow(&[]).starts_with("GET, HEAD, POST, "));
    }
}
