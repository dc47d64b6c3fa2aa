//! TLS for clients: the certificates of the server, and with them the configuration that rustls takes for each connection.
//!
//! Moves no bytes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoClientAuth, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
    WebPkiClientVerifier,
};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::pair::Pair;
use super::self_signed::{self, SelfSigned};
use super::sni::ByName;
use super::{Fault, Validity, pem, provider};
use crate::config::model::{
    CertificateFiles, Certificates, ClientAuth, ClientAuthMode, ServerTls, TlsVersion,
};

/// The only protocol that is spoken (RFC 7301). Clients that offer others only are refused; those that offer none are served.
const PROTOCOL: &[u8] = b"http/1.1";
/// Sessions that are kept for clients that know no tickets.
const SESSIONS: usize = 1024;

/// What lets clients resume: it outlives certificates, but not whom clients have to prove to be.
#[derive(Clone)]
struct Resumption {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

/// Ends TLS for clients.
pub struct Terminator {
    config: ArcSwap<ServerConfig>,
    pairs: Vec<(Option<PathBuf>, Arc<Pair>)>,
}

/// A certificate of the server, for people.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its file. None: it was made at the start.
    pub file: Option<PathBuf>,
    /// Host names and addresses it is for; the subject where there are none.
    pub names: Vec<String>,
    /// As in [`super::fingerprint`].
    pub fingerprint: String,
    /// From when until when it is valid.
    pub validity: Validity,
    /// What is odd about it but keeps nobody from using it.
    pub oddity: Option<String>,
}

impl fmt::Debug for Terminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminator").finish_non_exhaustive()
    }
}

impl Terminator {
    /// Reads all files.
    ///
    /// # Errors
    /// The first file that cannot be used. A certificate that has expired can.
    pub fn open(settings: &ServerTls) -> Result<Terminator, Fault> {
        let pairs = match &settings.certificates {
            Certificates::Files(files) => {
                files.iter().map(read_pair).collect::<Result<Vec<_>, _>>()?
            }
            Certificates::SelfSigned { names } => vec![make_pair(names)?],
        };
        let pairs: Vec<Arc<Pair>> = pairs.into_iter().map(Arc::new).collect();
        let files = match &settings.certificates {
            Certificates::Files(files) => {
                files.iter().map(|file| Some(file.cert.clone())).collect()
            }
            Certificates::SelfSigned { .. } => vec![None],
        };
        let verifier = settings
            .client_auth
            .as_ref()
            .map(read_verifier)
            .transpose()?;
        let config = assemble(settings.min_version, &pairs, verifier, &Resumption::new()?)?;
        Ok(Terminator {
            config: ArcSwap::new(config),
            pairs: files.into_iter().zip(pairs).collect(),
        })
    }

    /// For a new connection: the certificates as they are now.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// The certificates, in the order of the configuration.
    pub fn certificates(&self) -> Vec<Shown> {
        let shown = self.pairs.iter().map(|(file, pair)| Shown {
            file: file.clone(),
            names: pair.names(),
            fingerprint: pair.fingerprint.clone(),
            validity: pair.contents.validity,
            oddity: pair.oddity.clone(),
        });
        shown.collect()
    }
}

impl Resumption {
    fn new() -> Result<Resumption, Fault> {
        // Keys are changed every six hours; a ticket lives for twelve at most.
        let tickets = rustls::crypto::ring::Ticketer::new()
            .map_err(|error| Fault::general(format!("no keys for session tickets: {error}")))?;
        Ok(Resumption {
            tickets,
            sessions: ServerSessionMemoryCache::new(SESSIONS),
        })
    }
}

fn read_pair(files: &CertificateFiles) -> Result<Pair, Fault> {
    let (cert, key) = (pem::read(&files.cert)?, pem::read(&files.key)?);
    Pair::parse((&files.cert, &cert), (&files.key, &key))
}

fn make_pair(names: &[String]) -> Result<Pair, Fault> {
    let mut names = names.to_vec();
    names.extend(self_signed::machine().filter(|machine| !names.contains(machine)));
    let made = SelfSigned::new(&names, self_signed::VALID_DAYS)?;
    let here = Path::new("self-signed");
    Pair::new(vec![made.certificate()], made.private_key(), here, here)
}

fn read_verifier(settings: &ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, Fault> {
    verifier(settings, &pem::read(&settings.ca)?)
}

fn verifier(settings: &ClientAuth, bytes: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, Fault> {
    let unusable = |number: usize, error: &dyn fmt::Display| {
        let what = format!("certificate {number} of the file cannot be used: {error}");
        Fault::of(&settings.ca, what)
    };
    let mut roots = RootCertStore::empty();
    for (number, certificate) in pem::certificates(&settings.ca, bytes)?
        .into_iter()
        .enumerate()
    {
        let added = roots.add(certificate);
        added.map_err(|error| unusable(number + 1, &error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = match settings.mode {
        ClientAuthMode::Required => builder,
        ClientAuthMode::Optional => builder.allow_unauthenticated(),
    };
    builder
        .build()
        .map_err(|error| Fault::of(&settings.ca, error.to_string()))
}

fn assemble(
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
