//! What the kernel tells of a connection, and the note that the reactor leaves when it cannot act on it at once.
//!
//! Nothing here acts on it.

/// What happened to a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Readiness {
    pub(super) is_readable: bool,
    pub(super) is_read_closed: bool,
}

/// The reactor was here in vain.
pub(super) const MISSED: u8 = 1;
const READABLE: u8 = 2;
const READ_CLOSED: u8 = 4;

impl Readiness {
    /// As a note that the reactor was here.
    pub(super) fn to_bits(self) -> u8 {
        let readable = if self.is_readable { READABLE } else { 0 };
        let closed = if self.is_read_closed { READ_CLOSED } else { 0 };
        MISSED | readable | closed
    }

    /// What a note says.
    pub(super) fn from_bits(bits: u8) -> Readiness {
        Readiness {
            is_readable: bits & READABLE != 0,
            is_read_closed: bits & READ_CLOSED != 0,
        }
    }
}
