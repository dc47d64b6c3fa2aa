//! Words for the person at the terminal, on standard error.
//!
//! A terminal that has gone or a pipe that nobody reads must neither stop the program nor keep it from stopping.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;

/// How long a reader may take for one notice.
const PATIENCE: Duration = Duration::from_millis(500);

/// Writes `text` and a line end, if that is possible soon. Errors are nobody's business.
pub(super) fn say(text: &str) {
    let line = format!("{text}\n");
    let (done, finished) = bounded::<()>(1);
    let write = move || {
        let _ = std::io::stderr().write_all(line.as_bytes());
        drop(done);
    };
    if thread::Builder::new()
        .name("notice".into())
        .spawn(write)
        .is_ok()
    {
        let _ = finished.recv_timeout(PATIENCE);
    }
}
