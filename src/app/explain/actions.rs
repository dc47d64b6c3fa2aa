//! What a route does beside forwarding, in words: its own answers, and its changes of header fields.

use crate::config::model::{FieldChanges, HeaderChanges, Piece, Template, Values, Variable};
use crate::error::Cause;
use crate::message::forwarded::Client;
use crate::message::head::RequestHead;
use crate::message::query;
use crate::serve::browser::Browser;
use crate::serve::decide::Verdict;
use crate::serve::decision::Decision;
use crate::serve::own_answer::OwnAnswer;
use crate::serve::snapshot::Snapshot;

use super::auth;

/// Values of fields with one of these in their name are nobody's business, wherever they are shown. (Where the configuration
/// is described, no field's value is; here people want to know what becomes of variables.)
const SECRET: [&str; 7] = [
    "auth", "cookie", "token", "secret", "password", "api-key", "apikey",
];

/// What is answered, and whether that serves the client.
pub(super) fn own_answer(answer: &OwnAnswer, secret: &[String]) -> (bool, String) {
    match answer {
        OwnAnswer::Redirect { status, location } => {
            let location = query::covered(location, secret);
            (true, format!("redirect: {} to {location}", status.as_u16()))
        }
        OwnAnswer::Preflight(_) => (true, "answer: 204, a page may do that".to_owned()),
        OwnAnswer::Fixed(fixed) => {
            let (status, content) = (fixed.status.as_u16(), &fixed.content);
            let bytes = content.body.len();
            let text = match bytes {
                0 => format!("answer: {status} without a body"),
                _ => format!(
                    "answer: {status} with {bytes} bytes of {}",
                    content.content_type
                ),
            };
            (true, text)
        }
        // Nobody else is asked here, so there is none.
        OwnAnswer::Relayed(relayed) => {
            let status = relayed.status.as_u16();
            (false, format!("answer: {status}, of whoever was asked"))
        }
        OwnAnswer::Maintenance(maintenance) => {
            let cause = Cause::Maintenance;
            let page = match &maintenance.page {
                Some(page) => format!("a page of {} bytes", page.body.len()),
                None => cause.message().to_owned(),
            };
            (false, format!("{} {cause}: {page}", cause.status()))
        }
    }
}

/// The page that sends the request.
pub(super) fn describe_origin(origin: &str, is_listed: bool, is_preflight: bool) -> String {
    let origin = origin.escape_debug();
    let preflight = if is_preflight { ", a preflight" } else { "" };
    let listed = if is_listed {
        "may use the route"
    } else {
        "are not listed"
    };
    format!("cors: pages of {origin} {listed}{preflight}")
}

/// What browsers are told, unless a backend tells it.
pub(super) fn to_browsers(
    decision: &Decision,
    head: &RequestHead,
    client: &Client,
    snapshot: &Snapshot,
) -> Vec<String> {
    let browser = match &decision.browser {
        Some(browser) => browser.clone(),
        None => Browser::of_server(&snapshot.config),
    };
    let fields = browser.told(&decision.verdict, head, client);
    let line = |(name, value): (&str, &[u8])| {
        // Quotes stay as they are: people compare this with what they have written.
        let value = String::from_utf8_lossy(value).replace(char::is_control, "?");
        format!("to the browser: {name}: {value}")
    };
    fields.iter().map(line).collect()
}

/// One line for every change of a field.
pub(super) fn header_changes(
    decision: &Decision,
    head: &RequestHead,
    client: &Client,
    snapshot: &Snapshot,
) -> Vec<String> {
    let Some(changes) = &decision.headers else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    let identity = decision.identity.as_deref();
    let query = auth::query(decision, head, snapshot);
    let mut values = Values {
        // There is no such request, so it has no id.
        request_id: "{request_id}",
        route: decision.route.as_deref().unwrap_or_default(),
        query: &query,
        user: identity.map_or("", |identity| &identity.name),
        claims: identity.map_or(&[], |identity| &identity.claims),
        ..Values::of(head, client)
    };
    if let Verdict::Forward(plan) = &decision.verdict {
        let group = snapshot.groups.get(plan.upstream);
        values.upstream = group.map_or("", |group| &group.upstream.name);
        to_backend(changes, &values, &mut lines);
        values.backend = "{backend}";
    }
    let response = &changes.response;
    describe(response, "to the client", &values, &mut lines);
    lines
}

fn to_backend(changes: &HeaderChanges, values: &Values<'_>, lines: &mut Vec<String>) {
    let way = "to the backend";
    let host = changes.host.as_ref();
    lines.extend(host.map(|host| field(way, "Host", host, values)));
    let cookie = changes.kept_cookie.iter();
    lines.extend(cookie.map(|name| format!("{way}: no cookie {name}")));
    describe(&changes.request, way, values, lines);
}

fn describe(changes: &FieldChanges, way: &str, values: &Values<'_>, lines: &mut Vec<String>) {
    let removed = changes.remove.iter();
    lines.extend(removed.map(|name| format!("{way}: no {name}")));
    for (name, template) in &changes.set {
        lines.push(field(way, name, template, values));
    }
    for (name, template) in &changes.add {
        let line = field(way, name, template, values);
        lines.push(format!("{line} (added)"));
    }
}

fn field(way: &str, name: &str, template: &Template, values: &Values<'_>) -> String {
    let lower = name.to_ascii_lowercase();
    let is_secret = |name: &str| SECRET.iter().any(|secret| name.contains(secret));
    let copies = |piece: &Piece| matches!(piece, Piece::Variable(Variable::Header(name)) if is_secret(&name.to_ascii_lowercase()));
    if is_secret(&lower) || template.pieces().iter().any(copies) {
        return format!("{way}: {name} (its value is not shown)");
    }
    match template.field_value(values) {
        Some(value) => format!("{way}: {name}: {}", String::from_utf8_lossy(&value)),
        None => format!("{way}: no {name}, {template} is empty"),
    }
}

#[cfg(test)]
mod tests {
    use crate::app::{Explanation, Question, explain};

    const CONFIG: &str = r#"
        [[upstream]]
        name = "web"
        backends = ["http://127.0.0.1:9001"]
        [[route]]
        name = "moved"
        match = { path = "/old" }
        redirect = { to = "https://{host}/new{rest}{query}", status = 301 }
        [[route]]
        name = "robots"
        match = { path = "/robots.txt" }
        answer = { body = "nothing\n" }
        headers.response.set = { Cache-Control = "max-age=60" }
        headers.response.add = { X-Backend = "{backend}" }
        [[route]]
        name = "app"
        match = { path = "/users/{id}" }
        upstream = "web"
        rewrite = "/people/{id}{rest}"
        maintenance = { except = ["10.0.0.0/8"] }
        headers.request.set = { Host = "app.internal", X-From = "{client_ip} {upstream}", Authorization = "Bearer x", X-Internal-Token = "x" }
        headers.request.remove = ["Cookie"]
        headers.response.set = { X-Served-By = "{backend} {request_id}" }
    "#;

    fn ask(url: &str, peer: &str) -> Explanation {
        let config =
            crate::config::load_str("test", CONFIG).map_err(|problems| problems.to_string());
        let question = Question {
            method: "GET",
            url,
            fields: &[],
            listener: None,
            peer: peer.parse().unwrap(),
        };
        explain(&config.unwrap().config, question).unwrap()
    }

    #[test]
    fn answers_of_our_own_are_shown() {
        let moved = ask("http://a.example/old/x?y", "127.0.0.1");
        assert_eq!(moved.verdict, "redirect: 301 to https://a.example/new/x?y");
        let robots = ask("/robots.txt", "127.0.0.1");
        assert_eq!(
            robots.verdict,
            "answer: 200 with 8 bytes of text/plain; charset=utf-8"
        );
        assert!(moved.is_served && robots.is_served);
        let last = robots.steps.iter().rev().take(2);
        assert_eq!(
            last.collect::<Vec<_>>(),
            [
                "to the client: no X-Backend, {backend} is empty (added)",
                "to the client: Cache-Control: max-age=60"
            ]
        );
    }

    #[test]
    fn what_browsers_are_told_is_shown() {
        let config = r#"
            [server]
            security_headers = { frame_options = false, referrer_policy = false }
            redirect_https = 8443
            trusted_proxies = ["10.0.0.1"]
            [[upstream]]
            name = "web"
            backends = ["http://127.0.0.1:9001"]
            [[route]]
            name = "api"
            upstream = "web"
            cors = { origins = ["https://a.example"], max_age = "1m" }
        "#;
        let config =
            crate::config::load_str("test", config).map_err(|problems| problems.to_string());
        let config = config.unwrap().config;
        let ask = |method: &str, fields: &[&str]| {
            let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
            let question = Question {
                method,
                url: "http://b.example/x",
                fields: &fields,
                peer: "10.0.0.1".parse().unwrap(),
                listener: None,
            };
            explain(&config, question).unwrap()
        };
        let plain = ask("GET", &[]);
        assert_eq!(plain.verdict, "redirect: 308 to https://b.example:8443/x");
        assert_eq!(plain.steps[1], "without TLS: sent to https");
        let (https, method) = (
            "X-Forwarded-Proto: https",
            "Access-Control-Request-Method: POST",
        );
        let granted = ask("OPTIONS", &[https, method, "Origin: https://a.example"]);
        assert_eq!(granted.verdict, "answer: 204, a page may do that");
        let steps = [
            "head: within the limits",
            "route api: matches",
            "cors: pages of https://a.example may use the route, a preflight",
            "to the browser: X-Content-Type-Options: nosniff",
            "to the browser: Strict-Transport-Security: max-age=31536000",
            "to the browser: Access-Control-Allow-Origin: https://a.example",
            "to the browser: Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
            "to the browser: Access-Control-Allow-Methods: GET, HEAD, POST",
            "to the browser: Access-Control-Allow-Headers: Content-Type",
            "to the browser: Access-Control-Max-Age: 60",
        ];
        assert_eq!(granted.steps, steps);
        let refused = ask("OPTIONS", &[https, method, "Origin: https://c.example"]);
        assert!(refused.verdict.starts_with("403 cors_refused: ") && !refused.is_served);
        let step = "cors: pages of https://c.example are not listed, a preflight";
        assert_eq!(refused.steps[2], step);
    }

    #[test]
    fn maintenance_depends_on_who_asks() {
        let closed = ask("/users/1", "192.0.2.1");
        assert!(closed.verdict.starts_with("503 maintenance: ") && !closed.is_served);
        let step = "maintenance: 192.0.2.1 is not let through";
        assert!(closed.steps.iter().any(|other| other == step), "{closed:?}");
        let open = ask("/users/1/x?y", "10.0.0.9");
        assert_eq!(
            open.verdict,
            "forward to upstream web, asking for /people/1/x?y"
        );
        let wanted = [
            "maintenance: 10.0.0.9 is let through",
            "to the backend: Host: app.internal",
            "to the backend: no Cookie",
            "to the backend: X-From: 10.0.0.9 web",
            "to the backend: Authorization (its value is not shown)",
            "to the backend: X-Internal-Token (its value is not shown)",
            "to the client: X-Served-By: {backend} {request_id}",
        ];
        for step in wanted {
            assert!(open.steps.iter().any(|other| other == step), "{open:#?}");
        }
    }
}
