//! Addresses for backends that join, from others with the same name.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use crate::config::model::Resolve;
use crate::upstream::Upstream;

/// Gives backends of `new` that have no address yet those that a backend of `known` with the same name has, so that they do
/// not wait for a lookup.
pub fn share_addresses(known: &[Arc<Upstream>], new: &[Arc<Upstream>], now: Instant) {
    let mut lacking = new
        .iter()
        .flat_map(|upstream| &upstream.members)
        .filter(|member| !member.backend.is_resolved())
        .filter_map(|member| Some((&member.backend, member.backend.host()?)))
        .peekable();
    if lacking.peek().is_none() {
        return;
    }
    let members = known.iter().flat_map(|upstream| &upstream.members);
    // Of backends that are one address of their name, that one is not all there is to know.
    let resolved = members.filter(|member| member.settings.resolve == Resolve::One);
    let addresses: HashMap<&str, Arc<[SocketAddr]>> = resolved
        .filter(|member| member.backend.is_resolved())
        .filter_map(|member| Some((member.backend.host()?, member.backend.addresses())))
        .collect();
    for (backend, host) in lacking {
        if let Some(found) = addresses.get(host) {
            let found: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
            backend.set_addresses(&found, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstreams(backends: &str) -> Vec<Arc<Upstream>> {
        let text = format!("[[upstream]]\nname = \"u\"\nbackends = [{backends}]\n");
        let config = crate::config::load_str("test", &text).unwrap().config;
        let settings = config.upstreams.iter();
        settings.map(|one| Arc::new(Upstream::new(one))).collect()
    }

    #[test]
    fn a_name_that_is_known_is_known_to_all() {
        let now = Instant::now();
        let known = upstreams("\"http://a\", \"http://b\"");
        let first = known[0].backends().next().unwrap();
        first.set_addresses(&[[10, 0, 0, 1].into()], now);
        let new = upstreams(
            "\"http://a:81\", \"http://b:81\", { id = \"all\", url = \"http://a\", resolve = \"all\" }",
        );
        share_addresses(&known, &new, now);
        let resolved: Vec<bool> = new[0].backends().map(|one| one.is_resolved()).collect();
        assert_eq!(resolved, [true, false, false]);
        let first = new[0].backends().next().unwrap();
        assert_eq!(*first.addresses(), ["10.0.0.1:81".parse().unwrap()]);
    }
}
