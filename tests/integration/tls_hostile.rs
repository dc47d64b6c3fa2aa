//! Clients that mean TLS no good: crowds that stall in the handshake, records that are broken at random.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::version;

use crate::support::mutation::Random;
use crate::support::proxy::SECURE;
use crate::support::secure;
use crate::support::{Backend, Engine, Process, Proxy, eventually, on_reactor, patience};

on_reactor!(
    two_thousand_stalled_handshakes_are_not_felt,
    broken_records_do_no_harm,
);

const CROWD: usize = 2000;

/// Half of them send half a hello, a quarter a whole one, and a quarter nothing. None of them has got further, or away, when the
/// good ones have their answers: nobody waits for them.
fn two_thousand_stalled_handshakes_are_not_felt(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).listen(SECURE);
    let setup = setup
        .server("limits.connections_per_client = 5000\ntimeouts.handshake = \"300s\"\nworkers = 4");
    let process = Process::config(&setup.text()).start();
    let address = process.traffic();
    let before = process.descriptors();
    let hello = secure::hello();
    let mut crowd: Vec<TcpStream> = Vec::new();
    for number in 0..CROWD {
        let mut stream = secure::connect(address);
        let part = match number % 4 {
            0 => hello.len(),
            1 => 0,
            _ => hello.len() / 2,
        };
        stream.write_all(&hello[..part]).unwrap();
        crowd.push(stream);
    }
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            let began = Instant::now();
            let config = secure::config(&version::TLS13);
            let mut stream = secure::open(secure::connect(address), config);
            assert!(secure::ask(&mut stream).ends_with("fine"));
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    eprintln!(
        "a handshake and a GET beside {CROWD} that stall: median {:?}, longest {:?}",
        times[25], times[49]
    );
    // Those that were answered have got nothing but that, and all are still there.
    assert!(process.descriptors() >= before + CROWD);
    for (number, stream) in crowd.iter_mut().enumerate() {
        stream.set_nonblocking(true).unwrap();
        let mut got = [0; 8192];
        loop {
            match stream.read(&mut got) {
                Ok(count) => assert!(count > 0 && number % 4 == 0, "{number} was closed"),
                Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }
    drop(crowd);
    eventually("they are gone", || process.descriptors() < before + 50);
}

/// So many clients at once.
const CLIENTS: u64 = 8;
/// Connections of each.
const EACH: u64 = 300;

/// Bytes of a good client's session, changed, cut or made up; the proxy may say what it wants to, but must end it and go on.
fn broken_records_do_no_harm(engine: Engine) {
    let backend = Backend::fixed("fine");
    let setup = Proxy::to(engine, [&backend]).listen(SECURE);
    let setup = setup.server("timeouts.handshake = \"200ms\"\ntimeouts.head = \"200ms\"");
    let proxy = setup.start();
    let address = proxy.traffic();
    let answered = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let answered = &answered;
            scope.spawn(move || {
                for number in 0..EACH {
                    let mut random = Random::new(client, number);
                    let is_answered = attempt(secure::connect(address), &mut random);
                    answered.fetch_add(u64::from(is_answered), Ordering::Relaxed);
                }
            });
        }
    });
    let answered = answered.into_inner();
    eprintln!("{answered} of {} were answered", CLIENTS * EACH);
    // A change may be one that changes nothing, but not often.
    assert!(answered < CLIENTS * EACH / 2);
    assert_eq!(proxy.get("/").text(), "fine");
    assert!(backend.seen().iter().all(|seen| seen.target() == "/"));
}

/// One connection. Whether it came to an answer.
fn attempt(mut socket: TcpStream, random: &mut Random) -> bool {
    socket.set_read_timeout(Some(patience())).unwrap();
    let version = [&version::TLS12, &version::TLS13][random.below(2)];
    let mut session = secure::session(secure::config(version));
    session.writer().write_all(secure::GET).unwrap();
    // How many flights stay as they are.
    let mut good = random.below(4);
    let mut got = Vec::new();
    loop {
        let mut flight = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut flight).unwrap();
        }
        if good == 0 {
            spoil(&mut flight, random);
        }
        good = good.saturating_sub(1);
        if socket.write_all(&flight).is_err() {
            return false;
        }
        let is_cut = random.percent(10);
        if is_cut {
            let _ = socket.shutdown(std::net::Shutdown::Write);
        }
        // The proxy gives up before the client does.
        match session.read_tls(&mut socket) {
            Ok(1..) => (),
            Ok(_) => return false,
            Err(error) => {
                let hangs = [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind());
                assert!(!hangs, "it hangs");
                return false;
            }
        }
        if session.process_new_packets().is_err() {
            return false;
        }
        let _ = session.reader().read_to_end(&mut got);
        if got.ends_with(b"fine") {
            return true;
        }
    }
}

/// Changes a byte or a few, cuts, repeats, or puts something else in its place.
fn spoil(flight: &mut Vec<u8>, random: &mut Random) {
    match random.below(5) {
        0 => {
            for _ in 0..=random.below(4) {
                let at = random.below(flight.len());
                if let Some(byte) = flight.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
        1 => flight.truncate(random.below(flight.len())),
        2 => flight.extend_from_within(..),
        3 => {
            let length = random.below(600);
            *flight = (0..length).map(|_| random.below(256) as u8).collect();
        }
        _ => {
            // A record that is well formed, of whatever kind, and encrypted with nothing.
            let length = random.below(500);
            let kind = 20 + random.below(5) as u8;
            let mut record = vec![kind, 3, 3, (length >> 8) as u8, length as u8];
            record.extend((0..length).map(|_| random.below(256) as u8));
            let at = random.below(flight.len());
            flight.splice(at..at, record);
        }
    }
}
