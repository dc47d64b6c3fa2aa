//! Why a token does not let its bearer in: exactly, for logs. What clients are told is less (see [`super::Tokens`]).

use crate::jose::Flaw;

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not signed by one of our keys.
    Flawed(Flaw),
    /// It has expired.
    Expired,
    /// It holds only later, or was issued in the future.
    NotYet,
    /// A claim that has to be there is not.
    Missing(&'static str),
    /// A claim is not what such a claim can be.
    Absurd(&'static str),
    /// Somebody else has issued it.
    Issuer,
    /// It is for others.
    Audience,
    /// A claim cannot be passed on in a header field.
    Uncarriable,
    /// It is good, but has not the claims that this route requires.
    Lacks,
}

impl Fault {
    /// The exact reason, for logs. It quotes nothing of the token.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Fault::Flawed(Flaw::Malformed(what)) => what,
            Fault::Flawed(Flaw::Algorithm) => "no key is for its algorithm",
            Fault::Flawed(Flaw::UnknownKey) => "no key has the id (kid) that it names",
            Fault::Flawed(Flaw::Signature) => "its signature is not that of our key",
            Fault::Expired => "it has expired",
            Fault::NotYet => "it is not valid yet (nbf, iat)",
            Fault::Missing(claim) | Fault::Absurd(claim) => claim,
            Fault::Issuer => "its issuer (iss) is not the one that is configured",
            Fault::Audience => "its audience (aud) is not the one that is configured",
            Fault::Uncarriable => "a claim is too long for a header field, or its sub for a name",
            Fault::Lacks => "it lacks a required claim",
        }
    }
}

impl From<Flaw> for Fault {
    fn from(flaw: Flaw) -> Fault {
        Fault::Flawed(flaw)
    }
}
