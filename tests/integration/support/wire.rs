//! Reading HTTP/1 messages off a socket, strictly: used by the raw client and the scripted backend alike.

use std::fmt;
use std::io::{self, Read};

use super::link::Link;

/// A message head as it was on the wire.
#[derive(Clone, Default)]
pub struct Head {
    /// The three parts of the start line.
    pub line: [String; 3],
    /// Names as written, values without surrounding blanks.
    pub fields: Vec<(String, Vec<u8>)>,
    /// All bytes, the empty line included.
    pub raw: Vec<u8>,
}

/// Why there is no head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The peer ended the connection before any byte.
    Closed,
    /// The peer ended it in the middle of a head.
    Cut,
    /// The connection was reset.
    Reset,
    /// Nothing came for a long time.
    TimedOut,
    /// Not HTTP.
    Malformed(String),
}

/// How a body is delimited, and how much of it is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Nothing more.
    Done,
    /// This many bytes.
    Length(u64),
    /// Chunks; this much is left of the current one. `first`: no chunk has been read yet.
    Chunked { left: u64, first: bool },
    /// Until the connection ends.
    Close,
}

/// What a body reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Some bytes.
    Data(Vec<u8>),
    /// The clean end.
    End,
    /// The body broke off.
    Cut(Broken),
}

/// A socket with what was read from it and not yet used.
#[derive(Debug)]
pub struct Wire {
    /// For writing; as a socket it is the one below TLS.
    pub stream: Link,
    pub(super) buffer: Vec<u8>,
}

/// The bytes as text, for failed tests.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.raw.escape_ascii())
    }
}

impl Head {
    /// Parses all bytes of a head, the empty line included.
    pub(super) fn parse(raw: Vec<u8>) -> Result<Head, Broken> {
        let malformed =
            |why: &str| Broken::Malformed(format!("{why}: {:?}", String::from_utf8_lossy(&raw)));
        let mut lines = raw[..raw.len() - 4].split(|byte| *byte == b'\n');
        let mut start = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        if raw[..raw.len() - 4].contains(&b'\n') && start.pop() != Some('\r') {
            return Err(malformed("bare LF"));
        }
        let mut parts = start.splitn(3, ' ').map(str::to_owned);
        let line = [(); 3].map(|()| parts.next().unwrap_or_default());
        let mut fields = Vec::new();
        let rest: Vec<&[u8]> = lines.collect();
        for (index, field) in rest.iter().enumerate() {
            let field = if index + 1 < rest.len() {
                field
                    .strip_suffix(b"\r")
                    .ok_or_else(|| malformed("bare LF"))?
            } else {
                field
            };
            let colon = field.iter().position(|byte| *byte == b':');
            let (name, value) = field.split_at(colon.ok_or_else(|| malformed("no colon"))?);
            if name.is_empty() || name.iter().any(|byte| *byte <= b' ') || value.contains(&b'\r') {
                return Err(malformed("bad field"));
            }
            let name = String::from_utf8_lossy(name).into_owned();
            fields.push((name, value[1..].trim_ascii().to_vec()));
        }
        Ok(Head { line, fields, raw })
    }

    /// Every value of a field, in order.
    pub fn all(&self, name: &str) -> Vec<String> {
        let found = self
            .fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name));
        found
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    /// The only value of a field; panics when there are more.
    #[track_caller]
    pub fn get(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        assert!(all.len() <= 1, "{name} came more than once: {all:?}");
        all.pop()
    }

    /// How the body after this head is delimited, when there may be one.
    pub fn framing(&self, without_length: Framing) -> Result<Framing, Broken> {
        let (lengths, encodings) = (self.all("content-length"), self.all("transfer-encoding"));
        match (lengths.as_slice(), encodings.as_slice()) {
            ([], []) => Ok(without_length),
            ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Framing::Length(length.parse().map_err(|_| Broken::Cut)?))
            }
            ([], [coding]) if coding == "chunked" => Ok(Framing::Chunked {
                left: 0,
                first: true,
            }),
            _ => Err(Broken::Malformed(format!(
                "framing: {lengths:?} {encodings:?}"
            ))),
        }
    }
}

impl Wire {
    /// Nothing read yet.
    pub fn new(stream: impl Into<Link>) -> Wire {
        Wire {
            stream: stream.into(),
            buffer: Vec::new(),
        }
    }

    /// Reads one head; anything but a whole and correct one is an error.
    pub fn head(&mut self) -> Result<Head, Broken> {
        let end = self.find(b"\r\n\r\n")? + 4;
        Head::parse(self.buffer.drain(..end).collect())
    }

    /// Reads until `needle` has come and returns where it starts in the buffer.
    pub fn find(&mut self, needle: &[u8]) -> Result<usize, Broken> {
        let mut from = 0;
        loop {
            let fresh = &self.buffer[from..];
            if let Some(at) = fresh
                .windows(needle.len())
                .position(|window| window == needle)
            {
                return Ok(from + at);
            }
            from = self.buffer.len().saturating_sub(needle.len());
            if self.fill()? == 0 {
                let empty = self.buffer.is_empty();
                return Err(if empty { Broken::Closed } else { Broken::Cut });
            }
        }
    }

    /// Reads exactly `length` bytes.
    pub fn exact(&mut self, length: usize) -> Result<Vec<u8>, Broken> {
        while self.buffer.len() < length {
            if self.fill()? == 0 {
                let empty = self.buffer.is_empty();
                return Err(if empty { Broken::Closed } else { Broken::Cut });
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Reads the next piece of a body.
    pub fn piece(&mut self, framing: &mut Framing) -> Piece {
        self.next_piece(framing).unwrap_or_else(Piece::Cut)
    }

    fn next_piece(&mut self, framing: &mut Framing) -> Result<Piece, Broken> {
        match framing {
            Framing::Done | Framing::Length(0) => {
                *framing = Framing::Done;
                Ok(Piece::End)
            }
            Framing::Length(left) => {
                let data = self.some(*left)?;
                *left -= data.len() as u64;
                Ok(Piece::Data(data))
            }
            Framing::Close => {
                if self.buffer.is_empty() && self.fill()? == 0 {
                    return Ok(Piece::End);
                }
                Ok(Piece::Data(std::mem::take(&mut self.buffer)))
            }
            Framing::Chunked { left, first } => {
                if *left == 0 {
                    if !std::mem::take(first) && !self.line()?.is_empty() {
                        return Err(Broken::Malformed("no line end after a chunk".into()));
                    }
                    *left = self.chunk_size()?;
                }
                if *left == 0 {
                    while !self.line()?.is_empty() {}
                    *framing = Framing::Done;
                    return Ok(Piece::End);
                }
                let data = self.some(*left)?;
                *left -= data.len() as u64;
                Ok(Piece::Data(data))
            }
        }
    }

    fn chunk_size(&mut self) -> Result<u64, Broken> {
        let line = self.line()?;
        let digits = line.split(';').next().unwrap_or_default();
        let hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = u64::from_str_radix(digits, 16).ok().filter(|_| hex);
        size.ok_or_else(|| Broken::Malformed(format!("chunk size {line:?}")))
    }

    fn line(&mut self) -> Result<String, Broken> {
        let end = self.find(b"\r\n")?;
        let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// One to `most` bytes.
    fn some(&mut self, most: u64) -> Result<Vec<u8>, Broken> {
        if self.buffer.is_empty() && self.fill()? == 0 {
            return Err(Broken::Cut);
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if self.buffer.len() <= most {
            return Ok(std::mem::take(&mut self.buffer));
        }
        Ok(self.buffer.drain(..most).collect())
    }

    /// Reads once; 0 is the end of the connection.
    pub fn fill(&mut self) -> Result<usize, Broken> {
        let old = self.buffer.len();
        self.buffer.resize(old + (64 << 10), 0);
        let got = loop {
            match self.stream.read(&mut self.buffer[old..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(old + *got.as_ref().unwrap_or(&0));
        got.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Broken::TimedOut,
            _ => Broken::Reset,
        })
    }
}
