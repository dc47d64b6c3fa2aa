//! Files in the PEM form (RFC 7468): certificates and private keys.
//!
//! Does not look into certificates, and does not know whether a key belongs to one.

use std::path::Path;

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Fault;
use crate::plain_file::{self, Unreadable};

/// Longer files are not read: the authorities of all of the web take a quarter of it.
const LARGEST: u64 = 1 << 20;

/// What is in the file at `path`.
///
/// # Errors
/// When it is no file, cannot be read, or is larger than 1 MiB.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    plain_file::read(path, LARGEST).map_err(|why| match why {
        Unreadable::Failed(error) => match error.kind() {
            std::io::ErrorKind::NotFound => Fault::of(path, "there is no such file"),
            std::io::ErrorKind::PermissionDenied => Fault::of(
                path,
                "the user that runs tollgate is not allowed to read it",
            ),
            _ => Fault::of(path, format!("cannot be read: {error}")),
        },
        Unreadable::Directory | Unreadable::NotRegular => Fault::of(path, "is not a regular file"),
        Unreadable::TooLarge => Fault::of(path, "is larger than 1 MiB"),
    })
}

/// All certificates of the file at `path`, in its order; never an empty list.
///
/// # Errors
/// When it cannot be read, is not PEM, or has none.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    certificates(path, &read(path)?)
}

/// The private key of the file at `path`: PKCS #8, PKCS #1 or SEC 1.
///
/// # Errors
/// When it cannot be read, is not PEM, has none, or has one that is encrypted.
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    key(path, &read(path)?)
}

pub(super) fn certificates(
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let found = found.map_err(|error| damaged(path, &error))?;
    if !found.is_empty() {
        return Ok(found);
    }
    Err(Fault::of(
        path,
        match has_section(bytes) {
            true if holds(bytes, "PRIVATE KEY-----") => {
                "there is no certificate in it, but a private key: are the two files swapped?"
            }
            true => "there is no certificate in it",
            false => NOT_PEM,
        },
    ))
}

pub(super) fn key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    if holds(bytes, "-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds(bytes, "ENCRYPTED\n") {
        return Err(Fault::of(
            path,
            "the key is encrypted, and there is nobody to ask for its password (`openssl pkey -in KEY -out PLAIN` decrypts it)",
        ));
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        Error::NoItemsFound if holds(bytes, "-----BEGIN CERTIFICATE-----") => Fault::of(
            path,
            "there is no private key in it, but a certificate: are the two files swapped?",
        ),
        Error::NoItemsFound if has_section(bytes) => {
            Fault::of(path, "there is no private key in it")
        }
        Error::NoItemsFound => Fault::of(path, NOT_PEM),
        error => damaged(path, &error),
    })
}

const NOT_PEM: &str = "is not in the PEM form: there is no line that begins with -----BEGIN";

/// The words of the parser are not passed on: they could hold parts of a key.
fn damaged(path: &Path, error: &Error) -> Fault {
    Fault::of(
        path,
        match error {
            Error::MissingSectionEnd { .. } => "is cut short: an -----END line is missing",
            _ => {
                "is damaged: between -----BEGIN and -----END there is something that is not Base64"
            }
        },
    )
}

fn has_section(bytes: &[u8]) -> bool {
    holds(bytes, "-----BEGIN ")
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}
