//! What has changed since the configuration was read: backends that registered themselves, and what was set by hand.
//!
//! Pure: it says what the configuration comes to with the changes in it. Who has it take effect is [`super::registry`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::admin::{Objection, Order, Placed, Removed};
use crate::config::model::{Backend, Config, Duty};

/// Backends that may register at one upstream.
const MOST_REGISTERED: usize = 1000;

/// All changes, by upstream.
#[derive(Debug, Default, Clone)]
pub(super) struct Changes {
    pub(super) upstreams: BTreeMap<String, Changed>,
}

/// The changes of one upstream.
#[derive(Debug, Default, Clone)]
pub(super) struct Changed {
    pub(super) registered: Vec<Registered>,
    /// By backend, whether it is there or not: it may come back.
    pub(super) adjusted: BTreeMap<String, Adjustment>,
}

/// A backend that is not in the configuration.
#[derive(Debug, Clone)]
pub(super) struct Registered {
    pub(super) backend: Backend,
    /// It has to say so again within this time; `None`: it stays until it is removed.
    pub(super) life: Option<Life>,
}

/// How long a registration holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) span: Duration,
    pub(super) until: Instant,
}

/// What is otherwise than the configuration says; `None`: nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Adjustment {
    pub(super) weight: Option<u32>,
    pub(super) duty: Option<Duty>,
    pub(super) backup: Option<bool>,
    pub(super) max_connections: Option<usize>,
}

impl Adjustment {
    /// Without what no configuration could say.
    pub(super) fn sound(self) -> Adjustment {
        Adjustment {
            weight: self.weight.filter(|weight| (1..=1000).contains(weight)),
            max_connections: self.max_connections.filter(|most| *most > 0),
            ..self
        }
    }

    pub(super) fn apply(self, backend: &mut Backend) {
        let Adjustment {
            weight,
            duty,
            backup,
            max_connections,
        } = self;
        backend.weight = weight.unwrap_or(backend.weight);
        backend.duty = duty.unwrap_or(backend.duty);
        backend.is_backup = backup.unwrap_or(backend.is_backup);
        backend.max_connections = max_connections.unwrap_or(backend.max_connections);
    }

    /// This, with what `order` says on top.
    fn with(self, order: &Order) -> Adjustment {
        Adjustment {
            weight: order.weight.or(self.weight),
            duty: order.duty.or(self.duty),
            backup: order.backup.or(self.backup),
            max_connections: order.max_connections.or(self.max_connections),
        }
    }
}

impl Changes {
    /// What `configured` comes to with these changes.
    pub(super) fn apply(&self, configured: &Config) -> Config {
        let mut config = configured.clone();
        for upstream in &mut config.upstreams {
            let Some(changed) = self.upstreams.get(&upstream.name) else {
                continue;
            };
            for registered in &changed.registered {
                // What was written into the configuration since wins.
                let is_it = |backend: &Backend| backend.id == registered.backend.id;
                if !upstream.backends.iter().any(is_it) {
                    upstream.backends.push(registered.backend.clone());
                }
            }
            for backend in &mut upstream.backends {
                if let Some(adjustment) = changed.adjusted.get(&backend.id) {
                    adjustment.apply(backend);
                }
            }
        }
        config
    }

    /// Places a backend, or changes one that is there, as `order` says. `configured`: what the configuration alone says.
    ///
    /// # Errors
    /// When that makes no sense; nothing is changed then.
    pub(super) fn put(
        &mut self,
        configured: &Config,
        upstream: &str,
        id: &str,
        order: &Order,
        now: Instant,
    ) -> Result<Placed, Objection> {
        if let Some(fixed) = fixed(configured, upstream, id)? {
            return self.adjust(upstream, fixed, order);
        }
        let changed = self.upstreams.entry(upstream.to_owned()).or_default();
        let mut registered = changed.registered.iter_mut();
        if let Some(registered) = registered.find(|registered| registered.backend.id == id) {
            return registered.renew(order, now);
        }
        if changed.registered.len() >= MOST_REGISTERED {
            let message = format!("{MOST_REGISTERED} backends have registered here already.");
            return Err(Objection::Conflict(message));
        }
        let mut registered = Registered::new(id, order, now)?;
        Adjustment::default()
            .with(order)
            .apply(&mut registered.backend);
        changed.registered.push(registered);
        Ok(Placed::New)
    }

    /// Changes what is set by hand about a backend of the configuration.
    fn adjust(
        &mut self,
        upstream: &str,
        fixed: &Backend,
        order: &Order,
    ) -> Result<Placed, Objection> {
        if order.at.as_ref().is_some_and(|at| *at != fixed.at) {
            let message = format!("`{}` is in the configuration as {}.", fixed.id, fixed.at);
            return Err(Objection::Conflict(message));
        }
        if order.ttl.is_some() {
            let message = format!("`{}` is in the configuration: it has no ttl.", fixed.id);
            return Err(Objection::Conflict(message));
        }
        let changed = self.upstreams.entry(upstream.to_owned()).or_default();
        let before = changed.adjusted.get(&fixed.id).copied();
        let after = before.unwrap_or_default().with(order);
        if before.unwrap_or_default() == after {
            return Ok(Placed::Same);
        }
        changed.adjusted.insert(fixed.id.clone(), after);
        Ok(Placed::Changed)
    }

    /// Removes a backend that has registered; of one that is configured, what was set by hand about it.
    ///
    /// # Errors
    /// When there is neither.
    pub(super) fn remove(
        &mut self,
        configured: &Config,
        upstream: &str,
        id: &str,
    ) -> Result<Removed, Objection> {
        if fixed(configured, upstream, id)?.is_some() {
            let changed = self.upstreams.get_mut(upstream);
            if changed.is_some_and(|changed| changed.adjusted.remove(id).is_some()) {
                return Ok(Removed::Settings);
            }
            let message = format!(
                "`{id}` is in the configuration: remove it there, or disable it here with {{\"state\": \"disabled\"}}."
            );
            return Err(Objection::Conflict(message));
        }
        let changed = self
            .upstreams
            .get_mut(upstream)
            .ok_or(Objection::NoBackend)?;
        let place = changed
            .registered
            .iter()
            .position(|registered| registered.backend.id == id)
            .ok_or(Objection::NoBackend)?;
        changed.registered.remove(place);
        Ok(Removed::Backend)
    }

    /// Takes out who has not said in time that it is still there: upstream and id of each.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(String, String)> {
        let mut gone = Vec::new();
        for (upstream, changed) in &mut self.upstreams {
            let is_over = |one: &mut Registered| one.life.is_some_and(|life| life.until <= now);
            let expired = changed.registered.extract_if(.., is_over);
            gone.extend(expired.map(|one| (upstream.clone(), one.backend.id)));
        }
        gone
    }

    /// When the registration of a backend ends, if it does.
    pub(super) fn until(&self, upstream: &str, id: &str) -> Option<Instant> {
        let mut registered = self.upstreams.get(upstream)?.registered.iter();
        let one = registered.find(|registered| registered.backend.id == id)?;
        Some(one.life?.until)
    }
}

/// The backend that is there anyway, if it is.
fn fixed<'a>(
    configured: &'a Config,
    upstream: &str,
    id: &str,
) -> Result<Option<&'a Backend>, Objection> {
    let mut upstreams = configured.upstreams.iter();
    let known = upstreams.find(|known| known.name == upstream);
    let known = known.ok_or(Objection::NoUpstream)?;
    Ok(known.backends.iter().find(|backend| backend.id == id))
}

impl Registered {
    fn new(id: &str, order: &Order, now: Instant) -> Result<Registered, Objection> {
        let at = order.at.clone().ok_or_else(|| {
            let message = format!("There is no backend `{id}` yet: a new one needs a `url`.");
            Objection::Unplaced(message)
        })?;
        Ok(Registered {
            backend: Backend::new(id, at),
            life: order.ttl.map(|span| Life::begin(span, now)),
        })
    }

    /// It says again that it is there, and perhaps something new.
    fn renew(&mut self, order: &Order, now: Instant) -> Result<Placed, Objection> {
        if let Some(span) = order.ttl {
            self.life = Some(Life::begin(span, now));
        } else if let Some(life) = self.life {
            self.life = Some(Life::begin(life.span, now));
        }
        let before = self.backend.clone();
        if let Some(at) = &order.at {
            self.backend.at = at.clone();
        }
        Adjustment::default().with(order).apply(&mut self.backend);
        Ok(if before == self.backend {
            Placed::Same
        } else {
            Placed::Changed
        })
    }
}

impl Life {
    pub(super) fn begin(span: Duration, now: Instant) -> Life {
        Life {
            span,
            until: now + span,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::BackendAddress;

    fn configured() -> Config {
        let text = "[[upstream]]\nname = \"web\"\nbackends = [{ id = \"a\", url = \"http://127.0.0.1:1\" }]";
        crate::config::load_str("t.toml", text).unwrap().config
    }

    fn at(port: u16) -> Option<BackendAddress> {
        let host = "127.0.0.1".into();
        Some(BackendAddress::Tcp { host, port })
    }

    fn shown(config: &Config) -> Vec<(String, u32, Duty)> {
        let backends = config.upstreams[0].backends.iter();
        backends
            .map(|backend| (backend.id.clone(), backend.weight, backend.duty))
            .collect()
    }

    #[test]
    fn a_backend_registers_lives_as_long_as_it_says_so_and_vanishes() {
        let (configured, mut changes) = (configured(), Changes::default());
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let order = Order {
            at: at(2),
            weight: Some(3),
            ttl: Some(10 * second),
            ..Order::default()
        };
        let beat = Order::default();
        let mut put = |order: &Order, now| changes.put(&configured, "web", "b", order, now);
        assert_eq!(
            put(&beat, start),
            Err(Objection::Unplaced(
                "There is no backend `b` yet: a new one needs a `url`.".into()
            ))
        );
        assert_eq!(put(&order, start), Ok(Placed::New));
        assert_eq!(put(&beat, start + 9 * second), Ok(Placed::Same));
        assert_eq!(changes.expire(start + 18 * second), []);
        assert_eq!(
            shown(&changes.apply(&configured)),
            [
                ("a".into(), 1, Duty::Enabled),
                ("b".into(), 3, Duty::Enabled)
            ]
        );
        assert_eq!(
            changes.expire(start + 19 * second),
            [("web".into(), "b".into())]
        );
        assert_eq!(shown(&changes.apply(&configured)).len(), 1);
    }

    #[test]
    fn what_is_configured_can_be_adjusted_but_not_moved_or_removed() {
        let (configured, mut changes) = (configured(), Changes::default());
        let now = Instant::now();
        let mut put = |order: Order| changes.put(&configured, "web", "a", &order, now);
        let drain = Order {
            duty: Some(Duty::Draining),
            ..Order::default()
        };
        assert_eq!(put(drain.clone()), Ok(Placed::Changed));
        assert_eq!(put(drain), Ok(Placed::Same));
        let heavy = Order {
            weight: Some(9),
            ..Order::default()
        };
        assert_eq!(put(heavy), Ok(Placed::Changed));
        for wrong in [
            Order {
                at: at(7),
                ..Order::default()
            },
            Order {
                ttl: Some(Duration::from_secs(1)),
                ..Order::default()
            },
        ] {
            assert!(matches!(put(wrong), Err(Objection::Conflict(_))));
        }
        assert_eq!(
            shown(&changes.apply(&configured)),
            [("a".into(), 9, Duty::Draining)]
        );
        assert_eq!(
            changes.remove(&configured, "web", "a"),
            Ok(Removed::Settings)
        );
        assert_eq!(
            shown(&changes.apply(&configured)),
            [("a".into(), 1, Duty::Enabled)]
        );
        assert!(matches!(
            changes.remove(&configured, "web", "a"),
            Err(Objection::Conflict(_))
        ));
        assert_eq!(
            changes.remove(&configured, "web", "z"),
            Err(Objection::NoBackend)
        );
        assert_eq!(
            changes.remove(&configured, "api", "a"),
            Err(Objection::NoUpstream)
        );
    }

    #[test]
    fn registrations_are_bounded() {
        let (configured, mut changes) = (configured(), Changes::default());
        let order = Order {
            at: at(2),
            ..Order::default()
        };
        let mut put = |number: usize| {
            changes.put(
                &configured,
                "web",
                &format!("n{number}"),
                &order,
                Instant::now(),
            )
        };
        assert!((0..MOST_REGISTERED).all(|number| put(number).is_ok()));
        assert!(matches!(put(MOST_REGISTERED), Err(Objection::Conflict(_))));
        assert_eq!(put(0), Ok(Placed::Same));
    }
}
