//! All upstreams as they are now, for those who look at them from beside the road: probes, the ticker, the status page.

use std::sync::Arc;

use parking_lot::RwLock;

use super::Upstream;

/// The upstreams in the order configured. The list is replaced as a whole.
#[derive(Debug, Clone)]
pub struct Fleet {
    current: Arc<RwLock<Arc<[Arc<Upstream>]>>>,
}

impl Fleet {
    /// A fleet of these.
    pub fn new(upstreams: Vec<Arc<Upstream>>) -> Fleet {
        Fleet {
            current: Arc::new(RwLock::new(upstreams.into())),
        }
    }

    /// The upstreams as they are now.
    pub fn upstreams(&self) -> Arc<[Arc<Upstream>]> {
        Arc::clone(&self.current.read())
    }

    /// From now on it is these.
    pub fn replace(&self, upstreams: Vec<Arc<Upstream>>) {
        *self.current.write() = upstreams.into();
    }
}
