//! tollgate: a synchronous, multi-threaded HTTP reverse proxy and load balancer.
//!
//! The modules in reading order. Verbs are the rooms on the road of a request, nouns the rooms beside it.
//! Start with `serve/pass.rs`: the road itself.
//!
//! | row | modules | may import |
//! |---|---|---|
//! | 6 | `cli` (and the binary) | 5 and below, for `demo` and `explain` too |
//! | 5 | `app` | everything below |
//! | 4 | `accept`, `serve`, `health`, `discovery`, `admin`, `demo` | 0–3, never each other; only `serve` uses rooms of row 3 |
//! | 3 | `admit`, `route`, `balance`, `forward`, `respond`, `tunnel` | 0, 2, `tls` and `config::model`; never each other |
//! | 2 | `upstream` | 0–1 |
//! | 1 | `config`, `logging`, `tls` | 0; `logging` and `tls` also read `config::model` |
//! | 0 | `exchange`, `message`, `jose`, `socket`, `plain_file`, `error`, `drain`, `clock` | `exchange` may use the others |
//!
//! `tests/architecture.rs` holds the code to this table.

pub mod cli;

pub mod app;

pub mod accept;
pub mod serve;

pub mod admit;
pub mod balance;
pub mod forward;
pub mod respond;
pub mod route;
pub mod tunnel;

pub mod admin;
pub mod demo;
pub mod discovery;
pub mod health;

pub mod upstream;

pub mod config;
pub mod logging;
pub mod tls;

pub mod clock;
pub mod drain;
pub mod error;
pub mod exchange;
pub mod jose;
pub mod message;
pub mod plain_file;
pub mod socket;
