//! Closing connections that tiny_http holds and gives nobody a handle for.
//!
//! The process asks the kernel for a second handle to its own socket (`pidfd_getfd` on itself, which needs no privilege but
//! which some container profiles forbid). Where that is not possible, connections end when their timeout does.

use std::fs;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::RecvFlags;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::Socket;

/// Finds sockets by the address at their other end.
pub(super) struct Hangup {
    process: Option<OwnedFd>,
    local_port: u16,
}

impl Hangup {
    pub(super) fn new(local_port: u16) -> Hangup {
        let hangup = Hangup {
            process: pidfd_open(getpid(), PidfdFlags::empty()).ok(),
            local_port,
        };
        if !hangup.is_available() {
            log::warn!(
                "this system does not let tollgate close client connections early (pidfd_getfd); they end by timeout"
            );
        }
        hangup
    }

    /// Whether it can do anything at all.
    pub(super) fn is_available(&self) -> bool {
        let probe = |process| pidfd_getfd(process, 0, PidfdGetfdFlags::empty());
        // Descriptor 0 may be closed (EBADF): the call itself is allowed then.
        self.process
            .as_ref()
            .is_some_and(|process| !matches!(probe(process), Err(error) if is_forbidden(error)))
    }

    /// Ends the connection with FIN, both ways. What was written before still arrives.
    pub(super) fn close(&self, peer: SocketAddr) {
        if let Some(socket) = self.find(peer) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Ends the connection with RST: for an answer that ends with its connection, FIN would look like its end.
    pub(super) fn reset(&self, peer: SocketAddr) {
        if let Some(socket) = self.find(peer)
            && rustix::net::connect_unspec(&socket).is_err()
        {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Whether the peer has closed its side and nothing is left to read. `None`: it cannot be told.
    pub(super) fn is_at_end(&self, peer: SocketAddr) -> Option<bool> {
        let socket = self.find(peer)?;
        let mut byte = [0];
        let peeked = rustix::net::recv(&socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        Some(match peeked {
            // tiny_http may have stopped reading on our own side, which looks the same: the kernel's table knows better.
            Ok((0, _)) => tcp_state(peer, self.local_port) != Some(ESTABLISHED),
            Ok(_) => false,
            Err(error) => error != rustix::io::Errno::AGAIN,
        })
    }

    /// A handle of our own to the socket connected to `peer`.
    pub(super) fn find(&self, peer: SocketAddr) -> Option<Socket> {
        let process = self.process.as_ref()?;
        for entry in fs::read_dir("/proc/self/fd").ok()?.flatten() {
            let is_socket = fs::read_link(entry.path())
                .is_ok_and(|link| link.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
            if !is_socket {
                continue;
            }
            let Some(number) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // The descriptor may be gone by now, or be another: the addresses decide.
            let Ok(socket) =
                pidfd_getfd(process, number, PidfdGetfdFlags::empty()).map(Socket::from)
            else {
                continue;
            };
            let address = |address: std::io::Result<socket2::SockAddr>| {
                address.ok().and_then(|it| it.as_socket())
            };
            let is_it = address(socket.peer_addr()) == Some(peer)
                && address(socket.local_addr())
                    .is_some_and(|local| local.port() == self.local_port);
            if is_it {
                return Some(socket);
            }
        }
        None
    }
}

/// The state of a connection of ours whose peer has not closed its side (`include/net/tcp_states.h`).
const ESTABLISHED: u8 = 1;

/// The state of the connection from `peer` to our `port`, from the kernel's table.
fn tcp_state(peer: SocketAddr, port: u16) -> Option<u8> {
    let (table, address) = match peer.ip() {
        IpAddr::V4(ip) => ("/proc/self/net/tcp", hex(&ip.octets())),
        IpAddr::V6(ip) => ("/proc/self/net/tcp6", hex(&ip.octets())),
    };
    let (remote, local) = (
        format!("{address}:{:04X}", peer.port()),
        format!(":{port:04X}"),
    );
    let text = fs::read_to_string(table).ok()?;
    text.lines().find_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let is_ours = columns.next()?.ends_with(&local) && columns.next()? == remote;
        is_ours.then(|| u8::from_str_radix(columns.next()?, 16).ok())?
    })
}

/// An address as the table writes it: 32-bit words in the machine's byte order.
fn hex(octets: &[u8]) -> String {
    let words = octets.as_chunks::<4>().0.iter();
    words
        .map(|word| format!("{:08X}", u32::from_ne_bytes(*word)))
        .collect()
}

fn is_forbidden(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(
        error,
        Errno::PERM | Errno::ACCESS | Errno::NOSYS | Errno::INVAL
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (TcpStream, TcpStream, Hangup) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let server = listener.accept().unwrap().0;
        (client, server, Hangup::new(address.port()))
    }

    #[test]
    fn a_close_is_seen_as_an_end() {
        let (mut client, _server, hangup) = pair();
        hangup.close(client.local_addr().unwrap());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_reset_is_seen_as_an_error() {
        let (mut client, _server, hangup) = pair();
        hangup.reset(client.local_addr().unwrap());
        assert_eq!(
            client.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
    }

    #[test]
    fn our_own_end_is_not_taken_for_the_peers() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let address = listener.local_addr().unwrap();
            let client = TcpStream::connect(address).unwrap();
            let (server, peer) = listener.accept().unwrap();
            let hangup = Hangup::new(address.port());
            server.shutdown(Shutdown::Read).unwrap();
            assert_eq!(hangup.is_at_end(peer), Some(false));
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(hangup.is_at_end(peer), Some(true));
        }
    }

    #[test]
    fn the_end_of_the_peer_is_noticed() {
        let (client, _server, hangup) = pair();
        let peer = client.local_addr().unwrap();
        assert_eq!(hangup.is_at_end(peer), Some(false));
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(hangup.is_at_end(peer), Some(true));
        assert_eq!(hangup.is_at_end("127.0.0.1:1".parse().unwrap()), None);
    }
}
