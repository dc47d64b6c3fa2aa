//! The TLS side of a scripted backend: what it shows and asks for, and what it saw of those who came.

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection};

use super::authority::Issued;
use super::link::Link;

/// How a backend speaks TLS. It may be changed while the backend runs.
#[derive(Debug)]
pub struct Secured {
    config: Mutex<Arc<ServerConfig>>,
    full: AtomicUsize,
    resumed: AtomicUsize,
    names: Mutex<Vec<Option<String>>>,
    failures: Mutex<Vec<String>>,
}

impl Secured {
    /// Shows this certificate and asks for none.
    pub fn by(issued: &Issued) -> Arc<Secured> {
        Arc::new(Secured {
            config: Mutex::new(config(issued, None)),
            full: AtomicUsize::new(0),
            resumed: AtomicUsize::new(0),
            names: Mutex::default(),
            failures: Mutex::default(),
        })
    }

    /// Shows another certificate from now on.
    pub fn show(&self, issued: &Issued) {
        *self.config.lock().unwrap() = config(issued, None);
    }

    /// From now on lets only those in who have a certificate of these authorities'.
    pub fn require(&self, issued: &Issued, roots: Arc<RootCertStore>) {
        *self.config.lock().unwrap() = config(issued, Some(roots));
    }

    /// Only TLS 1.2 from now on.
    pub fn only_tls12(&self, issued: &Issued, roots: Option<Arc<RootCertStore>>) {
        *self.config.lock().unwrap() = made(issued, roots, &[&rustls::version::TLS12]);
    }

    /// Handshakes without resumption.
    pub fn full(&self) -> usize {
        self.full.load(Ordering::SeqCst)
    }

    /// Handshakes that resumed an earlier session.
    pub fn resumed(&self) -> usize {
        self.resumed.load(Ordering::SeqCst)
    }

    /// The names that were asked for (SNI), one for each good handshake.
    pub fn names(&self) -> Vec<Option<String>> {
        self.names.lock().unwrap().clone()
    }

    /// Why handshakes failed.
    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    /// Shakes hands; nothing: that failed.
    pub fn accept(&self, socket: TcpStream) -> Option<Link> {
        let config = Arc::clone(&self.config.lock().unwrap());
        let session = ServerConnection::new(config).unwrap();
        match Link::secured(socket, session) {
            Ok(mut link) => {
                let tls = link.tls().unwrap();
                let counter = match tls.handshake_kind() {
                    Some(HandshakeKind::Resumed) => &self.resumed,
                    _ => &self.full,
                };
                counter.fetch_add(1, Ordering::SeqCst);
                assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]));
                let name = tls.server_name().map(str::to_owned);
                self.names.lock().unwrap().push(name);
                Some(link)
            }
            Err(error) => {
                self.failures.lock().unwrap().push(error.to_string());
                None
            }
        }
    }
}

fn config(issued: &Issued, roots: Option<Arc<RootCertStore>>) -> Arc<ServerConfig> {
    made(issued, roots, rustls::DEFAULT_VERSIONS)
}

fn made(
    issued: &Issued,
    roots: Option<Arc<RootCertStore>>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match roots {
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(issued.chain(), issued.key())
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}
