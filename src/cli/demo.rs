//! `tollgate demo`: backends to play with, and a proxy over them.

use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::app::{DemoBackend, Options, Running};
use crate::config::{self, Loaded};

use super::notice::say;
use super::{Exit, report, run, signals};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Demo {
    #[command(subcommand)]
    alone: Option<Alone>,
    /// How many demo backends
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    backends: u16,
    /// Port of the proxy on 127.0.0.1; 0 lets the system pick one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Port of the admin address on 127.0.0.1; 0 lets the system pick one
    #[arg(long, default_value_t = 9180)]
    admin_port: u16,
}

#[derive(Debug, Subcommand)]
enum Alone {
    /// Start one demo backend alone
    Backend {
        /// Port on 127.0.0.1; 0 lets the system pick one
        #[arg(long, default_value_t = 9001)]
        port: u16,
        /// The name it answers with
        #[arg(long, default_value = "demo")]
        name: String,
    },
}

pub(super) fn run(demo: &Demo) -> Exit {
    match &demo.alone {
        Some(Alone::Backend { port, name }) => alone(*port, name),
        None => over_backends(demo),
    }
}

fn alone(port: u16, name: &str) -> Exit {
    let backend = match DemoBackend::start(port, name.to_owned()) {
        Ok(backend) => backend,
        Err(error) => {
            say(&format!(
                "tollgate: cannot start a demo backend on port {port}: {error}"
            ));
            return Exit::Failure;
        }
    };
    say(&format!(
        "demo backend {name} on http://{}",
        backend.address()
    ));
    match signals::listen() {
        Ok(asks) => while asks.next() == Some(signals::Ask::ReopenLogs) {},
        Err(error) => say(&format!("tollgate: cannot listen for signals: {error}")),
    }
    backend.shut_down();
    Exit::Clean
}

fn over_backends(demo: &Demo) -> Exit {
    let mut backends = Vec::new();
    for number in 1..=demo.backends {
        match DemoBackend::start(0, format!("demo-{number}")) {
            Ok(backend) => backends.push(backend),
            Err(error) => {
                say(&format!(
                    "tollgate: cannot start demo backend {number}: {error}"
                ));
                return Exit::Failure;
            }
        }
    }
    let exit = match config::load_str("demo", &configuration(demo, &backends)) {
        Err(problems) => report(&problems),
        Ok(Loaded { config, .. }) => run::serve(config, Options::default(), &Arc::default(), greet),
    };
    if exit == Exit::Cut {
        // What was cut must stay cut: a backend that shuts down would answer in the last moment.
        std::mem::forget(backends);
        return exit;
    }
    for backend in backends {
        backend.shut_down();
    }
    exit
}

fn configuration(demo: &Demo, backends: &[DemoBackend]) -> String {
    let list: Vec<String> = (1..)
        .zip(backends)
        .map(|(number, backend)| {
            format!(
                "  {{ id = \"demo-{number}\", url = \"http://{}\" }},\n",
                backend.address()
            )
        })
        .collect();
    format!(
        "[server]\nlisten = \"127.0.0.1:{}\"\nbackend_header = true\nhealth_paths = [\"/_health\"]\n\
         [admin]\nlisten = \"127.0.0.1:{}\"\n\
         [[upstream]]\nname = \"demo\"\nbackends = [\n{}]\n[upstream.health]\npath = \"/health\"\n\
         [[route]]\nname = \"items\"\nmatch = {{ path = \"/items/{{service}}\" }}\nservices = {{ books = \"demo\" }}\n\
         strip_prefix = \"/items\"\n\
         [[route]]\nname = \"demo\"\nupstream = \"demo\"\n",
        demo.port,
        demo.admin_port,
        list.concat(),
    )
}

fn greet(running: &Running) {
    let (Some(base), Some(admin)) = (running.urls().next(), running.admin()) else {
        return;
    };
    say(&format!(
        "\nTry it from another terminal:\n\
         \x20 curl -i {base}/hello                    an echo; X-Backend-Server tells which backend it was\n\
         \x20 curl {base}/items/books                 a service picked by the path; each backend has books of its own\n\
         \x20 curl -d '{{\"name\":\"Emma\",\"author\":\"Austen\"}}' {base}/items/books\n\
         \x20 curl {base}/items/unknown               a service that does not exist\n\
         \x20 curl -N '{base}/sse?events=5&ms=500'    events as they are sent\n\
         \x20 curl -o /dev/null '{base}/bytes?n=100000000'\n\
         \x20 curl '{base}/slow?ms=5000'              then press ctrl-c here and see it drain\n\
         \x20 curl http://{admin}/_proxy/status            the state of everything\n\n\
         ctrl-c drains and stops; a second one stops at once.\n"
    ));
}
