//! Ends a connection whose client may still be sending: the answer is out, what comes is read and thrown away for a while.
//!
//! Closing at once would answer the client's next bytes with a reset, and a reset can overtake the answer: the client would
//! see a broken connection instead of its 413. One thread does this for all, without blocking on any.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use rustix::net::RecvFlags;
use socket2::Socket;

use super::disposal::{self, Leftover};

/// Connections that may wait to be taken over. Beyond that they are closed at once.
const WAITING: usize = 256;
/// Connections that linger at the same time.
const MOST: usize = 1024;
/// Between two looks.
const TICK: Duration = Duration::from_millis(10);
/// A client that is silent for this long has read its answer.
const SILENCE: Duration = Duration::from_secs(2);
/// Nobody is listened to for longer.
const LONGEST: Duration = Duration::from_secs(15);
/// Reads per connection and look, so that one fast client does not hold up the rest.
const READS: usize = 64;

/// The way to the thread.
pub(super) struct Linger {
    sender: Mutex<Option<Sender<Lingering>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Lingering {
    peer: SocketAddr,
    socket: Socket,
    leftover: Leftover,
    since: Instant,
    heard: Instant,
}

impl Linger {
    pub(super) fn start() -> io::Result<Linger> {
        let (sender, inbox) = bounded(WAITING);
        let thread = thread::Builder::new()
            .name("listener-linger".into())
            .spawn(move || run(&inbox))?;
        Ok(Linger {
            sender: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Takes a connection over after its answer. `socket` is a handle of our own to it.
    pub(super) fn take(&self, peer: SocketAddr, socket: Socket, leftover: Leftover) {
        // The answer ends here. What the client still sends is taken, so that nothing is reset.
        let _ = socket.shutdown(Shutdown::Write);
        let now = Instant::now();
        let lingering = Lingering {
            peer,
            socket,
            leftover,
            since: now,
            heard: now,
        };
        let result = match &*self.sender.lock() {
            Some(sender) => sender.try_send(lingering).map_err(TrySendError::into_inner),
            None => Err(lingering),
        };
        if let Err(lingering) = result {
            lingering.end();
        }
    }

    /// Closes all that linger and ends the thread.
    pub(super) fn shut_down(&self) {
        self.sender.lock().take();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

fn run(inbox: &Receiver<Lingering>) {
    let mut all: Vec<Lingering> = Vec::new();
    let mut scrap = vec![0; 64 * 1024];
    loop {
        let next = if all.is_empty() {
            inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            inbox.recv_timeout(TICK)
        };
        match next {
            Ok(lingering) if all.len() < MOST => all.push(lingering),
            Ok(lingering) => lingering.end(),
            Err(RecvTimeoutError::Timeout) => (),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let now = Instant::now();
        let (over, going): (Vec<_>, Vec<_>) = all
            .into_iter()
            .map(|mut one| (one.is_over(now, &mut scrap), one))
            .partition(|(is_over, _)| *is_over);
        over.into_iter().for_each(|(_, one)| one.end());
        all = going.into_iter().map(|(_, one)| one).collect();
    }
    all.into_iter().for_each(Lingering::end);
}

impl Lingering {
    /// Throws away what has come. True when the client is done, silent, or has had its time.
    fn is_over(&mut self, now: Instant, scrap: &mut [u8]) -> bool {
        for _ in 0..READS {
            match rustix::net::recv(&self.socket, &mut *scrap, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return true,
                Ok(_) => self.heard = now,
                Err(error) if io::Error::from(error).kind() == ErrorKind::WouldBlock => break,
                Err(_) => return true,
            }
        }
        now.saturating_duration_since(self.heard) > SILENCE
            || now.saturating_duration_since(self.since) > LONGEST
    }

    fn end(self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        log::debug!(
            "ended the connection of {} after an early answer",
            self.peer
        );
        disposal::dispose(self.leftover);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_comes_is_thrown_away_until_the_client_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, peer) = listener.accept().unwrap();
        let linger = Linger::start().unwrap();
        server.write_all(b"too big").unwrap();
        linger.take(
            peer,
            Socket::from(server),
            Leftover {
                stream: Box::new(io::Cursor::new(Vec::new())),
                unread: 0,
            },
        );
        client.write_all(&vec![0; 8 << 20]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "too big");
        linger.shut_down();
    }
}
