//! All upstreams as they are now, for those who look at them from beside the road: probes, the ticker, the status page.

use std::sync::Arc;

use crossbeam_channel::Sender;
use parking_lot::{Mutex, RwLock};

use super::Upstream;

/// The upstreams in the order configured. The list is replaced as a whole.
#[derive(Debug, Clone)]
pub struct Fleet {
    current: Arc<RwLock<Arc<[Arc<Upstream>]>>>,
    /// Rung at every change.
    bells: Arc<Mutex<Vec<Sender<()>>>>,
}

impl Fleet {
    /// A fleet of these.
    pub fn new(upstreams: Vec<Arc<Upstream>>) -> Fleet {
        Fleet {
            current: Arc::new(RwLock::new(upstreams.into())),
            bells: Arc::default(),
        }
    }

    /// The upstreams as they are now.
    pub fn upstreams(&self) -> Arc<[Arc<Upstream>]> {
        Arc::clone(&self.current.read())
    }

    /// From now on it is these.
    pub fn replace(&self, upstreams: Vec<Arc<Upstream>>) {
        *self.current.write() = upstreams.into();
        for bell in self.bells.lock().iter() {
            // When it is full, it has been rung.
            let _ = bell.try_send(());
        }
    }

    /// Has `bell` rung at every change, for somebody who cannot wait to look by himself.
    pub fn on_change(&self, bell: Sender<()>) {
        self.bells.lock().push(bell);
    }
}
