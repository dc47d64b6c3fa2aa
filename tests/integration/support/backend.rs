//! A scripted HTTP backend on raw sockets, a thread per connection: it answers what the test tells it to, and remembers
//! every request it saw.

use std::collections::HashMap;
use std::fs;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use socket2::{Domain, SockAddr, Socket, Type};

use super::conn::{BodyEnd, Conn, Seen, serve_pattern};
use super::gate::Gate;
use super::secured::Secured;
use super::wire::{Broken, Framing, Wire};

type Script = dyn Fn(&mut Conn) + Send + Sync;

/// One backend. Dropping it kills it and raises again what its scripts panicked with.
pub struct Backend {
    shared: Arc<Shared>,
    life: Arc<Life>,
    acceptor: Option<JoinHandle<()>>,
    address: SockAddr,
    /// Bound but never listening: nobody else gets the port while the backend is dead.
    _reserve: Option<Socket>,
}

/// What outlives a kill.
pub(super) struct Shared {
    pub(super) seen: Mutex<Vec<Seen>>,
    accepted: AtomicUsize,
    /// None: it speaks no TLS.
    secured: Option<Arc<Secured>>,
    script: Box<Script>,
}

/// What ends with a kill.
#[derive(Default)]
pub(super) struct Life {
    pub(super) stopped: AtomicBool,
    listener: Mutex<Option<Socket>>,
    open: Mutex<HashMap<usize, TcpStream>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Backend {
    /// Runs `script` for every request head; the body is read by [`Conn::request`] and by [`Conn::reply`].
    pub fn start(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Backend {
        let (reserve, address) = reserve();
        Backend::at(address.into(), Some(reserve), None, script)
    }

    /// The same over TLS.
    pub fn secured(
        secured: &Arc<Secured>,
        script: impl Fn(&mut Conn) + Send + Sync + 'static,
    ) -> Backend {
        let (reserve, address) = reserve();
        let secured = Some(Arc::clone(secured));
        Backend::at(address.into(), Some(reserve), secured, script)
    }

    /// Answers every request with 200 and this text, on the port of `other` but on another loopback address, 127.0.0.`last`.
    pub fn beside(other: &Backend, last: u8, text: &'static str) -> Backend {
        let address = SocketAddr::from(([127, 0, 0, last], other.address().port()));
        Backend::at(address.into(), None, None, move |conn| {
            conn.reply(200, &[], text);
        })
    }

    /// The same on a Unix socket.
    pub fn unix(path: &Path, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Backend {
        Backend::at(SockAddr::unix(path).unwrap(), None, None, script)
    }

    fn at(
        address: SockAddr,
        reserve: Option<Socket>,
        secured: Option<Arc<Secured>>,
        script: impl Fn(&mut Conn) + Send + Sync + 'static,
    ) -> Backend {
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            accepted: AtomicUsize::new(0),
            secured,
            script: Box::new(script),
        });
        let life = Arc::default();
        let mut backend = Backend {
            shared,
            life,
            acceptor: None,
            address,
            _reserve: reserve,
        };
        backend.restart();
        backend
    }

    /// Answers every request with 200 and this text.
    pub fn fixed(text: &'static str) -> Backend {
        Backend::start(move |conn| conn.reply(200, &[], text))
    }

    /// Answers with the request's own body.
    pub fn echo() -> Backend {
        Backend::start(|conn| {
            let seen = conn.request();
            conn.reply(200, &[], seen.body);
        })
    }

    /// `/down` is `size` bytes of [`pattern`]; every other request is answered with the length of its body, and whether that
    /// was the pattern.
    pub fn patterned(size: u64) -> Backend {
        Backend::start(serve_pattern(size))
    }

    /// Reads the request, then sends these bytes and keeps the connection.
    pub fn raw(bytes: &'static [u8]) -> Backend {
        Backend::start(move |conn| {
            conn.request();
            conn.raw(bytes);
        })
    }

    /// Reads the request, then sends these bytes and closes.
    pub fn raw_then_close(bytes: &'static [u8]) -> Backend {
        Backend::start(move |conn| {
            conn.request();
            conn.raw(bytes);
            conn.close();
        })
    }

    /// Reads the request, then waits for `gate` before it answers 200 with this text.
    pub fn gated(gate: &Gate, text: &'static str) -> Backend {
        let gate = gate.clone();
        Backend::start(move |conn| {
            conn.request();
            if conn.wait(&gate) {
                conn.reply(200, &[], text);
            }
        })
    }

    /// Reads the request and resets the connection.
    pub fn resetting() -> Backend {
        Backend::start(|conn| {
            conn.request();
            conn.reset();
        })
    }

    /// Where it listens.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        self.address.as_socket().expect("not a Unix socket")
    }

    /// The same as a configuration names it.
    pub fn url(&self) -> String {
        match self.address.as_pathname() {
            Some(path) => format!("unix:{}", path.display()),
            None if self.shared.secured.is_some() => format!("https://{}", self.address()),
            None => format!("http://{}", self.address()),
        }
    }

    /// Every request seen so far, over all its lives.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The only request seen; fails the test when there are more or none.
    #[track_caller]
    pub fn only(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "requests seen: {seen:?}");
        seen.remove(0)
    }

    /// The target of the last request seen.
    pub fn last_target(&self) -> String {
        let seen = self.shared.seen.lock().unwrap();
        seen.last().expect("a request").target().to_owned()
    }

    /// How many requests it saw.
    pub fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.life.open.lock().unwrap().len()
    }

    /// Whether the connection with this number is open.
    pub fn is_open(&self, connection: usize) -> bool {
        self.life.open.lock().unwrap().contains_key(&connection)
    }

    /// Closes the listener and every connection, and waits for the scripts to end.
    pub fn kill(&mut self) {
        let panics = self.stop();
        assert!(panics.is_empty(), "a script panicked");
    }

    fn stop(&mut self) -> Vec<Box<dyn std::any::Any + Send>> {
        self.life.stopped.store(true, Ordering::Release);
        if let Some(listener) = self.life.listener.lock().unwrap().take() {
            // Wakes the blocked accept, which closing alone does not.
            let _ = listener.shutdown(Shutdown::Both);
        }
        let mut threads: Vec<_> = self.acceptor.take().into_iter().collect();
        let mut panics = Vec::new();
        while let Some(thread) = threads.pop() {
            panics.extend(thread.join().err());
            for stream in self.life.open.lock().unwrap().values() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            threads.append(&mut self.life.threads.lock().unwrap());
        }
        panics
    }

    /// Listens again, on the same port.
    pub fn restart(&mut self) {
        if let Some(path) = self.address.as_pathname() {
            let _ = fs::remove_file(path);
        }
        let listener = Socket::new(self.address.domain(), Type::STREAM, None).unwrap();
        listener.set_reuse_address(true).unwrap();
        super::eventually::bind(&listener, &self.address);
        listener.listen(1024).unwrap();
        self.life = Arc::default();
        *self.life.listener.lock().unwrap() = Some(listener.try_clone().unwrap());
        let (shared, life) = (Arc::clone(&self.shared), Arc::clone(&self.life));
        self.acceptor = Some(std::thread::spawn(move || {
            accept(&listener, &shared, &life);
        }));
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let panics = self.stop();
        if let Some(panic) = panics.into_iter().next()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A port that refuses connections for as long as the socket lives.
pub fn reserve() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

fn accept(listener: &Socket, shared: &Arc<Shared>, life: &Arc<Life>) {
    while let Ok((stream, _)) = listener.accept() {
        if life.stopped.load(Ordering::Acquire) {
            return;
        }
        let stream = TcpStream::from(stream);
        // A Unix socket has no such option.
        let _ = stream.set_nodelay(true);
        let number = shared.accepted.fetch_add(1, Ordering::Relaxed);
        life.open
            .lock()
            .unwrap()
            .insert(number, stream.try_clone().unwrap());
        let (shared, life_of_thread) = (Arc::clone(shared), Arc::clone(life));
        let thread = std::thread::spawn(move || {
            let _closed = Closed {
                life: Arc::clone(&life_of_thread),
                number,
            };
            converse(stream, number, &shared, &life_of_thread);
        });
        life.threads.lock().unwrap().push(thread);
    }
}

/// Takes a connection off the list of open ones, also when its script panics.
struct Closed {
    life: Arc<Life>,
    number: usize,
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.life.open.lock().unwrap().remove(&self.number);
    }
}

fn converse(stream: TcpStream, number: usize, shared: &Arc<Shared>, life: &Arc<Life>) {
    let wire = match &shared.secured {
        None => Wire::new(stream),
        Some(secured) => match secured.accept(stream) {
            Some(link) => Wire::new(link),
            None => return,
        },
    };
    let mut conn = Conn {
        wire,
        framing: Framing::Done,
        number,
        index: 0,
        shared: Arc::clone(shared),
        life: Arc::clone(life),
        ended: false,
    };
    while !conn.ended {
        let head = match conn.wire.head() {
            Ok(head) => head,
            Err(Broken::Malformed(why)) => panic!("a backend was sent a bad head: {why}"),
            Err(_) => return,
        };
        let Ok(framing) = head.framing(Framing::Done) else {
            panic!("a backend was sent bad framing: {head:?}")
        };
        conn.framing = framing;
        {
            let mut seen = shared.seen.lock().unwrap();
            conn.index = seen.len();
            seen.push(Seen {
                head,
                is_pattern: true,
                connection: conn.number,
                ..Seen::default()
            });
        }
        (shared.script)(&mut conn);
        if !conn.ended && shared.seen.lock().unwrap()[conn.index].end == BodyEnd::Unread {
            conn.request();
        }
    }
}
