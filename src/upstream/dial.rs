//! Makes a new connection to a backend, over TCP or a Unix socket and perhaps with TLS, within a deadline.
//!
//! Nothing is sent here, and nothing is kept: see [`super::idle`] for connections that are used again.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustls::ClientConnection;
use socket2::{Domain, SockAddr, Type};

use crate::socket::Socket;
use crate::tls::failure::Failure;

use super::backend::Backend;
use super::place::Place;
use super::secure::{HandshakeError, Secure};
use super::stream::Stream;

/// No address gets less time than this, however many there are.
const MIN_CONNECT: Duration = Duration::from_millis(10);

/// Why there is no connection.
#[derive(Debug)]
pub enum DialError {
    /// No address is known for the backend's name.
    Name,
    /// The connection was refused or not accepted in time (`TimedOut`); the last address's word.
    Connect(io::Error),
    /// It is there, but TLS with it did not come about.
    Tls(Failure),
}

/// Connects to `backend`; the socket blocks. Its name is not looked up here, but a failure is a reason for others to do so.
///
/// # Errors
/// When no address of it is known, none of its addresses accepts before `deadline`, or TLS is wanted and does not come about.
pub fn dial(backend: &Backend, deadline: Instant) -> Result<Stream, DialError> {
    let socket = connect(backend, deadline)?;
    if !backend.at().is_tls() {
        return Ok(Stream::Plain(socket));
    }
    let secured = secure(backend, socket, deadline);
    if let (Err(_), Place::Tcp(name)) = (&secured, &backend.place) {
        // Perhaps somebody else is there by now.
        name.doubt();
    }
    secured.map(|secure| Stream::Secure(Box::new(secure)))
}

fn secure(backend: &Backend, socket: Socket, deadline: Instant) -> Result<Secure, DialError> {
    let host = backend.at().host_and_port().map_or("", |(host, _)| host);
    let Some(tls) = &backend.tls else {
        let reason = "its upstream has no settings for TLS";
        return Err(DialError::Tls(Failure::protocol(reason)));
    };
    let session = tls.connection(host).map_err(DialError::Tls)?;
    shake_hands(socket, session, deadline)
}

/// Begins TLS over a connection to a server that is no backend.
///
/// # Errors
/// When TLS does not come about before `deadline`; that it was not in time is a [`DialError::Connect`].
pub fn over_tls(
    stream: TcpStream,
    session: ClientConnection,
    deadline: Instant,
) -> Result<Stream, DialError> {
    let secure = shake_hands(Socket::Tcp(stream), session, deadline)?;
    Ok(Stream::Secure(Box::new(secure)))
}

fn shake_hands(
    socket: Socket,
    session: ClientConnection,
    deadline: Instant,
) -> Result<Secure, DialError> {
    Secure::establish(socket, session, deadline).map_err(|error| match error {
        HandshakeError::Io(error) => DialError::Connect(error),
        HandshakeError::Tls(failure) => DialError::Tls(failure),
    })
}

fn connect(backend: &Backend, deadline: Instant) -> Result<Socket, DialError> {
    match &backend.place {
        Place::Tcp(name) => {
            let addresses = name.addresses();
            if addresses.is_empty() {
                return Err(DialError::Name);
            }
            let result = dial_tcp(&addresses, deadline);
            if result.is_err() {
                name.doubt();
            }
            result.map(Socket::Tcp).map_err(DialError::Connect)
        }
        Place::Unix(path) => dial_unix(path, deadline)
            .map(Socket::Unix)
            .map_err(DialError::Connect),
    }
}

/// Connects to one of `addresses`: they are tried one after another, and each gets its share of the time. The socket blocks.
///
/// # Errors
/// When none of them accepts before `deadline`; the last one's word.
pub fn dial_tcp(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::TimedOut);
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
        match TcpStream::connect_timeout(address, share.max(MIN_CONNECT)) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// A connect over a Unix socket is done at once, unless the listener's queue is full. A send timeout bounds that wait; one
/// that does not block would fail right away and leave nothing to poll for.
fn dial_unix(path: &Path, deadline: Instant) -> io::Result<std::os::unix::net::UnixStream> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        socket.set_write_timeout(Some(left.max(MIN_CONNECT)))?;
        match socket.connect(&address) {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    socket.set_write_timeout(None)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::config::model;

    fn backend(at: model::BackendAddress) -> Backend {
        Backend::new(&model::Backend::new("b", at))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn both_kinds_connect() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let unix = UnixListener::bind(&path).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = "localhost".into();
        let port = tcp.local_addr().unwrap().port();
        let over_tcp = backend(model::BackendAddress::Tcp { host, port });
        over_tcp.set_addresses(&[[127, 0, 0, 1].into()], Instant::now());
        let over_unix = backend(model::BackendAddress::Unix(path.clone()));
        assert_eq!(over_tcp.authority, format!("localhost:{port}"));
        assert_eq!(over_unix.authority, "localhost");
        assert_eq!(over_unix.address, format!("unix:{}", path.display()));

        let mut ends: [(Stream, Box<dyn Read>); 2] = [
            (
                dial(&over_tcp, soon()).unwrap(),
                Box::new(tcp.accept().unwrap().0),
            ),
            (
                dial(&over_unix, soon()).unwrap(),
                Box::new(unix.accept().unwrap().0),
            ),
        ];
        for (ours, theirs) in &mut ends {
            ours.socket().write_all(b"hello").unwrap();
            let mut bytes = [0; 5];
            theirs.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"hello");
        }
    }

    #[test]
    fn what_is_not_there_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let kind = |path: &Path| match dial_unix(path, soon()) {
            Ok(_) => None,
            Err(error) => Some(error.kind()),
        };
        assert_eq!(kind(&path), Some(io::ErrorKind::NotFound));
        drop(UnixListener::bind(&path).unwrap());
        assert_eq!(kind(&path), Some(io::ErrorKind::ConnectionRefused));
    }

    #[test]
    fn a_full_queue_is_waited_for_until_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let listener = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let mut waiting = Vec::new();
        let patience = Duration::from_millis(100);
        let begun = loop {
            let begun = Instant::now();
            match dial_unix(&path, begun + patience) {
                Ok(stream) => waiting.push(stream),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    break begun;
                }
            }
            assert!(waiting.len() < 16);
        };
        assert!(begun.elapsed() >= patience);

        // Room is made while somebody waits.
        let waiter = std::thread::spawn(move || dial_unix(&path, soon()).is_ok());
        let accepted = listener.accept().unwrap();
        assert!(waiter.join().unwrap());
        drop((accepted, waiting));
    }
}
