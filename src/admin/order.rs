//! What a PUT wants, from its JSON body.

use std::time::Duration;

use serde_json::Value;

use crate::config;
use crate::config::model::Duty;
use crate::config::units;

use super::control::Order;

const KEYS: &str = "`url`, `weight`, `backup`, `max_connections`, `state` and `ttl`";

/// Somebody whose life is shorter would be gone between two heartbeats on a busy machine.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);

/// Parses a body; an empty one wants nothing new, which is a heartbeat.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub(super) fn parse(body: &[u8]) -> Result<Order, String> {
    if body.trim_ascii().is_empty() {
        return Ok(Order::default());
    }
    let body: Value =
        serde_json::from_slice(body).map_err(|error| format!("The body is not JSON: {error}."))?;
    let Value::Object(entries) = body else {
        return Err("The body must be a JSON object.".to_owned());
    };
    let mut order = Order::default();
    for (key, value) in &entries {
        match key.as_str() {
            "url" => {
                let at = config::parse_backend_url(text(key, value)?)?;
                order.at = Some(at);
            }
            "weight" => order.weight = Some(number(key, value, 1, 1000)?),
            "backup" => {
                order.backup = Some(value.as_bool().ok_or("`backup` must be true or false.")?);
            }
            "max_connections" => {
                let most = usize::try_from(number(key, value, 0, 1_000_000)?).unwrap_or_default();
                order.max_connections = Some(if most == 0 { usize::MAX } else { most });
            }
            "state" => {
                let duty = Duty::parse(text(key, value)?);
                order.duty =
                    Some(duty.ok_or("`state` must be \"enabled\", \"draining\" or \"disabled\".")?);
            }
            "ttl" => order.ttl = Some(life(text(key, value)?)?),
            _ => return Err(format!("Unknown key `{key}`: the keys are {KEYS}.")),
        }
    }
    Ok(order)
}

fn text<'a>(key: &str, value: &'a Value) -> Result<&'a str, String> {
    let text = value.as_str();
    text.ok_or_else(|| format!("`{key}` must be a string."))
}

fn number(key: &str, value: &Value, least: u32, most: u32) -> Result<u32, String> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("`{key}` must be a whole number from {least} to {most}."))
}

fn life(text: &str) -> Result<Duration, String> {
    let life = units::parse_duration(text).map_err(|error| {
        format!(
            "`ttl` \"{text}\" {}: write it as in \"10s\".",
            error.describe()
        )
    })?;
    if life < SHORTEST_LIFE {
        return Err("`ttl` must be at least \"1s\".".to_owned());
    }
    Ok(life)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_order_and_an_empty_one() {
        let order = parse(
            br#"{"url": "http://127.0.0.1:9", "weight": 2, "backup": true, "max_connections": 0, "state": "draining", "ttl": "10s"}"#,
        )
        .unwrap();
        assert_eq!(order.at.unwrap().to_string(), "http://127.0.0.1:9");
        assert_eq!((order.weight, order.backup), (Some(2), Some(true)));
        assert_eq!(order.max_connections, Some(usize::MAX));
        assert_eq!(order.duty, Some(Duty::Draining));
        assert_eq!(order.ttl, Some(Duration::from_secs(10)));
        assert_eq!(parse(b" \n"), Ok(Order::default()));
    }

    #[test]
    fn nonsense_is_named() {
        for (body, word) in [
            ("{", "not JSON"),
            ("[]", "object"),
            (r#"{"weight": 0}"#, "`weight`"),
            (r#"{"weight": 1.5}"#, "`weight`"),
            (r#"{"weight": "1"}"#, "`weight`"),
            (r#"{"url": "ftp://x"}"#, "ftp"),
            (r#"{"url": 1}"#, "`url`"),
            (r#"{"state": "gone"}"#, "`state`"),
            (r#"{"ttl": "10"}"#, "`ttl`"),
            (r#"{"ttl": "10ms"}"#, "`ttl`"),
            (r#"{"backup": 1}"#, "`backup`"),
            (r#"{"port": 1}"#, "`port`"),
        ] {
            let problem = parse(body.as_bytes()).unwrap_err();
            assert!(problem.contains(word), "{body}: {problem}");
        }
    }
}
