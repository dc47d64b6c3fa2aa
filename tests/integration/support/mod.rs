//! What the tests are made of: scripted backends, raw clients, proxies in process and as a program, and patience.

pub mod admin;
pub mod authority;
pub mod backend;
pub mod certificates;
pub mod client;
pub mod conn;
pub mod counting;
pub mod curl;
pub mod delay;
pub mod desk;
pub mod dial;
pub mod engine;
pub mod eventually;
pub mod gate;
pub mod link;
pub mod members;
pub mod mutation;
pub mod names;
pub mod nginx;
pub mod openssl;
pub mod pattern;
pub mod process;
pub mod program;
pub mod proxy;
pub mod readers;
pub mod records;
pub mod secure;
pub mod secured;
pub mod supervisor;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod traversals;
pub mod websocket;
pub mod wire;

pub use backend::Backend;
pub use client::{Client, Received, Response};
pub use conn::Conn;
pub use engine::Engine;
pub(crate) use engine::{on_each_engine, on_each_engine_and_tls, on_reactor, on_reactor_and_tls};
pub use eventually::{SetOnDrop, eventually, patience};
pub use gate::Gate;
pub use nginx::Nginx;
pub use process::Process;
pub use proxy::Proxy;
pub use supervisor::Supervisor;
