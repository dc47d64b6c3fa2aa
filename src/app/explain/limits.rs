//! Limits of how often and how many at the same time, in words.

use std::time::Duration;

use crate::admit::crowd::Occupancy;
use crate::config::model::RateLimit;
use crate::serve::trace::Limited;

/// What a limit says.
pub(super) fn describe(limited: &Limited) -> String {
    match limited {
        Limited::Crowd(occupancy) => crowd(occupancy),
        Limited::Rate { limit, left } => rate(limit, *left),
    }
}

/// How many are under way, and how many may be.
fn crowd(occupancy: &Occupancy) -> String {
    let most = occupancy.most;
    let all = most
        .most
        .map(|most| format!("{} of at most {most}", occupancy.all));
    let client = most.most_per_client;
    let client =
        client.map(|most| format!("of this client {} of at most {most}", occupancy.client));
    let parts: Vec<String> = all.into_iter().chain(client).collect();
    format!("under way: {}", parts.join(", "))
}

/// What a rate limit says; `left`: how many more may come after this request, or how long until one may.
fn rate(limit: &RateLimit, left: Result<u32, Duration>) -> String {
    let RateLimit {
        name, by, burst, ..
    } = limit;
    let dry_run = if limit.dry_run { ", dry run" } else { "" };
    let says = match left {
        Ok(left) => format!("passes, {left} more may come at once"),
        Err(wait) => format!(
            "is reached, the next may come in {} ms",
            wait.as_millis().max(1)
        ),
    };
    format!("rate limit {name} ({limit} by {by}, burst {burst}{dry_run}): {says}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Concurrency, RateKey};

    #[test]
    fn limits_in_words() {
        let mut limit = RateLimit {
            name: "web".into(),
            by: RateKey::Header("X-Tenant".into()),
            requests: 600,
            period: Duration::from_secs(60),
            burst: 20,
            clients: 64,
            dry_run: false,
        };
        assert_eq!(
            rate(&limit, Ok(19)),
            "rate limit web (600/m by header:X-Tenant, burst 20): passes, 19 more may come at once"
        );
        limit.dry_run = true;
        assert_eq!(
            rate(&limit, Err(Duration::from_millis(99))),
            "rate limit web (600/m by header:X-Tenant, burst 20, dry run): is reached, the next may come in 99 ms"
        );
        let most = Concurrency {
            most: Some(50),
            most_per_client: Some(10),
        };
        let occupancy = Occupancy {
            all: 3,
            client: 1,
            most,
        };
        let words = "under way: 3 of at most 50, of this client 1 of at most 10";
        assert_eq!(crowd(&occupancy), words);
    }
}
