//! Listening sockets: takes connections off them, as far as there are descriptors for it.
//!
//! It decides nothing about a connection; [`super::event_loop`] does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use socket2::{SockRef, TcpKeepalive};

use crate::accept::bind;
use crate::config::model::{Address, Listen};
use crate::exchange::Peer;
use crate::socket::Socket;

/// What a peer on a Unix socket is called: it is on this machine.
const LOCAL_PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Dead peers are found after a while, also where a timeout is long.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// One listening socket.
#[derive(Debug)]
pub(super) struct Acceptor {
    socket: Listening,
    local: SocketAddr,
    /// Peers that are trusted send a PROXY protocol header.
    pub(super) has_preamble: bool,
    /// There may be connections to take: readiness is told once.
    pub(super) is_ready: bool,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener, PathFile),
}

/// The file of a Unix socket, removed with the last listener.
#[derive(Debug, Clone)]
struct PathFile(std::sync::Arc<Unlink>);

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
    /// Opens what `listen` asks for.
    pub(super) fn open(listen: &Listen, is_shared: bool) -> io::Result<Acceptor> {
        let (socket, local) = match &listen.address {
            Address::Ip(address) => {
                let socket = bind::tcp(*address, is_shared)?;
                let options = SockRef::from(&socket);
                // Accepted sockets inherit these on Linux.
                options.set_tcp_nodelay(true)?;
                options.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
                socket.set_nonblocking(true)?;
                let local = socket.local_addr()?;
                (Listening::Tcp(socket), local)
            }
            Address::Unix(path) => {
                let socket = bind::unix(path)?;
                socket.set_nonblocking(true)?;
                let file = PathFile(std::sync::Arc::new(Unlink(path.clone())));
                (Listening::Unix(socket, file), LOCAL_PEER)
            }
        };
        Ok(Acceptor {
            socket,
            local,
            has_preamble: listen.proxy_protocol,
            is_ready: true,
        })
    }

    /// The same socket for another thread.
    pub(super) fn another(&self) -> io::Result<Acceptor> {
        let socket = match &self.socket {
            Listening::Tcp(socket) => Listening::Tcp(socket.try_clone()?),
            Listening::Unix(socket, file) => Listening::Unix(socket.try_clone()?, file.clone()),
        };
        Ok(Acceptor {
            socket,
            local: self.local,
            has_preamble: self.has_preamble,
            is_ready: true,
        })
    }

    /// Where it listens, with the port that the system picked.
    pub(super) fn address(&self) -> Address {
        match &self.socket {
            Listening::Tcp(_) => Address::Ip(self.local),
            Listening::Unix(_, file) => Address::Unix(file.0.0.clone()),
        }
    }

    pub(super) fn as_raw_fd(&self) -> RawFd {
        match &self.socket {
            Listening::Tcp(socket) => socket.as_raw_fd(),
            Listening::Unix(socket, _) => socket.as_raw_fd(),
        }
    }

    /// Takes one connection, without waiting.
    pub(super) fn accept(&self) -> Accepted {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accepted = match &self.socket {
            Listening::Tcp(socket) => acceptfrom_with(socket.as_fd(), flags),
            Listening::Unix(socket, _) => acceptfrom_with(socket.as_fd(), flags),
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
            Listening::Unix(..) => {
                let peer = Peer {
                    address: LOCAL_PEER,
                    local: LOCAL_PEER,
                };
                Accepted::Connection(Socket::Unix(socket.into()), peer)
            }
            Listening::Tcp(_) => {
                match address.and_then(|address| SocketAddr::try_from(address).ok()) {
                    Some(address) => {
                        let peer = Peer {
                            address,
                            local: self.local,
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
