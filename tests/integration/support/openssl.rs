//! openssl as a client: what it is shown, and what it says about being refused.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;

use super::program::Program;

/// The program.
pub const OPENSSL: Program = Program::new("openssl", "openssl");

/// What `s_client` is told for each version of TLS that is spoken.
pub const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

// Alerts, RFC 8446 section 6.

/// Nothing can be agreed on.
pub const HANDSHAKE_FAILURE: u8 = 40;
/// A certificate whose time is over.
pub const CERTIFICATE_EXPIRED: u8 = 45;
/// A certificate that nobody we know has signed.
pub const UNKNOWN_CA: u8 = 48;
/// Another version is spoken.
pub const PROTOCOL_VERSION: u8 = 70;
/// There has to be a certificate.
pub const CERTIFICATE_REQUIRED: u8 = 116;
/// Another protocol is spoken over TLS.
pub const NO_APPLICATION_PROTOCOL: u8 = 120;

/// What one run of it brought.
#[derive(Debug)]
pub struct Said {
    /// Whether it was content.
    pub is_good: bool,
    /// All that it wrote, to both outputs.
    pub text: String,
}

impl Said {
    /// Whether it got an answer to its request.
    pub fn is_answered(&self) -> bool {
        self.text.contains("HTTP/1.1 200 ")
    }

    /// Whether it was sent this alert (RFC 8446 section 6), got no answer and told so by its exit code.
    #[track_caller]
    pub fn assert_refused(&self, alert: u8) {
        let number = format!("SSL alert number {alert}\n");
        assert!(self.text.contains(&number), "no alert {alert}: {self:#?}");
        assert!(!self.is_good && !self.is_answered(), "{self:#?}");
    }

    /// Whether it got an answer.
    #[track_caller]
    pub fn assert_answered(&self) {
        assert!(self.is_good && self.is_answered(), "{self:#?}");
    }

    /// How often the text is there.
    pub fn count(&self, text: &str) -> usize {
        self.text.matches(text).count()
    }
}

/// Runs `openssl` with these arguments.
#[track_caller]
pub fn openssl(arguments: &[&str]) -> Said {
    let mut input = tempfile::tempfile().unwrap();
    input
        .write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        .unwrap();
    std::io::Seek::rewind(&mut input).unwrap();
    run(arguments, input)
}

/// `openssl s_client`: connects, asks for `/`, and waits until the server closes.
#[track_caller]
pub fn s_client(to: SocketAddr, arguments: &[&str]) -> Said {
    let to = to.to_string();
    let first = ["s_client", "-connect", &to, "-ign_eof"];
    openssl(&[&first[..], arguments].concat())
}

#[track_caller]
fn run(arguments: &[&str], input: File) -> Said {
    let output = OPENSSL
        .command()
        .args(arguments)
        // What a system forbids its clients is no matter here.
        .env("OPENSSL_CONF", "/dev/null")
        .stdin(input)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    Said {
        is_good: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}
