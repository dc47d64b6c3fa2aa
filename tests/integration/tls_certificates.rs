//! What TLS is agreed on, as openssl sees it: versions, certificates by name, resumption, protocol; and who is refused.

use crate::support::certificates::When;
use crate::support::client::get;
use crate::support::desk::Desk;
use crate::support::openssl::{
    HANDSHAKE_FAILURE, NO_APPLICATION_PROTOCOL, OPENSSL, PROTOCOL_VERSION, VERSIONS, s_client,
};
use crate::support::program::skip_without;
use crate::support::{Backend, Engine, Process, on_reactor};

on_reactor!(
    versions_are_those_that_are_allowed,
    the_certificate_is_that_of_the_name,
    an_expired_certificate_is_shown_and_told,
    sessions_are_resumed,
    http_1_is_what_is_agreed_on,
);

fn versions_are_those_that_are_allowed(engine: Engine) {
    skip_without!(OPENSSL);
    let (desk, backend) = (Desk::new(), Backend::fixed("x"));
    // It names no signature algorithms, which is asked for first.
    let old = ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"];
    let proxy = desk.proxy(engine, &backend, &["a"], "");
    for (version, name) in VERSIONS.iter().zip(["TLSv1.2", "TLSv1.3"]) {
        let said = desk.ask(&proxy, &[version]);
        said.assert_answered();
        assert_eq!(
            said.count(&format!("New, {name}, Cipher is")),
            1,
            "{said:#?}"
        );
    }
    desk.ask(&proxy, &old).assert_refused(HANDSHAKE_FAILURE);
    let proxy = desk.proxy(engine, &backend, &["a"], "tls.min_version = \"1.3\"");
    desk.ask(&proxy, &["-tls1_3"]).assert_answered();
    desk.ask(&proxy, &["-tls1_2"])
        .assert_refused(PROTOCOL_VERSION);
    desk.ask(&proxy, &old).assert_refused(HANDSHAKE_FAILURE);
    assert_eq!(backend.count(), 3);
}

fn the_certificate_is_that_of_the_name(engine: Engine) {
    skip_without!(OPENSSL);
    let (desk, backend) = (Desk::new(), Backend::fixed("x"));
    desk.sign("b", &["b.example", "*.b.example"], When::Now);
    desk.sign("c", &["c.b.example"], When::Now);
    let proxy = desk.proxy(engine, &backend, &["a", "b", "c"], "");
    for (asked, is_for) in [
        ("localhost", "localhost"),
        ("b.example", "b.example"),
        ("x.B.Example", "b.example"),
        ("c.b.example", "c.b.example"),
    ] {
        let said = desk.ask(&proxy, &["-servername", asked, "-verify_hostname", asked]);
        said.assert_answered();
        assert_eq!(
            said.count(&format!("subject=CN = {is_for}\n")),
            1,
            "{said:#?}"
        );
        assert!(
            said.text.contains("Verify return code: 0 (ok)"),
            "{said:#?}"
        );
    }
    // Nobody's name, a name that has one label too many, and no name at all.
    for none in [
        &["-servername", "d.example"][..],
        &["-servername", "x.y.b.example"],
        &["-noservername"],
    ] {
        let said = desk.ask(&proxy, none);
        said.assert_answered();
        assert_eq!(said.count("subject=CN = localhost\n"), 1, "{said:#?}");
    }
    let said = desk.ask(
        &proxy,
        &["-servername", "d.example", "-verify_hostname", "d.example"],
    );
    assert!(!said.is_good && !said.is_answered(), "{said:#?}");
    assert!(said.text.contains("hostname mismatch"), "{said:#?}");
}

fn an_expired_certificate_is_shown_and_told(engine: Engine) {
    skip_without!(OPENSSL);
    let (desk, backend) = (Desk::new(), Backend::fixed("x"));
    desk.sign("old", &["localhost"], When::Past);
    desk.sign("soon", &["soon.example"], When::Days(5));
    let setup = desk.setup(engine, &backend, &["old", "soon", "a"], "");
    let proxy = setup.start();
    let said = desk.ask(&proxy, &[]);
    assert!(!said.is_good && !said.is_answered(), "{said:#?}");
    assert!(said.text.contains("certificate has expired"), "{said:#?}");
    // Who does not mind is served.
    s_client(proxy.traffic(), &[]).assert_answered();
    let status = get(proxy.admin(), "/_proxy/status").json();
    let certificates = &status["tls"]["certificates"];
    let days: Vec<i64> = (0..3)
        .map(|n| certificates[n]["days_left"].as_i64().unwrap())
        .collect();
    assert_eq!(days, [-2, 5, 89]);
    let warning = |n: usize| {
        certificates[n]["warning"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert!(warning(0).starts_with("has expired at 20"), "{status}");
    assert!(
        warning(1).starts_with("expires in 5 days, at 20"),
        "{status}"
    );
    assert_eq!(warning(2), "");
    assert_eq!(
        certificates[1]["names"],
        serde_json::json!(["soon.example"])
    );
    let process = Process::config(&setup.text()).start();
    let error = process.line_with("has expired at");
    assert!(
        error.contains("ERROR") && error.contains("old.pem (localhost)"),
        "{error}"
    );
    assert!(process.line_with("expires in 5 days").contains("WARN"));
}

fn sessions_are_resumed(engine: Engine) {
    skip_without!(OPENSSL);
    let (desk, backend) = (Desk::new(), Backend::fixed("x"));
    let proxy = desk.proxy(engine, &backend, &["a"], "");
    // With tickets, and with session ids where there are none.
    for more in [
        &["-tls1_2", "-reconnect"][..],
        &["-tls1_2", "-reconnect", "-no_ticket"],
    ] {
        let said = desk.ask(&proxy, more);
        assert_eq!(
            (said.count("New, TLSv1.2"), said.count("Reused, TLSv1.2")),
            (1, 5),
            "{said:#?}"
        );
    }
    for (version, name) in VERSIONS.iter().zip(["TLSv1.2", "TLSv1.3"]) {
        let session = desk.file("session");
        let first = desk.ask(&proxy, &[version, "-sess_out", &session]);
        first.assert_answered();
        let second = desk.ask(&proxy, &[version, "-sess_in", &session]);
        second.assert_answered();
        assert_eq!(second.count(&format!("Reused, {name}")), 1, "{second:#?}");
    }
    // A session that another process has given is no reason to refuse anybody.
    let other = desk.proxy(engine, &backend, &["a"], "");
    let fresh = desk.ask(&other, &["-sess_in", &desk.file("session")]);
    fresh.assert_answered();
    assert_eq!(fresh.count("New, TLSv1.3"), 1, "{fresh:#?}");
}

fn http_1_is_what_is_agreed_on(engine: Engine) {
    skip_without!(OPENSSL);
    let (desk, backend) = (Desk::new(), Backend::fixed("x"));
    let proxy = desk.proxy(engine, &backend, &["a"], "");
    for version in VERSIONS {
        let said = desk.ask(&proxy, &[version, "-alpn", "h2,http/1.1"]);
        said.assert_answered();
        assert_eq!(said.count("ALPN protocol: http/1.1"), 1, "{said:#?}");
        let said = desk.ask(&proxy, &[version]);
        said.assert_answered();
        assert_eq!(said.count("No ALPN negotiated"), 1, "{said:#?}");
        let said = desk.ask(&proxy, &[version, "-alpn", "h2"]);
        said.assert_refused(NO_APPLICATION_PROTOCOL);
    }
}
