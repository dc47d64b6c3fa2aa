//! Files and pairs: what is wrong with them and how that is said, what clients get, and what happens when files change.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, ServerConnection,
    SignatureScheme,
};

use super::server::Terminator;
use super::source::Source;
use super::{Fault, SelfSigned, fingerprint, provider};
use crate::config::model::{
    CertificateFiles, Certificates, ClientAuth, ClientAuthMode, ServerTls, TlsVersion,
};

/// A folder with pairs in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.at(name), text).unwrap();
        self.at(name)
    }

    /// Writes `NAME.pem` and `NAME.key`; the fingerprint.
    fn pair(&self, name: &str, hosts: &[&str]) -> String {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let made = SelfSigned::new(&hosts, 30).unwrap();
        self.write(&format!("{name}.pem"), &made.certificate_pem());
        self.write(&format!("{name}.key"), &made.key_pem());
        fingerprint(&made.certificate())
    }

    fn files(&self, name: &str) -> CertificateFiles {
        CertificateFiles {
            cert: self.at(&format!("{name}.pem")),
            key: self.at(&format!("{name}.key")),
        }
    }

    fn settings(&self, names: &[&str]) -> ServerTls {
        ServerTls {
            certificates: Certificates::Files(names.iter().map(|name| self.files(name)).collect()),
            min_version: TlsVersion::Tls12,
            client_auth: None,
        }
    }

    fn fault(&self, name: &str) -> Fault {
        Terminator::open(&self.settings(&[name])).unwrap_err()
    }
}

/// Takes every certificate.
#[derive(Debug)]
struct Credulous(Vec<SignatureScheme>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

fn client(versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    client_that_knows(versions, algorithms.supported_schemes())
}

fn client_that_knows(
    versions: &[&'static rustls::SupportedProtocolVersion],
    schemes: Vec<SignatureScheme>,
) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous(schemes)))
        .with_no_client_auth()
}

/// A handshake without a network: the fingerprint that the client saw, and how both came to an end.
fn meet(
    terminator: &Terminator,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<(String, HandshakeKind), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(terminator.config()).unwrap();
    for _ in 0..8 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    let shown = client.peer_certificates().unwrap();
    Ok((fingerprint(&shown[0]), client.handshake_kind().unwrap()))
}

/// One that has no session to resume.
fn any_client() -> Arc<ClientConfig> {
    Arc::new(client(&[&rustls::version::TLS13]))
}

/// Whether a pair of these texts is refused, for this reason and with the name of this file.
fn assert_fault(cert: &str, key: &str, file: &str, what: &str) {
    let folder = Folder::new();
    folder.write("x.pem", cert);
    folder.write("x.key", key);
    let fault = folder.fault("x");
    assert_eq!(fault.file(), Some(folder.at(file).as_path()), "{fault}");
    assert!(fault.what().contains(what), "{fault}");
}

fn section(label: &str, text: &str) -> String {
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

fn texts() -> (String, String) {
    let made = SelfSigned::new(&["a.example".to_owned()], 30).unwrap();
    (made.certificate_pem(), made.key_pem())
}

#[test]
fn what_is_no_certificate_is_named() {
    let (cert, key) = texts();
    for (text, what) in [
        ("", "is not in the PEM form"),
        ("hello", "is not in the PEM form"),
        (&*key, "are the two files swapped?"),
        (cert.split_at(cert.len() / 2).0, "is cut short"),
        (&section("CERTIFICATE", "!!"), "is damaged"),
        (&section("CERTIFICATE", "AAAA"), "is not a certificate"),
        (
            &section("X509 CRL", "AAAA"),
            "there is no certificate in it",
        ),
        (&cert.repeat(21), "has 21 certificates, the limit is 20"),
    ] {
        assert_fault(text, &key, "x.pem", what);
    }
}

#[test]
fn what_is_no_key_is_named() {
    let (cert, _) = texts();
    let encrypted = section("ENCRYPTED PRIVATE KEY", "AAAA");
    let old = section(
        "RSA PRIVATE KEY",
        "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nAAAA",
    );
    for (text, what) in [
        ("hello", "is not in the PEM form"),
        (&*cert, "there is no private key in it, but a certificate"),
        (&encrypted, "the key is encrypted"),
        (&old, "the key is encrypted"),
        (&section("PRIVATE KEY", "AAAA"), "the key cannot be used"),
        (
            &section("PUBLIC KEY", "AAAA"),
            "there is no private key in it",
        ),
    ] {
        assert_fault(&cert, text, "x.key", what);
    }
    assert_fault(
        &cert,
        &texts().1,
        "x.pem",
        "does not belong to this certificate",
    );
}

#[test]
fn what_is_no_file_is_named() {
    let folder = Folder::new();
    folder.pair("a", &["a.example"]);
    assert!(folder.fault("none").what().contains("no such file"));
    fs::create_dir(folder.at("dir.pem")).unwrap();
    assert!(folder.fault("dir").what().contains("not a regular file"));
    folder.write("large.pem", &"x".repeat((1 << 20) + 1));
    assert!(folder.fault("large").what().contains("larger than 1 MiB"));
}

#[test]
fn the_leaf_comes_first_and_a_chain_in_disorder_is_told() {
    let folder = Folder::new();
    let (ca, ca_key) = authority("ca");
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let leaf = leaf
        .signed_by(&leaf_key, &Issuer::from_params(&ca, &ca_key))
        .unwrap();
    let root = ca.self_signed(&ca_key).unwrap();
    folder.write("x.key", &leaf_key.serialize_pem());
    folder.write("x.pem", &format!("{}{}", root.pem(), leaf.pem()));
    assert!(folder.fault("x").what().contains("must be the first one"));
    folder.write("x.pem", &format!("{}{}", leaf.pem(), root.pem()));
    let shown = Terminator::open(&folder.settings(&["x"]))
        .unwrap()
        .certificates();
    assert_eq!(
        (&shown[0].names[..], &shown[0].oddity),
        (&["a.example".to_owned()][..], &None)
    );
    let (other, other_key) = authority("other");
    let other = other.self_signed(&other_key).unwrap();
    folder.write("x.pem", &format!("{}{}", leaf.pem(), other.pem()));
    let shown = Terminator::open(&folder.settings(&["x"]))
        .unwrap()
        .certificates();
    assert!(
        shown[0]
            .oddity
            .as_ref()
            .unwrap()
            .contains("certificate 2 of the file")
    );
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    (params, KeyPair::generate().unwrap())
}

#[test]
fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let folder = Folder::new();
    let first = folder.pair("first", &["first.example"]);
    let wild = folder.pair("wild", &["*.Wild.example", "also.example"]);
    let exact = folder.pair("exact", &["exact.wild.example", "also.example"]);
    let terminator = Terminator::open(&folder.settings(&["first", "wild", "exact"])).unwrap();
    let client = any_client();
    for (name, print) in [
        ("first.example", &first),
        ("a.wild.example", &wild),
        ("A.WILD.Example", &wild),
        ("exact.wild.example", &exact),
        ("a.b.wild.example", &first),
        ("wild.example", &first),
        ("also.example", &wild),
        ("nobody.example", &first),
        ("127.0.0.1", &first),
    ] {
        let (seen, _) = meet(&terminator, &client, name).unwrap();
        assert_eq!(seen, *print, "{name}");
    }
}

#[test]
fn of_two_for_one_name_a_client_gets_what_it_can_verify() {
    let folder = Folder::new();
    let first = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let made = params.self_signed(&first).unwrap();
    folder.write("first.pem", &made.pem());
    folder.write("first.key", &first.serialize_pem());
    let second = folder.pair("second", &["a.example"]);
    let terminator = Terminator::open(&folder.settings(&["first", "second"])).unwrap();
    let shown = |client| meet(&terminator, &Arc::new(client), "a.example").unwrap().0;
    let versions = [&rustls::version::TLS13];
    assert_eq!(shown(client(&versions)), fingerprint(made.der()));
    let schemes = vec![SignatureScheme::ECDSA_NISTP256_SHA256];
    assert_eq!(shown(client_that_knows(&versions, schemes)), second);
}

#[test]
fn many_names_are_a_short_title() {
    let folder = Folder::new();
    let hosts: Vec<String> = (0..1000).map(|n| format!("h{n}.example")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    folder.pair("a", &hosts);
    let files = folder.files("a");
    let source = Source::open(&files, &[]).unwrap();
    let title = "h0.example, h1.example, h2.example, h3.example, h4.example and 995 more";
    assert_eq!(source.pair.title(), title);
    assert_eq!(source.pair.names().len(), 1000);
}

#[test]
fn clients_resume_over_a_renewal_but_not_over_other_authorities() {
    let folder = Folder::new();
    folder.pair("a", &["a.example"]);
    let (ca, ca_key) = authority("ca");
    let ca = ca.self_signed(&ca_key).unwrap().pem();
    folder.write("ca.pem", &ca);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut settings = folder.settings(&["a"]);
        let terminator = Terminator::open(&settings).unwrap();
        let client = Arc::new(client(&[version]));
        let kind = |terminator: &Terminator| meet(terminator, &client, "a.example").unwrap().1;
        assert_eq!(kind(&terminator), HandshakeKind::Full);
        assert_eq!(kind(&terminator), HandshakeKind::Resumed);
        folder.pair("a", &["a.example"]);
        terminator.look(Instant::now());
        assert_eq!(kind(&terminator), HandshakeKind::Resumed);
        terminator.apply(terminator.prepare(&settings).unwrap());
        assert_eq!(kind(&terminator), HandshakeKind::Resumed);
        assert!(!terminator.asks_for_certificates());
        settings.client_auth = Some(ClientAuth {
            ca: folder.at("ca.pem"),
            mode: ClientAuthMode::Optional,
            header: http::HeaderName::from_static("x-who"),
        });
        terminator.apply(terminator.prepare(&settings).unwrap());
        assert!(terminator.asks_for_certificates(), "also after a reload");
        assert_eq!(kind(&terminator), HandshakeKind::Full);
        assert_eq!(kind(&terminator), HandshakeKind::Resumed);
        terminator.apply(terminator.prepare(&settings).unwrap());
        assert_eq!(kind(&terminator), HandshakeKind::Resumed);
        let (other, other_key) = authority("other");
        let other = other.self_signed(&other_key).unwrap().pem();
        folder.write("ca.pem", &other);
        terminator.look(Instant::now());
        assert_eq!(
            kind(&terminator),
            HandshakeKind::Full,
            "authorities are others"
        );
        settings.client_auth.as_mut().unwrap().mode = ClientAuthMode::Required;
        terminator.apply(terminator.prepare(&settings).unwrap());
        assert!(meet(&terminator, &client, "a.example").is_err());
    }
}

#[test]
fn a_bad_pair_keeps_the_old_one_and_the_other_pairs_go_on() {
    let folder = Folder::new();
    let (a, b) = (
        folder.pair("a", &["a.example"]),
        folder.pair("b", &["b.example"]),
    );
    let settings = folder.settings(&["a", "b"]);
    let terminator = Terminator::open(&settings).unwrap();
    let seen = |name: &str| meet(&terminator, &any_client(), name).unwrap().0;
    let trouble = || terminator.certificates()[0].trouble.clone();
    // Only the certificate so far: its key may come yet.
    let key = fs::read_to_string(folder.at("a.key")).unwrap();
    let new = folder.pair("a", &["a.example"]);
    let new_key = fs::read_to_string(folder.at("a.key")).unwrap();
    folder.write("a.key", &key);
    let new_b = folder.pair("b", &["b.example"]);
    terminator.look(Instant::now());
    assert_eq!(
        (seen("a.example"), seen("b.example"), trouble()),
        (a.clone(), new_b.clone(), None)
    );
    assert_ne!(b, new_b);
    terminator.look(Instant::now());
    assert!(
        trouble()
            .unwrap()
            .contains("does not belong to this certificate")
    );
    // A reload with it is no reason to do without the old one.
    terminator.apply(terminator.prepare(&settings).unwrap());
    assert_eq!(seen("a.example"), a);
    assert!(trouble().unwrap().contains("does not belong"));
    folder.write("a.key", &new_key);
    terminator.look(Instant::now());
    assert_eq!((seen("a.example"), trouble()), (new, None));
    // But a pair that never was good is one.
    folder.write("c.pem", "");
    folder.write("c.key", "");
    let worse = folder.settings(&["a", "b", "c"]);
    assert!(terminator.prepare(&worse).is_err());
    let c = folder.pair("c", &["c.example"]);
    terminator.apply(terminator.prepare(&worse).unwrap());
    assert_eq!(seen("c.example"), c);
}

#[test]
fn what_is_made_at_the_start_stays() {
    let settings = ServerTls {
        certificates: Certificates::SelfSigned {
            names: vec!["localhost".to_owned(), "::1".to_owned()],
        },
        min_version: TlsVersion::Tls13,
        client_auth: None,
    };
    let terminator = Terminator::open(&settings).unwrap();
    let first = terminator.certificates().remove(0);
    assert_eq!(first.file, None);
    assert!(
        first.names.contains(&"localhost".to_owned()) && first.names.contains(&"::1".to_owned())
    );
    assert_eq!(
        first
            .validity
            .days_left(SystemTime::now() + Duration::from_secs(1)),
        89
    );
    terminator.look(Instant::now());
    terminator.apply(terminator.prepare(&settings).unwrap());
    assert_eq!(terminator.certificates()[0].fingerprint, first.fingerprint);
    let old = Arc::new(client(&[&rustls::version::TLS12]));
    assert!(meet(&terminator, &old, "localhost").is_err(), "min_version");
    assert_eq!(
        meet(&terminator, &any_client(), "localhost").unwrap().0,
        first.fingerprint
    );
}

#[test]
fn who_offers_another_protocol_only_is_refused() {
    let folder = Folder::new();
    folder.pair("a", &["a.example"]);
    let terminator = Terminator::open(&folder.settings(&["a"])).unwrap();
    for (offered, is_served) in [
        (&["h2"][..], false),
        (&["h2", "http/1.1"], true),
        (&[], true),
    ] {
        let mut client = client(&[&rustls::version::TLS13]);
        client.alpn_protocols = offered.iter().map(|one| one.as_bytes().to_vec()).collect();
        let met = meet(&terminator, &Arc::new(client), "a.example");
        assert_eq!(met.is_ok(), is_served, "{offered:?}");
    }
}

#[test]
fn expiry_is_told_two_weeks_before() {
    let folder = Folder::new();
    folder.pair("a", &["a.example"]);
    let shown = Terminator::open(&folder.settings(&["a"]))
        .unwrap()
        .certificates()
        .remove(0);
    let before = |days: u64| shown.validity.until - Duration::from_secs(days * 86_400 + 60);
    assert_eq!(shown.warning(before(15)), None);
    assert!(
        shown
            .warning(before(13))
            .unwrap()
            .starts_with("expires in 13 days, at ")
    );
    assert!(
        shown
            .warning(before(0))
            .unwrap()
            .starts_with("expires in less than a day")
    );
    let after = shown.validity.until + Duration::from_secs(60);
    assert!(shown.warning(after).unwrap().starts_with("has expired at "));
    let early = shown.validity.from - Duration::from_secs(60);
    assert!(
        shown
            .warning(early)
            .unwrap()
            .starts_with("is not valid before ")
    );
}

#[test]
fn authorities_have_to_be_certificates() {
    let folder = Folder::new();
    folder.pair("a", &["a.example"]);
    let mut settings = folder.settings(&["a"]);
    let mut open = |text: &str| {
        settings.client_auth = Some(ClientAuth {
            ca: folder.write("ca.pem", text),
            mode: ClientAuthMode::Required,
            header: http::HeaderName::from_static("x-who"),
        });
        let opened = Terminator::open(&settings);
        opened.map(|one| one.clients().unwrap().authorities)
    };
    let (one, one_key) = authority("one");
    let (two, two_key) = authority("two");
    let (one, two) = (
        one.self_signed(&one_key).unwrap().pem(),
        two.self_signed(&two_key).unwrap().pem(),
    );
    assert_eq!(open(&format!("{one}{two}")), Ok(2));
    assert!(open("").unwrap_err().what().contains("PEM"));
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let fault = open(&format!("{one}{rubbish}")).unwrap_err();
    assert!(
        fault
            .to_string()
            .contains("ca.pem: certificate 2 of the file cannot be used"),
        "{fault}"
    );
}
