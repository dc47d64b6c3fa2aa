//! Decodes a chunked body, strictly (RFC 9112 section 7.1). Pure: bytes in, bytes out.
//!
//! Sizes are hexadecimal digits and nothing else; extensions are skipped within a bound; trailers are read, judged and
//! dropped within a bound. Line ends are CRLF only.

use crate::message::fields::{is_token, is_value};

/// Longest line of a size with its extensions.
const MAX_SIZE_LINE: usize = 1024;
/// Most bytes of trailers.
const MAX_TRAILERS: usize = 8 * 1024;
/// Largest chunk: 15 hexadecimal digits cannot overflow.
const MAX_DIGITS: u32 = 15;

/// Where in a chunked body the decoder stands.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    /// Bytes of the present line, or of all trailers.
    length: usize,
    /// The present trailer line; nothing else is kept.
    line: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size { value: u64, digits: u32 },
    Extension { value: u64 },
    SizeEnd { value: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailer,
    TrailerEnd,
    Done,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes of the input that are used up.
    pub(super) consumed: usize,
    /// Bytes of the body that were written.
    pub(super) produced: usize,
}

/// The body is not framed as it should be; nothing after it can be trusted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Chunks {
    pub(super) fn new() -> Chunks {
        Chunks {
            state: State::Size {
                value: 0,
                digits: 0,
            },
            length: 0,
            line: Vec::new(),
        }
    }

    /// Whether the end of the body, trailers included, has been seen.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes as much of `input` as there is room for in `output`.
    pub(super) fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Malformed> {
        let (mut rest, mut produced) = (input, 0);
        while let Some((first, tail)) = rest.split_first()
            && !self.is_done()
        {
            if let State::Data { left } = self.state {
                let room = output.get_mut(produced..).unwrap_or_default();
                let count = rest.len().min(room.len());
                let count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
                if count == 0 {
                    break;
                }
                let (data, after) = rest.split_at(count);
                if let Some(room) = room.get_mut(..count) {
                    room.copy_from_slice(data);
                }
                produced += count;
                rest = after;
                self.state = match left - count as u64 {
                    0 => State::DataCr,
                    left => State::Data { left },
                };
            } else {
                self.state = self.next(*first)?;
                rest = tail;
            }
        }
        Ok(Step {
            consumed: input.len() - rest.len(),
            produced,
        })
    }

    /// The state after one byte that is not data.
    fn next(&mut self, byte: u8) -> Result<State, Malformed> {
        match self.state {
            State::Size { value, digits } => self.size(byte, value, digits),
            State::Extension { value } => {
                self.count(MAX_SIZE_LINE)?;
                match byte {
                    b'\r' => Ok(State::SizeEnd { value }),
                    byte if is_value(&[byte]) => Ok(State::Extension { value }),
                    _ => Err(Malformed),
                }
            }
            State::SizeEnd { value } => match (byte, value) {
                (b'\n', 0) => {
                    self.length = 0;
                    Ok(State::Trailer)
                }
                (b'\n', left) => Ok(State::Data { left }),
                _ => Err(Malformed),
            },
            State::DataCr => expect(byte, b'\r', State::DataLf),
            State::DataLf => {
                self.length = 0;
                let size = State::Size {
                    value: 0,
                    digits: 0,
                };
                expect(byte, b'\n', size)
            }
            State::Trailer => {
                self.count(MAX_TRAILERS)?;
                if byte == b'\r' {
                    return Ok(State::TrailerEnd);
                }
                if !is_value(&[byte]) {
                    return Err(Malformed);
                }
                self.line.push(byte);
                Ok(State::Trailer)
            }
            State::TrailerEnd => self.trailer_end(byte),
            // `decode` never asks here.
            state @ (State::Data { .. } | State::Done) => Ok(state),
        }
    }

    fn size(&mut self, byte: u8, value: u64, digits: u32) -> Result<State, Malformed> {
        self.count(MAX_SIZE_LINE)?;
        match (byte, char::from(byte).to_digit(16)) {
            (_, Some(digit)) if digits < MAX_DIGITS => Ok(State::Size {
                value: (value << 4) | u64::from(digit),
                digits: digits + 1,
            }),
            (b';', _) if digits > 0 => Ok(State::Extension { value }),
            (b'\r', _) if digits > 0 => Ok(State::SizeEnd { value }),
            _ => Err(Malformed),
        }
    }

    /// The end of a trailer line; an empty one ends the body.
    fn trailer_end(&mut self, byte: u8) -> Result<State, Malformed> {
        if byte != b'\n' {
            return Err(Malformed);
        }
        if self.line.is_empty() {
            return Ok(State::Done);
        }
        let colon = self.line.iter().position(|byte| *byte == b':');
        let (name, value) = self.line.split_at(colon.ok_or(Malformed)?);
        if !is_token(name) || !is_value(value) {
            return Err(Malformed);
        }
        self.line.clear();
        Ok(State::Trailer)
    }

    fn count(&mut self, most: usize) -> Result<(), Malformed> {
        self.length += 1;
        if self.length > most {
            return Err(Malformed);
        }
        Ok(())
    }
}

fn expect(byte: u8, wanted: u8, then: State) -> Result<State, Malformed> {
    if byte == wanted {
        Ok(then)
    } else {
        Err(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body and what is left of the input; fed in pieces of `size` bytes.
    fn decode(input: &[u8], size: usize) -> Result<(Vec<u8>, usize, bool), Malformed> {
        let mut chunks = Chunks::new();
        let (mut body, mut at) = (Vec::new(), 0);
        let mut room = [0; 5];
        while at < input.len() && !chunks.is_done() {
            let piece = &input[at..(at + size).min(input.len())];
            let step = chunks.decode(piece, &mut room)?;
            body.extend_from_slice(&room[..step.produced]);
            at += step.consumed;
        }
        Ok((body, at, chunks.is_done()))
    }

    #[test]
    fn bodies_come_out_whole_however_they_are_cut() {
        let input =
            b"5\r\nhello\r\n00A;x=\"y\"\r\n 23456789a\r\n0\r\nX-Sum: 1\r\nX-B:\r\n\r\nGET /";
        for size in 1..input.len() {
            let (body, at, is_done) = decode(input, size).unwrap();
            assert_eq!(body, b"hello 23456789a");
            assert!(is_done && &input[at..] == b"GET /", "{size}");
        }
    }

    #[test]
    fn what_is_not_over_is_not_done() {
        for input in [
            "",
            "5",
            "5\r\nhel",
            "5\r\nhello\r\n",
            "0\r\n",
            "0\r\n\r",
            "0\r\nX: y\r\n",
        ] {
            assert!(!decode(input.as_bytes(), 3).unwrap().2, "{input:?}");
        }
    }

    #[test]
    fn anything_odd_is_malformed() {
        let nines = "9".repeat(17) + "\r\n";
        let extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(2000));
        let trailers = format!("0\r\nX: {}\r\n\r\n", "x".repeat(9000));
        let odd = [
            "\r\n",
            "x\r\n",
            "+3\r\nabc",
            "-3\r\nabc",
            "0x3\r\nabc",
            " 3\r\nabc",
            "3 \r\nabc",
            "3\nabc\n0\n\n",
            "3\r\rabc",
            "3\r\nabcd\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "3\r\nabc\r0\r\n",
            ";x\r\n",
            "3;\0\r\nabc",
            "3;a\nb\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\n: x\r\n\r\n",
            "0\r\nX : y\r\n\r\n",
            "0\r\n X: y\r\n\r\n",
            "0\r\nX: \0\r\n\r\n",
            "0\r\n\rX",
            "0\r\n\n",
            "0\r\nX: y\n\r\n\r\n",
            &nines,
            &extension,
            &trailers,
        ];
        for input in odd {
            assert_eq!(decode(input.as_bytes(), 4096), Err(Malformed), "{input:?}");
        }
    }
}
