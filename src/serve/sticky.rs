//! Sticky sessions: a cookie that says which backend a client was with, and that nobody else can make.
//!
//! The cookie's value is a keyed hash of upstream and backend: it tells nothing about the backend, and cannot be guessed for
//! another one. Who is picked when that backend is not usable is not decided here.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use ring::hmac;
use subtle::ConstantTimeEq;

use crate::config::model;
use crate::forward::Forwarded;
use crate::message::head::RequestHead;
use crate::upstream::Upstream;
use crate::upstream::backend::Skip;
use crate::upstream::member::Member;

use super::snapshot::Group;

/// Bytes of the hash that are used: enough that guessing is hopeless.
const BYTES: usize = 16;

/// Signs where no secret is configured. The same as long as the process lives, so that a reload moves nobody.
static OWN_SECRET: LazyLock<[u8; 32]> = LazyLock::new(rand::random);

/// The cookies of one upstream.
#[derive(Debug)]
pub struct Sticky {
    cookie: String,
    /// By member.
    values: Vec<String>,
    attributes: String,
}

impl Sticky {
    /// Cookies for the members of `upstream`.
    pub(super) fn new(settings: &model::Sticky, upstream: &Upstream) -> Sticky {
        let secret = settings.secret.as_ref();
        let secret = secret.map_or(OWN_SECRET.as_slice(), |secret| secret.bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let value = |id: &str| {
            // No name has a NUL, so that no two pairs are alike.
            let tag = hmac::sign(&key, format!("{}\0{id}", upstream.name).as_bytes());
            let bytes = tag.as_ref().iter().take(BYTES);
            bytes.map(|byte| format!("{byte:02x}")).collect()
        };
        let mut attributes = "; Path=/; HttpOnly; SameSite=Lax".to_owned();
        if settings.max_age > Duration::ZERO {
            attributes += &format!("; Max-Age={}", settings.max_age.as_secs());
        }
        if settings.is_secure {
            attributes += "; Secure";
        }
        Sticky {
            cookie: settings.cookie.clone(),
            values: upstream
                .backends()
                .map(|backend| value(&backend.id))
                .collect(),
            attributes,
        }
    }

    /// The member whose cookie the request has.
    pub(super) fn find(&self, head: &RequestHead) -> Option<usize> {
        // Several of one name may come, set for other paths; any that is ours will do.
        head.cookies(&self.cookie).find_map(|given| {
            let is_given = |value: &String| value.as_bytes().ct_eq(given).into();
            self.values.iter().position(is_given)
        })
    }

    /// The value of `Set-Cookie` that makes a client come back to this member.
    pub(super) fn set_cookie(&self, index: usize) -> Option<String> {
        let value = self.values.get(index)?;
        Some(format!("{}={value}{}", self.cookie, self.attributes))
    }
}

/// Makes the client come back to the backend that has answered, unless it came for that one.
pub(super) fn keep(group: &Group, stick: Option<usize>, forwarded: &mut Forwarded, id: &str) {
    let Some(sticky) = &group.sticky else {
        return;
    };
    let members = &group.upstream.members;
    let answered = forwarded.lease.backend();
    let is_it = |member: &Member| Arc::ptr_eq(&member.backend, answered);
    let Some(index) = members.iter().position(is_it) else {
        return;
    };
    if stick == Some(index) {
        return;
    }
    if let Some(left) = stick.and_then(|left| members.get(left)) {
        let (upstream, before, now) = (&group.upstream.name, &left.backend.id, &answered.id);
        let why = left.skip(Instant::now()).map_or("it failed", Skip::as_str);
        log::info!(
            "a client of backend {upstream}/{before} goes to {now} from now on: {why} (id={id})"
        );
    }
    let cookie = sticky.set_cookie(index).unwrap_or_default();
    forwarded.answer.head.fields.append("Set-Cookie", cookie);
}
