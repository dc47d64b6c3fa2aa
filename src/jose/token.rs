//! The compact form of a signed token (JWS, RFC 7515 section 7.1): `header.payload.signature`.
//!
//! The payload is not even decoded before its signature is known to be good.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::{self, Json, Members};
use super::jwks::LONGEST_ID;
use super::key::{Algorithm, KeySet};

/// Longest header and longest payload, in bytes of JSON.
const LONGEST_PART: usize = 8 * 1024;
/// Longest signature: that of an RSA key of 8192 bits.
const LONGEST_SIGNATURE: usize = 1024;
/// How many keys are tried for one token.
const MOST_TRIES: usize = 16;

/// Why a token is not believed. For logs: clients learn none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It has not the form of a signed token; what is wrong.
    Malformed(&'static str),
    /// No key is for its algorithm, or the algorithm is none of ours.
    Algorithm,
    /// No key for its algorithm has the id that it names.
    UnknownKey,
    /// No key has signed it.
    Signature,
}

/// The claims of `token`, if one of `keys` has signed it.
///
/// # Errors
/// What is wrong with it.
pub fn verify(token: &[u8], keys: &KeySet) -> Result<Members, Flaw> {
    let parts = Parts::split(token)?;
    let header = Header::parse(&decode(parts.header, LONGEST_PART)?)?;
    let signature = decode(parts.signature, LONGEST_SIGNATURE)?;
    let of_algorithm = || {
        let keys = keys.keys.iter();
        keys.filter(|key| key.algorithm() == header.algorithm)
    };
    if of_algorithm().next().is_none() {
        return Err(Flaw::Algorithm);
    }
    let may_be_meant = |id: Option<&str>| match (id, &header.key_id) {
        (Some(id), Some(wanted)) => id == wanted,
        _ => true,
    };
    let mut meant = of_algorithm()
        .filter(|key| may_be_meant(key.id()))
        .take(MOST_TRIES)
        .peekable();
    if meant.peek().is_none() {
        return Err(Flaw::UnknownKey);
    }
    if !meant.any(|key| key.verifies(parts.signed, &signature)) {
        return Err(Flaw::Signature);
    }
    let payload = decode(parts.payload, LONGEST_PART)?;
    json::object(&payload).ok_or(Flaw::Malformed("its payload is not a JSON object"))
}

/// The three parts as they are written.
struct Parts<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
    /// Header and payload with the dot between them.
    signed: &'a [u8],
}

impl<'a> Parts<'a> {
    fn split(token: &'a [u8]) -> Result<Parts<'a>, Flaw> {
        const THREE: Flaw = Flaw::Malformed("it has not exactly three parts");
        let longest = 2 * encoded(LONGEST_PART) + encoded(LONGEST_SIGNATURE) + 2;
        if token.len() > longest {
            return Err(TOO_LONG);
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(THREE);
        };
        let signed = token.get(..header.len() + 1 + payload.len());
        Ok(Parts {
            header,
            payload,
            signature,
            signed: signed.ok_or(THREE)?,
        })
    }
}

const TOO_LONG: Flaw = Flaw::Malformed("it is too long");

/// How long `bytes` bytes are at most when they are written.
const fn encoded(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Decodes base64url without padding, white space, or bits that mean nothing.
fn decode(part: &[u8], longest: usize) -> Result<Vec<u8>, Flaw> {
    if part.len() > encoded(longest) {
        return Err(TOO_LONG);
    }
    let decoded = URL_SAFE_NO_PAD.decode(part);
    let decoded = decoded.map_err(|_| Flaw::Malformed("a part is not base64url"))?;
    if decoded.len() > longest {
        return Err(TOO_LONG);
    }
    Ok(decoded)
}

/// What matters of the header.
struct Header {
    algorithm: Algorithm,
    key_id: Option<String>,
}

impl Header {
    fn parse(text: &[u8]) -> Result<Header, Flaw> {
        let members =
            json::object(text).ok_or(Flaw::Malformed("its header is not a JSON object"))?;
        // RFC 7515 section 4.1.11: what is critical has to be understood, and no extension is.
        if members.contains_key("crit") || members.contains_key("b64") {
            return Err(Flaw::Malformed("it needs an extension (crit, b64)"));
        }
        let is_ours = members.get("typ").is_none_or(is_token_type);
        if !is_ours {
            return Err(Flaw::Malformed("its typ is not that of a token"));
        }
        let algorithm = members.get("alg").and_then(Json::text);
        let algorithm = algorithm.ok_or(Flaw::Malformed("it names no algorithm"))?;
        let key_id = match members.get("kid") {
            None => None,
            Some(Json::Text(id)) if id.len() <= LONGEST_ID => Some(id.clone()),
            Some(_) => return Err(Flaw::Malformed("its kid is no text, or too long")),
        };
        Ok(Header {
            algorithm: Algorithm::of(algorithm).ok_or(Flaw::Algorithm)?,
            key_id,
        })
    }
}

/// `JWT` (RFC 7519 section 5.1) or `at+jwt` (RFC 9068 section 2.1): media types, whose case does not count and whose
/// `application/` may be left out (RFC 7515 section 4.1.9).
fn is_token_type(kind: &Json) -> bool {
    let Some(kind) = kind.text().map(str::to_ascii_lowercase) else {
        return false;
    };
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    matches!(kind, "jwt" | "at+jwt")
}
