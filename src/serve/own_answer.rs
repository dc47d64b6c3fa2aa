//! What a route answers by itself: redirects, fixed answers, maintenance.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::admit::auth::Relayed;
use crate::config::model::{Cors, FixedAnswer, Maintenance};
use crate::error::Cause;
use crate::exchange::Exchange;
use crate::message::head::ResponseHead;
use crate::respond::{self, Page};

use super::context::Context;

/// An answer that needs no backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnAnswer {
    /// The client is sent elsewhere.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
        /// For `Location`: without control characters. Its host is what the route says; where that is `{host}`, it is the one that
        /// the request asks for.
        location: String,
    },
    /// A page of another site may do what it asks for.
    Preflight(Arc<Cors>),
    /// Known beforehand.
    Fixed(Arc<FixedAnswer>),
    /// Of somebody else, who was asked whether the client may pass.
    Relayed(Relayed),
    /// The route is in maintenance, and the client is none of the exceptions.
    Maintenance(Arc<Maintenance>),
}

impl OwnAnswer {
    /// Bytes of a body that was configured; our own texts are small.
    pub(super) fn configured_length(&self) -> usize {
        match self {
            OwnAnswer::Redirect { .. } | OwnAnswer::Preflight(_) => 0,
            OwnAnswer::Fixed(fixed) => fixed.content.body.len(),
            OwnAnswer::Relayed(relayed) => relayed.body.len(),
            OwnAnswer::Maintenance(maintenance) => {
                let page = maintenance.page.as_ref();
                page.map_or(0, |page| page.body.len())
            }
        }
    }
}

/// Answers on the thread that calls.
pub(super) fn send(exchange: Box<dyn Exchange>, mut context: Context, answer: &OwnAnswer) {
    let (mut head, body, cause) = match answer {
        OwnAnswer::Redirect { status, location } => {
            let mut head = ResponseHead::new(*status);
            head.fields.append("Location", location);
            (head, Arc::default(), None)
        }
        OwnAnswer::Preflight(_) => (
            ResponseHead::new(StatusCode::NO_CONTENT),
            Arc::default(),
            None,
        ),
        OwnAnswer::Fixed(fixed) => {
            let mut head = ResponseHead::new(fixed.status);
            if !fixed.content.body.is_empty() {
                let content_type = &fixed.content.content_type;
                head.fields.append("Content-Type", content_type);
            }
            (head, Arc::clone(&fixed.content.body), None)
        }
        OwnAnswer::Relayed(relayed) => {
            let mut head = ResponseHead::new(relayed.status);
            for (name, value) in &relayed.fields {
                head.fields.append(name, value);
            }
            let cause = match relayed.status {
                StatusCode::UNAUTHORIZED => Some(Cause::Unauthorized),
                StatusCode::FORBIDDEN => Some(Cause::Forbidden),
                _ => None,
            };
            (head, Arc::clone(&relayed.body), cause)
        }
        OwnAnswer::Maintenance(maintenance) => {
            let (head, body) = closed(maintenance, &*exchange, &context.request_id);
            (head, body, Some(Cause::Maintenance))
        }
    };
    head.close = context.close;
    context.decorate(exchange.head(), &mut head.fields, None);
    if let OwnAnswer::Preflight(cors) = answer {
        respond::answer_preflight(&mut head.fields, cors);
    }
    let status = head.status.as_u16();
    let end = respond::send_own(exchange, &head, &body);
    context.finish(status, cause, &end);
}

/// The refusal of a route in maintenance.
fn closed(
    maintenance: &Maintenance,
    exchange: &dyn Exchange,
    request_id: &str,
) -> (ResponseHead, Arc<[u8]>) {
    let page = Page {
        cause: Cause::Maintenance,
        message: "",
        allow: &[],
        fields: &[],
        request_id,
    };
    let (mut head, body) = respond::refusal(page, &exchange.head().fields, false);
    head.fields
        .set("Retry-After", seconds(maintenance.retry_after));
    match &maintenance.page {
        None => (head, body.into()),
        Some(page) => {
            // That was for our own page.
            head.fields.remove("Content-Security-Policy");
            head.fields.set("Content-Type", &page.content_type);
            (head, Arc::clone(&page.body))
        }
    }
}

/// Whole seconds, rounded up: who comes back too early finds the same.
fn seconds(duration: Duration) -> String {
    let more = u64::from(duration.subsec_nanos() > 0);
    (duration.as_secs() + more).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(seconds(Duration::from_millis(1001)), "2");
        assert_eq!(seconds(Duration::from_secs(300)), "300");
    }
}
