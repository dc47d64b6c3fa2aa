//! What rustls is told: versions, protocol, certificates, whom clients have to prove to be, and how they resume.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoClientAuth, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
    WebPkiClientVerifier,
};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::pair::Pair;
use super::sni::ByName;
use super::{Fault, pem, provider};
use crate::config::model::{ClientAuthMode, TlsVersion};

/// The only protocol that is spoken (RFC 7301). Clients that offer others only are refused; those that offer none are served.
const PROTOCOL: &[u8] = b"http/1.1";
/// Sessions that are kept for clients that know no tickets.
const SESSIONS: usize = 1024;

/// What lets clients resume. It outlives certificates, but not whom clients have to prove to be: who resumes shows no certificate
/// again.
#[derive(Debug, Clone)]
pub(super) struct Resumption {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Resumption {
    pub(super) fn new() -> Result<Resumption, Fault> {
        // Keys are changed every six hours; a ticket lives for twelve at most.
        let tickets = rustls::crypto::ring::Ticketer::new()
            .map_err(|error| Fault::general(format!("no keys for session tickets: {error}")))?;
        Ok(Resumption {
            tickets,
            sessions: ServerSessionMemoryCache::new(SESSIONS),
        })
    }
}

/// The authorities in a file at `path` that has these bytes.
pub(super) fn roots(path: &Path, bytes: &[u8]) -> Result<Arc<RootCertStore>, Fault> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in pem::certificates(path, bytes)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| {
            let number = number + 1;
            let what = format!("certificate {number} of the file cannot be used: {error}");
            Fault::of(path, what)
        })?;
    }
    Ok(Arc::new(roots))
}

/// Who judges the certificates of clients.
pub(super) fn verifier(
    roots: &Arc<RootCertStore>,
    mode: ClientAuthMode,
) -> Result<Arc<dyn ClientCertVerifier>, Fault> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider());
    let builder = match mode {
        ClientAuthMode::Required => builder,
        ClientAuthMode::Optional => builder.allow_unauthenticated(),
    };
    let failed = |error: &dyn fmt::Display| Fault::general(format!("client_auth: {error}"));
    builder.build().map_err(|error| failed(&error))
}

/// All of it together.
pub(super) fn config(
    min_version: TlsVersion,
    pairs: &[Arc<Pair>],
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    resumption: &Resumption,
) -> Result<Arc<ServerConfig>, Fault> {
    static BOTH: [&SupportedProtocolVersion; 2] =
        [&rustls::version::TLS13, &rustls::version::TLS12];
    static NEWEST: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    let versions: &[_] = match min_version {
        TlsVersion::Tls12 => &BOTH,
        TlsVersion::Tls13 => &NEWEST,
    };
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(versions);
    let builder = builder.map_err(|error| Fault::general(error.to_string()))?;
    let mut config = builder
        .with_client_cert_verifier(verifier.unwrap_or_else(|| Arc::new(NoClientAuth)))
        .with_cert_resolver(Arc::new(ByName::new(pairs)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.ticketer = Arc::clone(&resumption.tickets);
    config.session_storage = Arc::clone(&resumption.sessions);
    Ok(Arc::new(config))
}
