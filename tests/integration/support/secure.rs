//! TLS for clients: a session of rustls between a socket pair, which the test has the plain end of, and the proxy.
//!
//! So everything that a plain client can do, half-closing and slow reading included, is done over TLS in the same words. No
//! certificate is verified: that is tested with other clients.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock, Mutex};

use rustix::event::{PollFd, PollFlags, poll};
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, DigitallySignedStruct, Error, SignatureScheme,
    StreamOwned, SupportedProtocolVersion,
};

use super::authority::Issued;
use super::patience;

/// A session of rustls and its connection.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A plain request.
pub const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// Addresses where proxies of this process speak TLS.
static ADDRESSES: LazyLock<Mutex<HashSet<SocketAddr>>> = LazyLock::new(Mutex::default);

/// From now on clients of that address speak TLS by themselves.
pub fn note(address: SocketAddr) {
    ADDRESSES.lock().unwrap().insert(address);
}

/// Not any more: somebody else may get the port.
pub fn forget(address: SocketAddr) {
    ADDRESSES.lock().unwrap().remove(&address);
}

/// A connection to it, without a word of TLS yet; it gives up after [`patience`].
#[track_caller]
pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&to, patience()).expect("the proxy listens");
    stream.set_read_timeout(Some(patience())).unwrap();
    stream.set_write_timeout(Some(patience())).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A session over `socket` that has shaken hands.
#[track_caller]
pub fn open(mut socket: TcpStream, config: ClientConfig) -> Stream {
    let mut session = session(config);
    session.complete_io(&mut socket).expect("a handshake");
    Stream::new(session, socket)
}

/// A GET, and everything up to the end of its body, which is `fine`.
#[track_caller]
pub fn ask(stream: &mut Stream) -> String {
    stream.write_all(GET).unwrap();
    until_fine(stream)
}

/// Everything up to the end of a body that is `fine`.
#[track_caller]
pub fn until_fine(stream: &mut Stream) -> String {
    let mut got = String::new();
    let mut buffer = [0; 4096];
    while !got.ends_with("fine") {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "it ended after {got:?}");
        got.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    got
}

/// The plain end of a TLS connection, if the peer of `stream` is known to speak TLS; else `stream` itself.
pub fn wrapped_where_known(stream: TcpStream) -> TcpStream {
    let peer = stream.peer_addr();
    if peer.is_ok_and(|peer| ADDRESSES.lock().unwrap().contains(&peer)) {
        wrapped(stream, config(&rustls::version::TLS13))
    } else {
        stream
    }
}

/// What a client that trusts everybody offers.
pub fn config(version: &'static SupportedProtocolVersion) -> ClientConfig {
    builder(version).with_no_client_auth()
}

/// The same of a client that can prove who it is, and the fingerprint of its certificate.
pub fn config_of(
    version: &'static SupportedProtocolVersion,
    client: &Issued,
) -> (ClientConfig, String) {
    let certificate = CertificateDer::from_pem_file(&client.cert).unwrap();
    let fingerprint = tollgate::tls::fingerprint(&certificate);
    let key = PrivateKeyDer::from_pem_file(&client.key).unwrap();
    let config = builder(version).with_client_auth_cert(vec![certificate], key);
    (config.unwrap(), fingerprint)
}

fn builder(
    version: &'static SupportedProtocolVersion,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let provider = tollgate::tls::provider();
    let schemes = provider
        .signature_verification_algorithms
        .supported_schemes();
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Everybody(schemes)))
}

/// A session that has not said anything yet.
pub fn session(config: ClientConfig) -> ClientConnection {
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

/// The first flight of a handshake.
pub fn hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut session = session(config(&rustls::version::TLS13));
    while session.wants_write() {
        session.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// The plain end of a TLS connection over `stream`. A half-close is told with close_notify, and comes as one.
pub fn wrapped(stream: TcpStream, config: ClientConfig) -> TcpStream {
    let (inner, outer) = UnixStream::pair().unwrap();
    inner.set_nonblocking(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    let pump = Pump {
        session: session(config),
        stream,
        inner,
        received: Vec::new(),
        has_client_ended: false,
        has_server_ended: false,
    };
    std::thread::spawn(move || pump.run());
    TcpStream::from(OwnedFd::from(outer))
}

/// Moves the bytes of one connection. It holds little: a test that does not read is seen by the proxy as one.
struct Pump {
    session: ClientConnection,
    stream: TcpStream,
    inner: UnixStream,
    /// Plaintext for the test.
    received: Vec<u8>,
    has_client_ended: bool,
    has_server_ended: bool,
}

impl Pump {
    fn run(mut self) {
        while self.go_on().is_some() && !(self.has_client_ended && self.has_server_ended) {
            if self.wait().is_none() {
                break;
            }
        }
        // What the session said last, an alert perhaps.
        let _ = self.session.write_tls(&mut self.stream);
    }

    /// Moves what can be moved. `None`: it is over.
    fn go_on(&mut self) -> Option<()> {
        loop {
            let sent = self.send()?;
            let taken = self.take()?;
            let received = self.receive()?;
            let given = self.give()?;
            if !(sent || taken || received || given) {
                return Some(());
            }
        }
    }

    /// From the test into the session.
    fn take(&mut self) -> Option<bool> {
        if self.session.wants_write() || self.has_client_ended || self.session.is_handshaking() {
            return Some(false);
        }
        let mut buffer = [0; 16 << 10];
        let Some(count) = outcome(self.inner.read(&mut buffer))? else {
            return Some(false);
        };
        if count == 0 {
            self.has_client_ended = true;
            self.session.send_close_notify();
        }
        self.session.writer().write_all(&buffer[..count]).ok()?;
        Some(true)
    }

    fn send(&mut self) -> Option<bool> {
        let mut has_moved = false;
        while self.session.wants_write() {
            match outcome(self.session.write_tls(&mut self.stream))? {
                Some(_) => has_moved = true,
                None => return Some(has_moved),
            }
        }
        if has_moved && self.has_client_ended {
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        Some(has_moved)
    }

    fn receive(&mut self) -> Option<bool> {
        if !self.received.is_empty() || self.has_server_ended {
            return Some(false);
        }
        let Some(count) = outcome(self.session.read_tls(&mut self.stream))? else {
            return Some(false);
        };
        self.session.process_new_packets().ok()?;
        let end = self.session.reader().read_to_end(&mut self.received);
        // The test sees a cut like an end: what was to come tells them apart.
        let is_end = match end {
            Ok(_) => true,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        self.has_server_ended = count == 0 || is_end;
        Some(true)
    }

    fn give(&mut self) -> Option<bool> {
        if self.received.is_empty() {
            return Some(false);
        }
        let Some(count) = outcome(self.inner.write(&self.received))? else {
            return Some(false);
        };
        self.received.drain(..count);
        if self.received.is_empty() && self.has_server_ended {
            let _ = self.inner.shutdown(Shutdown::Write);
        }
        Some(true)
    }

    /// Waits until there is something to do. `None`: the test has dropped its end.
    fn wait(&self) -> Option<()> {
        if self.has_server_ended && self.received.is_empty() {
            let _ = self.inner.shutdown(Shutdown::Write);
        }
        let (mut outside, mut inside) = (PollFlags::empty(), PollFlags::empty());
        if self.session.wants_write() {
            outside |= PollFlags::OUT;
        } else if !self.has_client_ended && !self.session.is_handshaking() {
            inside |= PollFlags::IN;
        }
        if !self.received.is_empty() {
            inside |= PollFlags::OUT;
        } else if !self.has_server_ended {
            outside |= PollFlags::IN;
        }
        // That a socket is gone is told unasked and for ever: only who can act on it may hear of it.
        let is_done = self.has_client_ended && !self.session.wants_write();
        let (outer, inner) = (
            PollFd::new(&self.stream, outside),
            PollFd::new(&self.inner, inside),
        );
        let mut fds = Vec::new();
        fds.extend(Some(outer).filter(|_| !outside.is_empty()));
        fds.extend(Some(inner).filter(|_| is_done || !inside.is_empty()));
        let _ = poll(&mut fds, None);
        let is_told = |fd: &PollFd<'_>| fd.revents().contains(PollFlags::HUP);
        let is_dropped = is_done && fds.last().is_some_and(is_told);
        (!is_dropped).then_some(())
    }
}

/// `None`: the connection is over; `Some(None)`: not now.
fn outcome(result: std::io::Result<usize>) -> Option<Option<usize>> {
    match result {
        Ok(count) => Some(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Some(None)
        }
        Err(_) => None,
    }
}

/// Takes whatever certificate it is shown.
#[derive(Debug)]
struct Everybody(Vec<SignatureScheme>);

impl ServerCertVerifier for Everybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
