//! Requests of one route over several upstreams, and copies of requests.

use serde::Serialize;

use super::Key;

/// `split`: each client goes to one side and stays there.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct Split {
    /// In the order written; never empty, each upstream once, at least one weight above 0.
    pub sides: Vec<Side>,
    /// Makes a client's side in this route independent of that in others: for [`Key::hash`].
    #[serde(skip)]
    pub salt: String,
    /// `split_key`: what a client is. Default its address.
    pub key: Key,
    /// `split_override`: where a request names the side that it wants. Default none.
    pub chosen_by: Option<Key>,
}

/// One side of a split.
#[derive(Debug, Serialize, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    /// Index of its upstream.
    pub upstream: usize,
    /// Share of the clients, 0 to 1000; 0: only those who ask for it.
    pub weight: u32,
}

/// `mirror`: copies of requests go there too, and nobody waits for what comes back.
#[derive(Debug, Serialize, Clone, Copy, PartialEq, Eq)]
pub struct Mirror {
    /// Index of the upstream.
    pub upstream: usize,
    /// Share of the requests that are copied, 1 to 100. Default 100.
    pub percent: u8,
}
