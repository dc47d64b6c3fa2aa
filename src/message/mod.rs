//! HTTP messages as plain data: heads, header fields, request-targets and the strict framing rules.
//!
//! No I/O, no policy; every function is pure. Nothing here knows an engine, a backend or a route.

pub mod fields;
pub mod forwarded;
pub mod framing;
pub mod head;
pub mod network;
pub mod path;
pub mod query;
pub mod target;
