//! `tollgate reload`: asks a running tollgate, through its admin address, to read its configuration again.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use ureq::Agent;

use crate::config;
use crate::config::model::{Address, Admin};
use crate::config::secret::Secret;

use super::notice::{print, say};
use super::{Exit, Where, report};

/// Validating takes milliseconds; a machine under load may take its time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read.
const LONGEST_ANSWER: u64 = 4 << 20;

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
            let to = &admin.listen;
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
    let query = if only_asked { "?ask" } else { "" };
    let target = format!("/_proxy/reload{query}");
    match &admin.listen {
        Address::Ip(address) => ask_over_ip(*address, &target, admin.token.as_ref()),
        Address::Unix(path) => {
            ask_over_socket(path, &target, admin.token.as_ref()).map_err(|error| error.to_string())
        }
    }
}

/// In HTTP/1.0, so that the end of the connection is the end of the answer.
fn ask_over_socket(path: &Path, target: &str, token: Option<&Secret>) -> io::Result<(u16, Value)> {
    let mut socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut request =
        format!("POST {target} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n").into_bytes();
    if let Some(token) = token {
        request.extend_from_slice(b"Authorization: Bearer ");
        request.extend_from_slice(token.bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    socket.write_all(&request)?;
    let mut answer = Vec::new();
    socket.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1);
    let status = status.and_then(|status| status.parse::<u16>().ok());
    let status = status.ok_or_else(|| io::Error::other("what it says is not HTTP"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, serde_json::from_str(body).unwrap_or_default()))
}

fn ask_over_ip(
    mut to: SocketAddr,
    target: &str,
    token: Option<&Secret>,
) -> Result<(u16, Value), String> {
    let agent: Agent = Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(PATIENCE))
        .build()
        .into();
    // An address that means all of them is reached on this machine's own.
    if to.ip().is_unspecified() {
        to.set_ip(match to {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let mut request = agent.post(format!("http://{to}{target}"));
    if let Some(token) = token {
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
