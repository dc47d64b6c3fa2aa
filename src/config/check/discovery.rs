//! `[upstream.discovery]`: how often names are looked up, and the file that is watched.
//!
//! Does not open the file: it may come later.

use std::time::Duration;

use super::{duration, given};
use crate::config::file::UpstreamFile;
use crate::config::model::{Backend, Discovery, Resolve, WatchedFile};
use crate::config::report::Report;

/// More often would be a burden to a resolver that others use too.
const SHORTEST_DNS: Duration = Duration::from_secs(1);
/// More often would keep a processor busy for nothing.
const SHORTEST_FILE: Duration = Duration::from_millis(100);

/// Checks `[upstream.discovery]`.
pub(super) fn check_discovery(upstream: &UpstreamFile, report: &Report) -> Discovery {
    let file = &upstream.discovery;
    let seconds = Duration::from_secs;
    let interval = duration(
        report,
        &file.file_interval,
        "file_interval",
        SHORTEST_FILE,
        seconds(1),
    );
    if let (Some(written), None) = (&file.file_interval, &file.file) {
        let message = "`file_interval` is of no use without `file`";
        report.problem_hint(written.place, message, "add `file = \"backends.json\"`");
    }
    if let Some(written) = &file.file
        && written.value.as_os_str().is_empty()
    {
        let hint = "write a path, as in \"backends.json\", or leave it out";
        report.problem_hint(written.place, "`file` is empty", hint);
    }
    Discovery {
        dns_interval: duration(
            report,
            &file.dns_interval,
            "dns_interval",
            SHORTEST_DNS,
            seconds(10),
        ),
        file: file.file.as_ref().map(|written| WatchedFile {
            path: written.value.clone(),
            interval,
            // What is wrong with it is reported once, where the upstream's own backends are checked.
            max_connections: match given(&upstream.max_connections, 0) {
                0 => usize::MAX,
                most => usize::try_from(most).unwrap_or(usize::MAX),
            },
        }),
    }
}

/// How many backends there will be; 0: that is not known yet.
pub(super) fn number_known(backends: &[Backend], discovery: &Discovery) -> usize {
    let is_open = discovery.file.is_some()
        || backends
            .iter()
            .any(|backend| backend.resolve != Resolve::One);
    if is_open { 0 } else { backends.len() }
}
