//! `engine`: which one accepts connections, and what is said about settings that only the reactor engine can keep.
//!
//! Does not look at addresses (see [`super::listen`]) and starts no engine.

use crate::config::file::{ServerFile, Written};
use crate::config::model::Engine;
use crate::config::report::{Place, Report};
use crate::config::suggest;

/// Which engine is asked for; without a word the reactor.
pub(super) fn check_engine(file: &ServerFile, report: &Report) -> Engine {
    let Some(engine) = &file.engine else {
        return Engine::Reactor;
    };
    match engine.value.as_str() {
        "tiny_http" => Engine::TinyHttp,
        "reactor" => Engine::Reactor,
        other => {
            let hint = suggest::hint(other, "the engines are", ["reactor", "tiny_http"]);
            report.problem_hint(engine.place, format!("unknown engine \"{other}\""), hint);
            Engine::Reactor
        }
    }
}

/// Reports at `place` what the tiny_http engine cannot do; the reactor can do everything.
pub(super) fn reactor_only(
    report: &Report,
    engine: Engine,
    place: Place,
    message: impl Into<String>,
) {
    if engine == Engine::TinyHttp {
        let hint = "remove it, or write `engine = \"reactor\"` in [server]";
        report.problem_hint(place, message, hint);
    }
}

/// Reports a key that means nothing to the tiny_http engine, whatever its value.
pub(super) fn needs_reactor<T>(report: &Report, engine: Engine, what: &str, written: &Written<T>) {
    if let Some(written) = written {
        let message = format!("{what} needs the reactor engine");
        reactor_only(report, engine, written.place, message);
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::config::report::At;

    fn messages(engine: Engine, written: &Written<i64>) -> Vec<String> {
        let report = Report::default();
        needs_reactor(&report, engine, "`tunnels` in [server.limits]", written);
        let (problems, _) = report.finish();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_tiny_http_refuses_and_only_what_was_written() {
        let written = Some(At::new(1024, Place::default()));
        assert!(messages(Engine::Reactor, &written).is_empty());
        assert!(messages(Engine::TinyHttp, &None).is_empty());
        let refused = messages(Engine::TinyHttp, &written);
        assert_eq!(refused.len(), 1);
        assert!(
            refused[0].contains("`tunnels` in [server.limits] needs the reactor engine")
                && refused[0].contains("write `engine = \"reactor\"` in [server]"),
            "{refused:?}"
        );
    }
}
