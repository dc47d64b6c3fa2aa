//! `backends` of an upstream: addresses, ids, weights and limits.
//!
//! Does not resolve host names: a backend that does not exist is found by its probes.

use super::{address, check_name, check_unique, count, given, number};
use crate::config::file::{BackendFile, UpstreamFile, Written};
use crate::config::model::{Backend, BackendAddress, Duty, Listen, Resolve};
use crate::config::report::{Place, Report};

/// Checks the `backends` of an upstream; with a file that is watched there may be none.
pub(super) fn check_backends(file: &UpstreamFile, own: &[Listen], report: &Report) -> Vec<Backend> {
    let hint = "add `backends = [\"http://127.0.0.1:9001\"]`";
    let is_whole = file.discovery.file.is_none();
    match &file.backends {
        _ if !is_whole => {}
        None => report.problem_hint(file.place, "this upstream has no backends", hint),
        Some(backends) if backends.value.is_empty() => {
            report.problem_hint(backends.place, "`backends` is empty", hint);
        }
        Some(_) => {}
    }
    let most = check_most(&file.max_connections, usize::MAX, report);
    let Some(written) = &file.backends else {
        return Vec::new();
    };
    let backends = check_entries(&written.value, own, most, report);
    if is_whole && !backends.is_empty() && backends.iter().all(|backend| backend.is_backup) {
        report.warning(
            written.place,
            "all backends of this upstream are backups",
            "leave `backup = true` out where nothing comes before",
        );
    }
    backends
}

/// Checks a list of backends. `most`: the `max_connections` of those that say nothing else.
pub(crate) fn check_entries(
    entries: &[BackendFile],
    own: &[Listen],
    most: usize,
    report: &Report,
) -> Vec<Backend> {
    let mut seen = Vec::new();
    let entries = entries.iter();
    entries
        .filter_map(|entry| check_backend(entry, own, most, &mut seen, report))
        .collect()
}

fn check_backend(
    file: &BackendFile,
    own: &[Listen],
    most: usize,
    seen: &mut Vec<(String, Place)>,
    report: &Report,
) -> Option<Backend> {
    let weight = number(report, &file.weight, "weight", (1, 1000), 1);
    let Some(url) = &file.url else {
        if !file.broken {
            let hint = "add `url = \"http://host:port\"`";
            report.problem_hint(file.place, "this backend has no `url`", hint);
        }
        return None;
    };
    let at = match address::parse_backend(&url.value) {
        Ok(at) => at,
        Err((message, hint)) => {
            report.problem_hint(url.place, message, hint);
            return None;
        }
    };
    let default_id = address::backend_id(&at);
    let mut own = own.iter().map(|own| &own.address);
    if let Some(own) = own.find(|own| address::reaches(&at, own)) {
        report.warning(
            url.place,
            format!("backend {default_id} is this proxy itself, which listens on {own}"),
            "a request would go round until every worker is busy; give one of them another address",
        );
    }
    let (id, place) = match &file.id {
        Some(id) => {
            if !check_name(report, "backend id", id) {
                return None;
            }
            (id.value.clone(), id.place)
        }
        None => (default_id, url.place),
    };
    if !check_unique(report, seen, "backend id", &id, place) {
        return None;
    }
    Some(Backend {
        id,
        resolve: check_resolve(&file.resolve, &at, report),
        at,
        weight,
        is_backup: given(&file.backup, false),
        max_connections: check_most(&file.max_connections, most, report),
        duty: Duty::Enabled,
    })
}

fn check_resolve(written: &Written<String>, at: &BackendAddress, report: &Report) -> Resolve {
    let Some(written) = written else {
        return Resolve::One;
    };
    match written.value.as_str() {
        "one" => Resolve::One,
        "all" if at.name().is_some() => Resolve::All,
        "all" => {
            let message = format!("`resolve = \"all\"` needs a host name, and {at} has none");
            report.problem_hint(written.place, message, "leave `resolve` out");
            Resolve::One
        }
        other => {
            let message = format!("unknown resolve \"{other}\"");
            let hint =
                "write \"one\" for one backend, or \"all\" for a backend per address of the name";
            report.problem_hint(written.place, message, hint);
            Resolve::One
        }
    }
}

/// A limit of requests at the same time; 0 stands for none.
fn check_most(written: &Written<i64>, default: usize, report: &Report) -> usize {
    if written.is_none() {
        return default;
    }
    match count(report, written, "max_connections", (0, 1_000_000), 0) {
        0 => usize::MAX,
        most => most,
    }
}
