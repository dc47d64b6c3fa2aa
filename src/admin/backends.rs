//! `/_proxy/upstreams`: upstreams and backends, one by one; backends can be placed, changed and removed.

use std::borrow::Cow;
use std::time::Instant;

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::config;
use crate::exchange::Exchange;
use crate::message::head::ResponseHead;
use crate::upstream::Upstream;
use crate::upstream::member::Member;

use super::Admin;
use super::control::{Objection, Placed, Removed};
use super::order;
use super::pages::{Page, body, message, method};
use super::status::{render_member, render_upstream};

impl Admin {
    /// A page below `/_proxy/upstreams`.
    pub(super) fn upstreams(&self, exchange: &mut dyn Exchange, head: &mut ResponseHead) -> Page {
        let request = exchange.head();
        let path = request.target.path().to_owned();
        let mut parts = path.split('/').skip(3).map(decoded);
        let parts = [parts.next(), parts.next(), parts.next(), parts.next()];
        let is_reading = matches!(request.method, Method::GET | Method::HEAD);
        let now = Instant::now();
        match &parts {
            [name, kind, id, None] if kind.as_deref().is_none_or(|kind| kind == "backends") => {
                match (name, id) {
                    (Some(name), Some(id)) => self.backend(exchange, head, name, id),
                    _ if !is_reading => method(head, "GET, HEAD"),
                    (Some(name), None) => self.with_upstream(name, |upstream| {
                        (StatusCode::OK, render_upstream(upstream, now))
                    }),
                    _ => {
                        let upstreams = self.view.fleet.upstreams();
                        let list = upstreams.iter();
                        let list: Vec<Value> = list.map(|one| render_upstream(one, now)).collect();
                        (StatusCode::OK, json!({ "upstreams": list }))
                    }
                }
            }
            _ => message(StatusCode::NOT_FOUND, "No such page."),
        }
    }

    fn backend(
        &self,
        exchange: &mut dyn Exchange,
        head: &mut ResponseHead,
        name: &str,
        id: &str,
    ) -> Page {
        match exchange.head().method {
            Method::GET | Method::HEAD => self.show(name, id, StatusCode::OK),
            Method::PUT => self.put(&body(exchange), name, id),
            Method::DELETE => match self.control.remove_backend(name, id) {
                Ok(Removed::Backend) => (StatusCode::OK, json!({ "removed": id })),
                Ok(Removed::Settings) => {
                    let text = format!(
                        "What was set by hand about `{id}` is gone; what the configuration says holds again."
                    );
                    (StatusCode::OK, json!({ "reset": id, "message": text }))
                }
                Err(objection) => refusal(objection, name, id),
            },
            _ => method(head, "GET, HEAD, PUT, DELETE"),
        }
    }

    fn put(&self, body: &[u8], name: &str, id: &str) -> Page {
        if !config::is_name(id) {
            let text = "An id has 1 to 128 letters, digits and signs, without spaces, quotes and backslashes.";
            return message(StatusCode::BAD_REQUEST, text);
        }
        let order = match order::parse(body) {
            Ok(order) => order,
            Err(problem) => return message(StatusCode::BAD_REQUEST, problem),
        };
        match self.control.put_backend(name, id, &order) {
            Ok(Placed::New) => self.show(name, id, StatusCode::CREATED),
            Ok(Placed::Changed | Placed::Same) => self.show(name, id, StatusCode::OK),
            Err(objection) => refusal(objection, name, id),
        }
    }

    fn show(&self, name: &str, id: &str, status: StatusCode) -> Page {
        let now = Instant::now();
        self.with_upstream(name, |upstream| {
            let is_it = |member: &&Member| *member.backend.id == *id;
            let Some(member) = upstream.members.iter().find(is_it) else {
                return refusal(Objection::NoBackend, name, id);
            };
            let mut shown = render_member(member, now);
            if let (Some(shown), Some(until)) =
                (shown.as_object_mut(), self.control.expiry(name, id))
            {
                let left = until.saturating_duration_since(now).as_secs_f64();
                shown.insert("expires_in_seconds".into(), json!(left));
            }
            (status, shown)
        })
    }

    fn with_upstream(&self, name: &str, page: impl FnOnce(&Upstream) -> Page) -> Page {
        let upstreams = self.view.fleet.upstreams();
        match upstreams.iter().find(|upstream| *upstream.name == *name) {
            Some(upstream) => page(upstream),
            None => refusal(Objection::NoUpstream, name, ""),
        }
    }
}

fn refusal(objection: Objection, name: &str, id: &str) -> Page {
    match objection {
        Objection::NoUpstream => message(
            StatusCode::NOT_FOUND,
            format!("There is no upstream `{name}`."),
        ),
        Objection::NoBackend => message(
            StatusCode::NOT_FOUND,
            format!("There is no backend `{id}` in upstream `{name}`."),
        ),
        Objection::Unplaced(text) => message(StatusCode::NOT_FOUND, text),
        Objection::Conflict(text) => message(StatusCode::CONFLICT, text),
        Objection::Bad(text) => message(StatusCode::BAD_REQUEST, text),
    }
}

/// A part of a path without its percent signs; ids of Unix sockets have slashes.
fn decoded(part: &str) -> Cow<'_, str> {
    percent_decode_str(part).decode_utf8_lossy()
}
