//! Certificates and keys, and what rustls is told about them, for clients (`server.tls`) and for backends (`upstream.tls`).
//!
//! Nothing here moves bytes: the reactor does for clients, `upstream` for backends.

mod assemble;
mod certificate;
pub mod client;
pub mod failure;
mod fault;
mod pair;
mod pem;
mod self_signed;
pub mod server;
mod sni;
mod source;
mod watch;

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

pub use certificate::{Validity, fingerprint, subject};
pub use fault::Fault;
pub use pem::{read_certificates, read_key};
pub use self_signed::SelfSigned;

/// The cryptography of ring. A process has no other, and none that is chosen by default.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    Arc::clone(&PROVIDER)
}

#[cfg(test)]
mod tests;
