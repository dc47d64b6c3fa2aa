//! Connections that a plain connect does not make: from another address, over a Unix socket, with a small window.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use socket2::{Domain, Socket, Type};

use super::{Client, patience};

/// Over a Unix socket. What `Client` asks of a `TcpStream` a Unix socket can do too.
#[track_caller]
pub fn unix(path: &Path) -> Client {
    Client::over(unix_stream(path))
}

/// The same without a client.
#[track_caller]
pub fn unix_stream(path: &Path) -> TcpStream {
    let stream = UnixStream::connect(path).expect("the proxy listens");
    TcpStream::from(OwnedFd::from(stream))
}

/// From this address of the loopback network, all of which belongs to this machine.
#[track_caller]
pub fn from(source: Ipv4Addr, to: SocketAddr) -> Client {
    Client::over(connect(to, |socket| {
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    }))
}

/// With a receive window so small that unread answers soon fill it.
#[track_caller]
pub fn narrow(to: SocketAddr) -> Client {
    Client::over(narrow_stream(to))
}

/// The same without a client.
#[track_caller]
pub fn narrow_stream(to: SocketAddr) -> TcpStream {
    connect(to, |socket| {
        socket.set_recv_buffer_size(4096).unwrap();
    })
}

#[track_caller]
fn connect(to: SocketAddr, prepare: impl FnOnce(&Socket)) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    prepare(&socket);
    let connected = socket.connect_timeout(&to.into(), patience());
    connected.expect("the proxy listens");
    TcpStream::from(socket)
}
