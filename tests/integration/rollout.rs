//! Backends that restart one after another, and a proxy that is reloaded again and again, under steady traffic.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::support::admin;
use crate::support::client::Received;
use crate::support::websocket::{self, TEXT};
use crate::support::{
    Backend, Client, Engine, Process, Proxy, eventually, on_each_engine, on_reactor,
};

on_each_engine!(a_rolling_restart_loses_no_get_and_runs_no_post_twice);

on_reactor!(fifty_reloads_leave_nothing_behind);

/// The whole of it where `TOLLGATE_SLOW_TESTS` is 1.
fn is_slow() -> bool {
    env::var("TOLLGATE_SLOW_TESTS").is_ok_and(|value| value == "1")
}

/// Clients that send 500 requests per second together, by the clock: a slow answer does not slow them all down.
struct Traffic {
    stop: Option<Sender<()>>,
    answers: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<Sent>>>,
}

/// One request, and what came of it.
struct Sent {
    is_post: bool,
    at: Instant,
    time: Duration,
    status: Option<u16>,
}

const CLIENTS: usize = 20;
const RATE: u32 = 500;

impl Traffic {
    fn start(to: SocketAddr) -> Traffic {
        let (stop, stopped) = bounded(0);
        let answers = Arc::new(AtomicUsize::new(0));
        let client = |number| {
            let (stopped, answers) = (stopped.clone(), Arc::clone(&answers));
            thread::spawn(move || run_client(to, number, &stopped, &answers))
        };
        Traffic {
            clients: (0..CLIENTS).map(client).collect(),
            stop: Some(stop),
            answers,
        }
    }

    fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// Waits for so many more answers: that is time passing.
    fn go_on_for(&self, answers: usize) {
        let before = self.answers();
        eventually("traffic goes on", || self.answers() >= before + answers);
    }

    fn stop(mut self) -> Vec<Sent> {
        self.stop.take();
        let clients = self.clients.drain(..);
        clients.flat_map(|client| client.join().unwrap()).collect()
    }
}

fn run_client(
    to: SocketAddr,
    number: usize,
    stopped: &Receiver<()>,
    answers: &AtomicUsize,
) -> Vec<Sent> {
    let step = Duration::from_secs(1) * CLIENTS as u32 / RATE;
    let mut due = Instant::now() + step * number as u32 / CLIENTS as u32;
    let (mut client, mut sent) = (Client::connect(to), Vec::new());
    for count in 0.. {
        let pause = due.saturating_duration_since(Instant::now());
        if stopped.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            break;
        }
        due += step;
        let is_post = count % 2 == 1;
        let id = format!("{number}-{count}");
        let request = if is_post {
            let length = id.len();
            format!("POST /{id} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{id}")
        } else {
            format!("GET /{id} HTTP/1.1\r\nHost: t\r\n\r\n")
        };
        let at = Instant::now();
        client.send(request);
        let received = client.receive();
        sent.push(Sent {
            is_post,
            at,
            time: at.elapsed(),
            status: received.status(),
        });
        answers.fetch_add(1, Ordering::Relaxed);
        if !matches!(&received, Received::Whole(answer) if answer.get("connection").is_none()) {
            client = Client::connect(to);
        }
    }
    sent
}

fn percentile(sent: &[&Sent], part: f64) -> Duration {
    let mut times: Vec<Duration> = sent.iter().map(|one| one.time).collect();
    times.sort_unstable();
    let place = (times.len() as f64 * part) as usize;
    times
        .get(place)
        .or(times.last())
        .copied()
        .unwrap_or_default()
}

fn a_rolling_restart_loses_no_get_and_runs_no_post_twice(engine: Engine) {
    let mut backends: Vec<Backend> = (0..4).map(|_| Backend::echo()).collect();
    let proxy = Proxy::to(engine, &backends)
        .web("health = { interval = \"100ms\", timeout = \"1s\", fall = 2, rise = 1, max_interval = \"100ms\" }")
        .start();
    let part = if is_slow() { 2500 } else { 250 };
    let traffic = Traffic::start(proxy.traffic());
    traffic.go_on_for(part);
    let disturbed = Instant::now();
    for (number, backend) in (1..).zip(&mut backends) {
        backend.kill();
        traffic.go_on_for(part / 2);
        backend.restart();
        let path = admin::path("web", &format!("b{number}"));
        eventually("it is back", || {
            let shown = admin::get(&proxy, &path).json();
            shown["usable"] == true && shown["state"] == "healthy"
        });
        traffic.go_on_for(part / 2);
    }
    let sent = traffic.stop();

    let mut runs: HashMap<String, usize> = HashMap::new();
    for seen in backends.iter().flat_map(Backend::seen) {
        if seen.head.line[0] == "POST" {
            *runs.entry(seen.target().to_owned()).or_default() += 1;
        }
    }
    assert!(runs.values().all(|runs| *runs == 1), "a POST ran twice");
    let (posts, gets): (Vec<&Sent>, Vec<&Sent>) = sent.iter().partition(|one| one.is_post);
    let failed = gets.iter().filter(|get| get.status != Some(200)).count();
    assert_eq!(failed, 0, "of {} GETs", gets.len());
    // A POST that was under way when its backend died is lost, and nothing else.
    let lost = posts.iter().filter(|post| post.status != Some(200)).count();
    assert!(lost < posts.len() / 20, "{lost} of {}", posts.len());

    let (after, before): (Vec<&Sent>, Vec<&Sent>) =
        sent.iter().partition(|one| one.at >= disturbed);
    let _ = writeln!(
        std::io::stderr(),
        "{engine:?}: {} requests; undisturbed p50 {:?} p99 {:?}; restarting p50 {:?} p99 {:?}, {lost} POSTs lost",
        sent.len(),
        percentile(&before, 0.5),
        percentile(&before, 0.99),
        percentile(&after, 0.5),
        percentile(&after, 0.99),
    );
}

fn fifty_reloads_leave_nothing_behind(_engine: Engine) {
    let backends: Vec<Backend> = (0..3).map(|_| Backend::echo()).collect();
    let sockets = Backend::start(websocket::echo);
    let text = |round: usize| {
        let urls: Vec<String> = backends.iter().map(Backend::url).collect();
        let some = &urls[..1 + round % 3];
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [[upstream]]\nname = \"web\"\nbackends = {some:?}\n\
             [[upstream]]\nname = \"live\"\nbackends = [{:?}]\n\
             [[route]]\nname = \"all-{round}\"\nupstream = \"web\"\n\
             [[route]]\nmatch = {{ path = \"/live\" }}\nupstream = \"live\"\n",
            sockets.url()
        )
    };
    let process = Process::config(&text(2)).start();
    let mut open: Vec<Client> = (0..5)
        .map(|_| websocket::open(process.client(), "/live"))
        .collect();
    let file = process.directory().join("tollgate.toml");
    let reload = |round: usize| {
        fs::write(&file, text(round)).unwrap();
        let request = format!(
            "POST /_proxy/reload HTTP/1.1\r\nHost: {}\r\n\r\n",
            process.admin()
        );
        let answer = Client::connect(process.admin()).ask(request);
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let traffic = Traffic::start(process.traffic());
    // Until everything that is made once has been made.
    for round in 0..6 {
        reload(round);
        traffic.go_on_for(50);
    }
    let size = || (process.threads(), process.descriptors(), process.memory());
    let before = size();
    for round in 0..50 {
        reload(round);
        traffic.go_on_for(if is_slow() { 100 } else { 10 });
        for socket in &mut open {
            websocket::assert_echo(socket, TEXT, b"still here");
        }
    }
    let sent = traffic.stop();
    let failed = sent.iter().filter(|one| one.status != Some(200)).count();
    assert_eq!(failed, 0, "of {}", sent.len());
    reload(2);
    // Clients have gone, and idle connections go after some seconds.
    eventually("threads and descriptors are as before, or fewer", || {
        let (threads, descriptors, _) = size();
        threads <= before.0 && descriptors <= before.1
    });
    let after = size();
    assert!(after.2 < before.2 + (16 << 20), "{before:?} {after:?}");
}
