//! Who it is: the ways to be let in, each in a file of its own behind one contract ([`Scheme`]), and in which order a route
//! asks them.
//!
//! Any of a route's schemes lets a request in. The first one that finds credentials of its kind judges them, and its word
//! holds: what is bad for it is refused, even if another scheme might take something else that came along. So nobody can hide
//! guesses behind good credentials of another kind, and what is told about a refusal is always told by one scheme.
//!
//! Checks that cost no more than a hash are made at once, on the thread of the listener ([`Guard::look`]). Others, such as
//! hashes of passwords, or questions that go over the network, are made by threads that may take their time
//! ([`Guard::judge`]); until then nothing of the route is shown and nothing is sent to a backend. A refusal never says what was
//! wrong beyond what the challenges of RFC 6750 do.

mod api_key;
mod basic;
mod bearer;
mod digests;
mod forward;
mod jwt;

use std::fmt;
use std::sync::Arc;

use http::StatusCode;

use crate::config::model::Auth;
use crate::error::Cause;
use crate::message::forwarded::Client;
use crate::message::head::RequestHead;

use super::Refusal;

/// Longest name of who it is, in bytes, that goes into logs and to backends: a scheme that takes names from outside cuts them.
pub const LONGEST_NAME: usize = 256;

/// Who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// By which scheme, as [`Scheme::name`] calls it.
    pub scheme: &'static str,
    /// The name of a key, a user or a subject; see [`LONGEST_NAME`]. Not a secret.
    pub name: Arc<str>,
    /// What else is known, by name: for `{claim:NAME}` in header fields. No secrets.
    pub claims: Vec<(Arc<str>, String)>,
}

impl Identity {
    /// Of whom nothing but the name is known.
    pub fn new(scheme: &'static str, name: Arc<str>) -> Identity {
        Identity {
            scheme,
            name,
            claims: Vec::new(),
        }
    }
}

/// What a check may look at.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The request.
    pub head: &'a RequestHead,
    /// Who sent it.
    pub client: &'a Client,
    /// For logs, here and elsewhere; empty at the first look.
    pub request_id: &'a str,
}

/// What is wrong with credentials: for `explain` and for challenges; clients are told no more than those say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There are none.
    Missing,
    /// They are not written as their scheme wants it, or are there more than once.
    Malformed,
    /// They are nobody's.
    Wrong,
    /// They were good once, or will be.
    Expired,
}

impl Fault {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Missing => "no credentials",
            Fault::Malformed => "credentials that are not well-formed",
            Fault::Wrong => "credentials that are nobody's",
            Fault::Expired => "credentials that do not hold at this time",
        }
    }
}

/// What a scheme sees at first sight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// No credentials of its kind.
    Absent,
    /// Good ones.
    Known(Arc<Identity>),
    /// Bad ones.
    Bad(Fault),
    /// [`Scheme::judge`] has to tell, which takes this.
    Later(Effort),
}

/// What a slow check takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// A processor, for a fraction of a millisecond: a signature.
    Signature,
    /// A processor, for tens of milliseconds: a password.
    Password,
    /// An answer from elsewhere.
    Network,
}

/// Why a slow check does not let a request in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// 401, with the challenges of the route.
    Fault(Fault),
    /// Another answer.
    Refusal(Refusal),
    /// An answer of somebody else, as it is.
    Answer(Relayed),
}

/// What somebody else answers to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    /// 401, 403, or a redirect.
    pub status: StatusCode,
    /// Its fields, without those that say how long the body is.
    pub fields: Vec<(&'static str, Vec<u8>)>,
    /// Its body.
    pub body: Arc<[u8]>,
}

/// What the client gets after a check that took its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// An answer of ours.
    Refusal(Refusal),
    /// An answer of somebody else.
    Answer(Relayed),
}

/// One way to be let in.
pub trait Scheme: fmt::Debug + Send + Sync {
    /// As it is called in the configuration.
    fn name(&self) -> &'static str;

    /// Looks for credentials of its kind, and judges them if that takes no longer than some microseconds. Runs on the thread
    /// that owns the connections: it must not wait for anything, locks that others hold for long included.
    fn look(&self, asking: Asking<'_>) -> Look;

    /// The whole check, after [`Look::Later`]; may take its time, but has to end by itself.
    ///
    /// # Errors
    /// Why the request is not let in.
    fn judge(&self, _asking: Asking<'_>) -> Result<Arc<Identity>, Denied> {
        Err(Denied::Fault(Fault::Wrong))
    }

    /// What goes into `WWW-Authenticate` (RFC 9110 section 11.6.1), if it has something to say there. `fault`: what is wrong
    /// with credentials of its kind; none: others were looked at, or there were none.
    fn challenge(&self, realm: &str, fault: Option<Fault>) -> Option<String>;
}

/// What is known after the first look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Let in.
    Known(Arc<Identity>),
    /// To be told by [`Guard::judge`].
    Pending(Pending),
    /// Not let in.
    Refused {
        /// The scheme that said so; none: there were no credentials that any of them knows.
        scheme: Option<&'static str>,
        /// What is wrong.
        fault: Fault,
        /// What the client is told.
        refusal: Refusal,
    },
}

/// A check that still has to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// What the scheme is called.
    pub name: &'static str,
    /// What it takes.
    pub effort: Effort,
    scheme: usize,
}

/// All schemes of one route, in the order in which they are asked.
#[derive(Debug)]
pub struct Guard {
    realm: String,
    schemes: Vec<Box<dyn Scheme>>,
}

impl Guard {
    /// The guard that `auth` asks for.
    pub fn new(auth: &Auth) -> Guard {
        let mut schemes: Vec<Box<dyn Scheme>> = Vec::new();
        if let Some(keys) = &auth.api_keys {
            schemes.push(Box::new(api_key::ApiKey::new(keys)));
        }
        // Before `bearer`, which takes anything: what has the form of a signed token is one.
        if let Some(tokens) = &auth.jwt {
            let beside = match auth.bearer {
                Some(_) => jwt::Beside::Bearer,
                None => jwt::Beside::Nothing,
            };
            schemes.push(Box::new(jwt::Tokens::new(tokens, beside, &auth.realm)));
        }
        if let Some(tokens) = &auth.bearer {
            schemes.push(Box::new(bearer::BearerToken::new(tokens)));
        }
        if let Some(users) = &auth.basic {
            schemes.push(Box::new(basic::BasicAuth::new(users)));
        }
        // The last one: it looks at whatever comes.
        if let Some(elsewhere) = &auth.forward {
            schemes.push(Box::new(forward::Forward::new(elsewhere)));
        }
        Guard {
            realm: auth.realm.clone(),
            schemes,
        }
    }

    /// The first look: costs no more than a hash or two.
    pub fn look(&self, asking: Asking<'_>) -> Found {
        for (index, scheme) in self.schemes.iter().enumerate() {
            match scheme.look(asking) {
                Look::Absent => (),
                Look::Known(identity) => return Found::Known(identity),
                Look::Bad(fault) => return self.refused(Some(index), fault),
                Look::Later(effort) => {
                    return Found::Pending(Pending {
                        name: scheme.name(),
                        effort,
                        scheme: index,
                    });
                }
            }
        }
        self.refused(None, Fault::Missing)
    }

    /// The whole check that is `pending`. Takes its time.
    ///
    /// # Errors
    /// What the client is told.
    pub fn judge(&self, pending: Pending, asking: Asking<'_>) -> Result<Arc<Identity>, Stop> {
        let Some(scheme) = self.schemes.get(pending.scheme) else {
            return Err(Stop::Refusal(Refusal::new(Cause::Internal)));
        };
        scheme.judge(asking).map_err(|denied| match denied {
            Denied::Fault(fault) => Stop::Refusal(self.refusal(Some(pending.scheme), fault)),
            Denied::Refusal(refusal) => Stop::Refusal(refusal),
            Denied::Answer(answer) => Stop::Answer(answer),
        })
    }

    fn refused(&self, index: Option<usize>, fault: Fault) -> Found {
        let scheme = index.and_then(|index| self.schemes.get(index));
        Found::Refused {
            scheme: scheme.map(|scheme| scheme.name()),
            fault,
            refusal: self.refusal(index, fault),
        }
    }

    /// 401 with a challenge of every scheme that has one. Only the one that refused says anything about what came.
    fn refusal(&self, index: Option<usize>, fault: Fault) -> Refusal {
        let mut refusal = Refusal::new(Cause::Unauthorized);
        for (other, scheme) in self.schemes.iter().enumerate() {
            let fault = Some(fault).filter(|_| index == Some(other));
            let challenge = scheme.challenge(&self.realm, fault);
            let field = |challenge| ("WWW-Authenticate".into(), challenge);
            refusal.fields.extend(challenge.map(field));
        }
        refusal
    }
}

/// The credentials of a request whose `Authorization` names this scheme (RFC 9110 section 11.4); what follows the name is
/// trimmed, and may be empty.
fn authorization<'a>(head: &'a RequestHead, scheme: &str) -> Authorization<'a> {
    let mut all = head.fields.all("authorization");
    let Some(first) = all.next() else {
        return Authorization::Absent;
    };
    let others: Vec<&[u8]> = all.collect();
    let mut lines = std::iter::once(first).chain(others.iter().copied());
    if !lines.any(|line| named(line, scheme).is_some()) {
        return Authorization::Absent;
    }
    // Which of two would be meant is anybody's guess, and a backend might guess otherwise.
    match named(first, scheme) {
        Some(credentials) if others.is_empty() => Authorization::Is(credentials),
        _ => Authorization::Ambiguous,
    }
}

/// What `Authorization` holds for one scheme.
enum Authorization<'a> {
    /// Nothing.
    Absent,
    /// This.
    Is(&'a [u8]),
    /// There is more than one `Authorization`.
    Ambiguous,
}

/// What follows the name of the scheme, which is written in any case.
fn named<'a>(line: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let line = line.trim_ascii();
    let (name, rest) = line.split_at_checked(scheme.len())?;
    let is_it = name.eq_ignore_ascii_case(scheme.as_bytes());
    let ends = rest.first().is_none_or(|byte| matches!(byte, b' ' | b'\t'));
    (is_it && ends).then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests;
