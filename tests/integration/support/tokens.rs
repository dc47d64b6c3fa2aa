//! Who signs tokens: the openssl program with keys of its own, so that tokens are not only what we ourselves think they are.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use tempfile::TempDir;

use super::program::Program;
use super::{Client, Response};

/// The other implementation.
pub const OPENSSL: Program = Program::new("openssl", "openssl");

/// A secret for HS256.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The header of a token under it.
pub const HEADER: &str = r#"{"alg":"HS256"}"#;

/// Some keys, each in a file.
pub struct Issuer {
    folder: TempDir,
}

impl Issuer {
    pub fn new() -> Issuer {
        Issuer {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A file of this issuer's.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and gives its path as a configuration names it.
    pub fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    /// Makes a key pair for `algorithm`; the path of the public key.
    pub fn make(&self, name: &str, algorithm: &str) -> String {
        let kind: &[&str] = match algorithm {
            "RS256" => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            "ES256" => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            _ => &["-algorithm", "ED25519"],
        };
        let private = self.path(name).display().to_string();
        let public = format!("{private}.pub");
        openssl(&[&["genpkey", "-out", &private], kind].concat(), b"");
        openssl(&["pkey", "-in", &private, "-pubout", "-out", &public], b"");
        public
    }

    /// A token that is signed with the key `name`; for HS256 the key is the file's content.
    pub fn sign(&self, name: &str, algorithm: &str, claims: &str) -> String {
        let message = unsigned(&format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#), claims);
        let (key, bytes) = (self.path(name).display().to_string(), message.as_bytes());
        let signature = match algorithm {
            "HS256" => {
                let secret = fs::read(self.path(name)).unwrap();
                let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
                let key = format!("hexkey:{hex}");
                openssl(
                    &[
                        "dgst", "-sha256", "-mac", "HMAC", "-macopt", &key, "-binary",
                    ],
                    bytes,
                )
            }
            "RS256" => openssl(&["dgst", "-sha256", "-sign", &key], bytes),
            "ES256" => fixed(&openssl(&["dgst", "-sha256", "-sign", &key], bytes)),
            _ => {
                let input = self.write("message", &message);
                openssl(
                    &["pkeyutl", "-sign", "-inkey", &key, "-rawin", "-in", &input],
                    b"",
                )
            }
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A token under HS256, made here.
pub fn hs256(secret: &str, header: &str, claims: &str) -> String {
    let message = unsigned(header, claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Header and payload with the dot between them.
pub fn unsigned(header: &str, claims: &str) -> String {
    let (header, claims) = (
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims),
    );
    format!("{header}.{claims}")
}

/// Seconds since 1970, so many from now.
pub fn from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + seconds
}

/// The route `web` with this `jwt`.
pub fn jwt(lines: &str) -> String {
    format!("[[route]]\nname = \"web\"\nupstream = \"web\"\n[route.auth.jwt]\n{lines}\n")
}

/// Claims that are good for an hour.
pub fn claims(more: &str) -> String {
    let expires = from_now(3600);
    format!(r#"{{"sub":"ann","aud":"api","exp":{expires}{more}}}"#)
}

/// A GET with these fields.
pub fn ask(client: &mut Client, fields: &str) -> Response {
    client.ask(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
}

/// A GET with this token.
pub fn bearer(client: &mut Client, token: &str) -> Response {
    ask(client, &format!("Authorization: Bearer {token}\r\n"))
}

fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command: Command = OPENSSL.command();
    command.args(arguments).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
    output.stdout
}

/// The two numbers of an ECDSA signature in DER, in 32 bytes each.
fn fixed(der: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = &der[2..];
    while let [2, length, number @ ..] = rest {
        let (number, others) = number.split_at(usize::from(*length));
        let number = &number[number.iter().take_while(|byte| **byte == 0).count()..];
        out.extend(std::iter::repeat_n(0, 32 - number.len()));
        out.extend_from_slice(number);
        rest = others;
    }
    assert_eq!(out.len(), 64);
    out
}
