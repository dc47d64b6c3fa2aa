//! Tunnels over real sockets: the test plays the client and the backend, each with the blocking end of a pair.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::thread;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::*;
use crate::socket::Socket;

/// A test that waits for longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const NEVER: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy)]
enum Kind {
    Unix,
    Tcp,
}

const KINDS: [Kind; 2] = [Kind::Unix, Kind::Tcp];

/// The outer ends of one tunnel.
struct Scene {
    client: Socket,
    backend: Socket,
    end: Receiver<End>,
}

impl Scene {
    /// Waits until the tunnel is over, and makes sure that this is said only once.
    fn end(&self) -> End {
        let end = self.end.recv_timeout(PATIENCE).expect("the tunnel ends");
        let second = self.end.recv_timeout(PATIENCE);
        assert_eq!(second, Err(RecvTimeoutError::Disconnected));
        end
    }

    fn reason(&self) -> Reason {
        self.end().reason
    }
}

/// The end for the tunnel, and the end for the test.
fn pair(kind: Kind) -> (Socket, Socket) {
    let (inner, outer) = match kind {
        Kind::Unix => {
            let (inner, outer) = UnixStream::pair().unwrap();
            outer.set_read_timeout(Some(PATIENCE)).unwrap();
            outer.set_write_timeout(Some(PATIENCE)).unwrap();
            (Socket::Unix(inner), Socket::Unix(outer))
        }
        Kind::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let outer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (inner, _) = listener.accept().unwrap();
            outer.set_read_timeout(Some(PATIENCE)).unwrap();
            outer.set_write_timeout(Some(PATIENCE)).unwrap();
            outer.set_nodelay(true).unwrap();
            inner.set_nodelay(true).unwrap();
            (Socket::Tcp(inner), Socket::Tcp(outer))
        }
    };
    inner.set_nonblocking(true).unwrap();
    (inner, outer)
}

fn start(limit: usize) -> Tunnels {
    Tunnels::start(limit, NEVER).unwrap()
}

fn boxed(socket: Socket) -> Box<dyn Conduit> {
    Box::new(socket)
}

fn tunnel_of(client: Box<dyn Conduit>, backend: Box<dyn Conduit>) -> (Tunnel, Receiver<End>) {
    let (sender, end) = bounded(2);
    let tunnel = Tunnel {
        client,
        backend,
        to_client: Vec::new(),
        to_backend: Vec::new(),
        on_end: Box::new(move |end| sender.send(end).unwrap()),
    };
    (tunnel, end)
}

/// Opens a tunnel over what `wrap` makes of the inner ends: client, backend.
fn open_with(
    tunnels: &Tunnels,
    kind: Kind,
    wrap: impl FnOnce(Socket, Socket) -> (Box<dyn Conduit>, Box<dyn Conduit>),
) -> Scene {
    let (inner_client, client) = pair(kind);
    let (inner_backend, backend) = pair(kind);
    let (to_client, to_backend) = wrap(inner_client, inner_backend);
    let (tunnel, end) = tunnel_of(to_client, to_backend);
    tunnels.open(tunnels.reserve().expect("a place"), tunnel);
    Scene {
        client,
        backend,
        end,
    }
}

fn open(tunnels: &Tunnels, kind: Kind) -> Scene {
    open_with(tunnels, kind, |client, backend| {
        (boxed(client), boxed(backend))
    })
}

fn say(mut socket: &Socket, text: &str) {
    socket.write_all(text.as_bytes()).unwrap();
}

#[track_caller]
fn expect(mut socket: &Socket, text: &str) {
    let mut got = vec![0; text.len()];
    socket.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), text);
}

#[track_caller]
fn expect_end(mut socket: &Socket) {
    assert_eq!(socket.read(&mut [0; 16]).unwrap(), 0);
}

/// Neither a byte nor a timeout: the connection is over, one way or the other.
#[track_caller]
fn expect_cut(mut socket: &Socket) {
    match socket.read(&mut [0; 16]) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

/// Ends a connection so that the other end sees a reset.
fn reset(socket: Socket) {
    let Socket::Tcp(stream) = &socket else {
        panic!("only TCP can be reset at will")
    };
    let linger = socket2::SockRef::from(stream);
    linger.set_linger(Some(Duration::ZERO)).unwrap();
    drop(socket);
}

/// Bytes that show every loss, repeat and swap: the period fits no buffer.
struct Pattern {
    bytes: Vec<u8>,
    at: usize,
}

impl Pattern {
    fn new(seed: u32) -> Pattern {
        let mut state = seed;
        let bytes = (0..65_521)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        Pattern { bytes, at: 0 }
    }

    fn next(&mut self, most: usize) -> &[u8] {
        let from = self.at;
        let to = self.bytes.len().min(from + most);
        self.at = to % self.bytes.len();
        &self.bytes[from..to]
    }
}

fn write_pattern(mut socket: &Socket, seed: u32, total: usize) {
    let mut pattern = Pattern::new(seed);
    let mut left = total;
    while left > 0 {
        let piece = pattern.next(left);
        socket.write_all(piece).unwrap();
        left -= piece.len();
    }
    socket.shutdown(Shutdown::Write).unwrap();
}

fn read_pattern(mut socket: &Socket, seed: u32, total: usize) {
    let mut pattern = Pattern::new(seed);
    let mut buffer = vec![0; 50_000];
    let mut count = 0;
    loop {
        let got = socket.read(&mut buffer).unwrap();
        if got == 0 {
            break;
        }
        count += got;
        let mut rest = &buffer[..got];
        while !rest.is_empty() {
            let piece = pattern.next(rest.len());
            assert!(rest.starts_with(piece), "wrong bytes before {count}");
            rest = &rest[piece.len()..];
        }
    }
    assert_eq!(count, total);
}

/// What one direction holds between its two conduits, and whether its receiver ever had no room.
struct Meter {
    held: AtomicI64,
    most: AtomicI64,
    stalled: Sender<()>,
}

impl Meter {
    fn new() -> Watched {
        let (stalled, stall) = bounded(1);
        let meter = Meter {
            held: AtomicI64::new(0),
            most: AtomicI64::new(0),
            stalled,
        };
        (Arc::new(meter), stall)
    }
}

/// A socket whose traffic is metered.
struct Metered {
    socket: Socket,
    from_here: Arc<Meter>,
    to_here: Arc<Meter>,
}

impl Conduit for Metered {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.socket.receive(buffer)?;
        let added = count as i64;
        let held = self.from_here.held.fetch_add(added, Ordering::SeqCst) + added;
        self.from_here.most.fetch_max(held, Ordering::SeqCst);
        Ok(count)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.socket.send(bytes);
        match &result {
            Ok(count) => drop(self.to_here.held.fetch_sub(*count as i64, Ordering::SeqCst)),
            Err(_) => drop(self.to_here.stalled.try_send(())),
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }

    fn end_sending(&mut self) -> io::Result<()> {
        self.socket.end_sending()
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A meter, and the news of a receiver without room.
type Watched = (Arc<Meter>, Receiver<()>);

/// Opens a metered tunnel and gives the meters: inward, outward.
fn open_metered(tunnels: &Tunnels, kind: Kind) -> (Scene, [Watched; 2]) {
    let inward = Meter::new();
    let outward = Meter::new();
    let scene = open_with(tunnels, kind, |client, backend| {
        let client = Metered {
            socket: client,
            from_here: Arc::clone(&inward.0),
            to_here: Arc::clone(&outward.0),
        };
        let backend = Metered {
            socket: backend,
            from_here: Arc::clone(&outward.0),
            to_here: Arc::clone(&inward.0),
        };
        (Box::new(client), Box::new(backend))
    });
    (scene, [inward, outward])
}

#[test]
fn bytes_go_both_ways() {
    for kind in KINDS {
        let tunnels = start(1);
        let scene = open(&tunnels, kind);
        for _ in 0..100 {
            say(&scene.client, "question");
            expect(&scene.backend, "question");
            say(&scene.backend, "answer");
            expect(&scene.client, "answer");
        }
        drop((scene.client, scene.backend));
        let end = scene.end.recv_timeout(PATIENCE).unwrap();
        assert_eq!((end.bytes_in, end.bytes_out), (800, 600));
        assert_eq!(end.reason, Reason::Closed);
    }
}

#[test]
fn bytes_that_were_there_already_go_first() {
    let tunnels = start(1);
    let (inner_client, client) = pair(Kind::Unix);
    let (inner_backend, backend) = pair(Kind::Unix);
    let early = "early ".repeat(20_000);
    say(&client, "late");
    say(&backend, "late");
    let (mut tunnel, end) = tunnel_of(boxed(inner_client), boxed(inner_backend));
    tunnel.to_backend = early.clone().into_bytes();
    tunnel.to_client = b"welcome ".to_vec();
    tunnels.open(tunnels.reserve().unwrap(), tunnel);
    expect(&client, "welcome late");
    expect(&backend, &early);
    expect(&backend, "late");
    drop((client, backend));
    let expected = End {
        bytes_in: early.len() as u64 + 4,
        bytes_out: 12,
        reason: Reason::Closed,
    };
    assert_eq!(end.recv_timeout(PATIENCE), Ok(expected));
}

#[test]
fn a_client_that_ends_sending_still_receives() {
    for kind in KINDS {
        let tunnels = start(1);
        let scene = open(&tunnels, kind);
        say(&scene.client, "last words");
        scene.client.shutdown(Shutdown::Write).unwrap();
        expect(&scene.backend, "last words");
        expect_end(&scene.backend);
        say(&scene.backend, "and an answer");
        expect(&scene.client, "and an answer");
        assert_eq!(tunnels.len(), 1);
        scene.backend.shutdown(Shutdown::Write).unwrap();
        expect_end(&scene.client);
        assert_eq!(scene.reason(), Reason::Closed);
    }
}

#[test]
fn a_backend_that_ends_sending_still_receives() {
    for kind in KINDS {
        let tunnels = start(1);
        let scene = open(&tunnels, kind);
        say(&scene.backend, "last words");
        scene.backend.shutdown(Shutdown::Write).unwrap();
        expect(&scene.client, "last words");
        expect_end(&scene.client);
        say(&scene.client, "and an answer");
        expect(&scene.backend, "and an answer");
        assert_eq!(tunnels.len(), 1);
        scene.client.shutdown(Shutdown::Write).unwrap();
        expect_end(&scene.backend);
        assert_eq!(scene.reason(), Reason::Closed);
    }
}

#[test]
fn much_goes_both_ways_at_once_in_little_memory() {
    const TOTAL: usize = 64 * 1024 * 1024;
    for kind in KINDS {
        let tunnels = start(1);
        let (scene, [(inward, full_in), (outward, full_out)]) = open_metered(&tunnels, kind);
        thread::scope(|scope| {
            scope.spawn(|| write_pattern(&scene.client, 1, TOTAL));
            scope.spawn(|| write_pattern(&scene.backend, 2, TOTAL));
            // Slow readers: neither begins before the tunnel has found no room.
            scope.spawn(|| {
                full_in.recv_timeout(PATIENCE).unwrap();
                read_pattern(&scene.backend, 1, TOTAL);
            });
            scope.spawn(|| {
                full_out.recv_timeout(PATIENCE).unwrap();
                read_pattern(&scene.client, 2, TOTAL);
            });
        });
        let expected = End {
            bytes_in: TOTAL as u64,
            bytes_out: TOTAL as u64,
            reason: Reason::Closed,
        };
        assert_eq!(scene.end(), expected);
        for meter in [inward, outward] {
            assert_eq!(meter.held.load(Ordering::SeqCst), 0);
            assert!(meter.most.load(Ordering::SeqCst) <= pump::CHUNK as i64);
        }
    }
}

#[test]
fn a_stalled_tunnel_delays_no_other() {
    const TOTAL: usize = 8 * 1024 * 1024;
    let tunnels = start(2);
    let (stalled, [(_, full), _]) = open_metered(&tunnels, Kind::Tcp);
    let other = open(&tunnels, Kind::Tcp);
    thread::scope(|scope| {
        scope.spawn(|| write_pattern(&stalled.client, 3, TOTAL));
        full.recv_timeout(PATIENCE).unwrap();
        // Its other direction is not delayed either.
        for scene in [&other, &stalled] {
            for _ in 0..100 {
                say(&scene.backend, "tick");
                expect(&scene.client, "tick");
            }
        }
        read_pattern(&stalled.backend, 3, TOTAL);
    });
    assert_eq!(tunnels.len(), 2);
}

#[test]
fn a_busy_tunnel_starves_no_other() {
    let tunnels = start(2);
    let busy = open(&tunnels, Kind::Unix);
    let other = open(&tunnels, Kind::Unix);
    let is_over = AtomicBool::new(false);
    let read = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = &busy.client;
            while !is_over.load(Ordering::SeqCst) {
                client.write_all(&[7; 65_536]).unwrap();
            }
            busy.client.shutdown(Shutdown::Write).unwrap();
        });
        let (flows, flow) = bounded(1);
        scope.spawn({
            let (busy, read) = (&busy, &read);
            move || {
                let mut backend = &busy.backend;
                let mut buffer = [0; 65_536];
                while let Ok(count @ 1..) = backend.read(&mut buffer) {
                    read.fetch_add(count as u64, Ordering::SeqCst);
                    let _ = flows.try_send(());
                }
            }
        });
        flow.recv_timeout(PATIENCE).unwrap();
        let before = read.load(Ordering::SeqCst);
        for _ in 0..200 {
            say(&other.client, "ping");
            expect(&other.backend, "ping");
            say(&other.backend, "pong");
            expect(&other.client, "pong");
        }
        assert!(read.load(Ordering::SeqCst) > before);
        is_over.store(true, Ordering::SeqCst);
    });
    busy.backend.shutdown(Shutdown::Write).unwrap();
    let end = busy.end();
    assert_eq!(end.bytes_in, read.load(Ordering::SeqCst));
}

#[test]
fn an_idle_tunnel_ends() {
    let tunnels = Tunnels::start(1, Duration::from_millis(30)).unwrap();
    let scene = open(&tunnels, Kind::Tcp);
    assert_eq!(scene.reason(), Reason::Idle);
    expect_cut(&scene.client);
    expect_cut(&scene.backend);
    // The clock starts again for whoever comes later.
    assert_eq!(open(&tunnels, Kind::Tcp).reason(), Reason::Idle);
}

#[test]
fn a_reset_ends_the_tunnel() {
    let tunnels = start(1);
    let scene = open(&tunnels, Kind::Tcp);
    reset(scene.client);
    expect_cut(&scene.backend);
    let end = scene.end.recv_timeout(PATIENCE).unwrap();
    assert_eq!(end.reason, Reason::ClientGone);

    let scene = open(&tunnels, Kind::Tcp);
    reset(scene.backend);
    expect_cut(&scene.client);
    let end = scene.end.recv_timeout(PATIENCE).unwrap();
    assert_eq!(end.reason, Reason::BackendGone);
}

#[test]
fn a_reset_is_seen_while_nothing_is_read_from_that_side() {
    let tunnels = start(1);
    let (scene, [(_, full), _]) = open_metered(&tunnels, Kind::Tcp);
    let Socket::Tcp(client) = &scene.client else {
        panic!("it was opened over TCP")
    };
    let mut writer = client.try_clone().unwrap();
    let writer = thread::spawn(move || while writer.write_all(&[1; 65_536]).is_ok() {});
    full.recv_timeout(PATIENCE).unwrap();
    // Every reference to the connection must go before it is reset, and the writer waits for room: the end of both
    // directions frees it.
    scene.client.shutdown(Shutdown::Both).unwrap();
    writer.join().unwrap();
    reset(scene.client);
    let end = scene.end.recv_timeout(PATIENCE).unwrap();
    assert_eq!(end.reason, Reason::ClientGone);
}

#[test]
fn what_came_before_a_reset_is_passed_on() {
    let tunnels = start(1);
    let scene = open(&tunnels, Kind::Unix);
    say(&scene.client, "never read to its end");
    expect(&scene.backend, "never");
    say(&scene.backend, "bye");
    // Closing with bytes unread is a reset for the other end.
    drop(scene.backend);
    expect(&scene.client, "bye");
    let end = scene.end.recv_timeout(PATIENCE).unwrap();
    assert_eq!((end.bytes_out, end.reason), (3, Reason::BackendGone));
}

#[test]
fn no_more_than_the_limit() {
    let tunnels = start(2);
    assert!(tunnels.is_empty());
    let scene = open(&tunnels, Kind::Unix);
    let place = tunnels.reserve().expect("the second place");
    assert!(tunnels.reserve().is_none());
    assert_eq!(tunnels.len(), 2);
    drop(place);
    assert_eq!(tunnels.len(), 1);
    drop((scene.client, scene.backend));
    scene.end.recv_timeout(PATIENCE).unwrap();
    // The place is free before anybody hears of the end.
    assert!(tunnels.is_empty());
    assert!(start(0).reserve().is_none());
}

#[test]
fn shutting_down_ends_all() {
    let tunnels = start(10);
    let scenes: Vec<Scene> = (0..5).map(|_| open(&tunnels, Kind::Tcp)).collect();
    say(&scenes[0].client, "hello");
    expect(&scenes[0].backend, "hello");
    tunnels.shut_down();
    assert_eq!(tunnels.len(), 0);
    for scene in &scenes {
        // The thread has ended: there is nothing to wait for.
        assert_eq!(scene.end.try_recv().unwrap().reason, Reason::Stopped);
        expect_cut(&scene.client);
        expect_cut(&scene.backend);
    }
    let late = open(&tunnels, Kind::Tcp);
    assert_eq!(late.end.try_recv().unwrap().reason, Reason::Stopped);
    tunnels.shut_down();
    assert!(tunnels.is_empty());
}

#[test]
fn dropping_the_handle_ends_all() {
    let tunnels = start(2);
    let scene = open(&tunnels, Kind::Unix);
    let place = tunnels.reserve();
    drop(tunnels);
    assert_eq!(scene.end.try_recv().unwrap().reason, Reason::Stopped);
    drop(place);
}

#[test]
fn the_end_of_a_tunnel_may_shut_down() {
    let tunnels = Arc::new(start(2));
    let other = open(&tunnels, Kind::Unix);
    let (inner_client, client) = pair(Kind::Unix);
    let (inner_backend, backend) = pair(Kind::Unix);
    let (mut tunnel, _) = tunnel_of(boxed(inner_client), boxed(inner_backend));
    let (sender, name) = bounded(1);
    let handle = Arc::clone(&tunnels);
    tunnel.on_end = Box::new(move |_| {
        handle.shut_down();
        let name = thread::current().name().map(str::to_owned);
        sender.send(name).unwrap();
    });
    tunnels.open(tunnels.reserve().unwrap(), tunnel);
    drop((client, backend));
    let name = name.recv_timeout(PATIENCE).unwrap();
    assert_eq!(name.as_deref(), Some("tunnel"));
    assert_eq!(other.reason(), Reason::Stopped);
}

/// Panics as soon as it is read.
struct Faulty(Socket);

impl Conduit for Faulty {
    fn receive(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("a conduit with a fault (this test wants it)")
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn end_sending(&mut self) -> io::Result<()> {
        self.0.end_sending()
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        Conduit::as_fd(&self.0)
    }
}

#[test]
fn a_panic_ends_its_own_tunnel_only() {
    let tunnels = start(3);
    let healthy = open(&tunnels, Kind::Unix);
    let faulty = open_with(&tunnels, Kind::Unix, |client, backend| {
        (boxed(client), Box::new(Faulty(backend)))
    });
    assert_eq!(faulty.reason(), Reason::Stopped);

    let (inner_client, client) = pair(Kind::Unix);
    let (inner_backend, backend) = pair(Kind::Unix);
    let (mut tunnel, _) = tunnel_of(boxed(inner_client), boxed(inner_backend));
    let (sender, called) = bounded(1);
    tunnel.on_end = Box::new(move |_| {
        sender.send(()).unwrap();
        panic!("an end with a fault (this test wants it)")
    });
    tunnels.open(tunnels.reserve().unwrap(), tunnel);
    drop((client, backend));
    called.recv_timeout(PATIENCE).unwrap();

    say(&healthy.client, "still there?");
    expect(&healthy.backend, "still there?");
    assert_eq!(tunnels.len(), 1);
}

/// Takes bytes and keeps them until it is asked to flush, as TLS does.
struct Keeping {
    socket: Socket,
    kept: Vec<u8>,
    most: usize,
    is_ending: bool,
}

impl Conduit for Keeping {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.receive(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.is_ending);
        let taken = bytes.len().min(self.most - self.kept.len());
        self.kept.extend_from_slice(&bytes[..taken]);
        match taken {
            // It tells no poller: whoever does not flush first waits for ever.
            0 => Err(ErrorKind::WouldBlock.into()),
            _ => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.kept.is_empty() {
            let sent = self.socket.send(&self.kept)?;
            self.kept.drain(..sent);
        }
        match self.is_ending {
            true => self.socket.end_sending(),
            false => Ok(()),
        }
    }

    fn end_sending(&mut self) -> io::Result<()> {
        self.is_ending = true;
        Ok(())
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        Conduit::as_fd(&self.socket)
    }
}

#[test]
fn what_a_conduit_keeps_is_flushed() {
    const TOTAL: usize = 4 * 1024 * 1024;
    for kind in KINDS {
        let tunnels = start(1);
        let keeping = |socket| -> Box<dyn Conduit> {
            Box::new(Keeping {
                socket,
                kept: Vec::new(),
                most: 10_000,
                is_ending: false,
            })
        };
        let scene = open_with(&tunnels, kind, |client, backend| {
            (keeping(client), keeping(backend))
        });
        thread::scope(|scope| {
            let written = scope.spawn(|| write_pattern(&scene.client, 4, TOTAL));
            scope.spawn(|| read_pattern(&scene.backend, 4, TOTAL));
            written.join().unwrap();
            say(&scene.backend, "short");
            expect(&scene.client, "short");
            scene.backend.shutdown(Shutdown::Write).unwrap();
            expect_end(&scene.client);
        });
        let end = scene.end();
        assert_eq!((end.bytes_in, end.bytes_out), (TOTAL as u64, 5));
        assert_eq!(end.reason, Reason::Closed);
    }
}

#[test]
fn two_hundred_at_once() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    // Four sockets each; many systems allow 1,024 to begin with.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).unwrap();

    let tunnels = start(200);
    let scenes: Vec<Scene> = (0..200)
        .map(|number| open(&tunnels, KINDS[number % 2]))
        .collect();
    assert!(tunnels.reserve().is_none());
    for round in 0..5 {
        for (number, scene) in scenes.iter().enumerate() {
            say(&scene.client, &format!("{round}:{number:04}"));
            say(&scene.backend, &format!("{number:04}/{round}"));
        }
        for (number, scene) in scenes.iter().enumerate() {
            expect(&scene.backend, &format!("{round}:{number:04}"));
            expect(&scene.client, &format!("{number:04}/{round}"));
        }
    }
    for scene in scenes {
        drop((scene.client, scene.backend));
        let end = scene.end.recv_timeout(PATIENCE).unwrap();
        assert_eq!((end.bytes_in, end.bytes_out), (30, 30));
        assert_eq!(end.reason, Reason::Closed);
    }
    assert!(tunnels.is_empty());
}
