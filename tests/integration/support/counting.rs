//! A backend that reads strictly and keeps nothing but how many requests each client address has sent.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::wire::{Broken, Framing, Piece, Wire};

/// One such backend. Dropping it ends it.
pub struct Counting {
    tally: Arc<Mutex<Tally>>,
    listener: TcpListener,
}

/// What it has seen.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Requests by the only value of `X-Forwarded-For`.
    pub requests: HashMap<String, usize>,
    /// What a proxy must never send; the first few of them.
    pub faults: Vec<String>,
}

impl Counting {
    /// Listens and answers everything with 200.
    pub fn start() -> Counting {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tally = Arc::new(Mutex::new(Tally::default()));
        let (accepting, kept) = (listener.try_clone().unwrap(), Arc::clone(&tally));
        std::thread::spawn(move || {
            for stream in accepting.incoming().map_while(Result::ok) {
                let tally = Arc::clone(&kept);
                std::thread::spawn(move || {
                    if let Err(Broken::Malformed(why)) = serve(stream, &tally) {
                        tally.lock().unwrap().fault(why);
                    }
                });
            }
        });
        Counting { tally, listener }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// What it has seen so far.
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap().clone()
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // Wakes the blocked accept, which closing alone does not.
        let _ = socket2::SockRef::from(&self.listener).shutdown(Shutdown::Both);
    }
}

impl Tally {
    fn fault(&mut self, what: String) {
        if self.faults.len() < 10 {
            self.faults.push(what);
        }
    }
}

fn serve(stream: TcpStream, tally: &Mutex<Tally>) -> Result<(), Broken> {
    let _ = stream.set_nodelay(true);
    let mut wire = Wire::new(stream);
    loop {
        let head = wire.head()?;
        let mut framing = head.framing(Framing::Done)?;
        {
            let mut tally = tally.lock().unwrap();
            match head.all("x-forwarded-for").as_slice() {
                [one] => *tally.requests.entry(one.clone()).or_default() += 1,
                other => tally.fault(format!("X-Forwarded-For {other:?} in {head:?}")),
            }
            if head.all("host").len() != 1 || head.line[2] != "HTTP/1.1" {
                tally.fault(format!("not a request of a proxy: {head:?}"));
            }
        }
        loop {
            match wire.piece(&mut framing) {
                Piece::Data(_) => {}
                Piece::End => break,
                Piece::Cut(why) => return Err(why),
            }
        }
        let body = if head.line[0] == "HEAD" { "" } else { "ok" };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}");
        if wire.stream.write_all(answer.as_bytes()).is_err() {
            return Ok(());
        }
    }
}
