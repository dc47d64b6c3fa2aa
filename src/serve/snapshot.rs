//! Everything one request may see, as it was when the request came: immutable, swapped whole.
//!
//! What changes by itself (health, counters, idle connections) is inside the upstreams, behind their own locks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::admit::gate::Gate;
use crate::balance::{Balancer, Wish};
use crate::config::model::{self, Config, Strategy};
use crate::message::head::RequestHead;
use crate::route::RouteTable;
use crate::upstream::Upstream;

use super::sticky::Sticky;

/// The configuration with what was built from it.
#[derive(Debug)]
pub struct Snapshot {
    /// As checked.
    pub config: Arc<Config>,
    /// Sorted by precedence.
    pub routes: RouteTable,
    /// What is asked of everybody who comes, before routes are looked at.
    pub first_gate: Gate,
    /// What each route asks of who comes, in the order of the configuration.
    pub gates: Vec<Gate>,
    /// In the order of the configuration.
    pub groups: Vec<Group>,
    /// Parameters of a query whose values are nobody's business, on whichever route they come.
    pub secret_parameters: Vec<String>,
}

/// An upstream and who picks from it.
#[derive(Debug)]
pub struct Group {
    /// The backends.
    pub upstream: Arc<Upstream>,
    /// The strategy with its state.
    pub balancer: Arc<Balancer>,
    /// Where clients are to stay with their backends.
    pub sticky: Option<Sticky>,
}

impl Group {
    fn new(upstream: Upstream) -> Group {
        let balancer = Arc::new(Balancer::new(&upstream));
        Group::with(upstream, balancer)
    }

    /// The group that takes over from this one.
    fn successor(&self, settings: &model::Upstream, now: Instant) -> Group {
        let (before, after) = (&self.upstream, self.upstream.successor(settings, now));
        // Whose turn it is goes on, unless it is about others now.
        let is_same = before.settings.balance == settings.balance
            && before.settings.backends == settings.backends;
        if is_same {
            return Group::with(after, Arc::clone(&self.balancer));
        }
        Group::new(after)
    }

    fn with(upstream: Upstream, balancer: Arc<Balancer>) -> Group {
        let sticky = upstream.settings.sticky.as_ref();
        Group {
            sticky: sticky.map(|settings| Sticky::new(settings, &upstream)),
            balancer,
            upstream: Arc::new(upstream),
        }
    }

    /// What the request brings along that matters for the pick.
    pub(super) fn wish(&self, head: &RequestHead, client_ip: IpAddr) -> Wish {
        let key = match &self.upstream.settings.balance {
            Strategy::Hash(key) => key.hash(head, client_ip, &self.upstream.name),
            _ => 0,
        };
        Wish {
            key,
            stick: self.sticky.as_ref().and_then(|sticky| sticky.find(head)),
        }
    }
}

impl Snapshot {
    /// Builds all that `config` names.
    pub fn new(config: Arc<Config>) -> Snapshot {
        let upstreams = config.upstreams.iter().map(Upstream::new);
        let groups = upstreams.map(Group::new).collect();
        let gates = config.routes.iter().map(Gate::new).collect();
        let first_gate = Gate::first(&config.server);
        Snapshot::of(config, first_gate, gates, groups)
    }

    /// What takes over from this one: what is known about upstreams and backends that stay, goes on.
    pub fn successor(&self, config: Arc<Config>, now: Instant) -> Snapshot {
        let group = |settings: &model::Upstream| {
            let mut known = self.groups.iter();
            match known.find(|group| *group.upstream.name == settings.name) {
                Some(known) => known.successor(settings, now),
                None => Group::new(Upstream::new(settings)),
            }
        };
        let groups = config.upstreams.iter().map(group).collect();
        let gate = |route: &model::Route| {
            let mut known = self.config.routes.iter().zip(&self.gates);
            match known.find(|(known, _)| known.name == route.name) {
                Some((before, gate)) => gate.successor(before, route),
                None => Gate::new(route),
            }
        };
        let gates = config.routes.iter().map(gate).collect();
        let first_gate = self.first_gate.first_successor(&config.server);
        Snapshot::of(config, first_gate, gates, groups)
    }

    fn of(config: Arc<Config>, first_gate: Gate, gates: Vec<Gate>, groups: Vec<Group>) -> Snapshot {
        Snapshot {
            secret_parameters: config.secret_parameters(),
            first_gate,
            gates,
            routes: RouteTable::new(&config.routes),
            config,
            groups,
        }
    }

    /// The name of the upstream with this index, for people.
    pub fn name(&self, upstream: usize) -> &str {
        self.groups
            .get(upstream)
            .map_or("?", |group| &group.upstream.name)
    }

    /// The upstreams alone, for those who watch them.
    pub fn upstreams(&self) -> Vec<Arc<Upstream>> {
        self.groups
            .iter()
            .map(|group| Arc::clone(&group.upstream))
            .collect()
    }
}
