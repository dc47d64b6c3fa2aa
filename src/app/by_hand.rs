//! Where a new configuration says something about a backend that does not take effect, since it was set by hand. In words.

use crate::config::model::{Backend, Config, Duty};

use super::changes::{Adjustment, Changes};

/// What `new` says otherwise than `old`, in vain.
pub(super) fn overridden(changes: &Changes, old: &Config, new: &Config) -> Vec<String> {
    let mut words = Vec::new();
    for upstream in &new.upstreams {
        let name = &upstream.name;
        let Some(changed) = changes.upstreams.get(name) else {
            continue;
        };
        let before = old.upstreams.iter().find(|one| one.name == *name);
        for backend in &upstream.backends {
            let Some(adjustment) = changed.adjusted.get(&backend.id) else {
                continue;
            };
            let before = before.map(|before| before.backends.as_slice());
            let before = before.unwrap_or_default().iter();
            let before = before.clone().find(|before| before.id == backend.id);
            let id = &backend.id;
            words.extend(
                set_by_hand(adjustment, before, backend).map(|(key, value)| {
                    format!("upstream {name}, backend {id}: {key} is set by hand to {value}")
                }),
            );
        }
    }
    words
}

/// Keys that the configuration has changed, and what they are set to.
fn set_by_hand(
    adjustment: &Adjustment,
    before: Option<&Backend>,
    after: &Backend,
) -> impl Iterator<Item = (&'static str, String)> {
    fn told<T: PartialEq>(
        by_hand: Option<T>,
        before: Option<&T>,
        after: &T,
        word: impl Fn(&T) -> String,
    ) -> Option<String> {
        let by_hand = by_hand.filter(|by_hand| *by_hand != *after)?;
        (before != Some(after)).then(|| word(&by_hand))
    }
    let most = |most: &usize| match *most {
        usize::MAX => "no limit".to_owned(),
        most => most.to_string(),
    };
    let weight = before.map(|before| &before.weight);
    let duty = before.map(|before| &before.duty);
    let backup = before.map(|before| &before.is_backup);
    let limit = before.map(|before| &before.max_connections);
    let state = |duty: &Duty| duty.as_str().to_owned();
    let words = [
        (
            "weight",
            told(adjustment.weight, weight, &after.weight, u32::to_string),
        ),
        ("state", told(adjustment.duty, duty, &after.duty, state)),
        (
            "backup",
            told(adjustment.backup, backup, &after.is_backup, bool::to_string),
        ),
        (
            "max_connections",
            told(
                adjustment.max_connections,
                limit,
                &after.max_connections,
                most,
            ),
        ),
    ];
    let told = |(key, value): (&'static str, Option<String>)| Some((key, value?));
    words.into_iter().filter_map(told)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::admin::Order;

    fn config(of_backend: &str) -> Config {
        let text = format!(
            "[[upstream]]\nname = \"web\"\nbackends = [{{ id = \"b1\", url = \"http://h:1\"{of_backend} }}]"
        );
        crate::config::load_str("t.toml", &text).unwrap().config
    }

    #[test]
    fn only_what_is_changed_in_vain_is_told() {
        let old = config("");
        let mut changes = Changes::default();
        let order = Order {
            weight: Some(9),
            max_connections: Some(5),
            ..Order::default()
        };
        changes
            .put(&old, "web", "b1", &order, Instant::now())
            .unwrap();
        let words = |new: &str| overridden(&changes, &old, &config(new));
        assert_eq!(words(""), [] as [&str; 0]);
        assert_eq!(words(", backup = false"), [] as [&str; 0]);
        assert_eq!(words(", weight = 9"), [] as [&str; 0]);
        assert_eq!(
            words(", weight = 3"),
            ["upstream web, backend b1: weight is set by hand to 9"]
        );
        let both = words(", weight = 3, max_connections = 7");
        assert_eq!(both.len(), 2, "{both:?}");
        let new_one = Config {
            upstreams: Vec::new(),
            ..config("")
        };
        assert_eq!(overridden(&changes, &new_one, &config("")).len(), 2);
    }
}
