//! TLS for clients: which listeners speak it, with which certificates, and who has to show one. Paths only: nothing here
//! opens a file.

use std::fmt;
use std::path::PathBuf;

use http::HeaderName;
use serde::Serialize;

/// What is spoken on a listener.
#[derive(Debug, Serialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum ListenTls {
    /// HTTP without encryption. The default.
    #[default]
    Plain,
    /// HTTP over TLS, as [`super::Server::tls`] says; reactor engine only.
    Tls,
}

/// `[server.tls]`: the same for all listeners that speak TLS.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// What is shown to clients.
    pub certificates: Certificates,
    /// Older ones are refused. Default TLS 1.2.
    pub min_version: TlsVersion,
    /// Whether clients show certificates too. Default no.
    pub client_auth: Option<ClientAuth>,
}

/// Where the certificates of the server come from.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Certificates {
    /// From files, which are read again when they change. The one for a connection is chosen by SNI (RFC 6066 section 3); the
    /// first one is for names that no other has. Never empty.
    Files(Vec<CertificateFiles>),
    /// `tls = "self-signed"`: one is made at the start, and kept until the end.
    SelfSigned {
        /// Host names and addresses it is for, besides the name of the machine. They follow from `listen`.
        #[serde(skip)]
        names: Vec<String>,
    },
}

/// A certificate and its key.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the certificate of the server, then those between it and an authority that clients know.
    pub cert: PathBuf,
    /// PEM: the private key, not encrypted.
    pub key: PathBuf,
}

/// A version of TLS.
#[derive(Debug, Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `1.2` (RFC 5246).
    #[serde(rename = "1.2")]
    Tls12,
    /// `1.3` (RFC 8446).
    #[serde(rename = "1.3")]
    Tls13,
}

/// `1.2` or `1.3`, as in the configuration.
impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsVersion::Tls12 => "1.2",
            TlsVersion::Tls13 => "1.3",
        })
    }
}

/// `client_auth`: certificates of clients.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// PEM: the authorities that sign them. Read again when it changes.
    pub ca: PathBuf,
    /// Default [`ClientAuthMode::Required`].
    pub mode: ClientAuthMode,
    /// Tells backends the subject; whatever clients send under this name is taken away. Default `x-client-cert-subject`.
    #[serde(serialize_with = "super::as_text")]
    pub header: HeaderName,
}

/// What becomes of clients without a certificate.
#[derive(Debug, Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMode {
    /// They are refused, as are those with a bad one.
    Required,
    /// They are served; those with a bad one are refused.
    Optional,
}

impl ClientAuthMode {
    /// As in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            ClientAuthMode::Required => "required",
            ClientAuthMode::Optional => "optional",
        }
    }
}
