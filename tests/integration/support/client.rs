//! A client that sends exactly the bytes it is given, and reads answers strictly.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Deref;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

use super::wire::{Broken, Framing, Head, Piece, Wire};
use super::{patience, pattern, secure};

/// One connection to the proxy.
#[derive(Debug)]
pub struct Client {
    pub(super) wire: Wire,
    framing: Framing,
}

/// A whole answer.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// From the status line.
    pub status: u16,
    /// Everything before the body.
    pub head: Head,
    /// Without its framing.
    pub body: Vec<u8>,
}

/// What came instead of, or as, an answer.
#[derive(Debug)]
pub enum Received {
    /// A whole answer with a clean end.
    Whole(Response),
    /// An answer that broke off in its body.
    Cut(Response),
    /// The connection ended without an answer.
    Closed,
    /// The connection was reset without an answer.
    Reset,
}

impl Client {
    /// Connects; every read gives up after [`patience`].
    #[track_caller]
    pub fn connect(to: SocketAddr) -> Client {
        Client::over(TcpStream::connect_timeout(&to, patience()).expect("the proxy listens"))
    }

    /// On a connection that is there already; `dial` makes unusual ones.
    pub fn over(stream: TcpStream) -> Client {
        Client::plain(secure::wrapped_where_known(stream))
    }

    /// The same without TLS, whatever the proxy speaks there.
    pub fn plain(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(patience())).unwrap();
        stream.set_write_timeout(Some(patience())).unwrap();
        // A Unix socket has no such option.
        let _ = stream.set_nodelay(true);
        Client {
            wire: Wire::new(stream),
            framing: Framing::Done,
        }
    }

    /// Sends bytes as they are. That the peer has hung up shows in the next read.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        let _ = self.wire.stream.write_all(bytes.as_ref());
        self
    }

    /// Sends bytes and reads the answer.
    #[track_caller]
    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        self.send(bytes).read()
    }

    /// A plain GET, on this connection.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    /// A POST with a Content-Length, on this connection.
    #[track_caller]
    pub fn post(&mut self, target: &str, body: &str) -> Response {
        let length = body.len();
        self.ask(format!(
            "POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    /// Reads one whole answer; anything else fails the test. Interim answers are skipped.
    #[track_caller]
    pub fn read(&mut self) -> Response {
        match self.receive() {
            Received::Whole(response) => response,
            other => panic!("no whole answer: {other:?}"),
        }
    }

    /// Reads the answer to a HEAD request: a head and nothing else.
    #[track_caller]
    pub fn read_bodiless(&mut self) -> Response {
        let head = self.read_head();
        self.framing = Framing::Done;
        Response::new(head)
    }

    /// Reads whatever comes: an answer, half an answer, or the end.
    #[track_caller]
    pub fn receive(&mut self) -> Received {
        let head = match self.final_head() {
            Ok(head) => head,
            Err(Broken::Closed) => return Received::Closed,
            Err(Broken::Reset) => return Received::Reset,
            Err(other) => panic!("no answer: {other:?}"),
        };
        let mut response = Response::new(head);
        loop {
            match self.piece() {
                Piece::Data(data) => response.body.extend_from_slice(&data),
                Piece::End => return Received::Whole(response),
                Piece::Cut(Broken::Cut | Broken::Closed | Broken::Reset) => {
                    return Received::Cut(response);
                }
                Piece::Cut(other) => panic!("{other:?} in the body of {response:?}"),
            }
        }
    }

    /// Reads a head and leaves the body to [`Client::piece`].
    #[track_caller]
    pub fn read_head(&mut self) -> Head {
        self.final_head().expect("a head")
    }

    /// Reads an interim answer such as 100.
    #[track_caller]
    pub fn read_interim(&mut self) -> u16 {
        let head = self.wire.head().expect("an interim head");
        let status = status_of(&head);
        assert!(status < 200, "a final answer came: {head:?}");
        status
    }

    /// The next piece of the body of the last head read.
    pub fn piece(&mut self) -> Piece {
        self.wire.piece(&mut self.framing)
    }

    /// Reads raw bytes until `needle` has come, and drops everything up to its end.
    #[track_caller]
    pub fn read_past(&mut self, needle: &str) {
        let at = self.wire.find(needle.as_bytes()).expect(needle);
        self.wire.buffer.drain(..at + needle.len());
    }

    /// Waits for the end of the connection and fails when anything comes before it.
    #[track_caller]
    pub fn assert_ended(&mut self) {
        let end = self.wire.fill();
        let rest = String::from_utf8_lossy(&self.wire.buffer);
        assert!(matches!(end, Ok(0) | Err(Broken::Reset)), "{end:?}");
        assert!(rest.is_empty(), "bytes after the end: {rest:?}");
    }

    /// Reads everything up to the end of the connection, whatever it is.
    pub fn drain(&mut self) -> Vec<u8> {
        while self.wire.fill().is_ok_and(|got| got > 0) {}
        std::mem::take(&mut self.wire.buffer)
    }

    /// Sends `length` bytes of [`pattern`] from another thread, which says whether the peer took them all.
    pub fn upload(&self, length: u64) -> JoinHandle<bool> {
        let mut stream = self.wire.stream.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut at = 0;
            while at < length {
                let slice = pattern::slice(at, length - at);
                if stream.write_all(slice).is_err() {
                    return false;
                }
                at += slice.len() as u64;
            }
            true
        })
    }

    /// The same connection once more, for another thread to send on.
    pub fn twin(&self) -> Client {
        Client::over(self.wire.stream.try_clone().unwrap())
    }

    /// Sends `part` over and over from another thread, until `times` are sent or the peer takes no more.
    pub fn flood(&self, part: impl Into<Vec<u8>>, times: usize) -> JoinHandle<bool> {
        let (mut stream, part) = (self.wire.stream.try_clone().unwrap(), part.into());
        std::thread::spawn(move || (0..times).all(|_| stream.write_all(&part).is_ok()))
    }

    /// Reads one head, whatever its status.
    #[track_caller]
    pub fn read_any_head(&mut self) -> Head {
        self.wire.head().expect("a head")
    }

    /// Reads the head of an answer with status 101; what follows on the connection is not HTTP.
    #[track_caller]
    pub fn read_switch(&mut self) -> Head {
        let head = self.read_any_head();
        assert_eq!(head.line[1], "101", "{head:?}");
        head
    }

    /// Sends no more; the other direction stays open.
    pub fn half_close(&mut self) {
        let _ = self.wire.stream.shutdown(Shutdown::Write);
    }

    /// Leaves at once, with a reset.
    pub fn reset(self) {
        let _ = SockRef::from(&*self.wire.stream).set_linger(Some(Duration::ZERO));
    }

    fn final_head(&mut self) -> Result<Head, Broken> {
        loop {
            let head = self.wire.head()?;
            if !head.line[0].starts_with("HTTP/1.") {
                return Err(Broken::Malformed(format!("{:?}", head.line)));
            }
            match status_of(&head) {
                100..=199 => {}
                204 | 304 => {
                    self.framing = Framing::Done;
                    return Ok(head);
                }
                _ => {
                    self.framing = head.framing(Framing::Close)?;
                    return Ok(head);
                }
            }
        }
    }
}

fn status_of(head: &Head) -> u16 {
    let status = head.line[1]
        .parse()
        .ok()
        .filter(|code| (100..1000).contains(code));
    status.unwrap_or_else(|| panic!("bad status line {:?}", head.line))
}

impl Received {
    /// The status of an answer, whole or not.
    pub fn status(&self) -> Option<u16> {
        match self {
            Received::Whole(response) | Received::Cut(response) => Some(response.status),
            Received::Closed | Received::Reset => None,
        }
    }

    /// Fails the test unless the answer broke off visibly; gives what had come.
    #[track_caller]
    pub fn cut(self) -> Response {
        match self {
            Received::Cut(response) => response,
            other => panic!("not cut: {other:?}"),
        }
    }
}

impl Response {
    fn new(head: Head) -> Response {
        Response {
            status: status_of(&head),
            head,
            body: Vec::new(),
        }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The cause of a refusal, from its JSON body.
    #[track_caller]
    pub fn cause(&self) -> String {
        self.json()["cause"].as_str().expect("a cause").to_owned()
    }

    /// Which backend answered, from `X-Backend-Server`.
    #[track_caller]
    pub fn backend(&self) -> String {
        self.get("x-backend-server").expect("X-Backend-Server")
    }

    /// Fails the test unless this is a refusal with this status and cause; gives it back.
    #[track_caller]
    pub fn refused(self, status: u16, cause: &str) -> Response {
        assert_eq!(
            (self.status, self.cause().as_str()),
            (status, cause),
            "{}",
            self.text()
        );
        let proxy_status = self.get("proxy-status").expect("Proxy-Status");
        assert!(
            proxy_status.starts_with("tollgate; error="),
            "{proxy_status}"
        );
        self
    }
}

impl Deref for Response {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.head
    }
}

/// A GET on a connection of its own. Admin pages are only given to who asks by address.
#[track_caller]
pub fn get(from: SocketAddr, target: &str) -> Response {
    let mut client = Client::connect(from);
    if target.starts_with("/_proxy/") {
        return client.ask(format!("GET {target} HTTP/1.1\r\nHost: {from}\r\n\r\n"));
    }
    client.get(target)
}
