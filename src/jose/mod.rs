//! Signed tokens and their keys (JOSE): from bytes to claims that are known to be signed.
//!
//! Four algorithms, one per key: HS256, RS256, ES256, EdDSA. A token never chooses how it is checked: its `alg` has to be that of
//! the key, so that neither `none` nor an RSA key in the part of an HMAC secret gets anywhere. Keys that a token brings along
//! (`jwk`, `jku`, `x5c`, `x5u`) are not looked at. What claims mean is not known here.

pub mod json;
mod jwks;
mod key;
mod pem;
mod token;

pub use jwks::parse as parse_jwks;
pub use key::{Algorithm, BadKey, Key, KeySet, SHORTEST_SECRET};
pub use pem::parse as parse_pem;
pub use token::{Flaw, verify};

#[cfg(test)]
pub(crate) mod signer;
#[cfg(test)]
mod tests;
