//! `api_keys`: a key in a header field, or in a parameter of the query.
//!
//! It must come once: with two of them, or one in each place, a backend could take another one than was judged here.

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::model::ApiKeys;
use crate::message::query;

use super::digests::Digests;
use super::{Asking, Fault, Look, Scheme};

const NAME: &str = "api_keys";

/// The scheme.
#[derive(Debug)]
pub(super) struct ApiKey {
    header: Option<String>,
    query: Option<String>,
    keys: Digests,
}

impl ApiKey {
    pub(super) fn new(settings: &ApiKeys) -> ApiKey {
        ApiKey {
            header: settings.header.clone(),
            query: settings.query.clone(),
            keys: Digests::new(NAME, settings.all()),
        }
    }
}

impl Scheme for ApiKey {
    fn name(&self) -> &'static str {
        NAME
    }

    fn look(&self, Asking { head, .. }: Asking<'_>) -> Look {
        let in_header = self.header.as_deref().map(|name| head.fields.all(name));
        let in_query = self.query.as_deref();
        let in_query = in_query.map(|name| query::values(head.target.query(), name));
        let in_header = in_header.into_iter().flatten().map(Cow::Borrowed);
        let mut keys = in_header.chain(in_query.into_iter().flatten());
        let Some(key) = keys.next() else {
            return Look::Absent;
        };
        if keys.next().is_some() || key.is_empty() {
            return Look::Bad(Fault::Malformed);
        }
        match self.keys.find(&key) {
            Some(identity) => Look::Known(Arc::clone(identity)),
            None => Look::Bad(Fault::Wrong),
        }
    }

    /// There is no registered scheme for them; but a 401 has to have a challenge (RFC 9110 section 15.5.2), and clients pass
    /// over those that they do not know.
    fn challenge(&self, realm: &str, _: Option<Fault>) -> Option<String> {
        Some(format!("ApiKey realm=\"{realm}\""))
    }
}
