//! Sinks that are slow, broken or torn, without files and without waiting for time to pass.

use std::time::Duration;

use parking_lot::Mutex;

use super::*;

/// Far more than any step takes; only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tells what it is asked to write, and waits for the word how much of it to take.
struct Scripted {
    asked: Sender<String>,
    answers: Receiver<io::Result<usize>>,
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.asked.send(String::from_utf8_lossy(bytes).into_owned());
        // Without a script any more everything goes through.
        self.answers
            .recv()
            .unwrap_or(Ok(bytes.len()))
            .map(|count| count.min(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Destination for Scripted {
    fn reopen(&mut self) {
        let _ = self.asked.send("<reopened>".to_owned());
    }
}

/// A sink with a queue of this length, what it writes, and the script of its writer.
fn scripted(length: usize) -> (Sink, Receiver<String>, Sender<io::Result<usize>>) {
    let (asked, asks) = crossbeam_channel::bounded(1 << 16);
    let (script, answers) = crossbeam_channel::bounded(1 << 16);
    let sink = Sink::with_queue("log-test", Box::new(Scripted { asked, answers }), length).unwrap();
    (sink, asks, script)
}

fn disk_full() -> io::Result<usize> {
    Err(io::Error::from(io::ErrorKind::StorageFull))
}

const ALL: usize = usize::MAX;

fn stop(sink: Sink) {
    sink.stop();
    sink.join(Instant::now() + PATIENCE);
}

#[test]
fn a_slow_sink_drops_counts_and_says_so_but_never_blocks() {
    let (sink, asks, script) = scripted(3);
    let sender = sink.sender();
    sender.send(b"first\n".to_vec());
    assert_eq!(asks.recv_timeout(PATIENCE).unwrap(), "first\n");
    // The thread is held in its write now. The queue takes three, and nothing here waits for it.
    for line in ["a\n", "b\n", "c\n", "lost\n", "lost\n"] {
        sender.send(line.as_bytes().to_vec());
    }
    assert_eq!(sink.dropped(), 2);

    drop(script);
    let mut rest = String::new();
    while !rest.contains("dropped") {
        rest.push_str(&asks.recv_timeout(PATIENCE).unwrap());
    }
    stop(sink);
    assert!(rest.contains("a\nb\nc\n"), "{rest}");
    assert!(
        rest.contains(
            " [WARN] tollgate::logging: 2 log lines dropped: the log could not be written fast enough\n"
        ),
        "{rest}"
    );
    assert!(!rest.contains("lost"), "{rest}");
}

#[test]
fn a_full_disk_is_counted_and_the_next_line_is_tried_again() {
    let (sink, asks, script) = scripted(16);
    let sender = sink.sender();
    // The line fails, and so does the notice that would tell of it.
    script.send(disk_full()).unwrap();
    script.send(disk_full()).unwrap();
    sender.send(b"lost\n".to_vec());
    assert_eq!(asks.recv_timeout(PATIENCE).unwrap(), "lost\n");
    assert!(
        asks.recv_timeout(PATIENCE)
            .unwrap()
            .contains("1 log lines dropped")
    );
    assert_eq!(sink.dropped(), 1);

    drop(script);
    sender.send(b"kept\n".to_vec());
    assert_eq!(asks.recv_timeout(PATIENCE).unwrap(), "kept\n");
    let notice = asks.recv_timeout(PATIENCE).unwrap();
    assert!(
        notice.ends_with("1 log lines dropped: the log could not be written\n"),
        "{notice}"
    );
    assert_eq!(sink.dropped(), 1);
    stop(sink);
    assert!(asks.try_recv().is_err(), "told once only");
}

#[test]
fn a_line_cut_by_an_error_does_not_swallow_the_next_one() {
    let (sink, asks, script) = scripted(16);
    let sender = sink.sender();
    for answer in [Ok(3), disk_full(), Ok(ALL), Ok(ALL)] {
        script.send(answer).unwrap();
    }
    drop(script);
    sender.send(b"cut here\n".to_vec());
    let asked = || asks.recv_timeout(PATIENCE).unwrap();
    assert_eq!(asked(), "cut here\n");
    assert_eq!(asked(), " here\n");
    assert_eq!(asked(), "\n", "the rest of the torn line is ended first");
    assert!(asked().contains("1 log lines dropped"));
    stop(sink);
}

#[test]
fn stopping_writes_what_is_queued() {
    let (sink, asks, script) = scripted(100);
    let sender = sink.sender();
    sender.send(b"0\n".to_vec());
    assert_eq!(asks.recv_timeout(PATIENCE).unwrap(), "0\n");
    for line in 1..=50 {
        sender.send(format!("{line}\n").into_bytes());
    }
    sink.stop();
    drop(script);
    sink.join(Instant::now() + PATIENCE);
    let expected: String = (1..=50).map(|line| format!("{line}\n")).collect();
    assert_eq!(asks.try_iter().collect::<String>(), expected);

    sender.send(b"too late\n".to_vec());
    assert!(asks.try_recv().is_err());
    assert_eq!(sender.shared.dropped.load(Ordering::Relaxed), 1);
}

#[test]
fn a_stuck_sink_is_left_behind_at_the_deadline() {
    let (sink, asks, script) = scripted(4);
    sink.sender().send(b"stuck\n".to_vec());
    asks.recv_timeout(PATIENCE).unwrap();
    sink.stop();
    sink.join(Instant::now());
    // The writer is still held: `join` came back without it.
    drop(script);
}

#[test]
fn reopening_happens_without_a_line() {
    let (sink, asks, script) = scripted(4);
    drop(script);
    sink.reopen();
    assert_eq!(asks.recv_timeout(PATIENCE).unwrap(), "<reopened>");
    stop(sink);
}

/// Collects what is written.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<u8>>>);

impl Write for Shelf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Destination for Shelf {}

#[test]
fn pieces_become_lines_and_every_sink_gets_them() {
    let shelves = [Shelf::default(), Shelf::default()];
    let sinks: Vec<Sink> = shelves
        .iter()
        .map(|shelf| Sink::start("log-test", Box::new(shelf.clone())).unwrap())
        .collect();
    let mut lines = Lines::new(sinks.iter().map(Sink::sender).collect());
    for piece in ["12:00 ", "[INFO] ", "one", "\n", "two\n"] {
        lines.write_all(piece.as_bytes()).unwrap();
    }
    for sink in sinks {
        stop(sink);
    }
    for shelf in shelves {
        assert_eq!(*shelf.0.lock(), b"12:00 [INFO] one\ntwo\n");
    }
}
