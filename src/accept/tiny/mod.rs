//! The tiny_http engine: tiny_http accepts and parses; what it hands out is judged here and dispatched.
//!
//! For trusted networks. What is done about its known faults, and where:
//! - lenient framing (request smuggling): [`judge`], and [`connections`] drops all that follows on such a connection;
//! - no timeouts: set on the listening socket, from which Linux lets every accepted socket inherit them ([`run`](TinyListener));
//! - connections left waiting behind busy threads, and an accept loop that can die: [`nudge`] and [`TinyListener`];
//! - no way to close a connection: [`hangup`];
//! - an abort of the process when a huge announced body is dropped unread: [`disposal`].
//!
//! What tiny_http lets through and nobody here can see: words behind the version, chunk sizes with a sign or blanks (the body
//! is framed anew toward the backend), line folding, a chunk-size line without end. A chunked request whose client closes its
//! sending side right behind it counts as broken off.
//!
//! What cannot be done here: TLS, upgrades, request trailers, header bytes above 127, obs-fold detection, one timeout per
//! phase, a bound on the number of connections or on the head while it is read.

mod connections;
mod disposal;
mod exchange;
mod hangup;
mod judge;
mod keeper;
mod linger;
mod nudge;
mod refuser;
mod writer;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use socket2::{SockRef, TcpKeepalive};

use crate::config::model::Server;
use crate::drain::Drain;
use crate::exchange::{Intake, Listener};

use connections::Connections;

/// How often threads look whether they are to end.
const GLANCE: Duration = Duration::from_millis(100);
/// Between two openings of a new accept loop; it doubles up to the second while they die soon, so that a lasting cause (no
/// descriptors) costs little.
const REOPEN_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A listening socket for tiny_http. It stays ours: tiny_http works on clones of it, so the port survives its accept loop.
pub(super) struct TinyListener {
    socket: TcpListener,
    local: SocketAddr,
    /// Which entry of `listen` it is.
    listener: usize,
}

/// What the accept loops and their watcher report.
#[derive(Debug)]
pub(super) enum Report {
    /// An accept loop has ended with this error.
    Died(String),
    /// Connections are made, but nobody accepts them.
    Silent,
}

impl TinyListener {
    pub(super) fn new(
        socket: TcpListener,
        listener: usize,
        server: &Server,
    ) -> io::Result<TinyListener> {
        let options = SockRef::from(&socket);
        // Accepted sockets inherit these, and tiny_http closes a connection whose read fails. `accept` obeys the first
        // one too; the nudges come far more often than it runs out, and a loop that it ends is opened anew.
        options.set_read_timeout(Some(server.timeouts.body_idle))?;
        options.set_write_timeout(Some(server.timeouts.write_idle))?;
        options.set_tcp_nodelay(true)?;
        // A socket that was passed may be set otherwise, by whoever had it before.
        socket.set_nonblocking(false)?;
        options.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
        let local = socket.local_addr()?;
        Ok(TinyListener {
            socket,
            local,
            listener,
        })
    }

    /// Where it listens, with the port that the system picked.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Starts an accept loop, with the thread that dispatches its requests.
    fn open_loop(
        &self,
        number: usize,
        connections: &Arc<Connections>,
        reports: &Sender<Report>,
        drain: &Drain,
    ) -> io::Result<JoinHandle<()>> {
        let server = tiny_http::Server::from_listener(self.socket.try_clone()?, None)
            .map_err(io::Error::other)?;
        let (connections, reports, drain) =
            (Arc::clone(connections), reports.clone(), drain.clone());
        let dispatch = move || {
            while !drain.is_stopped() {
                match server.recv_timeout(GLANCE) {
                    // A panic costs this request only.
                    Ok(Some(request)) => {
                        if catch_unwind(AssertUnwindSafe(|| connections.arrived(request))).is_err()
                        {
                            log::error!("dispatching a request panicked; the next one goes on");
                        }
                    }
                    Ok(None) => (),
                    // The loop is dead, but its connections live on and still send requests.
                    Err(error) => drop(reports.try_send(Report::Died(error.to_string()))),
                }
            }
        };
        thread::Builder::new()
            .name(format!("listener-{number}"))
            .spawn(dispatch)
    }

    /// Opens accept loops when there is need, until the drain is over.
    fn supervise(&self, connections: &Arc<Connections>, drain: &Drain) -> io::Result<()> {
        let (reports, inbox) = bounded(64);
        let mut loops = vec![self.open_loop(0, connections, &reports, drain)?];
        let nudger = nudge::spawn(
            self.local,
            Arc::clone(connections),
            reports.clone(),
            drain.clone(),
        )?;
        let mut opened = Instant::now();
        let mut pause = REOPEN_PAUSE;
        while let Some(report) = next_report(&inbox, drain) {
            pause = if opened.elapsed() > 2 * LONGEST_PAUSE {
                REOPEN_PAUSE
            } else {
                (2 * pause).min(LONGEST_PAUSE)
            };
            if drain.sleep(pause.saturating_sub(opened.elapsed())) {
                break;
            }
            log::warn!("listener {}: {}", self.local, describe(&report));
            // A dead loop's thread stays: it still serves the connections that were accepted before.
            match self.open_loop(loops.len(), connections, &reports, drain) {
                Ok(new) => loops.push(new),
                // No descriptors yet: ask again after the pause.
                Err(error) => drop(reports.try_send(Report::Died(error.to_string()))),
            }
            opened = Instant::now();
        }
        for thread in loops.into_iter().chain([nudger]) {
            let _ = thread.join();
        }
        Ok(())
    }
}

impl Listener for TinyListener {
    fn name(&self) -> String {
        self.local.to_string()
    }

    fn run(self: Box<Self>, intake: Arc<dyn Intake>, drain: Drain) -> io::Result<()> {
        let connections = Arc::new(Connections::new(intake, self.local, self.listener)?);
        let result = self.supervise(&connections, &drain);
        connections.shut_down();
        result
    }
}

fn next_report(inbox: &Receiver<Report>, drain: &Drain) -> Option<Report> {
    loop {
        match inbox.recv_timeout(GLANCE) {
            Ok(report) => return Some(report),
            Err(RecvTimeoutError::Timeout) if !drain.is_stopped() => (),
            Err(_) => return None,
        }
    }
}

fn describe(report: &Report) -> String {
    match report {
        Report::Died(error) => {
            format!("tiny_http stopped accepting ({error}); accepting again on the same port")
        }
        Report::Silent => {
            "tiny_http does not accept connections any more; accepting again on the same port"
                .into()
        }
    }
}
