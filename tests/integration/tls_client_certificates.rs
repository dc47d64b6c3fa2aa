//! Certificates of clients: whose are taken, who is refused and how openssl sees that, and authorities that change.

use std::fs;

use crate::support::certificates::{Authority, When};
use crate::support::client::get;
use crate::support::desk::Desk;
use crate::support::openssl::{
    CERTIFICATE_EXPIRED, CERTIFICATE_REQUIRED, OPENSSL, UNKNOWN_CA, VERSIONS, openssl, s_client,
};
use crate::support::program::skip_without;
use crate::support::{Backend, Engine, eventually, on_reactor};

on_reactor!(
    certificates_of_clients_are_required,
    certificates_of_clients_are_optional,
    openssl_judges_clients_as_we_do,
    other_authorities_are_read_too,
);

const CLIENT_AUTH: &str = "tls.client_auth = { ca = \"DIR/ca.pem\" }";
const OPTIONAL: &str =
    "tls.client_auth = { ca = \"DIR/ca.pem\", mode = \"optional\", header = \"X-Who\" }";

/// `alice`, `strange` and `late`: good, signed by somebody else, expired.
fn sign_clients(desk: &Desk) {
    desk.sign("alice", &["alice"], When::Now);
    desk.sign("late", &["late"], When::Past);
    let strange = Authority::new("a strange authority");
    strange
        .leaf(&["strange"], When::Now)
        .write(desk.path(), "strange");
    // The name is all that it has in common with ours.
    let imitated = Authority::new("our authority");
    imitated
        .leaf(&["alice"], When::Now)
        .write(desk.path(), "imitated");
}

fn certificates_of_clients_are_required(engine: Engine) {
    skip_without!(OPENSSL);
    let (desk, backend) = (Desk::new(), Backend::fixed("x"));
    sign_clients(&desk);
    let proxy = desk.proxy(engine, &backend, &["a"], CLIENT_AUTH);
    for version in VERSIONS {
        desk.ask_as(&proxy, "alice", version).assert_answered();
        desk.ask(&proxy, &[version])
            .assert_refused(CERTIFICATE_REQUIRED);
        desk.ask_as(&proxy, "strange", version)
            .assert_refused(UNKNOWN_CA);
        desk.ask_as(&proxy, "late", version)
            .assert_refused(CERTIFICATE_EXPIRED);
        let imitated = desk.ask_as(&proxy, "imitated", version);
        assert!(
            !imitated.is_good && !imitated.is_answered(),
            "{imitated:#?}"
        );
    }
    assert_eq!(backend.count(), 2);
}

fn certificates_of_clients_are_optional(engine: Engine) {
    skip_without!(OPENSSL);
    let (desk, backend) = (Desk::new(), Backend::fixed("x"));
    sign_clients(&desk);
    let proxy = desk.proxy(engine, &backend, &["a"], OPTIONAL);
    for version in VERSIONS {
        desk.ask_as(&proxy, "alice", version).assert_answered();
        desk.ask(&proxy, &[version]).assert_answered();
        desk.ask_as(&proxy, "strange", version)
            .assert_refused(UNKNOWN_CA);
        desk.ask_as(&proxy, "late", version)
            .assert_refused(CERTIFICATE_EXPIRED);
    }
    assert_eq!(backend.count(), 4);
}

/// The second view: `openssl verify` takes the same clients that are served.
fn openssl_judges_clients_as_we_do(engine: Engine) {
    skip_without!(OPENSSL);
    let (desk, backend) = (Desk::new(), Backend::fixed("x"));
    sign_clients(&desk);
    let proxy = desk.proxy(engine, &backend, &["a"], CLIENT_AUTH);
    for (name, is_good) in [
        ("alice", true),
        ("strange", false),
        ("late", false),
        ("imitated", false),
    ] {
        let (ca, cert) = (desk.file("ca.pem"), desk.file(&format!("{name}.pem")));
        let judged = openssl(&["verify", "-CAfile", &ca, &cert]);
        let served = desk.ask_as(&proxy, name, "-tls1_3");
        assert_eq!(
            (judged.is_good, served.is_answered()),
            (is_good, is_good),
            "{name}"
        );
    }
}

fn other_authorities_are_read_too(engine: Engine) {
    skip_without!(OPENSSL);
    let (desk, backend) = (Desk::new(), Backend::fixed("x"));
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    for (authority, name) in [(&old, "early"), (&new, "late")] {
        authority.leaf(&[name], When::Now).write(desk.path(), name);
    }
    let file = desk.path().join("ca.pem");
    fs::write(&file, old.pem()).unwrap();
    let proxy = desk.proxy(engine, &backend, &["a"], CLIENT_AUTH);
    let is_served = |name: &str| {
        let at = |ending: &str| desk.file(&format!("{name}.{ending}"));
        s_client(proxy.traffic(), &["-cert", &at("pem"), "-key", &at("key")]).is_answered()
    };
    assert!(is_served("early") && !is_served("late"));
    // Both, then only the new one, as one changes authorities.
    fs::write(&file, format!("{}{}", old.pem(), new.pem())).unwrap();
    eventually("both are served", || is_served("late"));
    assert!(is_served("early"));
    fs::write(&file, new.pem()).unwrap();
    eventually("the old one is refused", || !is_served("early"));
    assert!(is_served("late"));
    fs::write(&file, "rubbish").unwrap();
    let problem =
        || get(proxy.admin(), "/_proxy/status").json()["tls"]["client_auth"]["problem"].take();
    eventually("it is told", || {
        problem().as_str().is_some_and(|text| text.contains("PEM"))
    });
    assert!(is_served("late") && !is_served("early"));
}
