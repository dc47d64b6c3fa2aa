//! A proxy in this process: built from backends and a few lines of configuration, on ports that the system picks.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tollgate::app::{Options, Outcome, Running, StartError};
use tollgate::config;
use tollgate::config::model::Address;

use super::client::{Client, Response, get};
use super::{Backend, Engine, secure};

/// A running proxy. Dropping it shuts it down, which joins its threads; a panic of one of them is raised again there.
pub struct Proxy {
    running: Option<Running>,
    admin: SocketAddr,
    /// What a reload reads.
    file: Arc<Mutex<String>>,
    secure: Vec<SocketAddr>,
}

/// A value for `listen`.
pub const SECURE: &str = "{ address = \"127.0.0.1:0\", tls = \"self-signed\" }";

/// A configuration in the making.
#[derive(Debug, Clone)]
pub struct Setup {
    engine: Engine,
    listen: String,
    server: String,
    admin: String,
    upstreams: Vec<(String, Vec<String>, String)>,
    more: String,
}

impl Proxy {
    /// One upstream `web` with these backends, called `b1`, `b2`, … Probes are off unless a test asks for them.
    pub fn to<'a>(engine: Engine, backends: impl IntoIterator<Item = &'a Backend>) -> Setup {
        let setup = Setup {
            engine,
            listen: match engine {
                Engine::ReactorTls => SECURE.into(),
                Engine::Reactor | Engine::TinyHttp => "\"127.0.0.1:0\"".into(),
            },
            server: String::new(),
            admin: String::new(),
            upstreams: Vec::new(),
            more: String::new(),
        };
        let mut setup = setup.upstream("web", []);
        setup.upstreams[0].1 = backends.into_iter().map(Backend::url).collect();
        setup
    }

    /// Where clients connect; the first of several addresses.
    #[track_caller]
    pub fn traffic(&self) -> SocketAddr {
        self.addresses()[0].ip().expect("a TCP address")
    }

    /// All addresses it listens on.
    pub fn addresses(&self) -> &[Address] {
        self.running().traffic()
    }

    /// Where the admin listener is.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The first upstream, as the status page shows it.
    #[track_caller]
    pub fn upstream(&self) -> serde_json::Value {
        get(self.admin, "/_proxy/status").json()["upstreams"][0].take()
    }

    /// What runs, for looking at its drain.
    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("not shut down yet")
    }

    /// A new connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.traffic())
    }

    /// A GET on a connection of its own.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        get(self.traffic(), target)
    }

    /// Writes another configuration; it takes effect at the next reload.
    pub fn write(&self, setup: &Setup) {
        *self.file.lock().unwrap() = setup.text();
    }

    /// Reloads with another configuration: what is different, or all its problems.
    pub fn reload(&self, setup: &Setup) -> Result<Vec<String>, Vec<String>> {
        self.reload_text(setup.text())
    }

    /// The same, with the text of one.
    pub fn reload_text(&self, text: String) -> Result<Vec<String>, Vec<String>> {
        *self.file.lock().unwrap() = text;
        self.running().reloader().reload()
    }

    /// Shuts down and says how it went.
    pub fn shut_down(mut self) -> Outcome {
        let running = self.running.take().expect("not shut down yet");
        running.shut_down(&mut |_| {})
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.secure.iter().copied().for_each(secure::forget);
        let Some(running) = self.running.take() else {
            return;
        };
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            running.shut_down(&mut |_| {});
        }));
        if let Err(panic) = end
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Setup {
    /// One more upstream; its backends are called after it: `NAME1`, `NAME2`, … (`b1`, … for `web`).
    pub fn upstream(mut self, name: &str, to: impl IntoIterator<Item = SocketAddr>) -> Setup {
        let urls = to.into_iter().map(|to| format!("http://{to}")).collect();
        self.upstreams.push((name.to_owned(), urls, String::new()));
        self
    }

    /// Listens there instead: a value for `listen`, quotes included.
    pub fn listen(mut self, value: &str) -> Setup {
        self.listen = value.to_owned();
        self
    }

    /// One more backend of the last upstream, by its address.
    pub fn and(self, address: SocketAddr) -> Setup {
        self.and_url(format!("http://{address}"))
    }

    /// One more backend of the last upstream, as a configuration names it.
    pub fn and_url(mut self, url: String) -> Setup {
        self.upstreams.last_mut().expect("an upstream").1.push(url);
        self
    }

    /// Lines for `[server]`, with dotted keys: `limits.body = "1KiB"`.
    pub fn server(mut self, lines: &str) -> Setup {
        self.server.push_str(lines);
        self.server.push('\n');
        self
    }

    /// Lines for `[admin]`.
    pub fn admin(mut self, lines: &str) -> Setup {
        self.admin.push_str(lines);
        self.admin.push('\n');
        self
    }

    /// Lines for the last upstream, with dotted keys: `retry.attempts = 0`.
    pub fn web(mut self, lines: &str) -> Setup {
        let last = self.upstreams.last_mut().expect("an upstream");
        last.2.push_str(lines);
        last.2.push('\n');
        self
    }

    /// Whole tables, after everything else: routes, `[log]`.
    pub fn more(mut self, tables: &str) -> Setup {
        self.more.push_str(tables);
        self.more.push('\n');
        self
    }

    /// The configuration as text.
    pub fn text(&self) -> String {
        let mut text = format!(
            "[server]\nlisten = {}\nengine = \"{}\"\nbackend_header = true\n{}",
            self.listen,
            self.engine.name(),
            self.server
        );
        if !self.server.contains("drain_timeout") {
            text.push_str("drain_timeout = \"2s\"\n");
        }
        text.push_str(&format!(
            "[admin]\nlisten = \"127.0.0.1:0\"\n{}",
            self.admin
        ));
        for (name, addresses, lines) in &self.upstreams {
            let prefix = if name == "web" { "b" } else { name };
            let backends: Vec<String> = (1..)
                .zip(addresses)
                .map(|(n, to)| format!("{{ id = \"{prefix}{n}\", url = \"{to}\" }}"))
                .collect();
            let backends = backends.join(", ");
            text.push_str(&format!(
                "[[upstream]]\nname = \"{name}\"\nbackends = [{backends}]\n"
            ));
            if !lines.contains("health") {
                text.push_str("health.enabled = false\n");
            }
            text.push_str(lines);
        }
        text.push_str(&self.more);
        text
    }

    /// Starts it in this process.
    #[track_caller]
    pub fn start(&self) -> Proxy {
        self.try_start().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same where it may be unable to start; a configuration that is not valid fails the test all the same.
    #[track_caller]
    pub fn try_start(&self) -> Result<Proxy, StartError> {
        let text = self.text();
        let loaded = config::load_str("test.toml", &text)
            .unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        let file = Arc::new(Mutex::new(text));
        let source = Arc::clone(&file);
        let options = Options {
            source: Some(Box::new(move || {
                config::load_str("test.toml", &source.lock().unwrap())
            })),
            ..Options::default()
        };
        let running = Running::start_with(loaded.config, options)?;
        let admin = running.admin().expect("an admin listener");
        let secure = secure_addresses(&running);
        secure.iter().copied().for_each(secure::note);
        Ok(Proxy {
            running: Some(running),
            admin,
            file,
            secure,
        })
    }
}

/// Where it speaks TLS.
fn secure_addresses(running: &Running) -> Vec<SocketAddr> {
    let both = running.traffic().iter().zip(running.urls());
    let secure = both.filter(|(_, url)| url.starts_with("https"));
    secure.filter_map(|(address, _)| address.ip()).collect()
}
