//! Demo backends: small HTTP servers inside the binary, for `tollgate demo`, for load tests and for trying out rules.
//!
//! They run on tiny_http and listen on the loopback only: tiny_http is not safe for untrusted clients. They are no part
//! of the road of a request, and they do not share code with it: what they answer must not hide what the proxy does.
//!
//! Ways to stop: accepting ends at once, answers under way get two seconds, and a client that kept its connection is
//! told with a 503 and `Connection: close` (tiny_http cannot close it) to go elsewhere.

mod answer;
mod body;
mod books;
mod handlers;
mod nudge;
mod pool;

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use socket2::SockRef;
use tiny_http::Server;

use handlers::Backend;
use pool::Pool;

/// A client that takes nothing for this long loses its answer: its thread is needed elsewhere.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long [`DemoBackend::shut_down`] waits for answers under way.
const SHUT_DOWN_PATIENCE: Duration = Duration::from_secs(2);

/// A running demo backend. Dropping it stops it as [`DemoBackend::shut_down`] does.
#[derive(Debug)]
pub struct DemoBackend {
    address: SocketAddr,
    /// A second handle on the listening socket: the first one is in tiny_http's thread.
    listener: TcpListener,
    pool: Pool,
    /// Dropped to say stop.
    running: Option<Sender<()>>,
}

impl DemoBackend {
    /// Listens on `127.0.0.1:port` (0: the system picks) and answers as `name`. The endpoints:
    ///
    /// | path | answer |
    /// |---|---|
    /// | `/health` | `{"status":"ok"}` |
    /// | `/slow?ms=N` | the echo after N ms (default 1000, at most 60000) |
    /// | `/bytes?n=N` | N bytes (default 1024, at most 1 GiB), byte i being `i % 251` |
    /// | `/status?code=C` | the echo with status C (200 to 599) |
    /// | `/sse?events=N&ms=M` | N server-sent events (default and most 3600), M ms apart (default 1000) |
    /// | `/flaky?every=N&code=C` | every Nth request (default 2) fails with C (500 or 503), the others echo |
    /// | `/books`, `/<service>/books` | GET lists, POST `{"name", "author"}` adds; a list per service |
    /// | anything else | the echo: what arrived, as JSON |
    ///
    /// # Errors
    /// The port is taken or not allowed, or threads cannot be started.
    pub fn start(port: u16, name: String) -> io::Result<DemoBackend> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        // Accepted sockets inherit both. Without the first, small answers wait for delayed acknowledgements.
        let socket = SockRef::from(&listener);
        socket.set_tcp_nodelay(true)?;
        socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let server =
            Server::from_listener(listener.try_clone()?, None).map_err(io::Error::other)?;
        let (running, stopped) = bounded(0);
        let backend = Backend::new(name, address.port(), stopped);
        let backend = Arc::new(backend);
        let pool = Pool::start(Arc::new(server), Arc::clone(&backend))?;
        // From here on, an error drops this and so stops everything.
        let demo = DemoBackend {
            address,
            listener,
            pool,
            running: Some(running),
        };
        thread::Builder::new()
            .name("demo-nudge".to_owned())
            .spawn(move || backend.nudge(address))?;
        Ok(demo)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening at once, then waits up to 2 s for the answers under way. `/slow` and `/sse` end early.
    pub fn shut_down(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        if self.running.take().is_none() {
            return;
        }
        // Ends tiny_http's accept loop. Where the system does not allow it, the server's own drop does that later.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        self.pool.stop(SHUT_DOWN_PATIENCE);
    }
}

impl Drop for DemoBackend {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
