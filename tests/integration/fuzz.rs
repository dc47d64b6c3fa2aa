//! Random and mutated bytes on real connections: nothing panics, nothing hangs, and no backend sees a request that the
//! client has not sent or was not answered for.
//!
//! `TOLLGATE_FUZZ_STREAMS` sets the number of streams, `TOLLGATE_FUZZ_SEED` makes a run again, `TOLLGATE_FUZZ_ONLY` runs
//! only the stream with this number.

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use socket2::{Domain, Socket, Type};

use crate::support::counting::{Counting, Tally};
use crate::support::mutation::{Fixture, Random, corpus, stream};
use crate::support::{Backend, Engine, Proxy, on_reactor};

on_reactor!(
    each_fixture_gets_what_its_name_says,
    random_streams_do_no_harm,
);

const LIMITS: &str = "workers = 64\nlimits.body = \"1MiB\"\nlimits.target = \"4KiB\"\ntimeouts.head = \"5s\"\n\
    timeouts.body_idle = \"5s\"\ntimeouts.keep_alive = \"5s\"";

fn each_fixture_gets_what_its_name_says(engine: Engine) {
    for Fixture { name, bytes } in corpus() {
        let backend = Backend::fixed("fine");
        let proxy = Proxy::to(engine, [&backend]).start();
        let mut client = proxy.client();
        let status = client.send(bytes).read_head().line[1].clone();
        if name.starts_with("good-") {
            assert_eq!(status, "200", "{name}");
        } else {
            assert!(name.starts_with("bad-"), "{name} promises nothing");
            assert!(
                status.starts_with('4') || status.starts_with("50"),
                "{name}: {status}"
            );
            client.drain();
            assert_eq!(backend.count(), 0, "{name}");
        }
    }
}

/// After this long without a byte the client says that it sends no more.
const QUIET: Duration = Duration::from_millis(60);
/// Longer than every deadline of the proxy: a connection that is still open then hangs.
const HANGS: Duration = Duration::from_secs(20);
/// So many clients at once, each with one connection after the other.
const CLIENTS: u64 = 64;

fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number")),
    )
}

/// What became of one stream.
#[derive(Debug, Clone, Copy, Default)]
struct End {
    /// Final answers that came.
    answers: usize,
    /// The client said that it sends no more while an answer may have been under way.
    may_miss_one: bool,
    /// A reset may have taken answers with it.
    was_reset: bool,
}

/// One address for each stream, so that the backend can tell whose requests it sees.
fn source(number: u64) -> Ipv4Addr {
    let bytes = (number + (1 << 17)).to_be_bytes();
    Ipv4Addr::new(127, bytes[5], bytes[6], bytes[7])
}

fn random_streams_do_no_harm(engine: Engine) {
    let is_ci = env::var("CI").is_ok_and(|value| value == "true");
    let usual = if is_ci || !cfg!(debug_assertions) {
        100_000
    } else {
        20_000
    };
    let only = number("TOLLGATE_FUZZ_ONLY");
    let streams = number("TOLLGATE_FUZZ_STREAMS")
        .unwrap_or(usual)
        .min(8_000_000);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let clock = u64::from(now.unwrap().subsec_nanos());
    let seed = number("TOLLGATE_FUZZ_SEED").unwrap_or(clock);
    let backend = Counting::start();
    let proxy = Proxy::to(engine, [])
        .and(backend.address())
        .server(LIMITS)
        .start();
    let (first, last) = only.map_or((0, streams), |only| (only, only + 1));
    let run = Run {
        to: proxy.traffic(),
        seed,
        corpus: corpus(),
        next: AtomicU64::new(first),
        last,
        faults: Mutex::default(),
    };
    let ends: Vec<(u64, End)> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| run.client())).collect();
        let ends = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap());
        ends.collect()
    });
    // A panic of one of its threads is raised again here.
    assert_eq!(proxy.get("/after").status, 200);
    drop(proxy);
    let mut faults = run.faults.lock().unwrap().clone();
    let tally = backend.tally();
    faults.extend(tally.faults.iter().cloned());
    faults.extend(ends.iter().filter_map(|end| run.judge(*end, &tally)));
    let resets = ends.iter().filter(|(_, end)| end.was_reset).count();
    let answers: usize = ends.iter().map(|(_, end)| end.answers).sum();
    let requests: usize = tally.requests.values().sum();
    assert!(
        faults.is_empty(),
        "TOLLGATE_FUZZ_SEED={seed}: {} faults, the first of them: {:#?}",
        faults.len(),
        &faults[..faults.len().min(5)]
    );
    let kinds = format!("{answers} answers, {requests} requests, {resets} resets; seed {seed}");
    eprintln!("{kinds}");
    if only.is_none() {
        assert!(answers > ends.len() / 2, "{kinds}");
        assert!(requests > ends.len() / 4, "{kinds}");
        assert!(resets < ends.len() / 20, "{kinds}");
    }
}

struct Run {
    to: SocketAddr,
    seed: u64,
    corpus: Vec<Fixture>,
    next: AtomicU64,
    last: u64,
    faults: Mutex<Vec<String>>,
}

impl Run {
    /// One stream after the other, for as long as there are any.
    fn client(&self) -> Vec<(u64, End)> {
        let mut ends = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.last {
                return ends;
            }
            match self.send(number) {
                Ok(end) => ends.push((number, end)),
                Err(why) => {
                    let what = self.describe(number, &why);
                    let mut faults = self.faults.lock().unwrap();
                    faults.push(what);
                    if faults.len() > 5 {
                        return ends;
                    }
                }
            }
        }
    }

    fn describe(&self, number: u64, why: &str) -> String {
        let bytes = stream(&mut Random::new(self.seed, number), &self.corpus);
        let shown = &bytes[..bytes.len().min(1500)];
        format!("stream {number}: {why}: {}", shown.escape_ascii())
    }

    /// Each request that the backend saw was answered here, and began with a request line in the stream.
    fn judge(&self, (number, end): (u64, End), tally: &Tally) -> Option<String> {
        let client = source(number).to_string();
        let seen = tally.requests.get(&client).copied().unwrap_or_default();
        let answered = end.answers + usize::from(end.may_miss_one);
        if seen > answered && !end.was_reset {
            let why = format!("the backend saw {seen}, and {} were answered", end.answers);
            return Some(self.describe(number, &why));
        }
        let bytes = stream(&mut Random::new(self.seed, number), &self.corpus);
        let lines = occurrences(&bytes, b" HTTP/1.");
        let why = format!("the backend saw {seen}, and the stream has {lines}");
        (seen > lines).then(|| self.describe(number, &why))
    }

    /// Sends a stream in random pieces and reads to the end of the connection.
    fn send(&self, number: u64) -> Result<End, String> {
        let mut random = Random::new(self.seed, number);
        let bytes = stream(&mut random, &self.corpus);
        let mut connection = self.connect(number).map_err(|error| error.to_string())?;
        // A proxy that has refused may not take the rest.
        let is_sent = send_in_pieces(&mut random, &mut connection, &bytes).is_ok();
        let mut end = End::default();
        let mut is_open = is_sent;
        if random.percent(50) {
            end.may_miss_one = true;
            is_open = false;
            let _ = connection.shutdown(Shutdown::Write);
        }
        let mut received = Vec::new();
        let began = Instant::now();
        loop {
            let mut buffer = [0; 16 << 10];
            match connection.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => received.extend_from_slice(&buffer[..got]),
                Err(error) if is_timeout(&error) => {
                    if is_open {
                        end.may_miss_one = true;
                        is_open = false;
                        let _ = connection.shutdown(Shutdown::Write);
                    }
                }
                Err(_) => {
                    end.was_reset = true;
                    break;
                }
            }
            if began.elapsed() > HANGS {
                let got = received.escape_ascii().to_string();
                return Err(format!("it hangs after {got:.300}"));
            }
        }
        end.answers = answers(&received)?;
        Ok(end)
    }

    fn connect(&self, number: u64) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((source(number), 0)).into())?;
        socket.connect_timeout(&self.to.into(), HANGS)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(QUIET))?;
        socket.set_write_timeout(Some(HANGS))?;
        Ok(TcpStream::from(socket))
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Most streams in a few pieces, some short ones byte by byte; sometimes with time in between.
fn send_in_pieces(random: &mut Random, to: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let single = bytes.len() < 400 && random.percent(3);
    let pieces = if single { bytes.len() } else { random.below(4) };
    let mut cuts: Vec<usize> = (0..pieces)
        .map(|n| if single { n } else { random.below(bytes.len()) })
        .collect();
    cuts.push(bytes.len());
    cuts.sort_unstable();
    let mut from = 0;
    for cut in cuts {
        to.write_all(&bytes[from..cut])?;
        from = cut;
        if random.percent(3) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
    Ok(())
}

fn occurrences(bytes: &[u8], needle: &[u8]) -> usize {
    let windows = bytes.windows(needle.len());
    windows.filter(|window| *window == needle).count()
}

/// Counts final answers. No body that comes back has a status line in it.
fn answers(received: &[u8]) -> Result<usize, String> {
    const START: &[u8] = b"HTTP/1.1 ";
    let text = || received.escape_ascii().to_string();
    if !received.is_empty() && !received.starts_with(START) {
        return Err(format!("what came is no answer: {:.300}", text()));
    }
    let mut count = 0;
    for (at, window) in received.windows(START.len()).enumerate() {
        if window != START {
            continue;
        }
        match received.get(at + START.len()..at + START.len() + 3) {
            Some(b"100") => {}
            Some(b"500") => return Err(format!("500: {:.600}", text())),
            _ => count += 1,
        }
    }
    Ok(count)
}
