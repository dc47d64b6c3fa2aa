//! `bearer`: `Authorization: Bearer TOKEN` (RFC 6750 section 2.1), the token compared as a whole.

use std::sync::Arc;

use crate::config::model::Bearer;

use super::digests::Digests;
use super::{Asking, Authorization, Fault, Look, Scheme, authorization};

const NAME: &str = "bearer";

/// The scheme.
#[derive(Debug)]
pub(super) struct BearerToken(Digests);

impl BearerToken {
    pub(super) fn new(settings: &Bearer) -> BearerToken {
        BearerToken(Digests::new(NAME, settings.all()))
    }
}

impl Scheme for BearerToken {
    fn name(&self) -> &'static str {
        NAME
    }

    fn look(&self, asking: Asking<'_>) -> Look {
        match authorization(asking.head, "Bearer") {
            Authorization::Absent => Look::Absent,
            Authorization::Is(token) if is_token(token) => match self.0.find(token) {
                Some(identity) => Look::Known(Arc::clone(identity)),
                None => Look::Bad(Fault::Wrong),
            },
            Authorization::Is(_) | Authorization::Ambiguous => Look::Bad(Fault::Malformed),
        }
    }

    fn challenge(&self, realm: &str, fault: Option<Fault>) -> Option<String> {
        Some(challenge(realm, fault))
    }
}

/// The challenge of RFC 6750 section 3: `invalid_token` covers all that is wrong with one, and is not for requests without any.
pub(super) fn challenge(realm: &str, fault: Option<Fault>) -> String {
    match fault {
        None | Some(Fault::Missing) => format!("Bearer realm=\"{realm}\""),
        Some(_) => format!("Bearer realm=\"{realm}\", error=\"invalid_token\""),
    }
}

/// Whether it can be a token: `b64token` of RFC 6750 section 2.1, but with all signs that a configured one may have.
fn is_token(token: &[u8]) -> bool {
    !token.is_empty() && token.iter().all(u8::is_ascii_graphic)
}
