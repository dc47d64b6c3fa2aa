//! What rustls is told about the backends of one upstream: whom to trust, under which name, and who we are.
//!
//! TLS 1.2 and 1.3 with the cryptography of ring; sessions are resumed within one upstream and its settings. Nothing is sent
//! here, and what the errors of a handshake mean is told in [`super::failure`].

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::config::model::{UpstreamTls, Verify};

use super::provider;

/// The only protocol that is spoken over these connections (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// TLS as the backends of one upstream get it.
#[derive(Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// What `settings` ask for. The system's authorities are read now, where they are wanted.
    ///
    /// # Errors
    /// When there are no authorities, or rustls does not take what the settings hold; in a sentence.
    pub fn new(settings: &UpstreamTls) -> Result<ClientTls, String> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let lenient = |roots| Arc::new(Lenient { roots, algorithms });
        let builder = match settings.verify {
            Verify::Full => builder.with_root_certificates(roots(settings)?),
            Verify::Ca => builder
                .dangerous()
                .with_custom_certificate_verifier(lenient(Some(roots(settings)?))),
            Verify::None => builder
                .dangerous()
                .with_custom_certificate_verifier(lenient(None)),
        };
        let mut config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.chain.list.clone(), identity.key.clone_key())
                .map_err(|error| format!("the client certificate cannot be used: {error}"))?,
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        let server_name = settings.server_name.as_deref().map(name).transpose()?;
        Ok(ClientTls {
            config: Arc::new(config),
            server_name,
        })
    }

    /// The begin of a connection to the backend whose URL names `host`: the name is asked for and verified, unless the settings
    /// have another one. An address is verified as such, and not asked for (RFC 6066 section 3).
    ///
    /// # Errors
    /// When `host` can be no name of a server; in a sentence.
    pub fn connection(&self, host: &str) -> Result<ClientConnection, String> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => name(host)?,
        };
        ClientConnection::new(Arc::clone(&self.config), name).map_err(|error| error.to_string())
    }
}

fn name(host: &str) -> Result<ServerName<'static>, String> {
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|_| {
        format!("\"{host}\" is no name that a certificate can have: set `server_name`")
    })
}

fn roots(settings: &UpstreamTls) -> Result<Arc<RootCertStore>, String> {
    let mut store = RootCertStore::empty();
    if let Some(ca) = &settings.ca {
        for one in &ca.list {
            let fault = |error| {
                format!(
                    "a certificate in {} cannot be used: {error}",
                    ca.path.display()
                )
            };
            store.add(one.clone()).map_err(fault)?;
        }
        return Ok(Arc::new(store));
    }
    let found = rustls_native_certs::load_native_certs();
    // Some systems have certificates among them that nobody can use.
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let errors = found.errors.iter().map(|error| format!(": {error}"));
        let errors: String = errors.take(1).collect();
        return Err(format!(
            "this system names no authorities to trust{errors}; install its `ca-certificates`, or name a file with `ca` in [upstream.tls]"
        ));
    }
    Ok(Arc::new(store))
}

/// Verifies less than rustls does of itself, by the same means: the chain and the dates but not the name, or neither. That the
/// backend has the key of its certificate is always verified.
#[derive(Debug)]
struct Lenient {
    /// None: any certificate will do.
    roots: Option<Arc<RootCertStore>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_asked_for_and_addresses_are_not() {
        let settings = UpstreamTls {
            verify: Verify::None,
            ..UpstreamTls::default()
        };
        let tls = ClientTls::new(&settings).unwrap();
        for host in ["api.internal", "my_service", "10.0.0.1", "::1"] {
            let mut hello = Vec::new();
            let mut connection = tls.connection(host).unwrap();
            connection.write_tls(&mut hello).unwrap();
            let is_name = host.starts_with(char::is_alphabetic);
            let mut windows = hello.windows(host.len());
            assert_eq!(
                windows.any(|part| part == host.as_bytes()),
                is_name,
                "{host}"
            );
            assert!(hello.windows(8).any(|part| part == ALPN));
        }
        assert!(tls.connection("a b").unwrap_err().contains("server_name"));
    }
}
