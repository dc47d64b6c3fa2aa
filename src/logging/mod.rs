//! The log: sets up the `log` facade so that a record is escaped, formatted once and handed to the sinks.
//!
//! A record's way: `log` macros → [`escape::Escaped`] (one line, levels) → simplelog's `WriteLogger` (time, level,
//! target) → [`sink`] threads, one for standard error and one for the file. Logging never blocks the caller: what cannot
//! be written in time is dropped and counted. It does not decide what is worth a line, and it does not follow reloads.

pub mod access;
pub mod escape;
mod rotate;
mod seldom;
mod sink;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use log::LevelFilter;
use simplelog::{Config, ConfigBuilder, FormatItem, WriteLogger};

use escape::Escaped;
use rotate::{RotatingFile, Rotation};
use sink::{Lines, Sink, Stderr};

pub use seldom::Seldom;

/// RFC 3339 in UTC. simplelog's own RFC 3339 prints nine digits or fewer as they fall; three line up and are enough.
pub(crate) const TIME_FORMAT: &[FormatItem<'static>] = simplelog::format_description!(
    "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
);

/// How long [`Logging::shut_down`] waits for the queued lines. A pipe nobody reads must not keep the process alive.
const SHUT_DOWN_PATIENCE: Duration = Duration::from_secs(2);

/// What to write, and where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Lines below this level are not written.
    pub level: LevelFilter,
    /// Write to standard error.
    pub stderr: bool,
    /// Write to this file too.
    pub file: Option<PathBuf>,
    /// Rotate when the file reaches this many bytes; 0 = never.
    pub rotate_size: u64,
    /// Rotate when the file is this old; zero = never.
    pub rotate_age: Duration,
    /// Rotated files kept.
    pub keep: usize,
    /// One line per exchange.
    pub access: bool,
}

/// The running log. Dropping it without [`Logging::shut_down`] leaves the threads running.
#[must_use = "call shut_down at the end, or the last lines may be lost"]
pub struct Logging {
    sinks: Vec<Sink>,
}

/// Starts the sinks and installs the global logger.
///
/// The folders above the log file are created. If the process already has a logger (tests in one process), nothing is
/// installed and the returned handle drives nothing: that is not an error.
///
/// # Errors
/// The log file cannot be opened for appending (the message names path and reason), or a thread cannot be started.
pub fn start(config: &Settings) -> io::Result<Logging> {
    let mut sinks = Vec::new();
    if config.stderr {
        sinks.push(Sink::start("log-stderr", Box::new(Stderr))?);
    }
    if let Some(path) = &config.file {
        let rotation = Rotation {
            size: config.rotate_size,
            age: config.rotate_age,
            keep: config.keep,
        };
        let file = RotatingFile::open(path, rotation)?;
        sinks.push(Sink::start("log-file", Box::new(file))?);
    }
    let logger = build_logger(config, &sinks);
    if log::set_boxed_logger(Box::new(logger)).is_err() {
        Logging { sinks }.shut_down();
        return Ok(Logging { sinks: Vec::new() });
    }
    log::set_max_level(config.level);
    Ok(Logging { sinks })
}

fn build_logger(config: &Settings, sinks: &[Sink]) -> Escaped {
    let lines = Lines::new(sinks.iter().map(Sink::sender).collect());
    let writer = WriteLogger::new(config.level, line_format(), lines);
    Escaped::new(writer, config.level, config.access)
}

/// `2026-01-31T12:00:00.123Z [INFO] target: message`.
fn line_format() -> Config {
    ConfigBuilder::new()
        .set_time_format_custom(TIME_FORMAT)
        .set_target_level(LevelFilter::Error)
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build()
}

impl Logging {
    /// Lines lost so far over all sinks: the queue was full, or a write failed. Only ever grows.
    pub fn dropped(&self) -> u64 {
        self.sinks.iter().map(Sink::dropped).sum()
    }

    /// Closes the log file and opens it anew by its name (USR1, after an outside rotation). Returns at once.
    pub fn reopen(&self) {
        for sink in &self.sinks {
            sink.reopen();
        }
    }

    /// Writes what is queued and ends the threads, within 2 s over all sinks. What is logged later is dropped.
    ///
    /// A sink that is stuck (a pipe nobody reads) is left behind with its lines.
    pub fn shut_down(self) {
        let deadline = Instant::now() + SHUT_DOWN_PATIENCE;
        log::logger().flush();
        for sink in &self.sinks {
            sink.stop();
        }
        for sink in self.sinks {
            sink.join(deadline);
        }
    }
}

#[cfg(test)]
mod tests;
