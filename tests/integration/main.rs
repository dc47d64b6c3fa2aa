//! The integration tests: one binary, one module per room, every path test on every listener engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs, unreachable_pub)]

mod support;

// The rooms on the path of a request.
mod accept; // connections: keep-alive, pipelining, clients that leave, running out of descriptors
mod admit; // limits, the shape of refusals, overload
mod balance; // who gets the next request, ejection, no backend
mod forward; // what a backend is sent; retries; timeouts
mod respond; // what a client is sent: streams, cuts, large bodies
mod route; // hosts, paths, services

// The side rooms.
mod admin; // the admin listener and the health paths on the traffic port
mod config; // all ways to configure, and what a bad configuration says
mod demo; // the demonstration
mod drain; // signals, what finishes and what is cut
mod health; // probes: down, skipped, back
mod logging; // access lines, what never gets into them, rotation

// Across the rooms.
mod conformance; // one test per rule, named by its RFC section
mod hostile; // a table of bad bytes; after each a good request must work
mod peers; // programs of other people: curl in front, nginx and Python behind
mod regression; // one test per fixed or known bug
