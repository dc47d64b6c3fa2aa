//! What is known about every name that a backend has: when it was looked up, what came of it, and whom it concerns.
//!
//! No threads and no clock of its own here: see [`super::names`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::config::model::{self, Resolve};
use crate::upstream::Upstream;
use crate::upstream::backend::Backend;

use super::lookup::Outcome;
use super::{Membership, Source};

/// Failed connections lead to a lookup, but not sooner than this after the last one began.
const CALM: Duration = Duration::from_secs(1);
/// A name that has never resolved is looked up this often at least: somebody waits for it.
const EAGER: Duration = Duration::from_secs(2);
/// Backends that a message names.
const NAMED: usize = 5;

/// All names, by themselves.
#[derive(Default)]
pub(super) struct Round {
    names: BTreeMap<Arc<str>, Name>,
    /// What was handed out last: the addresses for each backend that stands for them, with where that was.
    told: BTreeMap<(Arc<str>, String), (model::BackendAddress, Vec<IpAddr>)>,
}

struct Name {
    interval: Duration,
    due: Instant,
    begun: Option<Instant>,
    is_running: bool,
    /// Never empty again once it was not.
    known: Vec<IpAddr>,
    /// Of the last lookup.
    failure: Option<String>,
    users: Vec<(Arc<str>, Arc<Backend>)>,
    /// Backends that stand for all addresses of the name.
    templates: Vec<(Arc<str>, model::Backend)>,
}

impl Name {
    fn new(now: Instant) -> Name {
        Name {
            interval: Duration::MAX,
            due: now,
            begun: None,
            is_running: false,
            known: Vec::new(),
            failure: None,
            users: Vec::new(),
            templates: Vec::new(),
        }
    }

    fn is_looked_up(&self) -> bool {
        !self.known.is_empty() || self.failure.is_some()
    }

    /// `web/app, web/app2`.
    fn concerned(&self) -> String {
        let users = self.users.iter();
        let users = users.map(|(upstream, backend)| format!("{upstream}/{}", backend.id));
        let templates = self.templates.iter();
        let templates = templates.map(|(upstream, template)| format!("{upstream}/{}", template.id));
        // Those that were made of a template come and go with it.
        let all: BTreeSet<String> = templates.chain(users).collect();
        let mut text = all
            .iter()
            .take(NAMED)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        if all.len() > NAMED {
            text.push_str(" and others");
        }
        text
    }
}

impl Round {
    /// Takes in who is in these upstreams, and forgets the names that nobody has any more. `bell` is rung by backends whose
    /// connections fail.
    pub(super) fn renew(&mut self, upstreams: &[Arc<Upstream>], bell: &Sender<()>, now: Instant) {
        for name in self.names.values_mut() {
            name.users.clear();
            name.templates.clear();
            name.interval = Duration::MAX;
        }
        for upstream in upstreams {
            let interval = upstream.settings.discovery.dns_interval;
            for member in &upstream.members {
                let Some(host) = member.settings.at.name() else {
                    continue;
                };
                let name = self.names.entry(host.into());
                let name = name.or_insert_with(|| Name::new(now));
                name.interval = name.interval.min(interval);
                if member.settings.resolve == Resolve::All {
                    // Nobody knows (any more) what it stands for.
                    let key = (Arc::clone(&upstream.name), member.settings.id.clone());
                    self.told.remove(&key);
                }
                if let Some(template) = template(&member.settings) {
                    let is_new = |(at, known): &(Arc<str>, model::Backend)| {
                        *at != upstream.name || known.id != template.id
                    };
                    if name.templates.iter().all(is_new) {
                        name.templates.push((Arc::clone(&upstream.name), template));
                    }
                }
                if member.settings.resolve != Resolve::All {
                    member.backend.set_bell(bell);
                    member.backend.set_addresses(&name.known, now);
                    let user = (Arc::clone(&upstream.name), Arc::clone(&member.backend));
                    name.users.push(user);
                }
            }
        }
        for name in self.names.values_mut() {
            // It may have gone and come back, or be looked up more often now.
            if let Some(next) = name
                .begun
                .and_then(|begun| begun.checked_add(name.interval))
            {
                name.due = name.due.min(next);
            }
        }
        // A lookup that is under way is waited for: there must not be two for one name.
        self.names.retain(|_, name| {
            name.is_running || !name.users.is_empty() || !name.templates.is_empty()
        });
        let names = &self.names;
        self.told.retain(|(upstream, id), _| {
            let mut templates = names.values().flat_map(|name| &name.templates);
            templates.any(|(at, template)| at == upstream && template.id == *id)
        });
    }

    /// Brings forward the lookups of names where connections have failed.
    pub(super) fn heed_doubts(&mut self) {
        for name in self.names.values_mut() {
            let mut is_doubted = false;
            for (_, backend) in &name.users {
                is_doubted |= backend.take_doubt();
            }
            if let (true, Some(begun)) = (is_doubted, name.begun) {
                name.due = name.due.min(begun + CALM);
            }
        }
    }

    /// Begins what is due, with `launch`, which says whether it could; gives the time of the next.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        mut launch: impl FnMut(&Arc<str>) -> bool,
    ) -> Option<Instant> {
        for (host, name) in &mut self.names {
            let is_used = !name.users.is_empty() || !name.templates.is_empty();
            if is_used && name.due <= now && !name.is_running && launch(host) {
                name.is_running = true;
                name.begun = Some(now);
            }
        }
        let idle = self.names.values().filter(|name| !name.is_running);
        idle.map(|name| name.due).min()
    }

    /// A lookup has ended.
    pub(super) fn conclude(&mut self, host: &str, outcome: Outcome, now: Instant) {
        let Some(name) = self.names.get_mut(host) else {
            return;
        };
        name.is_running = false;
        let failure = outcome.as_ref().err().cloned();
        announce(host, name, &outcome);
        let was_down = name.known.is_empty() && name.failure.is_some();
        if let Ok(found) = outcome {
            name.known = found;
        }
        name.failure = failure;
        let pause = match name.known.is_empty() {
            true => name.interval.min(EAGER),
            false => name.interval,
        };
        // Nobody waits for ever, not even for a name that nobody has now.
        name.due = now + pause.min(Duration::from_secs(366 * 24 * 3600));
        for (_, backend) in &name.users {
            if was_down && !name.known.is_empty() {
                backend.join(now);
            }
            backend.set_addresses(&name.known, now);
        }
    }

    /// Hands out the addresses of names that stand for all of them, where they are not what was handed out last.
    pub(super) fn tell(&mut self, membership: &dyn Membership) {
        for name in self.names.values().filter(|name| !name.known.is_empty()) {
            let mut addresses = name.known.clone();
            addresses.sort_unstable();
            for (upstream, template) in &name.templates {
                let key = (Arc::clone(upstream), template.id.clone());
                let news = (template.at.clone(), addresses.clone());
                if self.told.get(&key) == Some(&news) {
                    continue;
                }
                self.told.insert(key, news);
                let backends = addresses
                    .iter()
                    .map(|ip| template.at_address(*ip))
                    .collect();
                let backend = template.id.clone();
                membership.found(upstream, Source::Dns { backend }, backends);
            }
        }
    }

    /// Whether every name of these upstreams was looked up.
    pub(super) fn knows(&self, upstreams: &[Arc<Upstream>]) -> bool {
        let members = upstreams.iter().flat_map(|upstream| &upstream.members);
        let mut hosts = members.filter_map(|member| member.settings.at.name());
        hosts.all(|host| self.names.get(host).is_some_and(Name::is_looked_up))
    }
}

/// The backend that this one, or what it is one of, stands for.
fn template(settings: &model::Backend) -> Option<model::Backend> {
    match &settings.resolve {
        Resolve::One => None,
        Resolve::All => Some(settings.clone()),
        Resolve::At { template, .. } => Some(model::Backend {
            id: template.clone(),
            resolve: Resolve::All,
            ..settings.clone()
        }),
    }
}

/// Says what has changed, once.
fn announce(host: &str, name: &Name, outcome: &Outcome) {
    let (before, after) = (&name.known, outcome);
    let concerned = name.concerned();
    match after {
        Err(why) if name.failure.as_ref() == Some(why) => (),
        Err(why) if before.is_empty() => {
            log::warn!("{host} does not resolve, so that these are unresolved: {concerned}: {why}");
        }
        Err(why) => {
            let old = join(before);
            log::warn!("{host} does not resolve; {concerned} stays at {old}: {why}");
        }
        Ok(found) => {
            let (old, new): (BTreeSet<_>, BTreeSet<_>) =
                (before.iter().collect(), found.iter().collect());
            if name.failure.is_some() {
                log::info!("{host} resolves now: {concerned} is at {}", join(found));
            } else if before.is_empty() {
                log::debug!("{host} resolves: {concerned} is at {}", join(found));
            } else if old != new {
                let (old, new) = (join(before), join(found));
                log::info!("{host} has moved: {concerned} is at {new} (was at {old})");
            }
        }
    }
}

fn join(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests;
