//! Certificates and authorities that change while tollgate runs: by their files, by links, by reloads; good ones and bad ones.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;

use crate::support::certificates::When;
use crate::support::client::get;
use crate::support::desk::Desk;
use crate::support::{
    Backend, Engine, Process, Proxy, SetOnDrop, eventually, on_reactor, patience,
};

on_reactor!(
    twenty_renewals_under_traffic_fail_nobody,
    a_bad_pair_keeps_the_old_one,
    a_link_that_leads_elsewhere_renews,
    a_reload_adds_and_takes_away,
    the_log_tells_of_a_bad_pair_once,
);

type Session = StreamOwned<ClientConnection, TcpStream>;

/// The folder, and a client that trusts who has signed what is in it.
struct Renewal {
    desk: Desk,
    client: Arc<ClientConfig>,
}

impl Renewal {
    fn new() -> Renewal {
        let desk = Desk::new();
        let mut client = Arc::unwrap_or_clone(desk.authority.client());
        // Who resumes is shown no certificate.
        client.resumption = rustls::client::Resumption::disabled();
        Renewal {
            client: Arc::new(client),
            desk,
        }
    }

    fn path(&self) -> &Path {
        self.desk.path()
    }

    /// Signs and writes; the fingerprint.
    fn renew(&self, name: &str, host: &str) -> String {
        self.desk.sign(name, &[host], When::Now)
    }

    /// A connection that trusts our authority, and the fingerprint of what it was shown.
    fn connect(&self, to: SocketAddr, name: &str) -> std::io::Result<(Session, String)> {
        let mut socket = TcpStream::connect_timeout(&to, patience())?;
        socket.set_read_timeout(Some(patience()))?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(Arc::clone(&self.client), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        let shown = tollgate::tls::fingerprint(&session.peer_certificates().unwrap()[0]);
        Ok((StreamOwned::new(session, socket), shown))
    }

    /// What is served under that name.
    #[track_caller]
    fn shown(&self, proxy: &Proxy, name: &str) -> String {
        self.connect(proxy.traffic(), name).expect("a handshake").1
    }
}

/// A request and its answer, which has a body of one byte.
fn ask(session: &mut Session) -> std::io::Result<()> {
    session.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        session.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    session.read_exact(&mut byte)?;
    assert!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

/// The certificate with this number, on the status page.
fn certificate(proxy: &Proxy, number: usize) -> Value {
    get(proxy.admin(), "/_proxy/status").json()["tls"]["certificates"][number].take()
}

fn twenty_renewals_under_traffic_fail_nobody(engine: Engine) {
    let (renewal, backend) = (Renewal::new(), Backend::fixed("x"));
    let setup = renewal.desk.setup(engine, &backend, &["a"], "");
    let proxy = setup.start();
    let to = proxy.traffic();
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen = Mutex::new(HashSet::new());
    let (mut kept, _) = renewal.connect(to, "localhost").unwrap();
    std::thread::scope(|scope| {
        let over_at_the_end = SetOnDrop(&over);
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let (mut session, shown) =
                            renewal.connect(to, "localhost").expect("a handshake");
                        ask(&mut session).expect("an answer");
                        ask(&mut session).expect("another one");
                        seen.lock().unwrap().insert(shown);
                        served.fetch_add(2, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for round in 0..20 {
            let new = renewal.renew("a", "localhost");
            // Most of them do not wait for the next look, which comes within a second.
            if round % 5 != 0 {
                assert_eq!(proxy.reload(&setup), Ok(Vec::new()));
            }
            eventually("the new one is shown", || {
                seen.lock().unwrap().contains(&new)
            });
            ask(&mut kept).expect("a connection goes on");
        }
        drop(over_at_the_end);
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
    });
    assert!(seen.lock().unwrap().len() >= 20);
    assert_eq!(backend.count(), served.load(Ordering::Relaxed) + 20);
}

fn a_bad_pair_keeps_the_old_one(engine: Engine) {
    let (renewal, backend) = (Renewal::new(), Backend::fixed("x"));
    renewal.renew("b", "b.example");
    let setup = renewal.desk.setup(engine, &backend, &["a", "b"], "");
    let proxy = setup.start();
    let first = renewal.shown(&proxy, "localhost");
    fs::write(
        renewal.path().join("a.pem"),
        "-----BEGIN CERTIFICATE-----\ncut",
    )
    .unwrap();
    let problem = || {
        certificate(&proxy, 0)["problem"]
            .as_str()
            .map(str::to_owned)
    };
    eventually("it is told", || {
        problem().is_some_and(|text| text.ends_with("is cut short: an -----END line is missing"))
    });
    assert_eq!(renewal.shown(&proxy, "localhost"), first);
    // A reload does not take it either, and is not kept from what else there is.
    let new = renewal.renew("b", "b.example");
    assert_eq!(proxy.reload(&setup), Ok(Vec::new()));
    assert_eq!(renewal.shown(&proxy, "localhost"), first);
    assert_eq!(renewal.shown(&proxy, "b.example"), new);
    fs::remove_file(renewal.path().join("a.key")).unwrap();
    let new = renewal.renew("a", "localhost");
    eventually("it is used", || renewal.shown(&proxy, "localhost") == new);
    assert_eq!(certificate(&proxy, 0)["problem"], Value::Null);
    assert_eq!(certificate(&proxy, 0)["sha256"], new.as_str());
}

/// As Kubernetes does it: all files at once, by a link to a folder.
fn a_link_that_leads_elsewhere_renews(engine: Engine) {
    let (renewal, backend) = (Renewal::new(), Backend::fixed("x"));
    let at = |name: &str| renewal.path().join(name);
    for name in ["one", "two"] {
        fs::create_dir(at(name)).unwrap();
        let leaf = renewal.desk.authority.leaf(&["localhost"], When::Now);
        leaf.write(&at(name), "k");
    }
    symlink("one", at("data")).unwrap();
    for ending in ["pem", "key"] {
        symlink(format!("data/k.{ending}"), at(&format!("k.{ending}"))).unwrap();
    }
    let proxy = renewal.desk.setup(engine, &backend, &["k"], "").start();
    let first = renewal.shown(&proxy, "localhost");
    symlink("two", at("data.new")).unwrap();
    fs::rename(at("data.new"), at("data")).unwrap();
    eventually("the other one is shown", || {
        renewal.shown(&proxy, "localhost") != first
    });
    assert_eq!(certificate(&proxy, 0)["problem"], Value::Null);
}

fn a_reload_adds_and_takes_away(engine: Engine) {
    let (renewal, backend) = (Renewal::new(), Backend::fixed("x"));
    let one = renewal.desk.setup(engine, &backend, &["a"], "");
    let two = renewal
        .desk
        .setup(engine, &backend, &["a", "b"], "tls.min_version = \"1.3\"");
    let proxy = one.start();
    let first = renewal.shown(&proxy, "localhost");
    let refused = proxy.reload(&two).unwrap_err();
    assert!(
        refused[0].ends_with("b.pem: there is no such file"),
        "{refused:?}"
    );
    let second = renewal.renew("b", "b.example");
    let told = proxy.reload(&two).unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.iter()
            .all(|text| text.starts_with("server.tls.") && !text.contains("restart")),
        "{told:?}"
    );
    assert_eq!(renewal.shown(&proxy, "localhost"), first);
    assert_eq!(renewal.shown(&proxy, "b.example"), second);
    proxy.reload(&one).unwrap();
    // Our client would not take it; openssl does not mind.
    assert!(renewal.connect(proxy.traffic(), "b.example").is_err());
    let plain = one.clone().listen("\"127.0.0.1:0\"");
    let told = proxy.reload(&plain).unwrap();
    assert!(
        told.iter().all(|text| text.ends_with("(needs a restart)")),
        "{told:?}"
    );
    assert_eq!(renewal.shown(&proxy, "localhost"), first);
}

fn the_log_tells_of_a_bad_pair_once(engine: Engine) {
    let (renewal, backend) = (Renewal::new(), Backend::fixed("x"));
    let text = renewal.desk.setup(engine, &backend, &["a"], "").text();
    let process = Process::config(&text).start();
    let to = process.traffic();
    let (key, print) = (
        fs::read(renewal.path().join("a.key")).unwrap(),
        renewal.renew("a", "localhost"),
    );
    process.line_with(&format!("SHA256 {print}"));
    let good = fs::read(renewal.path().join("a.key")).unwrap();
    fs::write(renewal.path().join("a.key"), key).unwrap();
    let line = process.line_with("does not belong to this certificate");
    assert!(
        line.contains("WARN") && line.ends_with("the certificate before it stays in use"),
        "{line}"
    );
    assert_eq!(renewal.connect(to, "localhost").unwrap().1, print);
    fs::write(renewal.path().join("a.key"), good).unwrap();
    let next = renewal.renew("a", "localhost");
    process.line_with(&format!("SHA256 {next}"));
    let lines = process.lines();
    let told = lines.iter().filter(|line| line.contains("does not belong"));
    assert_eq!(told.count(), 1, "{lines:#?}");
}
