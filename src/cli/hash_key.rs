//! `tollgate hash-key`: what to write into a configuration instead of an API key or a token.

use clap::Args;

use crate::config;

use super::notice::{print, say};
use super::{Exit, hidden};

/// Shorter ones can be guessed, hash or not.
const SHORTEST: usize = 16;

#[derive(Debug, Args)]
pub(super) struct HashKey {
    /// Print a line for a file of keys: NAME:sha256:…
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub(super) fn run(arguments: &HashKey) -> Exit {
    let key = match hidden::ask("key") {
        Ok(key) => key,
        Err(why) => {
            say(&format!("error: {why}"));
            return Exit::Usage;
        }
    };
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        say(
            "error: no client can send this key; use letters, digits and ASCII punctuation, without spaces",
        );
        return Exit::Usage;
    }
    if key.len() < SHORTEST {
        say(&format!(
            "warning: it is shorter than {SHORTEST} characters and can be guessed; `openssl rand -hex 24` makes a good one"
        ));
    }
    let hash = config::hash_key(key.as_bytes());
    match &arguments.name {
        Some(name) => print(&format!("{name}:{hash}\n")),
        None => print(&format!("{hash}\n")),
    }
    Exit::Clean
}
