//! The reactor engine: readiness instead of threads. An idle or slow connection costs a few KiB and no thread.
//!
//! One thread (or a few, by configuration) owns all connections: [`event_loop`] is its loop, [`progress`] what a connection does
//! when something has come, [`expiry`] what happens when its time is over. A whole request becomes an [`exchange`], which
//! somebody answers through a [`writer`]; then the connection comes back. [`link`] is what both sides share.
//!
//! With TLS, a connection begins with a [`handshake`], of which the [`crew`] does the laborious steps, and has a [`session`] from
//! then on; [`sealed`] is how a link uses it. Everything else is the same.
//!
//! Bytes become requests in [`parse`], [`chunks`] and [`body`]; nothing there does I/O of its own.

mod acceptor;
mod admission;
mod body;
mod budget;
mod chunks;
mod conduit;
mod crew;
mod descriptors;
mod event_loop;
mod exchange;
mod expiry;
mod greeting;
mod handover;
mod handshake;
mod home;
mod link;
mod outbox;
mod pace;
mod parse;
mod progress;
mod proxy_protocol;
mod readiness;
mod rules;
mod sealed;
mod seats;
mod session;
mod state;
mod writer;

use std::io;
use std::sync::Arc;

use crate::config::model::{Listen, ListenTls, Server};
use crate::drain::Drain;
use crate::exchange::{Intake, Listener};
use crate::tls::server::Terminator;

use super::{BindError, Inherited, Opened};
use acceptor::Acceptor;
use crew::Crew;
use event_loop::Reactor;
use rules::Rules;

/// The listening sockets of one thread, ready to run.
struct ReactorListener {
    acceptors: Vec<Acceptor>,
    rules: Arc<Rules>,
    crew: Option<Arc<Crew>>,
}

/// Opens all of `listen`, for as many threads as `server` says.
///
/// # Errors
/// When an address cannot be bound.
pub(super) fn open(
    listen: &[Listen],
    server: &Server,
    terminator: Option<&Arc<Terminator>>,
    inherited: &mut Inherited,
) -> Result<Opened, BindError> {
    let connections = connections(server);
    let rules = Rules::new(server, connections);
    let mut first = Vec::with_capacity(listen.len());
    for (number, entry) in listen.iter().enumerate() {
        let opened = Acceptor::open(number, entry, server.reuse_port, terminator, inherited);
        first.push(opened.map_err(|error| failed(entry, error))?);
    }
    let addresses = first.iter().map(Acceptor::address).collect();
    let entry = listen.iter().find(|entry| entry.tls == ListenTls::Tls);
    let start = |entry| Crew::start(rules.seats.all()).map_err(|error| failed(entry, error));
    let crew = entry.map(start).transpose()?;
    let mut listeners: Vec<Box<dyn Listener>> = Vec::with_capacity(server.listener_threads);
    for _ in 1..server.listener_threads {
        let mut acceptors = Vec::with_capacity(listen.len());
        for (entry, acceptor) in listen.iter().zip(&first) {
            acceptors.push(acceptor.another().map_err(|error| failed(entry, error))?);
        }
        listeners.push(Box::new(ReactorListener {
            acceptors,
            rules: Arc::clone(&rules),
            crew: crew.clone(),
        }));
    }
    listeners.push(Box::new(ReactorListener {
        acceptors: first,
        rules,
        crew,
    }));
    Ok(Opened {
        listeners,
        addresses,
    })
}

fn failed(listen: &Listen, error: io::Error) -> BindError {
    BindError {
        address: listen.address.clone(),
        error,
    }
}

/// As many as the configuration allows and there are descriptors for.
fn connections(server: &Server) -> usize {
    let wanted = server.limits.connections;
    let possible = descriptors::raise_limit().map_or(usize::MAX, |limit| {
        descriptors::enough_for(limit, server.workers)
    });
    if possible < wanted {
        log::warn!(
            "the limit of open files is enough for {possible} connections only, not for {wanted} (server.limits.connections)"
        );
    }
    wanted.min(possible)
}

impl Listener for ReactorListener {
    fn name(&self) -> String {
        let names: Vec<String> = self
            .acceptors
            .iter()
            .map(|acceptor| acceptor.address().to_string())
            .collect();
        names.join(", ")
    }

    fn run(self: Box<Self>, intake: Arc<dyn Intake>, drain: Drain) -> io::Result<()> {
        Reactor::new(self.acceptors, self.rules, self.crew, intake, drain)?.run()
    }
}
