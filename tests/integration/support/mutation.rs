//! Streams of bytes for the reactor to survive: requests from `tests/fixtures/requests`, joined and mutated at random.
//!
//! The same seed and number always give the same stream.

use std::fs;
use std::path::Path;

/// A small random generator (SplitMix64), so that a stream can be made again from its number.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator of one stream of a run.
    pub fn new(seed: u64, number: u64) -> Random {
        Random(seed ^ number.wrapping_mul(0xd605_1b2a_6f38_45c3))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// One file of the corpus.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// Its name without the ending; `good-…` are requests that are to be answered with 200.
    pub name: String,
    /// What it stands for.
    pub bytes: Vec<u8>,
}

/// All files, by name; never an empty list.
pub fn corpus() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/requests");
    let files = fs::read_dir(&folder).unwrap();
    let mut corpus: Vec<Fixture> = files
        .map(|file| file.unwrap().path())
        .map(|path| Fixture {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            bytes: unescaped(&fs::read_to_string(&path).unwrap()),
        })
        .collect();
    corpus.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(
        corpus.len() >= 40,
        "{} in {}",
        corpus.len(),
        folder.display()
    );
    corpus
}

/// The ends of lines count for nothing; `\r`, `\n`, `\t`, `\0`, `\\` and `\xHH` are the bytes they name.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes().filter(|byte| *byte != b'\n');
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().expect("an escape") {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("\\{} is no escape", char::from(other)),
        });
    }
    bytes
}

/// What is worth putting in somewhere.
const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\r\n ",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"0\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 99999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive, Content-Length\r\n",
    b"Expect: 100-continue\r\n",
    b"Host: b\r\n",
    b"Upgrade: websocket\r\nConnection: upgrade\r\n",
    b"GET /in HTTP/1.1\r\nHost: a\r\n\r\n",
    b" HTTP/1.0\r\n",
    b" HTTP/1.1\r\n",
    b"ffffffffffffffff\r\n",
    b"+",
    b";",
    b"\xff",
];

/// What a line may end with instead.
const LINE_ENDS: &[&[u8]] = &[
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\n\r",
    b"\r\r\n",
    b"",
    b"\r\n\t",
];

/// One stream: up to three requests, up to four mutations, and mostly a last request that asks for the end.
pub fn stream(random: &mut Random, corpus: &[Fixture]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(3) {
        bytes.extend_from_slice(&random.pick(corpus).bytes);
    }
    for _ in 0..random.below(5) {
        mutate(random, &mut bytes, corpus);
    }
    // Together they may be longer than anything that is read before an answer.
    bytes.truncate(60_000);
    if random.percent(60) {
        bytes.extend_from_slice(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    bytes
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>, corpus: &[Fixture]) {
    let at = random.below(bytes.len() + 1);
    let end = at + random.below(bytes.len() - at + 1).min(random.below(64));
    match random.below(11) {
        0 => flip(random, bytes, 0xff),
        1 => {
            let bit = 1 << random.below(8);
            flip(random, bytes, bit);
        }
        2 => drop(bytes.drain(at..end)),
        3 => {
            let twice = bytes[at..end].to_vec();
            bytes.splice(at..at, twice);
        }
        4 => bytes.truncate(at),
        5 => {
            let other = &random.pick(corpus).bytes;
            let from = random.below(other.len());
            let to = from + random.below(other.len() - from + 1);
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        6 | 7 => {
            let token = random.pick(TOKENS).iter().copied();
            bytes.splice(at..at, token);
        }
        8 => replace_line_end(random, bytes),
        9 => replace_digit(random, bytes),
        _ => {
            let again = bytes.clone();
            bytes.extend(again);
        }
    }
}

fn flip(random: &mut Random, bytes: &mut [u8], by: u8) {
    let at = random.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= by;
    }
}

fn replace_line_end(random: &mut Random, bytes: &mut Vec<u8>) {
    let ends = (1..bytes.len()).filter(|at| bytes[at - 1..=*at] == *b"\r\n");
    let ends: Vec<usize> = ends.collect();
    if let Some(at) = ends.get(random.below(ends.len())) {
        let other = random.pick(LINE_ENDS);
        bytes.splice(at - 1..=*at, other.iter().copied());
    }
}

fn replace_digit(random: &mut Random, bytes: &mut [u8]) {
    let digits = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit());
    let digits: Vec<usize> = digits.collect();
    if let Some(at) = digits.get(random.below(digits.len())) {
        bytes[*at] = *random.pick(b"0123456789abcdefx+- ");
    }
}

#[test]
fn a_stream_can_be_made_again() {
    let corpus = corpus();
    let make = |number| stream(&mut Random::new(7, number), &corpus);
    assert_eq!(make(3), make(3));
    assert_ne!(make(3), make(4));
    assert_eq!(unescaped("a\\r\\n\n\\x0bb\\\\\\0"), b"a\r\n\x0bb\\\0");
}
