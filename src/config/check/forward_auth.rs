//! `forward` of `[route.auth]`: whom to ask who may pass, and what goes to and fro.

use std::time::Duration;

use http::uri::PathAndQuery;

use super::{SHORTEST, duration, headers, upstream_tls};
use crate::config::file::{ForwardAuthFile, Written};
use crate::config::model::{BackendAddress, ForwardAuth};
use crate::config::report::{At, Report};
use crate::message::fields::{is_hop_by_hop, is_token};
use crate::message::forwarded::is_owned;

const TIMEOUT: Duration = Duration::from_secs(2);
/// Nobody is kept waiting longer for a mere permission, and neither is the end of tollgate.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Most entries of one list.
const MOST: usize = 32;

/// None: it is reported what is wrong.
pub(super) fn check_forward(file: &ForwardAuthFile, report: &Report) -> Option<ForwardAuth> {
    let timeout = duration(report, &file.timeout, "timeout", SHORTEST, TIMEOUT);
    if let Some(written) = file.timeout.as_ref().filter(|_| timeout > LONGEST_TIMEOUT) {
        report.problem(written.place, "`timeout` must be at most 10s");
    }
    let shown = match &file.request_headers {
        None => vec!["Authorization".to_owned(), "Cookie".to_owned()],
        Some(names) => names_of(names, "request_headers", report, |name| {
            if may_be_shown(&name.value) {
                return true;
            }
            let message = format!(
                "`{}` cannot be among `request_headers`",
                name.value.escape_debug()
            );
            let hint = "X-Forwarded-* and X-Request-ID are sent anyway, and those about one connection or a body never";
            report.problem_hint(name.place, message, hint);
            false
        }),
    };
    let taken = file.response_headers.as_ref().map(|names| {
        names_of(names, "response_headers", report, |name| {
            headers::may_be_set(&name.value, name.place, report)
        })
    });
    let user_header = file.user_header.as_ref().map(|name| {
        if !is_token(name.value.as_bytes()) {
            let message = format!("`{}` is no header field", name.value.escape_debug());
            report.problem_hint(name.place, message, "write it as in \"X-User\"");
        }
        name.value.clone()
    });
    let settings = file.tls.as_ref().map(|tls| {
        let risk = "the certificate of the server that `forward` asks is not verified: whoever gets in between can let in anybody";
        upstream_tls::check_settings(tls, risk.to_owned(), report)
    });
    let (at, target) = check_url(&file.url, file, report)?;
    if let Some(tls) = file.tls.as_ref().filter(|_| !at.is_tls()) {
        let message = "`tls` is of no use: the `url` of `forward` begins with http://";
        report.warning(tls.place, message, "write https://, or leave `tls` out");
    }
    let (host, port) = at.host_and_port()?;
    Some(ForwardAuth {
        host: host.to_owned(),
        port,
        tls: at.is_tls().then(|| settings.unwrap_or_default()),
        target,
        timeout,
        request_headers: shown,
        response_headers: taken.unwrap_or_default(),
        user_header,
    })
}

fn check_url(
    url: &Written<String>,
    file: &ForwardAuthFile,
    report: &Report,
) -> Option<(BackendAddress, String)> {
    let example = "write it as in \"http://127.0.0.1:9000/check\"";
    let Some(url) = url else {
        report.problem_hint(file.place, "`forward` has no `url`", example);
        return None;
    };
    let text = &url.value;
    let begin = text.find("://").map_or(0, |at| at + 3);
    let rest = text.get(begin..).unwrap_or_default();
    let end = begin + rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (server, target) = text.split_at_checked(end)?;
    let scheme = text.get(..begin).unwrap_or_default().to_ascii_lowercase();
    if !matches!(&*scheme, "" | "http://" | "https://") || text.starts_with("unix:") {
        report.problem_hint(
            url.place,
            "`forward` asks over http and https only",
            example,
        );
        return None;
    }
    let at = match super::parse_backend(server) {
        Ok(at) => at,
        Err((message, hint)) => {
            report.problem_hint(url.place, format!("`url` cannot be asked: {message}"), hint);
            return None;
        }
    };
    let target = match target {
        "" => "/".to_owned(),
        query if query.starts_with('?') => format!("/{query}"),
        target => target.to_owned(),
    };
    if target.contains('#') || target.parse::<PathAndQuery>().is_err() {
        let message = "the path of `url` has characters that a URL cannot have, or a `#`";
        report.problem_hint(url.place, message, example);
        return None;
    }
    Some((at, target))
}

fn names_of(
    names: &At<Vec<At<String>>>,
    key: &str,
    report: &Report,
    is_good: impl Fn(&At<String>) -> bool,
) -> Vec<String> {
    if names.value.len() > MOST {
        let message = format!(
            "`{key}` has {} entries, the limit is {MOST}",
            names.value.len()
        );
        report.problem(names.place, message);
    }
    let mut list: Vec<String> = Vec::new();
    for name in &names.value {
        let is_new = !list
            .iter()
            .any(|other| other.eq_ignore_ascii_case(&name.value));
        if is_new && is_good(name) {
            list.push(name.value.clone());
        }
    }
    list
}

/// Whether a field of the request says something to somebody who gets no body, and over another connection.
fn may_be_shown(name: &str) -> bool {
    let lower = name.to_ascii_lowercase().replace('_', "-");
    let never = ["host", "content-length", "expect", "x-request-id", "via"];
    is_token(name.as_bytes())
        && name.len() <= 256
        && !never.contains(&&*lower)
        && !is_hop_by_hop(&lower)
        && !is_owned(&lower)
        && !lower.starts_with("x-forwarded-")
        && !lower.starts_with("proxy-")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use crate::config::load_str;
    use crate::config::model::Verify;

    #[test]
    fn tls_is_spoken_where_the_url_says_so() {
        let read = |forward: &str| {
            let text = format!(
                "[[upstream]]\nname = \"web\"\nbackends = [\"http://a\"]\n[[route]]\nupstream = \"web\"\nauth.forward = {{ {forward} }}"
            );
            let loaded = load_str("t.toml", &text).unwrap();
            let auth = loaded.config.routes[0].auth.clone().unwrap();
            let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
            (auth.forward.clone().unwrap(), warnings)
        };
        for (url, same, is_tls) in [
            ("http://Auth", "http://auth/", false),
            ("HTTPS://Auth:443/a?b", "https://auth/a?b", true),
            ("https://[::1]:80?b", "https://[::1]:80/?b", true),
            ("http://auth:443", "http://auth:443/", false),
        ] {
            let (forward, warnings) = read(&format!("url = \"{url}\""));
            assert_eq!((&*forward.url(), forward.tls.is_some()), (same, is_tls));
            assert_eq!(warnings, [""; 0]);
        }
        let (forward, warnings) = read("url = \"https://a\", tls.verify = \"none\"");
        assert_eq!(forward.tls.unwrap().verify, Verify::None);
        assert!(warnings[0].contains("can let in anybody"), "{warnings:?}");
        let (forward, warnings) = read("url = \"http://a\", tls.server_name = \"b\"");
        assert_eq!(forward.tls, None);
        assert!(warnings[0].contains("of no use"), "{warnings:?}");
    }
}
