//! Everything one request may see, as it was when the request came: immutable, swapped whole.
//!
//! What changes by itself (health, counters, idle connections) is inside the upstreams, behind their own locks.

use std::sync::Arc;

use crate::balance::Balancer;
use crate::config::model::Config;
use crate::route::RouteTable;
use crate::upstream::Upstream;

/// The configuration with what was built from it.
#[derive(Debug)]
pub struct Snapshot {
    /// As checked.
    pub config: Arc<Config>,
    /// Sorted by precedence.
    pub routes: RouteTable,
    /// In the order of the configuration.
    pub groups: Vec<Group>,
}

/// An upstream and who picks from it.
#[derive(Debug)]
pub struct Group {
    /// The backends.
    pub upstream: Arc<Upstream>,
    /// The strategy with its state.
    pub balancer: Balancer,
}

impl Snapshot {
    /// Builds all that `config` names.
    pub fn new(config: Arc<Config>) -> Snapshot {
        let groups = config
            .upstreams
            .iter()
            .map(|settings| {
                let upstream = Arc::new(Upstream::new(settings));
                let balancer = Balancer::new(&upstream);
                Group { upstream, balancer }
            })
            .collect();
        Snapshot {
            routes: RouteTable::new(&config.routes),
            config,
            groups,
        }
    }

    /// The upstreams alone, for those who watch them.
    pub fn upstreams(&self) -> Vec<Arc<Upstream>> {
        self.groups
            .iter()
            .map(|group| Arc::clone(&group.upstream))
            .collect()
    }
}
