//! `[upstream.tls]` and `[route.auth.forward.tls]`: what is verified, by which authorities, under which name, and who we are to backends.
//!
//! CertificateList and keys are parsed here, so that a bad file is found before anything begins. Whether the system has
//! authorities of its own is not: see [`crate::tls::client`].

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::config::file::{PemFile, UpstreamFile, UpstreamTlsFile, Written};
use crate::config::model::{Backend, CertificateList, Identity, UpstreamTls, Verify};
use crate::config::report::{At, Report};
use crate::config::suggest;

/// Checks `[upstream.tls]`.
pub(super) fn check_tls(
    upstream: &UpstreamFile,
    backends: &[Backend],
    report: &Report,
) -> UpstreamTls {
    let Some(file) = &upstream.tls else {
        return UpstreamTls::default();
    };
    let is_spoken = backends.iter().any(|backend| backend.at.is_tls());
    if !is_spoken && upstream.discovery.file.is_none() {
        report.warning(
            file.place,
            "no backend of this upstream speaks TLS",
            "write its URL as \"https://host:port\", or leave [upstream.tls] out",
        );
    }
    let name = upstream.name.as_ref();
    let name = name.map_or("", |name| name.value.as_str());
    let risk = format!(
        "the certificates of upstream {name}'s backends are not verified: whoever gets in between can pose as them"
    );
    check_settings(file, risk, report)
}

/// What all such tables have in common; `risk` is what `verify = "none"` means.
pub(super) fn check_settings(file: &UpstreamTlsFile, risk: String, report: &Report) -> UpstreamTls {
    let verify = check_verify(&file.verify, risk, report);
    if let (Verify::None, Some(ca)) = (verify, &file.ca) {
        let message = "`ca` is of no use: `verify = \"none\"` trusts everybody";
        report.warning(ca.place, message, "write `verify = \"full\"`");
    }
    UpstreamTls {
        ca: check_ca(&file.ca, report),
        verify,
        server_name: check_server_name(&file.server_name, report),
        identity: check_identity(&file.cert, &file.key, report),
    }
}

fn check_verify(written: &Written<String>, risk: String, report: &Report) -> Verify {
    let Some(written) = written else {
        return Verify::Full;
    };
    match written.value.as_str() {
        "full" => Verify::Full,
        "ca" => Verify::Ca,
        "none" => {
            report.warning(
                written.place,
                risk,
                "name the authority that signs them (`ca = \"ca.pem\"`) and leave `verify` out",
            );
            Verify::None
        }
        other => {
            let hint = suggest::hint(other, "write", ["full", "ca", "none"]);
            let message = format!("unknown `verify` \"{other}\"");
            report.problem_hint(written.place, message, hint);
            Verify::Full
        }
    }
}

fn check_server_name(written: &Written<String>, report: &Report) -> Option<String> {
    let written = written.as_ref()?;
    if ServerName::try_from(written.value.as_str()).is_err() {
        let message = format!("`server_name` \"{}\" is not a host name", written.value);
        let hint = "write it without scheme and port, as in \"api.internal\"";
        report.problem_hint(written.place, message, hint);
    }
    Some(written.value.to_ascii_lowercase())
}

fn check_ca(written: &Written<PemFile>, report: &Report) -> Option<CertificateList> {
    let authorities = certificates("ca", written.as_ref()?, report)?;
    let mut store = RootCertStore::empty();
    for (number, one) in (1..).zip(&authorities.value.list) {
        if let Err(error) = store.add(one.clone()) {
            let message = format!(
                "certificate {number} of `ca` {} cannot be used: {error}",
                authorities.value.path.display()
            );
            report.problem(authorities.place, message);
        }
    }
    Some(authorities.value)
}

fn check_identity(
    cert: &Written<PemFile>,
    key: &Written<PemFile>,
    report: &Report,
) -> Option<Identity> {
    let (cert, key) = match (cert, key) {
        (Some(cert), Some(key)) => (cert, key),
        (Some(cert), None) => {
            let message = "`cert` is of no use without its `key`";
            report.problem_hint(cert.place, message, "add `key = \"client.key\"`");
            return None;
        }
        (None, Some(key)) => {
            let message = "`key` is of no use without its `cert`";
            report.problem_hint(key.place, message, "add `cert = \"client.pem\"`");
            return None;
        }
        (None, None) => return None,
    };
    let chain = certificates("cert", cert, report);
    let (chain, key_der) = (chain?.value, private_key(key, report)?);
    let provider = ring::default_provider();
    let signer = match provider.key_provider.load_private_key(key_der.clone_key()) {
        Ok(signer) => signer,
        Err(error) => {
            let message = format!("`key` \"{}\" cannot be used: {error}", key.value.name);
            let hint = "keys are RSA (2048 bits or more), ECDSA (P-256, P-384) or Ed25519";
            report.problem_hint(key.place, message, hint);
            return None;
        }
    };
    match CertifiedKey::new(chain.list.clone(), signer).keys_match() {
        // That it cannot be told is no reason to refuse it.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => (),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let message = format!(
                "`key` \"{}\" is not the key of `cert` \"{}\"",
                key.value.name, cert.value.name
            );
            let hint = "in `cert` the certificate itself comes first, then who signed it";
            report.problem_hint(key.place, message, hint);
        }
        Err(error) => {
            let message = format!("`cert` \"{}\" cannot be used: {error}", cert.value.name);
            report.problem(cert.place, message);
        }
    }
    Some(Identity {
        chain,
        key: Arc::new(key_der),
    })
}

/// The certificates of the file that is written under `key`; what else is in it is passed over.
fn certificates(key: &str, file: &At<PemFile>, report: &Report) -> Option<At<CertificateList>> {
    let bytes = file.value.bytes.as_deref()?;
    let name = &file.value.name;
    let list: Result<Vec<CertificateDer<'static>>, pem::Error> =
        CertificateDer::pem_slice_iter(bytes).collect();
    let hint = "a certificate begins with `-----BEGIN CERTIFICATE-----`";
    let list = match list {
        Ok(list) if !list.is_empty() => list,
        Ok(_) => {
            let message = format!("`{key}` \"{name}\" holds no certificate");
            report.problem_hint(file.place, message, hint);
            return None;
        }
        Err(error) => {
            let message = format!("`{key}` \"{name}\" is not PEM: {error}");
            report.problem_hint(file.place, message, hint);
            return None;
        }
    };
    let certificates = CertificateList {
        path: file.value.path.clone(),
        list,
    };
    Some(At::new(certificates, file.place))
}

fn private_key(file: &At<PemFile>, report: &Report) -> Option<PrivateKeyDer<'static>> {
    let bytes = file.value.bytes.as_deref()?;
    let name = &file.value.name;
    if let Ok(key) = PrivateKeyDer::from_pem_slice(bytes) {
        return Some(key);
    }
    // Of a key nothing is repeated, not even what is wrong with it.
    let is_encrypted = bytes.windows(9).any(|part| part == b"ENCRYPTED");
    let (what, hint) = if is_encrypted {
        let hint = "take the passphrase off: `openssl pkey -in client.key -out plain.key`";
        (
            "is encrypted, and nobody is there to say its passphrase",
            hint,
        )
    } else {
        let hint = "a key begins with `-----BEGIN PRIVATE KEY-----` or the like";
        ("holds no private key", hint)
    };
    report.problem_hint(file.place, format!("`key` \"{name}\" {what}"), hint);
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use crate::config::{load_str, model::Verify};

    #[test]
    fn what_is_odd_is_said() {
        let text = |backend: &str, tls: &str| {
            format!("[[upstream]]\nname = \"web\"\nbackends = [\"{backend}\"]\ntls = {{ {tls} }}")
        };
        let warnings = |backend, tls| {
            let loaded = load_str("t.toml", &text(backend, tls)).unwrap();
            let words = loaded.warnings.iter().map(ToString::to_string);
            (
                loaded.config.upstreams[0].tls.verify,
                words.collect::<Vec<_>>(),
            )
        };
        assert_eq!(warnings("https://a", ""), (Verify::Full, Vec::new()));
        let (verify, words) = warnings("https://a", "verify = \"none\"");
        assert_eq!((verify, words.len()), (Verify::None, 1));
        assert!(words[0].contains("upstream web's backends are not verified"));
        let (_, words) = warnings("http://a", "server_name = \"b\"");
        assert_eq!(words.len(), 1);
        assert!(words[0].contains("no backend of this upstream speaks TLS"));
        assert!(words[0].contains("https://host:port"));
    }
}
