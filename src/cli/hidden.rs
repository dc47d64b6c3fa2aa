//! Reads a secret: from a terminal without showing it, else one line of standard input. Never from an argument, which
//! everybody on the machine can see.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Longest secret, in bytes.
const LONGEST: u64 = 4096;

/// Turns the echo on again, whatever happens.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Quiet> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO;
        tcsetattr(&stdin, OptionalActions::Flush, &quiet)?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        // The line end was not shown either.
        let _ = writeln!(io::stderr());
    }
}

/// Asks for `what`, twice on a terminal.
///
/// # Errors
/// What is wrong, for people.
pub(super) fn ask(what: &str) -> Result<String, String> {
    let failed = |error: io::Error| format!("the {what} cannot be read: {error}");
    let mut stdin = io::stdin().lock();
    if !io::stdin().is_terminal() {
        let secret = line(&mut stdin).map_err(failed)?;
        return usable(secret, what);
    }
    let mut once = |prompt: String| {
        let _ = write!(io::stderr(), "{prompt}: ");
        let _ = io::stderr().flush();
        let _quiet = Quiet::begin()?;
        line(&mut stdin)
    };
    let secret = once(format!("The {what}")).map_err(failed)?;
    let secret = usable(secret, what)?;
    let again = once("Once more".to_owned()).map_err(failed)?;
    if secret != again {
        return Err("these are not the same".to_owned());
    }
    Ok(secret)
}

/// One line without its end.
fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    from.take(LONGEST + 2).read_line(&mut text)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn usable(secret: String, what: &str) -> Result<String, String> {
    match secret.len() as u64 {
        0 => Err(format!("the {what} is empty")),
        length if length > LONGEST => Err(format!("the {what} is longer than {LONGEST} bytes")),
        _ => Ok(secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_no_more() {
        let read = |text: &str| line(&mut text.as_bytes()).unwrap();
        assert_eq!(read(" a b \r\nc"), " a b ");
        assert_eq!(read("a"), "a");
        assert_eq!(read(""), "");
        assert!(usable(read(&"a".repeat(5000)), "key").is_err());
        assert!(usable(read("\n"), "key").is_err());
    }
}
