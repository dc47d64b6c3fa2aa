//! Written to true: fills in defaults, checks every value and how values fit together, and reports all problems.
//!
//! Does not read files or variables, and opens no socket: a configuration that passes can still fail to bind.

mod access;
mod action;
mod address;
mod admin;
mod auth;
pub(crate) mod backend;
mod balance;
mod cors;
pub(super) mod credentials;
mod discovery;
mod engine;
mod forward_auth;
mod headers;
mod https;
mod identity;
mod jwt;
mod key;
mod limits;
mod listen;
mod location;
mod rates;
mod rewrite;
mod route;
mod security_headers;
mod server;
mod status;
mod template;
mod tls;
mod unguarded;
mod upstream;
mod upstream_tls;

use std::time::Duration;

pub(crate) use address::parse_backend;

use super::file::{ConfigFile, Written};
use super::model::Config;
use super::report::{At, Place, Report};
use super::units;
use crate::message::path::canonical_text;

/// Shorter intervals and timeouts would keep a processor busy for nothing.
const SHORTEST: Duration = Duration::from_millis(1);

/// The checked configuration; what it holds is meaningless unless the report is clean afterwards.
pub(crate) fn check(file: &ConfigFile, report: &Report) -> Config {
    let server = server::check_server(&file.server, report);
    let admin = file
        .admin
        .as_ref()
        .map(|admin| admin::check_admin(admin, &file.server, &server, report));
    let upstreams = upstream::check_upstreams(file, &server, report);
    let mut routes = route::check_routes(file, &server, &upstreams, report);
    identity::protect(&mut routes);
    unguarded::warn(&routes, &file.routes, report);
    Config {
        origin: file.origin.clone(),
        admin,
        log: server::check_log(&file.log, report),
        server,
        upstreams,
        routes,
    }
}

/// A whole number within bounds.
fn number<T: TryFrom<i64> + Into<i64> + Copy>(
    report: &Report,
    written: &Written<i64>,
    name: &str,
    bounds: (T, T),
    default: T,
) -> T {
    let Some(number) = written else {
        return default;
    };
    let (least, most): (i64, i64) = (bounds.0.into(), bounds.1.into());
    match T::try_from(number.value) {
        Ok(value) if (least..=most).contains(&number.value) => value,
        _ => {
            let message = format!(
                "`{name}` must be from {least} to {most}, not {}",
                number.value
            );
            report.problem(number.place, message);
            default
        }
    }
}

/// A whole number within bounds, of things that are counted in memory.
fn count(
    report: &Report,
    written: &Written<i64>,
    name: &str,
    bounds: (u32, u32),
    default: u32,
) -> usize {
    usize::try_from(number(report, written, name, bounds, default)).unwrap_or(usize::MAX)
}

/// A number of bytes within bounds.
fn size(
    report: &Report,
    written: &Written<u64>,
    name: &str,
    bounds: (u64, u64),
    default: u64,
) -> u64 {
    match written {
        Some(size) if !(bounds.0..=bounds.1).contains(&size.value) => {
            let message = format!(
                "`{name}` must be from {} to {}, not {}",
                units::format_size(bounds.0),
                units::format_size(bounds.1),
                units::format_size(size.value)
            );
            report.problem(size.place, message);
            default
        }
        Some(size) => size.value,
        None => default,
    }
}

/// A duration that may not be shorter than `least`.
fn duration(
    report: &Report,
    written: &Written<Duration>,
    name: &str,
    least: Duration,
    default: Duration,
) -> Duration {
    match written {
        Some(duration) if duration.value < least => {
            let message = format!(
                "`{name}` must be at least {}, not {}",
                units::format_duration(least),
                units::format_duration(duration.value)
            );
            report.problem(duration.place, message);
            default
        }
        Some(duration) => duration.value,
        None => default,
    }
}

/// The value written, else the default.
fn given<T: Copy>(written: &Written<T>, default: T) -> T {
    written.as_ref().map_or(default, |written| written.value)
}

/// Names go into headers, logs and metrics: visible ASCII and not too long.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_graphic() && c != '"' && c != '\\')
}

fn check_name(report: &Report, what: &str, name: &At<String>) -> bool {
    let fits = is_name(&name.value);
    if !fits {
        report.problem_hint(
            name.place,
            format!("{what} \"{}\" cannot be used", name.value),
            "1 to 128 letters, digits and signs, without spaces, quotes and backslashes",
        );
    }
    fits
}

/// Reports a name that was used before. Returns whether it is new.
fn check_unique(
    report: &Report,
    seen: &mut Vec<(String, Place)>,
    what: &str,
    name: &str,
    place: Place,
) -> bool {
    if let Some((_, first)) = seen.iter().find(|(other, _)| other == name) {
        let message = format!(
            "{what} `{name}` is used twice (first: {})",
            report.name(*first)
        );
        report.problem_hint(place, message, "give each its own name");
        return false;
    }
    seen.push((name.to_owned(), place));
    true
}

/// What is wrong with a path that requests are compared with; none: nothing.
fn path_fault(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        Some("must start with `/`")
    } else if path.contains(['?', '#']) {
        Some("must be a path only, without `?` or `#`")
    } else if path.chars().any(|c| !c.is_ascii_graphic()) {
        Some("holds characters that no request path has (write them as %XX)")
    } else if path.contains("//") || has_dots(path) {
        Some("can never match: requests are compared without `//`, `/./` and `/../`")
    } else {
        None
    }
}

/// Whether it has a dot segment, in any spelling.
fn has_dots(path: &str) -> bool {
    let path = canonical_text(path);
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::path_fault;

    #[test]
    fn paths() {
        for good in ["/", "/api/", "/a/b-c_d~e.f", "/%20", "/..a"] {
            assert_eq!(path_fault(good), None, "{good}");
        }
        for bad in [
            "",
            "api",
            "/a?b",
            "/a#b",
            "/a b",
            "/ä",
            "/a//b",
            "/a/../b",
            "/.",
            "/a\n",
            "/%2e%2e/a",
            "/a/%2E",
        ] {
            assert!(path_fault(bad).is_some(), "{bad}");
        }
    }
}
