//! Sockets to listen on.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A listening TCP socket. An address in TIME_WAIT is no obstacle; an IPv6 address takes IPv6 only. `is_shared`: other sockets
/// may listen there too (SO_REUSEPORT), and the kernel spreads the connections.
pub(super) fn tcp(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if is_shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A listening Unix socket. A file left behind by a process that has gone is replaced; anything else at that path is not.
/// `is_private`: nobody but its owner may connect, from the first moment on.
pub(super) fn unix(path: &Path, is_private: bool) -> io::Result<UnixListener> {
    let mut socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    if is_private {
        // Linux makes the file with the mode that the socket has when it is bound.
        let file = File::from(OwnedFd::from(socket));
        file.set_permissions(Permissions::from_mode(0o600))?;
        socket = OwnedFd::from(file).into();
    }
    let address = socket2::SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != ErrorKind::AddrInUse || !is_abandoned(path) {
            return Err(error);
        }
        std::fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether the socket at `path` has nobody behind it any more.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket
        && matches!(UnixStream::connect(path), Err(error) if error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_picks_a_port_and_a_taken_one_is_an_error() {
        let first = tcp("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = first.local_addr().unwrap();
        assert_ne!(address.port(), 0);
        let taken = tcp(address, false).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn a_shared_port_can_be_had_twice() {
        let first = tcp("127.0.0.1:0".parse().unwrap(), true).unwrap();
        assert!(tcp(first.local_addr().unwrap(), true).is_ok());
    }

    #[test]
    fn only_an_abandoned_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let first = unix(&path, false).unwrap();
        assert_eq!(unix(&path, false).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(first);
        drop(unix(&path, true).unwrap());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let file = folder.path().join("f");
        std::fs::write(&file, "precious").unwrap();
        assert!(unix(&file, false).is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    }
}
