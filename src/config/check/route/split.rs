//! `split` and `mirror` of a route: shares of clients for several upstreams, and copies of requests for one more.

use super::super::key::{check_key, parse_key};
use super::super::number;
use super::destination::find_upstream;
use crate::config::file::{MirrorFile, RouteFile, SideFile};
use crate::config::model::{Key, Mirror, RouteTo, Side, Split, Upstream};
use crate::config::report::{At, Report};

/// Sides of one split.
const MOST_SIDES: usize = 64;

/// None: one of the sides cannot be used; that is reported.
pub(super) fn check_split(
    file: &RouteFile,
    route: &str,
    written: &At<Vec<SideFile>>,
    upstreams: &[Upstream],
    report: &Report,
) -> Option<Split> {
    let count = written.value.len();
    if count == 0 || count > MOST_SIDES {
        let message = format!("a `split` must have 1 to {MOST_SIDES} sides, not {count}");
        let hint = "write sides as in `{ upstream = \"web\", weight = 90 }`";
        report.problem_hint(written.place, message, hint);
        return None;
    }
    let found = written
        .value
        .iter()
        .map(|side| check_side(side, upstreams, report));
    // All of them are looked at before the first bad one ends it.
    let found: Vec<Option<Side>> = found.collect();
    let sides: Vec<Side> = found.into_iter().collect::<Option<_>>()?;
    for (index, (side, written)) in sides.iter().zip(&written.value).enumerate() {
        let mut before = sides.iter().take(index);
        if before.any(|other| other.upstream == side.upstream) {
            let message = "this upstream is a side of the split already";
            report.problem_hint(written.place, message, "give each upstream one weight");
            return None;
        }
    }
    if sides.iter().all(|side| side.weight == 0) {
        let message = "no side of the `split` has a weight above 0";
        report.problem_hint(written.place, message, "nobody could go anywhere");
        return None;
    }
    Some(Split {
        sides,
        // Not the bare name: an upstream of that name may pick its backends by a hash of its own.
        salt: format!("split {route}"),
        key: client_key(file, report),
        chosen_by: file.split_override.as_ref().and_then(chosen_by),
    })
}

fn check_side(written: &SideFile, upstreams: &[Upstream], report: &Report) -> Option<Side> {
    if written.broken {
        return None;
    }
    let example = "write it as in `{ upstream = \"web\", weight = 90 }`";
    let Some(name) = &written.upstream else {
        report.problem_hint(written.place, "this side has no upstream", example);
        return None;
    };
    if written.weight.is_none() {
        report.problem_hint(written.place, "this side has no weight", example);
    }
    let weight = number(report, &written.weight, "weight", (0_u32, 1000), 1);
    let upstream = find_upstream(name, upstreams, report)?;
    Some(Side { upstream, weight })
}

/// What a client is.
fn client_key(file: &RouteFile, report: &Report) -> Key {
    check_key(file.split_key.as_ref(), "split_key", report)
}

fn chosen_by(written: &At<String>) -> Option<Key> {
    let key = parse_key(&written.value)?;
    matches!(key, Key::Header(_) | Key::Cookie(_)).then_some(key)
}

/// Checks the keys beside `split`, also where there is none.
pub(super) fn check_split_keys(file: &RouteFile, report: &Report) {
    let keys = [
        ("split_key", &file.split_key),
        ("split_override", &file.split_override),
    ];
    for (name, written) in keys {
        if let Some(written) = written
            && file.split.is_none()
            && !file.broken
        {
            let message = format!("`{name}` needs a `split`");
            report.problem_hint(written.place, message, "leave it out");
        }
    }
    if let Some(written) = &file.split_key
        && parse_key(&written.value) == Some(Key::Path)
    {
        let message = "`split_key` \"path\" is no client";
        let hint = "write \"client_ip\", \"header:NAME\" or \"cookie:NAME\"";
        report.problem_hint(written.place, message, hint);
    }
    if let Some(written) = &file.split_override
        && chosen_by(written).is_none()
    {
        let message = format!(
            "`split_override` \"{}\" is no place for a name",
            written.value
        );
        let hint = "write \"header:NAME\" or \"cookie:NAME\"";
        report.problem_hint(written.place, message, hint);
    }
}

/// None: no copies, or not like this; that is reported.
pub(super) fn check_mirror(
    file: Option<&MirrorFile>,
    to: Option<&RouteTo>,
    upstreams: &[Upstream],
    report: &Report,
) -> Option<Mirror> {
    let written = file.filter(|written| !written.broken)?;
    let percent = number(report, &written.percent, "percent", (1_u8, 100), 100);
    let Some(name) = &written.upstream else {
        let hint = "write it as in `mirror = { upstream = \"shadow\", percent = 10 }`";
        report.problem_hint(written.place, "this mirror has no upstream", hint);
        return None;
    };
    let upstream = find_upstream(name, upstreams, report)?;
    let leads_there = match to {
        None | Some(RouteTo::Redirect(_) | RouteTo::Answer(_)) => false,
        Some(RouteTo::Upstream(index)) => *index == upstream,
        Some(RouteTo::Services { table, .. }) => table.iter().any(|(_, index)| *index == upstream),
        Some(RouteTo::Split(split)) => split.sides.iter().any(|side| side.upstream == upstream),
    };
    if leads_there {
        let message = format!("the route leads to `{}` itself", name.value);
        let hint = "mirror to an upstream that the route does not lead to";
        report.problem_hint(name.place, message, hint);
        return None;
    }
    Some(Mirror { upstream, percent })
}
