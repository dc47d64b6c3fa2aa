//! `tollgate reload`: asks a running tollgate, through its admin address, to read its configuration again.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use ureq::Agent;

use crate::config;
use crate::config::model::Admin;

use super::notice::{print, say};
use super::{Exit, Where, report};

/// Validating takes milliseconds; a machine under load may take its time.
const PATIENCE: Duration = Duration::from_secs(10);

/// What helps when there is no talking to it.
const ELSEWHERE: &str = "the running process may have another admin address or token than the file has by now, as these need a restart; \
     send it HUP instead (kill -HUP PID)";

#[derive(Debug, Args)]
pub(super) struct Reload {
    #[command(flatten)]
    place: Where,
    /// Only show what would change
    #[arg(long)]
    ask: bool,
}

pub(super) fn run(reload: &Reload) -> Exit {
    // Found as `run` finds it: it says where the running one is. It is read again by that one.
    let config = match config::load(&reload.place.request()) {
        Ok(loaded) => loaded.config,
        Err(problems) => return report(&problems),
    };
    let Some(admin) = config.admin else {
        say(
            "tollgate: there is no [admin] in the configuration, so nobody can be asked; send HUP to the process instead",
        );
        return Exit::Failure;
    };
    match ask(&admin, reload.ask) {
        Ok((200, answer)) => {
            tell(&answer, reload.ask);
            Exit::Clean
        }
        Ok((422, answer)) => {
            texts(&answer, "problems").for_each(say);
            say("tollgate: the new configuration is bad; nothing has changed");
            Exit::BadConfig
        }
        Ok((status, answer)) => {
            let message = answer.get("message").and_then(Value::as_str);
            let message = message.unwrap_or("it says nothing more");
            say(&format!(
                "tollgate: refused with status {status}: {message}"
            ));
            if status == 401 {
                say(ELSEWHERE);
            }
            Exit::Failure
        }
        Err(error) => {
            let to = admin.listen;
            say(&format!(
                "tollgate: no answer from the admin address {to}: {error}"
            ));
            say(ELSEWHERE);
            Exit::Failure
        }
    }
}

fn tell(answer: &Value, only_asked: bool) {
    let mut text: String = texts(answer, "changes")
        .map(|change| format!("  {change}\n"))
        .collect();
    text.push_str(match (text.is_empty(), only_asked) {
        (true, _) => "nothing is different\n",
        (false, true) => "this would change; nothing has changed yet\n",
        (false, false) => "reloaded\n",
    });
    print(&text);
}

fn texts<'a>(answer: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    let list = answer.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

fn ask(admin: &Admin, only_asked: bool) -> Result<(u16, Value), String> {
    let agent: Agent = Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(PATIENCE))
        .build()
        .into();
    // An address that means all of them is reached on this machine's own.
    let mut to = admin.listen;
    if to.ip().is_unspecified() {
        to.set_ip(match to {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let query = if only_asked { "?ask" } else { "" };
    let mut request = agent.post(format!("http://{to}/_proxy/reload{query}"));
    if let Some(token) = &admin.token {
        let token = String::from_utf8_lossy(token.bytes()).into_owned();
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let mut response = request.send_empty().map_err(|error| error.to_string())?;
    let text = response
        .body_mut()
        .read_to_string()
        .map_err(|error| error.to_string())?;
    let answer = serde_json::from_str(&text).unwrap_or_default();
    Ok((response.status().as_u16(), answer))
}
