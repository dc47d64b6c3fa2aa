//! Agreeing on keys with a client: looks at what has come, and takes it as far as it goes.
//!
//! The reactor gathers whole records, which costs nothing. What needs public-key operations it leaves to [`super::crew`]; the
//! last step of TLS 1.3 needs none. A client that speaks plain HTTP is told so by the caller.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use crate::logging::Seldom;

use super::link::Held;
use super::session::Session;
use super::state::Stage;

/// Bytes of a record's header: type, version, length (RFC 8446 section 5.1).
const HEADER: usize = 5;
/// Most bytes behind it (RFC 5246 section 6.2.3, which allows more than TLS 1.3 does).
const LONGEST: usize = (1 << 14) + 2048;
/// The record of a handshake's last message in TLS 1.3 is shorter than this, one with a certificate longer.
const LONGEST_FINISHED: usize = 128;

/// Who has the next move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The client, and the reactor gathers it.
    Client,
    /// One of the crew, which has the connection or will have it soon.
    Crew,
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gathered {
    /// Not a whole record yet.
    Incomplete,
    /// Records of so many bytes together, or something else that rustls has to judge.
    Records(usize),
    /// No TLS, but letters, as every HTTP request begins with.
    Plain,
}

/// What became of all handshakes of an engine.
#[derive(Debug, Default)]
pub(super) struct Tally {
    seldom: Seldom,
}

/// Looks at `input`, which begins where a record begins. `is_first`: nothing came before it.
pub(super) fn gathered(input: &[u8], is_first: bool) -> Gathered {
    if is_first && input.first().is_some_and(u8::is_ascii_alphabetic) {
        return Gathered::Plain;
    }
    let mut whole = 0;
    loop {
        let rest = input.get(whole..).unwrap_or_default();
        let [kind, major, _, high, low, ..] = rest else {
            break;
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if !(20..=24).contains(kind) || *major != 3 || length > LONGEST {
            return Gathered::Records(input.len());
        }
        if rest.len() < HEADER + length {
            break;
        }
        whole += HEADER + length;
    }
    match whole {
        0 if input.first().is_some_and(|kind| !(20..=24).contains(kind)) => {
            Gathered::Records(input.len())
        }
        0 => Gathered::Incomplete,
        whole => Gathered::Records(whole),
    }
}

/// Whether what has come can be taken where nobody may be held up.
pub(super) fn is_cheap(held: &Held<'_>) -> bool {
    let is_last = held.session.as_ref().is_some_and(|one| one.ends_cheaply());
    is_last && is_finished(&held.input)
}

/// Whether what comes looks like the last message: a record that is encrypted, and short. A second hello is neither encrypted
/// nor cheap (RFC 8446 section 4.1.4).
fn is_finished(input: &[u8]) -> bool {
    let mut rest = input;
    while let [kind, _, _, high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if *kind != 20 {
            return *kind == 23 && length < LONGEST_FINISHED;
        }
        rest = more.get(length..).unwrap_or_default();
    }
    true
}

/// Takes the first `whole` bytes of the input: the handshake goes on, is done, or has failed.
pub(super) fn step(held: &mut Held<'_>, whole: usize) {
    if let Err(error) = advance(held, whole) {
        // The client gets to know why, if there is a word for it.
        let _ = held.dispatch();
        held.outbox = None;
        held.input.clear();
        failed(held, &error);
        held.linger();
    }
}

fn advance(held: &mut Held<'_>, whole: usize) -> Result<(), rustls::Error> {
    let link = held.link;
    let whole = whole.min(held.input.len());
    let mut records = held.input.split_to(whole);
    let mut session = match (held.session.take(), &link.tls) {
        (Some(session), _) => session,
        (None, Some(terminator)) => Box::new(Session::new(terminator)?),
        (None, None) => return Err(rustls::Error::General("a listener without TLS".into())),
    };
    let mut result = open(&mut session, &mut records);
    // What follows the last message of the handshake belongs to the first request.
    if result.is_ok() && !session.is_handshaking() && !held.input.is_empty() {
        let mut rest = held.input.split();
        result = open(&mut session, &mut rest);
        records.unsplit(rest);
    }
    let is_handshaking = session.is_handshaking();
    held.session = Some(session);
    result?;
    if is_handshaking {
        held.stage = Stage::Handshake(Turn::Client);
        return dispatch(held);
    }
    finish(held, records)
}

/// Turns records into the plaintext that is in them.
fn open(session: &mut Session, records: &mut BytesMut) -> Result<(), rustls::Error> {
    let received = records.len();
    let opened = session.open(records, received)?;
    records.truncate(opened);
    Ok(())
}

/// The client may ask now.
fn finish(held: &mut Held<'_>, plaintext: BytesMut) -> Result<(), rustls::Error> {
    let link = held.link;
    let secured = held.session.as_ref().map(|session| session.secured());
    held.peer.tls = secured.map(Arc::new);
    held.input = plaintext;
    held.scanned = 0;
    held.stage = Stage::Head;
    link.set_deadline(link.rules.timeouts.head);
    held.is_readable |= held.session.as_ref().is_some_and(|one| one.has_news());
    // Tickets for a resumption may go out with the answer, if there is going to be one.
    if held.input.is_empty() {
        dispatch(held)?;
    }
    Ok(())
}

fn dispatch(held: &mut Held<'_>) -> Result<(), rustls::Error> {
    let sent = held.dispatch();
    sent.map_err(|error| rustls::Error::General(error.to_string()))
}

/// Tells of handshakes that came to nothing, now and then.
pub(super) fn failed(held: &Held<'_>, why: &dyn std::fmt::Display) {
    let tally = &held.link.rules.handshakes;
    let client = held.peer.ip();
    log::debug!("{client}: no TLS handshake: {why}");
    if let Some(count) = tally.seldom.count(Instant::now()) {
        log::info!("{count} TLS handshakes failed, the last one with {client}: {why}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, length: usize) -> Vec<u8> {
        let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
        let mut record = vec![kind, 3, 3, high, low];
        record.resize(HEADER + length, 0);
        record
    }

    #[test]
    fn only_a_short_record_that_is_encrypted_is_the_end_of_a_handshake() {
        let change = record(20, 1);
        assert!(is_finished(&record(23, 53)));
        assert!(is_finished(&[change.clone(), record(23, 53)].concat()));
        // A certificate, and a second hello, which can be as short as that.
        assert!(!is_finished(&record(23, 800)));
        assert!(!is_finished(&record(22, 110)));
        assert!(!is_finished(&[change, record(22, 110)].concat()));
    }
}
