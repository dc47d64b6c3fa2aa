//! One lookup of a name, on a thread of its own: the system's resolver takes as long as it likes.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::Sender;

/// Most addresses of a name that are used.
const MOST_ADDRESSES: usize = 256;

/// The system's resolver wants some room: it loads modules.
const STACK: usize = 512 * 1024;

/// Asks for the addresses of a name.
pub(super) type Look = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// The addresses of a name, each once and never none; or why there are none, for people.
pub(super) type Outcome = Result<Vec<IpAddr>, String>;

/// Asks the system. May take minutes.
pub(super) fn system(host: &str) -> io::Result<Vec<IpAddr>> {
    let found = (host, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).collect())
}

/// Starts a lookup, whose outcome goes to `results` with the name. False when there is no thread for it now.
pub(super) fn launch(host: &Arc<str>, look: &Look, results: &Sender<(Arc<str>, Outcome)>) -> bool {
    let (host, look, results) = (Arc::clone(host), Arc::clone(look), results.clone());
    let work = move || {
        let outcome = judge(look(&host));
        // Nobody wants to know when tollgate ends.
        let _ = results.send((host, outcome));
    };
    let thread = thread::Builder::new().name("lookup".into());
    thread.stack_size(STACK).spawn(work).is_ok()
}

fn judge(found: io::Result<Vec<IpAddr>>) -> Outcome {
    let mut found = found.map_err(|error| describe(&error))?;
    let mut seen = HashSet::new();
    found.retain(|address| seen.insert(*address));
    found.truncate(MOST_ADDRESSES);
    if found.is_empty() {
        return Err("the name has no address".into());
    }
    Ok(found)
}

/// The resolver's words, without those that say only that it is the resolver.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.strip_prefix("failed to lookup address information: ");
    words.unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_once() {
        let ips = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let found = judge(Ok(ips(&["10.0.0.2", "::1", "10.0.0.2", "10.0.0.1"])));
        assert_eq!(found, Ok(ips(&["10.0.0.2", "::1", "10.0.0.1"])));
        assert_eq!(
            judge(Ok(Vec::new())).unwrap_err(),
            "the name has no address"
        );
        let many = (0..1000).map(|n: u32| IpAddr::V4(n.into())).collect();
        assert_eq!(judge(Ok(many)).unwrap().len(), MOST_ADDRESSES);
    }

    #[test]
    fn the_resolvers_words_are_kept() {
        let words = "failed to lookup address information: Name or service not known";
        let outcome = judge(Err(io::Error::other(words)));
        assert_eq!(outcome.unwrap_err(), "Name or service not known");
        assert_eq!(judge(Err(io::Error::other("odd"))).unwrap_err(), "odd");
    }
}
