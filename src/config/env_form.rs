//! The environment form: `PROXY_PORT`, `BACKEND_1…N` and their companions, from a `.env` file and the process environment.
//!
//! Variables it does not know are none of its business: an environment is full of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::env_file::Line;
use super::file::{
    BackendFile, ConfigFile, EjectionFile, ListenFile, LogFile, RetryFile, ServerFile,
    TimeoutsFile, UpstreamFile, Written,
};
use super::report::{At, Report};
use super::units::LONGEST;

/// The variables with their places; the process environment has won over the file.
pub(crate) struct Variables {
    values: BTreeMap<String, At<String>>,
}

impl Variables {
    /// Joins the lines of a file with the process environment.
    pub(crate) fn join(
        lines: Vec<Line>,
        environment: &BTreeMap<String, String>,
        report: &Report,
    ) -> Variables {
        let mut values = BTreeMap::new();
        for line in lines {
            values.insert(line.key, line.value);
        }
        for (name, value) in environment.iter().filter(|(name, _)| is_known(name)) {
            let place = report.add_source(format!("environment variable {name}"), None);
            values.insert(name.clone(), At::new(value.clone(), place));
        }
        Variables { values }
    }

    /// A variable that is set and not empty; empty is the usual way to say "not set" in a `.env` file.
    fn text(&self, name: &str) -> Written<String> {
        let value = self.values.get(name)?;
        (!value.value.trim().is_empty())
            .then(|| At::new(value.value.trim().to_owned(), value.place))
    }

    fn integer(&self, name: &str, report: &Report) -> Written<i64> {
        let text = self.text(name)?;
        let Ok(number) = text.value.parse() else {
            let message = format!("{name} must be a whole number, not \"{}\"", text.value);
            report.problem_hint(text.place, message, "write digits only");
            return None;
        };
        Some(At::new(number, text.place))
    }

    /// Seconds, perhaps with a fraction.
    fn seconds(&self, name: &str, report: &Report) -> Written<Duration> {
        let text = self.text(name)?;
        let number = text.value.parse::<f64>().ok();
        let duration = number.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match duration.filter(|duration| *duration <= LONGEST) {
            Some(duration) => Some(At::new(duration, text.place)),
            None => {
                let message = format!("{name} must be a number of seconds, not \"{}\"", text.value);
                report.problem_hint(text.place, message, "write it as in `20` or `1.5`");
                None
            }
        }
    }

    fn boolean(&self, name: &str, report: &Report) -> Written<bool> {
        let text = self.text(name)?;
        let value = match text.value.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                let message = format!("{name} must be true or false, not \"{}\"", text.value);
                report.problem_hint(text.place, message, "write `true` or `false`");
                return None;
            }
        };
        Some(At::new(value, text.place))
    }
}

const NAMES: [&str; 9] = [
    "PROXY_PORT",
    "MAX_RETRIES",
    "FAILURE_THRESHOLD",
    "HEALTH_COOLDOWN",
    "REQUEST_TIMEOUT_TOTAL",
    "REQUEST_TIMEOUT_CONNECT",
    "LOG_DIR",
    "LOG_LEVEL",
    "STREAM_STDOUT",
];

fn is_known(name: &str) -> bool {
    NAMES.contains(&name) || backend_number(name).is_some()
}

/// The number N of `BACKEND_N`.
pub(crate) fn backend_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("BACKEND_")?;
    let only_digits = digits.chars().all(|c| c.is_ascii_digit());
    only_digits.then(|| digits.parse().ok()).flatten()
}

/// Reads the variables.
pub(crate) fn read(origin: &str, variables: &Variables, report: &Report) -> ConfigFile {
    let place = report.add_source(origin, None);
    let upstream = UpstreamFile {
        place,
        name: Some(At::new("default".to_owned(), place)),
        backends: Some(At::new(backends(variables, report), place)),
        ejection: EjectionFile {
            failures: variables.integer("FAILURE_THRESHOLD", report),
            cooldown: variables.seconds("HEALTH_COOLDOWN", report),
            ..EjectionFile::default()
        },
        retry: RetryFile {
            attempts: variables.integer("MAX_RETRIES", report),
            // The form's origin also retries when a backend is slow.
            slow: Some(At::new(true, place)),
            ..RetryFile::default()
        },
        timeouts: TimeoutsFile {
            connect: variables.seconds("REQUEST_TIMEOUT_CONNECT", report),
            total: variables.seconds("REQUEST_TIMEOUT_TOTAL", report),
            ..TimeoutsFile::default()
        },
        ..UpstreamFile::default()
    };
    ConfigFile {
        place,
        origin: origin.to_owned(),
        server: ServerFile {
            listen: listen(variables, report),
            ..ServerFile::default()
        },
        log: log(variables, report),
        upstreams: vec![upstream],
        ..ConfigFile::default()
    }
}

fn listen(variables: &Variables, report: &Report) -> Written<Vec<ListenFile>> {
    let port = variables.integer("PROXY_PORT", report)?;
    if !(0..=65535).contains(&port.value) {
        let message = format!("PROXY_PORT must be from 0 to 65535, not {}", port.value);
        report.problem_hint(port.place, message, "write it as in `8080`");
        return None;
    }
    let address = At::new(format!("127.0.0.1:{}", port.value), port.place);
    Some(At::new(vec![ListenFile::from(address)], port.place))
}

/// By number, whatever the gaps; `BACKEND_2` and `BACKEND_02` would get one id, which the check reports.
fn backends(variables: &Variables, report: &Report) -> Vec<BackendFile> {
    let mut numbered: Vec<(u64, Written<String>)> = variables
        .values
        .keys()
        .filter_map(|name| Some((backend_number(name)?, variables.text(name))))
        .collect();
    numbered.sort_by_key(|(number, _)| *number);
    let all_empty = numbered.iter().all(|(_, url)| url.is_none());
    if all_empty
        && let Some((_, first)) = variables
            .values
            .iter()
            .find(|(name, _)| backend_number(name).is_some())
    {
        report.problem_hint(
            first.place,
            "every BACKEND_N is empty",
            "write BACKEND_1=http://127.0.0.1:9001",
        );
    }
    numbered
        .into_iter()
        .filter_map(|(number, url)| {
            let url = url?;
            Some(BackendFile {
                place: url.place,
                id: Some(At::new(format!("backend{number}"), url.place)),
                url: Some(url),
                ..BackendFile::default()
            })
        })
        .collect()
}

fn log(variables: &Variables, report: &Report) -> LogFile {
    let file = variables.text("LOG_DIR").map(|directory| {
        let path = format!("{}/tollgate.log", directory.value.trim_end_matches('/'));
        At::new(path, directory.place)
    });
    LogFile {
        level: variables.text("LOG_LEVEL"),
        stderr: variables.boolean("STREAM_STDOUT", report),
        file,
        ..LogFile::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::config::{
        check, env_file,
        model::{Config, Engine},
    };
    use std::path::Path;

    fn load(file: &str, environment: &[(&str, &str)]) -> (Config, Vec<String>) {
        let report = Report::default();
        let environment: BTreeMap<String, String> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let lines = env_file::read(".env", file, &report);
        let variables = Variables::join(lines, &environment, &report);
        let config = check::check(&read("environment", &variables, &report), &report);
        let (problems, _) = report.finish();
        (config, problems.iter().map(ToString::to_string).collect())
    }

    const SEED: &str = "LOG_DIR=logs\nLOG_LEVEL=WARNING\nPROXY_PORT=8081\nBACKEND_1=http://127.0.0.1:9001\n\
        BACKEND_10=http://127.0.0.1:9010\nBACKEND_2=http://127.0.0.1:9002\nBACKEND_X=1\nMAX_RETRIES=2\n\
        FAILURE_THRESHOLD=4\nHEALTH_COOLDOWN=90.5\nREQUEST_TIMEOUT_TOTAL=1.5\nREQUEST_TIMEOUT_CONNECT=0.5\n\
        STREAM_STDOUT=False\n";

    #[test]
    fn every_variable() {
        let (config, problems) = load(SEED, &[]);
        assert_eq!(problems, Vec::<String>::new());
        let upstream = &config.upstreams[0];
        let ids: Vec<&str> = upstream.backends.iter().map(|b| b.id.as_str()).collect();
        assert_eq!(ids, ["backend1", "backend2", "backend10"]);
        assert_eq!(
            config.server.listen[0].address.to_string(),
            "127.0.0.1:8081"
        );
        assert_eq!(upstream.retry.attempts, 2);
        assert!(upstream.retry.slow);
        assert_eq!(upstream.ejection.failures, 4);
        assert_eq!(upstream.ejection.cooldown, Duration::from_millis(90_500));
        assert_eq!(
            upstream.ejection.max_cooldown,
            Duration::from_millis(90_500)
        );
        assert_eq!(upstream.timeouts.total, Some(Duration::from_millis(1500)));
        assert_eq!(upstream.timeouts.connect, Duration::from_millis(500));
        assert_eq!(
            config.log.file.as_deref(),
            Some(Path::new("logs/tollgate.log"))
        );
        assert_eq!(config.log.level, log::LevelFilter::Warn);
        assert!(!config.log.stderr);
    }

    #[test]
    fn the_process_environment_wins() {
        let (config, problems) = load(
            SEED,
            &[
                ("PROXY_PORT", "8090"),
                ("HOME", "/root"),
                ("BACKEND_URL", "x"),
            ],
        );
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            config.server.listen[0].address.to_string(),
            "127.0.0.1:8090"
        );
        let (_, problems) = load(SEED, &[("PROXY_PORT", "eighty")]);
        assert_eq!(
            problems,
            [
                "environment variable PROXY_PORT: PROXY_PORT must be a whole number, not \"eighty\"\n  hint: write digits only"
            ]
        );
    }

    #[test]
    fn defaults() {
        let (config, problems) = load("BACKEND_1=http://127.0.0.1:9001", &[]);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            config.server.listen[0].address.to_string(),
            "127.0.0.1:8080"
        );
        assert_eq!(config.server.engine, Engine::Reactor);
        assert_eq!(
            config.upstreams[0].ejection.max_cooldown,
            Duration::from_secs(60)
        );
        assert!(config.log.stderr && config.log.file.is_none());
    }

    #[test]
    fn all_problems_with_their_lines() {
        let text = "PROXY_PORT=70000\nBACKEND_1=ftp://x\nBACKEND_2=y\nMAX_RETRIES=-1\nHEALTH_COOLDOWN=inf\n\
            LOG_LEVEL=loud\nSTREAM_STDOUT=maybe\nnonsense\n";
        let (_, problems) = load(text, &[]);
        assert_eq!(problems.len(), 8, "{problems:#?}");
        for (line, problem) in problems.iter().enumerate() {
            assert!(
                problem.starts_with(&format!(".env:{}:1: ", line + 1)),
                "{problem}"
            );
        }
    }
}
