//! Who may come, in words. Values that a rule looks for are not shown.

use crate::config::model::{Barred, Spelling};
use crate::serve::access::{Access, BrokenRule};

pub(super) fn describe(access: &Access) -> String {
    match access {
        Access::Address {
            listener,
            client,
            result,
        } => {
            let whose = match listener {
                Some(address) => format!("listener {address}"),
                None => "addresses".to_owned(),
            };
            match result {
                Ok(()) => format!("{whose}: {client} may come"),
                Err(Barred::Denied) => format!("{whose}: {client} is in `deny`"),
                Err(Barred::NotAllowed) => format!("{whose}: {client} is not in `allow`"),
            }
        }
        Access::Method {
            method,
            is_allowed: true,
        } => format!("method: {method} is in `methods`"),
        Access::Method { method, .. } => format!("method: {method} is not in `methods`"),
        Access::Host {
            host,
            is_served: true,
        } => format!("host: {host} is in `hosts`"),
        Access::Host { host, .. } if host.is_empty() => "host: the request names none".to_owned(),
        Access::Host { host, .. } => format!("host: {host} is not in `hosts`"),
        Access::Path {
            result: Err(misspelt),
            spelling,
            ..
        } => format!(
            "path: refused, it has {misspelt} (paths = \"{}\")",
            spelling.as_str()
        ),
        Access::Path {
            spelling: Spelling::AsSent,
            normal,
            ..
        } => format!("path: compared as {normal}, forwarded as sent"),
        Access::Path {
            is_as_sent: true, ..
        } => "path: read in the same way by all".to_owned(),
        Access::Path { normal, .. } => format!("path: {normal} in its normal form"),
        Access::Rules(Ok(())) => "rules: kept".to_owned(),
        Access::Rules(Err(BrokenRule::NotAllowed)) => {
            "rules: no entry of `allow_if` holds".to_owned()
        }
        Access::Rules(Err(BrokenRule::Denied { number, looks_at })) => {
            let what = looks_at.join(", ");
            format!("rules: entry {number} of `deny_if` holds ({what})")
        }
    }
}
