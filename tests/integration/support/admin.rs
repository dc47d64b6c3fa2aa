//! Requests to the admin address of a proxy.

use super::{Client, Proxy, Response};

/// Where a backend is in the API.
pub fn path(upstream: &str, id: &str) -> String {
    format!("/_proxy/upstreams/{upstream}/backends/{id}")
}

/// A GET.
#[track_caller]
pub fn get(proxy: &Proxy, path: &str) -> Response {
    ask(proxy, "GET", path, "", "")
}

/// A PUT with a JSON body.
#[track_caller]
pub fn put(proxy: &Proxy, path: &str, body: &serde_json::Value) -> Response {
    ask(proxy, "PUT", path, "", &body.to_string())
}

/// Any request; `fields` are whole lines.
#[track_caller]
pub fn ask(proxy: &Proxy, method: &str, path: &str, fields: &str, body: &str) -> Response {
    let framing = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    let to = proxy.admin();
    raw(
        proxy,
        &format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\n{fields}{framing}\r\n{body}"),
    )
}

/// These bytes.
#[track_caller]
pub fn raw(proxy: &Proxy, request: &str) -> Response {
    Client::connect(proxy.admin()).ask(request)
}
