//! WebSocket (RFC 6455) as far as the tests need it: one fixed handshake, frames, and a backend that echoes them.

use super::client::Client;
use super::conn::Conn;
use super::wire::{Broken, Wire};

/// Opcode of a text frame.
pub const TEXT: u8 = 1;
/// Opcode of a binary frame.
pub const BINARY: u8 = 2;
/// Opcode of the frame that ends a connection.
pub const CLOSE: u8 = 8;

/// The answer to [`handshake`]: key and accept are the example of RFC 6455 section 1.3.
pub const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Neither zero nor all the same, so that a mask that is lost or applied twice shows.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// One whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What kind it is.
    pub opcode: u8,
    /// Without its mask.
    pub payload: Vec<u8>,
}

/// The request that asks for the upgrade.
pub fn handshake(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Shakes hands and echoes until a close frame or the end of the connection.
pub fn echo(conn: &mut Conn) {
    conn.request();
    conn.raw(ACCEPTED);
    while let Some(frame) = receive(conn) {
        conn.raw(encode(frame.opcode, &frame.payload, false));
        if frame.opcode == CLOSE {
            return conn.close();
        }
    }
    conn.ended = true;
}

/// What the client sent next; nothing when it sends no more.
pub fn receive(conn: &mut Conn) -> Option<Frame> {
    read(&mut conn.wire).ok()
}

/// Sends a message as a client does: masked.
pub fn send(client: &mut Client, opcode: u8, payload: &[u8]) {
    client.send(encode(opcode, payload, true));
}

/// Sends a message and fails the test unless exactly it comes back.
#[track_caller]
pub fn assert_echo(client: &mut Client, opcode: u8, payload: &[u8]) {
    send(client, opcode, payload);
    let got = read(&mut client.wire).expect("an echo");
    assert_eq!((got.opcode, got.payload.len()), (opcode, payload.len()));
    assert!(got.payload == payload, "the echo differs");
}

/// A connection that has been upgraded.
#[track_caller]
pub fn open(mut client: Client, target: &str) -> Client {
    client.send(handshake(target)).read_switch();
    client
}

/// The bytes of one frame that is a whole message.
pub fn encode(opcode: u8, payload: &[u8], is_masked: bool) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    let mask_bit = if is_masked { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..=125 => bytes.push(mask_bit | u8::try_from(length).unwrap()),
        length @ 126..=0xffff => {
            bytes.push(mask_bit | 126);
            bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(mask_bit | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    if is_masked {
        bytes.extend_from_slice(&MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m));
    } else {
        bytes.extend_from_slice(payload);
    }
    bytes
}

fn read(wire: &mut Wire) -> Result<Frame, Broken> {
    let start = wire.exact(2)?;
    let length = match start[1] & 0x7f {
        126 => number(&wire.exact(2)?),
        127 => number(&wire.exact(8)?),
        length => usize::from(length),
    };
    let is_masked = start[1] & 0x80 != 0;
    let mask = if is_masked { wire.exact(4)? } else { vec![0] };
    let mut payload = wire.exact(length)?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    if start[0] & 0xf0 != 0x80 {
        return Err(Broken::Malformed(format!("frame {start:?}")));
    }
    let opcode = start[0] & 0xf;
    Ok(Frame { opcode, payload })
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}
