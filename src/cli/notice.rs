//! Words for the person at the terminal: notices on standard error, results on standard output.
//!
//! A terminal that has gone or a pipe that nobody reads must neither stop the program nor keep it from stopping.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;

/// How long a reader may take for one notice.
const PATIENCE: Duration = Duration::from_millis(500);

/// Writes a command's result to standard output, so that it can be piped. A closed pipe is nobody's problem.
pub(super) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

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
