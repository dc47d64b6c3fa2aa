//! `tollgate explain METHOD URL`: shows the decision about a request, step by step. Exit code 1 means refused.

use std::net::{IpAddr, Ipv4Addr};

use clap::Args;

use crate::app::{self, Question};
use crate::config::{self, Loaded};

use super::notice::{print, say};
use super::{Exit, Where, report};

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// Method, such as GET
    method: String,
    /// URL, such as `http://api.example.com/v1`, or just a path
    url: String,
    /// A header field, such as 'Content-Length: 10'; repeat it for more
    #[arg(long, short = 'H', value_name = "FIELD")]
    header: Vec<String>,
    /// Where the request comes from; X-Forwarded-For counts if that is a trusted proxy
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::LOCALHOST.into())]
    client_ip: IpAddr,
    /// The entry of `listen` that it comes by [default: the first that speaks what the URL begins with]
    #[arg(long, value_name = "ADDRESS")]
    listener: Option<String>,
    #[command(flatten)]
    place: Where,
}

pub(super) fn run(explain: &Explain) -> Exit {
    let config = match config::load(&explain.place.request()) {
        Err(problems) => return report(&problems),
        Ok(Loaded { config, .. }) => config,
    };
    let question = Question {
        method: &explain.method,
        url: &explain.url,
        fields: &explain.header,
        listener: explain.listener.as_deref(),
        peer: explain.client_ip,
    };
    let explanation = match app::explain(&config, question) {
        Ok(explanation) => explanation,
        Err(why) => {
            say(&format!("tollgate: {why}"));
            return Exit::Usage;
        }
    };
    let mut text = format!("{}\n", explanation.request);
    for step in &explanation.steps {
        text.push_str(&format!("  {step}\n"));
    }
    text.push_str(&format!("=> {}\n", explanation.verdict));
    print(&text);
    if explanation.is_served {
        Exit::Clean
    } else {
        Exit::Failure
    }
}
