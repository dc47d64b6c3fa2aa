//! A long, checkable stream of bytes: comparing it against its position is stronger than any checksum, and fast.

use std::sync::LazyLock;

use super::client::Client;
use super::wire::Piece;

/// A prime, so that neither a lost nor a doubled buffer of a usual size goes unnoticed.
const PERIOD: usize = 1_048_573;

static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut block = Vec::with_capacity(PERIOD);
    while block.len() < PERIOD {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        block.extend_from_slice(&state.to_le_bytes());
    }
    block.truncate(PERIOD);
    block
});

/// At most `most` bytes of the stream from `offset`; at least one.
pub fn slice(offset: u64, most: u64) -> &'static [u8] {
    let start = usize::try_from(offset % PERIOD as u64).unwrap();
    let length = usize::try_from(most.min(256 << 10)).unwrap();
    &BLOCK[start..(start + length).min(PERIOD)]
}

/// The first `length` bytes of the stream.
pub fn bytes(length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < length {
        let at = bytes.len() as u64;
        bytes.extend_from_slice(slice(at, length - at));
    }
    bytes
}

/// Whether `bytes` are what the stream has at `offset`.
pub fn matches(mut offset: u64, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let expected = slice(offset, bytes.len() as u64);
        let (now, later) = bytes.split_at(expected.len());
        if now != expected {
            return false;
        }
        offset += expected.len() as u64;
        bytes = later;
    }
    true
}

#[test]
fn the_stream_knows_its_place() {
    let mut bytes = bytes(3_000_000);
    assert_eq!(bytes.len(), 3_000_000);
    assert!(matches(0, &bytes));
    assert!(matches(500, &bytes[500..]));
    assert!(!matches(1, &bytes));
    bytes[2_500_000] ^= 1;
    assert!(!matches(0, &bytes));
}

/// Sends and gets the first `size` bytes, to and from a [`super::Backend::patterned`] of that size.
#[track_caller]
pub fn both_ways(client: &mut Client, size: u64) {
    client.send(format!(
        "POST /up HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n"
    ));
    let upload = client.upload(size);
    assert_eq!(client.read().text(), format!("{size} true"));
    assert!(upload.join().unwrap());
    client
        .send("GET /down HTTP/1.1\r\nHost: test\r\n\r\n")
        .read_head();
    let mut at = 0;
    while let Piece::Data(data) = client.piece() {
        assert!(matches(at, &data), "after {at} bytes");
        at += data.len() as u64;
    }
    assert_eq!(at, size);
}
