//! `tollgate hash-password`: what to write into `[route.auth.basic]`, or into a file of users, instead of a password.

use clap::Args;

use crate::config::model::{HashKind, PasswordHash};

use super::notice::{print, say};
use super::{Exit, hidden};

#[derive(Debug, Args)]
pub(super) struct HashPassword {
    /// Print a line for a file of users: NAME:HASH
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// bcrypt instead of argon2id, for programs that know no other
    #[arg(long)]
    bcrypt: bool,
}

pub(super) fn run(arguments: &HashPassword) -> Exit {
    let name = arguments.user.as_deref().unwrap_or_default();
    if name.contains(':') || name.contains(char::is_control) {
        say("error: a name has no `:` and no control characters");
        return Exit::Usage;
    }
    let kind = if arguments.bcrypt {
        HashKind::Bcrypt
    } else {
        HashKind::Argon2id
    };
    let hash = hidden::ask("password").and_then(|password| {
        if password.contains(char::is_control) {
            return Err("a password has no control characters: no client can send them".to_owned());
        }
        PasswordHash::make(password.as_bytes(), kind)
    });
    match hash {
        Ok(hash) if name.is_empty() => print(&format!("{hash}\n")),
        Ok(hash) => print(&format!("{name}:{hash}\n")),
        Err(why) => {
            say(&format!("error: {why}"));
            return Exit::Usage;
        }
    }
    Exit::Clean
}
