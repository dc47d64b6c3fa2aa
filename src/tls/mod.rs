//! Certificates and keys, and what rustls is told about them, for clients (`server.tls`) and for backends (`upstream.tls`).
//!
//! Nothing here moves bytes: the reactor does for clients, `upstream` for backends.
