//! The whole road over exchanges in memory: no client sockets, no engine; backends are real sockets where one is needed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use http::Method;

use super::decide::Verdict;
use super::job::Decided;
use super::trace::Recorder;
use super::*;
use crate::drain::Phase;
use crate::exchange::{BodyFault, Gathered, Peer, ResponseWriter};
use crate::message::fields::Fields;
use crate::message::forwarded::Client;
use crate::message::framing::Framing;
use crate::message::head::{BodyLength, RequestHead, ResponseHead, Version};
use crate::message::target::Target;
use crate::upstream::health::{Health, Status};

const PATIENCE: Duration = Duration::from_secs(30);

/// What became of an exchange.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Finished {
        status: u16,
        body: String,
        close: bool,
    },
    Cut,
    Abandoned,
    Dropped,
}

struct MemoryExchange {
    head: RequestHead,
    peer: Peer,
    body: Box<dyn Read + Send>,
    fate: Option<Sender<Fate>>,
}

struct MemoryWriter {
    status: u16,
    close: bool,
    body: Vec<u8>,
    fate: Option<Sender<Fate>>,
}

/// A body that is no body: reading it panics.
struct Bomb;

impl Read for Bomb {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("this body panics on purpose")
    }
}

impl Exchange for MemoryExchange {
    fn gather(self: Box<Self>, _: u64, then: Gathered) {
        then(self, Ok(()));
    }

    fn head(&self) -> &RequestHead {
        &self.head
    }

    fn head_mut(&mut self) -> &mut RequestHead {
        &mut self.head
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }

    fn body(&mut self) -> &mut dyn Read {
        &mut self.body
    }

    fn start(
        mut self: Box<Self>,
        head: &ResponseHead,
        _: BodyLength,
    ) -> io::Result<Box<dyn ResponseWriter>> {
        let (status, close) = (head.status.as_u16(), head.close);
        Ok(Box::new(MemoryWriter {
            status,
            close,
            body: Vec::new(),
            fate: self.fate.take(),
        }))
    }

    fn abandon(mut self: Box<Self>) {
        tell(&mut self.fate, Fate::Abandoned);
    }
}

impl Drop for MemoryExchange {
    fn drop(&mut self) {
        tell(&mut self.fate, Fate::Dropped);
    }
}

impl Write for MemoryWriter {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.body.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ResponseWriter for MemoryWriter {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        let body = String::from_utf8(std::mem::take(&mut self.body)).unwrap();
        let (status, close) = (self.status, self.close);
        tell(
            &mut self.fate,
            Fate::Finished {
                status,
                body,
                close,
            },
        );
        Ok(())
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        tell(&mut self.fate, Fate::Cut);
    }
}

fn tell(fate: &mut Option<Sender<Fate>>, what: Fate) {
    if let Some(sender) = fate.take() {
        let _ = sender.send(what);
    }
}

fn request(method: Method, target: &str, framing: Framing) -> RequestHead {
    let mut fields = Fields::new();
    fields.append("Host", "test");
    RequestHead {
        method,
        target: Target::parse(target).unwrap(),
        version: Version::Http11,
        fields,
        framing,
    }
}

fn exchange(
    head: RequestHead,
    body: impl Read + Send + 'static,
) -> (Box<MemoryExchange>, Receiver<Fate>) {
    let address: SocketAddr = "192.0.2.1:1000".parse().unwrap();
    let (sender, fate) = bounded(1);
    let peer = Peer {
        address,
        local: "127.0.0.1:80".parse().unwrap(),
        listener: 0,
        tls: None,
    };
    (
        Box::new(MemoryExchange {
            head,
            peer,
            body: Box::new(body),
            fate: Some(sender),
        }),
        fate,
    )
}

/// A backend that answers every connection's first request with `answer`.
fn backend(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

fn corridor(backend: SocketAddr, more: &str) -> (Arc<Corridor>, Drain) {
    let text = format!(
        "[server]\nworkers = 2\nqueue = 4\n{more}\n[[upstream]]\nname = \"u\"\nbackends = [\"http://{backend}\"]\n"
    );
    let config = crate::config::load_str("test", &text).unwrap().config;
    let drain = Drain::new();
    (
        Corridor::start(Arc::new(Snapshot::new(Arc::new(config))), &drain).unwrap(),
        drain,
    )
}

fn run(corridor: &Corridor, head: RequestHead, body: impl Read + Send + 'static) -> Fate {
    let (exchange, fate) = exchange(head, body);
    corridor.take(exchange);
    fate.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn an_answer_goes_all_the_way() {
    let (corridor, _) = corridor(
        backend("HTTP/1.1 201 Made\r\nContent-Length: 5\r\n\r\nhello"),
        "",
    );
    let fate = run(
        &corridor,
        request(Method::GET, "/", Framing::None),
        io::empty(),
    );
    assert_eq!(
        fate,
        Fate::Finished {
            status: 201,
            body: "hello".into(),
            close: false
        }
    );
    corridor.shut_down();
}

#[test]
fn a_cut_answer_is_never_finished() {
    let (corridor, _) = corridor(
        backend("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"),
        "",
    );
    let fate = run(
        &corridor,
        request(Method::GET, "/", Framing::None),
        io::empty(),
    );
    assert_eq!(fate, Fate::Cut);
    corridor.shut_down();
}

#[test]
fn a_panic_costs_one_exchange_and_leaves_nothing_in_flight() {
    let (corridor, drain) = corridor(
        backend("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        "",
    );
    for _ in 0..5 {
        let fate = run(
            &corridor,
            request(Method::POST, "/", Framing::Length(5)),
            Bomb,
        );
        assert_eq!(fate, Fate::Dropped);
    }
    let fate = run(
        &corridor,
        request(Method::GET, "/", Framing::None),
        io::empty(),
    );
    assert_eq!(
        fate,
        Fate::Finished {
            status: 200,
            body: "ok".into(),
            close: false
        }
    );
    assert_eq!(drain.wait_idle(PATIENCE), 0);
    corridor.shut_down();
}

#[test]
fn a_client_that_leaves_gets_no_answer() {
    struct Gone;
    impl Read for Gone {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(BodyFault::Left.into_io())
        }
    }
    let (corridor, _) = corridor(backend(""), "");
    let fate = run(
        &corridor,
        request(Method::POST, "/", Framing::Length(5)),
        Gone,
    );
    assert_eq!(fate, Fate::Abandoned);
    corridor.shut_down();
}

#[test]
fn a_body_over_the_limit_is_refused_announced_or_not() {
    let (corridor, _) = corridor(backend(""), "limits.body = 10");
    for framing in [Framing::Length(11), Framing::Chunked] {
        let fate = run(
            &corridor,
            request(Method::POST, "/", framing),
            io::repeat(b'x').take(11),
        );
        assert!(
            matches!(
                &fate,
                Fate::Finished {
                    status: 413,
                    close: true,
                    ..
                }
            ),
            "{fate:?}"
        );
    }
    corridor.shut_down();
}

#[test]
fn draining_refuses_and_says_close() {
    let (corridor, drain) = corridor(backend(""), "");
    drain.advance(Phase::Draining);
    let fate = run(
        &corridor,
        request(Method::GET, "/", Framing::None),
        io::empty(),
    );
    assert!(
        matches!(&fate, Fate::Finished { status: 503, close: true, body } if body.contains("draining")),
        "{fate:?}"
    );
    corridor.shut_down();
}

#[test]
fn what_runs_is_what_is_explained() {
    let (corridor, _) = corridor(backend(""), "");
    let head = request(Method::GET, "/x", Framing::None);
    let now = Instant::now();
    let mut trace = Recorder::default();
    let client = Client::identify("192.0.2.1".parse().unwrap(), &head.fields, &[]);
    let snapshot = &corridor.snapshot();
    let told = decide(&head, &client, snapshot, Phase::Serving, now, &mut trace);
    let done = decide(&head, &client, snapshot, Phase::Serving, now, &mut NoTrace);
    assert_eq!((told.route, told.verdict), (done.route, done.verdict));
    assert_eq!(trace.steps.len(), 4, "{:?}", trace.steps);
    corridor.shut_down();
}

#[test]
fn a_side_without_a_usable_backend_is_passed_over() {
    let text = "[[upstream]]\nname = \"a\"\nbackends = [\"http://127.0.0.1:1\"]\n\
        [[upstream]]\nname = \"b\"\nbackends = [\"http://127.0.0.1:2\"]\n\
        [[upstream]]\nname = \"c\"\nbackends = [\"http://127.0.0.1:3\"]\n\
        [[route]]\nsplit = [{ upstream = \"a\", weight = 1 }, { upstream = \"b\", weight = 1 }, { upstream = \"c\", weight = 0 }]\n";
    let config = crate::config::load_str("test", text).unwrap().config;
    let snapshot = Snapshot::new(Arc::new(config));
    let plan = |client: u8| {
        let head = request(Method::GET, "/", Framing::None);
        let peer = [192, 0, 2, client].into();
        let client = Client::identify(peer, &head.fields, &[]);
        let now = Instant::now();
        decide(&head, &client, &snapshot, Phase::Serving, now, &mut NoTrace).verdict
    };
    let upstreams = || -> Vec<(usize, Option<usize>)> {
        let verdicts = (0..100).map(plan);
        let plans = verdicts.map(|verdict| match verdict {
            Verdict::Forward(plan) => (plan.upstream, plan.instead_of),
            other => panic!("{other:?}"),
        });
        plans.collect()
    };
    let before = upstreams();
    assert!(before.contains(&(0, None)) && before.contains(&(1, None)));
    let set = |index: usize, status| {
        let backend = snapshot.groups[index].upstream.backends().next().unwrap();
        backend.set_health(Health {
            status,
            ..backend.health()
        });
    };
    set(1, Status::Unreachable);
    for (before, after) in before.iter().zip(upstreams()) {
        let instead_of = (before.0 == 1).then_some(1);
        assert_eq!(after, (0, instead_of));
    }
    // A side that gets nobody does not get those of others either.
    set(0, Status::Unreachable);
    let refused = plan(1);
    assert!(
        matches!(&refused, Verdict::Refuse(refusal) if refusal.cause == Cause::NoBackend),
        "{refused:?}"
    );
    set(0, Status::Healthy);
    set(1, Status::Healthy);
    assert_eq!(before, upstreams());
}

#[test]
fn a_new_backend_ends_the_wait_for_a_place() {
    // Accepts and says nothing: whoever is there stays there until the end.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = |backends: &str| {
        format!(
            "[[upstream]]\nname = \"u\"\nmax_connections = 1\nmax_wait = \"600s\"\ntimeouts.response = \"600s\"\nbackends = [{backends}]"
        )
    };
    let one = format!("\"http://{}\"", silent.local_addr().unwrap());
    let config = |backends: &str| {
        Arc::new(
            crate::config::load_str("test", &text(backends))
                .unwrap()
                .config,
        )
    };
    let snapshot = Arc::new(Snapshot::new(config(&one)));
    let corridor = Corridor::start(Arc::clone(&snapshot), &Drain::new()).unwrap();
    let get = || request(Method::GET, "/", Framing::None);
    let (first, _first_fate) = exchange(get(), io::empty());
    corridor.take(first);
    let (connection, _) = silent.accept().unwrap();
    let (second, fate) = exchange(get(), io::empty());
    corridor.take(second);
    let deadline = Instant::now() + PATIENCE;
    while snapshot.groups[0].upstream.waiting() == 0 {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    let new = backend("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew");
    let both = config(&format!("{one}, \"http://{new}\""));
    corridor.replace(Arc::new(snapshot.successor(both, Instant::now())));
    let answer = Fate::Finished {
        status: 200,
        body: "new".into(),
        close: false,
    };
    assert_eq!(fate.recv_timeout(PATIENCE).unwrap(), answer);
    drop(connection);
    corridor.shut_down();
}

#[test]
fn who_comes_late_to_the_wait_for_a_place_knows_the_backends_of_now() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let new = backend("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew");
    let config = |backends: &[SocketAddr]| {
        let list: Vec<String> = backends
            .iter()
            .map(|at| format!("\"http://{at}\""))
            .collect();
        let list = list.join(", ");
        let text = format!(
            "[[upstream]]\nname = \"u\"\nmax_connections = 1\nmax_wait = \"600s\"\ntimeouts.response = \"600s\"\nbackends = [{list}]"
        );
        Arc::new(crate::config::load_str("test", &text).unwrap().config)
    };
    let old_one = silent.local_addr().unwrap();
    let old = Arc::new(Snapshot::new(config(&[old_one])));
    let corridor = Corridor::start(Arc::clone(&old), &Drain::new()).unwrap();
    let get = || exchange(request(Method::GET, "/", Framing::None), io::empty());
    let (first, _first_fate) = get();
    corridor.take(first);
    let (connection, _) = silent.accept().unwrap();
    let both = config(&[old_one, new]);
    corridor.replace(Arc::new(old.successor(both, Instant::now())));
    // Decided before that, and its turn comes only now.
    let (late, fate) = get();
    let context = Context::new(&*late, &old);
    let decision = decide(
        late.head(),
        &context.client,
        &old,
        Phase::Serving,
        context.started(),
        &mut NoTrace,
    );
    let Verdict::Forward(plan) = decision.verdict else {
        panic!("it is forwarded");
    };
    let decided = Decided {
        plan,
        snapshot: Arc::clone(&old),
    };
    corridor.dispatch(late, context, decided, Instant::now());
    let fate = fate.recv_timeout(PATIENCE).unwrap();
    assert!(
        matches!(&fate, Fate::Finished { body, .. } if body == "new"),
        "{fate:?}"
    );
    drop(connection);
    corridor.shut_down();
}

/// Many clients, one place at each backend: everybody gets an answer, whenever a place becomes free.
fn everybody_gets_a_place(backends: usize, more: &str) {
    const CLIENTS: usize = 8;
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    let list: Vec<String> = (0..backends)
        .map(|_| format!("\"http://{}\"", backend(answer)))
        .collect();
    let list = list.join(", ");
    let text = format!(
        "[server]\nworkers = 8\nqueue = 1000\nqueue_timeout = \"600s\"\n[[upstream]]\nname = \"u\"\nmax_connections = 1\nmax_wait = \"600s\"\nejection.failures = 0\n{more}\nbackends = [{list}]"
    );
    let config = Arc::new(crate::config::load_str("test", &text).unwrap().config);
    let snapshot = Arc::new(Snapshot::new(config));
    let corridor = Corridor::start(Arc::clone(&snapshot), &Drain::new()).unwrap();
    let cookie = snapshot.groups[0].sticky.as_ref().map(|sticky| {
        let cookie = sticky.set_cookie(0).unwrap();
        cookie.split(';').next().unwrap().to_owned()
    });
    let client = || {
        for _ in 0..1000 {
            let mut get = request(Method::GET, "/", Framing::None);
            if let Some(cookie) = &cookie {
                get.fields.append("Cookie", cookie);
            }
            let (one, fate) = exchange(get, io::empty());
            corridor.take(one);
            let fate = fate.recv_timeout(PATIENCE).unwrap();
            let is_answered = matches!(fate, Fate::Finished { status: 200, .. });
            assert!(is_answered, "{fate:?}");
        }
    };
    thread::scope(|scope| (0..CLIENTS).for_each(|_| drop(scope.spawn(client))));
    assert_eq!(snapshot.groups[0].upstream.waiting(), 0);
    corridor.shut_down();
}

#[test]
fn everybody_gets_a_place_of_two() {
    everybody_gets_a_place(2, "");
}

#[test]
fn everybody_who_sticks_to_a_backend_gets_a_place() {
    everybody_gets_a_place(1, "sticky = {}");
    everybody_gets_a_place(2, "sticky = {}");
}
