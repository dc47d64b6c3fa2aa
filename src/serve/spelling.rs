//! How the path of a request is spelt, once its route is known: whether every backend must take it for the path that was judged.
//!
//! A path that some program reads as one of another route could reach what the rules of that route keep closed: it is refused here,
//! before any rule of its own route is asked.

use crate::admit::Refusal;
use crate::config::model::{Route, Server, Spelling};
use crate::error::Cause;
use crate::message::path::{Fault, Path, StrictFault};
use crate::route::{Found, Request, RouteTable};

use super::access::Access;
use super::trace::{Step, Trace};

/// So many readings of a path are looked at, however long it is.
const FEW: usize = 7;
/// Most bytes that are read for all readings together, with the query, should routes ask for that: a fraction of a millisecond. The
/// thread that does it serves others too.
const MOST_READ: usize = 32 * 1024;

/// Which rule of spelling a path breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misspelt {
    /// It can be read in two ways.
    Fault(Fault),
    /// It is not written in the only way.
    Strict(StrictFault),
}

/// What holds for `route`.
pub(super) fn of(route: &Route, server: &Server) -> Spelling {
    route.access.paths.unwrap_or(server.access.paths)
}

/// Whether the path is spelt as `found` wants it.
///
/// # Errors
/// When it is not.
pub(super) fn check(
    found: &Found<'_>,
    request: &Request<'_>,
    routes: &RouteTable,
    server: &Server,
    trace: &mut impl Trace,
) -> Result<(), Refusal> {
    let (path, spelling) = (request.path(), of(found.route, server));
    if path.is_plain() {
        return Ok(());
    }
    let length = request.head().target.as_str().len();
    let result = judge(path, spelling, length, |reading| {
        routes.leads_to(found.index, request, reading)
    });
    end(path, spelling, result, trace)
}

/// The same for a request that no route takes.
///
/// # Errors
/// When no route could take it, because of its path.
pub(super) fn check_without_route(
    request: &Request<'_>,
    server: &Server,
    trace: &mut impl Trace,
) -> Result<(), Refusal> {
    let (path, spelling) = (request.path(), server.access.paths);
    let fault = path.fault().filter(|_| spelling != Spelling::AsSent);
    let result = fault.map_or(Ok(()), |fault| Err(Misspelt::Fault(fault)));
    end(path, spelling, result, trace)
}

fn end(
    path: &Path<'_>,
    spelling: Spelling,
    result: Result<(), Misspelt>,
    trace: &mut impl Trace,
) -> Result<(), Refusal> {
    if !path.is_plain() {
        trace.step(|| {
            Step::Access(Access::Path {
                normal: path.normal().to_owned(),
                is_as_sent: path.normal() == path.sent(),
                spelling,
                result,
            })
        });
    }
    result.map_err(|misspelt| {
        let (what, key) = (misspelt.to_string(), spelling.as_str());
        let message = format!("The path has {what} (paths = \"{key}\").");
        Refusal::with(Cause::BadRequest, message)
    })
}

fn judge(
    path: &Path<'_>,
    spelling: Spelling,
    length: usize,
    leads_here: impl Fn(&str) -> bool,
) -> Result<(), Misspelt> {
    if spelling == Spelling::AsSent {
        return Ok(());
    }
    if let Some(fault) = path.fault() {
        return Err(Misspelt::Fault(fault));
    }
    if spelling == Spelling::Strict
        && let Some(fault) = path.strict_fault()
    {
        return Err(Misspelt::Strict(fault));
    }
    if path.ways() > FEW && path.ways() * length > MOST_READ {
        return Err(Misspelt::Fault(Fault::Readings));
    }
    for reading in path.readings() {
        let reading = reading.map_err(Misspelt::Fault)?;
        if reading != path.canonical() && !leads_here(&reading) {
            return Err(Misspelt::Fault(Fault::OtherRoute));
        }
    }
    Ok(())
}

impl std::fmt::Display for Misspelt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Misspelt::Fault(fault) => fault.fmt(f),
            Misspelt::Strict(fault) => fault.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn no_path_takes_longer_to_judge_than_it_may() {
        let read = |begin: &str, length: usize| {
            let target = format!("{begin}{}", "x".repeat(length));
            let bytes = Cell::new(0);
            let result = judge(
                &Path::new(&target),
                Spelling::Normal,
                target.len(),
                |reading| {
                    bytes.set(bytes.get() + reading.len());
                    true
                },
            );
            (result, bytes.get())
        };
        let doubtful = "/a%2Fb%5Cc;d%3Fe%252Ff//g%20/";
        let (result, bytes) = read(doubtful, 100);
        assert!(result == Ok(()) && bytes > 1000, "{result:?} {bytes}");
        let (result, bytes) = read(doubtful, 8000);
        assert_eq!((result, bytes), (Err(Misspelt::Fault(Fault::Readings)), 0));
        // What applications send is taken at any length.
        for begin in ["/a%2Fb", "/a%20/b;c", "/get/http://h/%20a;b/"] {
            assert_eq!(read(begin, 8000).0, Ok(()), "{begin}");
        }
    }
}
