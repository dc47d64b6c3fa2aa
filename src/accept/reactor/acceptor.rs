//! Listening sockets: takes connections off them, as far as there are descriptors for it.
//!
//! It decides nothing about a connection; [`super::event_loop`] does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use socket2::{SockFilter, SockRef, TcpKeepalive};

use crate::accept::{Inherited, bind};
use crate::config::model::{Address, Listen, ListenTls};
use crate::exchange::Peer;
use crate::socket::Socket;
use crate::tls::server::Terminator;

use super::handover::Succession;

/// What a peer on a Unix socket is called: it is on this machine.
const LOCAL_PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Dead peers are found after a while, also where a timeout is long.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A socket filter that drops segments with SYN and without ACK: what begins a handshake. The kernel shows it a segment from
/// its TCP header on, where byte 13 has the flags (RFC 9293 section 3.1); a number other than 0 lets it pass.
const NO_HANDSHAKES: [SockFilter; 5] = [
    SockFilter::new(LOAD_BYTE, 0, 0, 13),
    SockFilter::new(AND, 0, 0, 0x12),
    SockFilter::new(JUMP_IF_EQUAL, 0, 1, 0x02),
    SockFilter::new(RETURN, 0, 0, 0),
    SockFilter::new(RETURN, 0, 0, u32::MAX),
];
/// Operations of such filters (linux/bpf_common.h).
const LOAD_BYTE: u16 = 0x30;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// One listening socket.
#[derive(Debug)]
pub(super) struct Acceptor {
    socket: Listening,
    address: Address,
    local: SocketAddr,
    /// Which entry of `listen` it is.
    listener: usize,
    pub(super) door: Door,
    /// There may be connections to take: readiness is told once.
    pub(super) is_ready: bool,
}

/// What the connections of a listening socket have in common.
#[derive(Debug, Clone)]
pub(super) struct Door {
    /// Peers that are trusted send a PROXY protocol header.
    pub(super) has_preamble: bool,
    /// Connections speak TLS, with the certificates from there.
    pub(super) tls: Option<Arc<Terminator>>,
    /// Who comes after this process.
    pub(super) succession: Succession,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    /// The file is ours, unless the socket was passed.
    Unix(UnixListener, Option<PathFile>),
    /// Not any more.
    Closed,
}

/// The file of a Unix socket, removed with the last listener.
#[derive(Debug, Clone)]
struct PathFile(#[expect(dead_code, reason = "held")] Arc<Unlink>);

#[derive(Debug)]
struct Unlink(PathBuf);

/// What came of taking a connection.
pub(super) enum Accepted {
    Connection(Socket, Peer),
    /// There is none right now.
    Nobody,
    /// It has gone already.
    Gone,
    /// There is no descriptor, or no memory, for it.
    Starved(Errno),
}

impl Acceptor {
    /// Opens what `listen` asks for, or takes it from what was `inherited`. `listener`: which entry of `listen` it is.
    pub(super) fn open(
        listener: usize,
        listen: &Listen,
        is_shared: bool,
        terminator: Option<&Arc<Terminator>>,
        inherited: &mut Inherited,
    ) -> io::Result<Acceptor> {
        let (socket, is_passed) = match &listen.address {
            Address::Ip(address) => {
                let passed = inherited.take_tcp(*address);
                let is_passed = passed.is_some();
                let socket = passed.map_or_else(|| bind::tcp(*address, is_shared), Ok)?;
                let options = SockRef::from(&socket);
                // Accepted sockets inherit these on Linux.
                options.set_tcp_nodelay(true)?;
                options.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
                socket.set_nonblocking(true)?;
                (Listening::Tcp(socket), is_passed)
            }
            Address::Unix(path) => {
                let passed = inherited.take_unix(&listen.address);
                let is_passed = passed.is_some();
                let socket = passed.map_or_else(|| bind::unix(path, listen.is_private), Ok)?;
                socket.set_nonblocking(true)?;
                let file = || PathFile(Arc::new(Unlink(path.clone())));
                let file = (!is_passed).then(file);
                (Listening::Unix(socket, file), is_passed)
            }
        };
        let (address, local) = match &socket {
            Listening::Tcp(socket) => {
                let local = socket.local_addr()?;
                (Address::Ip(local), local)
            }
            _ => (listen.address.clone(), LOCAL_PEER),
        };
        let succession = match &socket {
            _ if is_passed => Succession::SameSocket,
            Listening::Tcp(_) if is_shared => Succession::OtherSockets,
            _ => Succession::Nobody,
        };
        Ok(Acceptor {
            socket,
            address,
            local,
            listener,
            door: Door {
                has_preamble: listen.proxy_protocol,
                tls: terminator.filter(|_| listen.tls == ListenTls::Tls).cloned(),
                succession,
            },
            is_ready: true,
        })
    }

    /// The same socket for another thread.
    pub(super) fn another(&self) -> io::Result<Acceptor> {
        let socket = match &self.socket {
            Listening::Tcp(socket) => Listening::Tcp(socket.try_clone()?),
            Listening::Unix(socket, file) => Listening::Unix(socket.try_clone()?, file.clone()),
            Listening::Closed => Listening::Closed,
        };
        Ok(Acceptor {
            socket,
            address: self.address.clone(),
            local: self.local,
            listener: self.listener,
            door: self.door.clone(),
            is_ready: true,
        })
    }

    /// Where it listens, with the port that the system picked.
    pub(super) fn address(&self) -> Address {
        self.address.clone()
    }

    /// `None`: it is closed.
    pub(super) fn as_raw_fd(&self) -> Option<RawFd> {
        match &self.socket {
            Listening::Tcp(socket) => Some(socket.as_raw_fd()),
            Listening::Unix(socket, _) => Some(socket.as_raw_fd()),
            Listening::Closed => None,
        }
    }

    /// Lets no further handshake begin on this socket: who tries is not answered, and tries again. Whether that works here.
    pub(super) fn turn_away(&self) -> bool {
        let Listening::Tcp(socket) = &self.socket else {
            return false;
        };
        let result = SockRef::from(socket).attach_filter(&NO_HANDSHAKES);
        if let Err(error) = &result {
            log::warn!(
                "{} is left without a pause, connections may be reset: {error}",
                self.address
            );
        }
        result.is_ok()
    }

    /// Listens no more. Other threads and processes that have the socket still do.
    pub(super) fn close(&mut self) {
        self.socket = Listening::Closed;
        self.is_ready = false;
    }

    /// Takes one connection, without waiting.
    pub(super) fn accept(&self) -> Accepted {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accepted = match &self.socket {
            Listening::Tcp(socket) => acceptfrom_with(socket.as_fd(), flags),
            Listening::Unix(socket, _) => acceptfrom_with(socket.as_fd(), flags),
            Listening::Closed => return Accepted::Nobody,
        };
        match accepted {
            Ok((socket, address)) => self.connection(socket, address),
            Err(Errno::AGAIN) => Accepted::Nobody,
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                Accepted::Starved(error)
            }
            // Aborted meanwhile, interrupted, or an error of the network that belongs to that one connection (accept(2)).
            Err(_) => Accepted::Gone,
        }
    }

    fn connection(&self, socket: OwnedFd, address: Option<SocketAddrAny>) -> Accepted {
        match &self.socket {
            Listening::Unix(..) | Listening::Closed => {
                let peer = Peer {
                    address: LOCAL_PEER,
                    local: LOCAL_PEER,
                    listener: self.listener,
                    tls: None,
                };
                Accepted::Connection(Socket::Unix(socket.into()), peer)
            }
            Listening::Tcp(_) => {
                match address.and_then(|address| SocketAddr::try_from(address).ok()) {
                    Some(address) => {
                        let peer = Peer {
                            address,
                            local: self.local,
                            listener: self.listener,
                            tls: None,
                        };
                        Accepted::Connection(Socket::Tcp(socket.into()), peer)
                    }
                    None => Accepted::Gone,
                }
            }
        }
    }
}

impl Drop for Unlink {
    fn drop(&mut self) {
        // Somebody else may have removed it, or the folder: then there is nothing to do.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::ListenTls;
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream;

    fn open(is_shared: bool) -> Acceptor {
        let listen = Listen {
            address: Address::Ip("127.0.0.1:0".parse().unwrap()),
            proxy_protocol: false,
            tls: ListenTls::Plain,
            is_private: false,
        };
        Acceptor::open(0, &listen, is_shared, None, &mut Inherited::default()).unwrap()
    }

    #[test]
    fn who_has_connected_is_served_and_nobody_else_gets_in() {
        let mut acceptor = open(true);
        let to = acceptor.local;
        let mut early = TcpStream::connect(to).unwrap();
        assert!(acceptor.turn_away());
        let late = TcpStream::connect_timeout(&to, Duration::from_millis(50));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        let Accepted::Connection(Socket::Tcp(mut accepted), _) = acceptor.accept() else {
            panic!("it waited in the queue")
        };
        assert!(matches!(acceptor.accept(), Accepted::Nobody));
        acceptor.close();
        assert!(matches!(acceptor.accept(), Accepted::Nobody));
        let late = TcpStream::connect(to);
        assert_eq!(late.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        // What was accepted is as good as any other connection.
        let mut buffer = [0; 4];
        accepted.set_nonblocking(false).unwrap();
        early.write_all(b"ping").unwrap();
        accepted.read_exact(&mut buffer).unwrap();
        accepted.write_all(b"pong").unwrap();
        early.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"pong");
    }

    #[test]
    fn only_what_others_can_have_is_handed_over() {
        assert_eq!(open(true).door.succession, Succession::OtherSockets);
        assert_eq!(open(false).door.succession, Succession::Nobody);
    }
}
