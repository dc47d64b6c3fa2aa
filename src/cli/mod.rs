//! The command line: what can be asked for, one file per command.
//!
//! Commands print for people and give an exit code; they hold no logic of the proxy.

mod cert;
mod check;
mod demo;
mod explain;
mod hash_key;
mod hash_password;
mod hidden;
mod notice;
mod reload;
mod run;
mod signals;
mod supervisor;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Problems, Request};

use notice::say;

/// Exit codes, as service managers expect them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Clean = 0,
    /// It failed while running.
    Failure = 1,
    /// What was asked for makes no sense.
    Usage = 2,
    /// The drain was cut short.
    Cut = 3,
    /// The configuration is bad (`EX_CONFIG` of sysexits).
    BadConfig = 78,
}

/// A synchronous HTTP reverse proxy and load balancer that explains every decision it takes.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Where,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy (also what happens without a command)
    Run(Where),
    /// Check the configuration, report every problem, start nothing
    Check(Where),
    /// Have a running tollgate read the configuration it was started with again, and show what is different
    Reload(reload::Reload),
    /// Show what would be decided about a request, step by step, without sending it
    Explain(explain::Explain),
    /// Make a self-signed certificate and its key, for development
    Cert(cert::Cert),
    /// Print the hash of a password, which is read from standard input
    HashPassword(hash_password::HashPassword),
    /// Print what to write into a configuration instead of an API key or a token, which is read from standard input
    HashKey(hash_key::HashKey),
    /// Start demo backends and a proxy over them, to play with
    Demo(demo::Demo),
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
struct Where {
    /// Configuration file: TOML, or JSON when it ends in .json [default: $TOLLGATE_CONFIG, ./tollgate.toml,
    /// /etc/tollgate/tollgate.toml]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File of environment variables such as PROXY_PORT and BACKEND_1
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Address to listen on, such as :8080 or unix:/run/tollgate.sock, instead of what the file says
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// A backend, such as :9001, `http://127.0.0.1:9001` or unix:/run/app.sock; repeat it for more. No file is read then
    #[arg(long, value_name = "BACKEND")]
    to: Vec<String>,
}

impl Where {
    fn request(&self) -> Request {
        Request {
            config: self.config.clone(),
            env_file: self.env_file.clone(),
            listen: self.listen.clone(),
            to: self.to.clone(),
            environment: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect::<BTreeMap<_, _>>(),
            working_dir: std::env::current_dir().unwrap_or_default(),
        }
    }
}

/// Parses the process's arguments and does what they say. Wrong usage prints a hint and exits 2.
pub fn main() -> Exit {
    let cli = Cli::parse();
    match cli.command {
        None => run::run(&cli.run),
        Some(Command::Run(place)) => run::run(&place),
        Some(Command::Check(place)) => check::run(&place),
        Some(Command::Reload(reload)) => reload::run(&reload),
        Some(Command::Explain(explain)) => explain::run(&explain),
        Some(Command::Cert(cert)) => cert::run(&cert),
        Some(Command::HashPassword(arguments)) => hash_password::run(&arguments),
        Some(Command::HashKey(arguments)) => hash_key::run(&arguments),
        Some(Command::Demo(demo)) => demo::run(&demo),
    }
}

/// Tells what is wrong with a configuration.
fn report(problems: &Problems) -> Exit {
    say(&format!("{problems}"));
    Exit::BadConfig
}
