//! What answers say to browsers: which pages may read them (CORS), and what may be done with them (security headers).

use http::header;

use crate::config::model::{Cors, FrameOptions, Names, Origins, SecurityHeaders};
use crate::message::fields::Fields;

/// Names of all fields that answers use for CORS begin so.
const ACCESS_CONTROL: &str = "access-control-";

/// Adds what an answer does not say itself. Without TLS nothing may be said about keeping to it (RFC 6797 section 7.2), whoever
/// says it. `has_tls`: the client uses it.
pub fn protect(fields: &mut Fields, headers: &SecurityHeaders, has_tls: bool) {
    let mut add = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|_| !fields.contains(name)) {
            fields.append(name, value);
        }
    };
    let frame_options = headers.frame_options.map(FrameOptions::as_str);
    add(
        "X-Content-Type-Options",
        headers.nosniff.then_some("nosniff"),
    );
    add("X-Frame-Options", frame_options);
    add("Referrer-Policy", headers.referrer_policy.as_deref());
    add(
        "Content-Security-Policy",
        headers.content_security_policy.as_deref(),
    );
    add("Permissions-Policy", headers.permissions_policy.as_deref());
    if !has_tls {
        fields.remove("Strict-Transport-Security");
    } else if let Some(hsts) = headers.hsts {
        add("Strict-Transport-Security", Some(&hsts.to_string()));
    }
}

/// Says whether a page from `origin` may read the answer; what a backend says about that goes.
pub fn share(fields: &mut Fields, cors: &Cors, origin: Option<&str>) {
    fields.remove_where(|name| {
        name.get(..ACCESS_CONTROL.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(ACCESS_CONTROL))
    });
    // Also for pages that may not, and for requests without an origin: a cache must not give one page the answer to another.
    if cors.origins != Origins::Any {
        vary(fields, "Origin");
    }
    let Some(allowed) = cors.allowed(origin) else {
        return;
    };
    fields.append("Access-Control-Allow-Origin", allowed);
    if cors.credentials {
        fields.append("Access-Control-Allow-Credentials", "true");
    }
    list(fields, "Access-Control-Expose-Headers", &cors.expose);
}

/// Adds the rest of the answer to a preflight, behind [`share`].
pub fn answer_preflight(fields: &mut Fields, cors: &Cors) {
    vary(fields, "Access-Control-Request-Method");
    vary(fields, "Access-Control-Request-Headers");
    list(fields, "Access-Control-Allow-Methods", &cors.methods);
    list(fields, "Access-Control-Allow-Headers", &cors.headers);
    let seconds = cors.max_age.as_secs().to_string();
    fields.append("Access-Control-Max-Age", seconds);
}

fn list(fields: &mut Fields, name: &str, names: &Names) {
    if names.iter().next().is_some() {
        fields.append(name, names.joined());
    }
}

/// Names a field of requests that the answer depends on, beside those that are named already; in one line, since there are caches
/// that read one only.
fn vary(fields: &mut Fields, name: &str) {
    let vary = header::VARY.as_str();
    if fields.has_member(vary, name) || fields.has_member(vary, "*") {
        return;
    }
    let mut value: Vec<u8> = fields.members(vary).collect::<Vec<_>>().join(&b", "[..]);
    if !value.is_empty() {
        value.extend_from_slice(b", ");
    }
    value.extend_from_slice(name.as_bytes());
    fields.set("Vary", value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_str;
    use crate::config::model::Route;

    fn route(lines: &str) -> Route {
        let text = format!(
            "[[upstream]]\nname = \"web\"\nbackends = [\"http://127.0.0.1:1\"]\n[[route]]\nupstream = \"web\"\n{lines}\n"
        );
        let config = load_str("t.toml", &text).map_err(|problems| problems.to_string());
        config.unwrap().config.routes.remove(0)
    }

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in list {
            fields.append(name, value);
        }
        fields
    }

    fn lines(fields: &Fields) -> Vec<String> {
        let line =
            |(name, value): (&str, &[u8])| format!("{name}: {}", String::from_utf8_lossy(value));
        fields.iter().map(line).collect()
    }

    #[test]
    fn what_is_not_said_is_added() {
        let route = route("security_headers = true");
        let headers = route.security_headers.unwrap();
        let mut plain = fields(&[
            ("x-frame-options", "ALLOWALL"),
            ("strict-transport-security", "max-age=1"),
        ]);
        protect(&mut plain, &headers, false);
        let expected = [
            "x-frame-options: ALLOWALL",
            "X-Content-Type-Options: nosniff",
            "Referrer-Policy: strict-origin-when-cross-origin",
            "Content-Security-Policy: frame-ancestors 'self'",
        ];
        assert_eq!(lines(&plain), expected);
        let mut secure = Fields::new();
        protect(&mut secure, &headers, true);
        let hsts = secure.get_str("strict-transport-security");
        assert_eq!((secure.len(), hsts), (5, Some("max-age=31536000")));
        let mut theirs = fields(&[("Strict-Transport-Security", "max-age=1")]);
        protect(&mut theirs, &headers, true);
        let hsts = theirs.get_str("strict-transport-security");
        assert_eq!((theirs.len(), hsts), (5, Some("max-age=1")));
    }

    #[test]
    fn single_ones_are_set_or_left_out() {
        let route = route(
            "security_headers = { nosniff = false, frame_options = \"deny\", referrer_policy = false, hsts = \"2y\", \
             include_subdomains = true, preload = true, permissions_policy = \"camera=()\" }",
        );
        let mut out = Fields::new();
        protect(&mut out, &route.security_headers.unwrap(), true);
        let expected = [
            "X-Frame-Options: DENY",
            "Content-Security-Policy: frame-ancestors 'none'",
            "Permissions-Policy: camera=()",
            "Strict-Transport-Security: max-age=63072000; includeSubDomains; preload",
        ];
        assert_eq!(lines(&out), expected);
    }

    #[test]
    fn only_pages_that_are_named_may_read() {
        let route = route(
            "cors = { origins = [\"https://a.example\"], credentials = true, expose = [\"X-One\", \"X-Two\"] }",
        );
        let cors = route.cors.unwrap();
        let theirs = [
            ("Vary", "Accept-Encoding"),
            ("ACCESS-CONTROL-ALLOW-ORIGIN", "*"),
            ("Access-Control-Allow-Private-Network", "true"),
            ("vary", "Accept"),
        ];
        let vary = "Vary: Accept-Encoding, Accept, Origin";
        let mut out = fields(&theirs);
        share(&mut out, &cors, Some("https://a.example"));
        let expected = [
            vary,
            "Access-Control-Allow-Origin: https://a.example",
            "Access-Control-Allow-Credentials: true",
            "Access-Control-Expose-Headers: X-One, X-Two",
        ];
        assert_eq!(lines(&out), expected);
        for other in [Some("https://b.example"), Some("null"), None] {
            let mut out = fields(&theirs);
            share(&mut out, &cors, other);
            assert_eq!(lines(&out), [vary]);
        }
        for known in ["origin", "*", "Accept, ORIGIN"] {
            let mut out = fields(&[("Vary", known)]);
            share(&mut out, &cors, None);
            assert_eq!(lines(&out), [format!("Vary: {known}")]);
        }
    }

    #[test]
    fn every_page_may_read() {
        let cors = route("cors = { origins = [\"*\"] }").cors.unwrap();
        for origin in [Some("https://a.example"), Some("null"), None] {
            let mut out = Fields::new();
            share(&mut out, &cors, origin);
            assert_eq!(lines(&out), ["Access-Control-Allow-Origin: *"]);
        }
        let mut out = Fields::new();
        answer_preflight(&mut out, &cors);
        let expected = [
            "Vary: Access-Control-Request-Method, Access-Control-Request-Headers",
            "Access-Control-Allow-Methods: GET, HEAD, POST",
            "Access-Control-Allow-Headers: Content-Type",
            "Access-Control-Max-Age: 600",
        ];
        assert_eq!(lines(&out), expected);
    }
}
