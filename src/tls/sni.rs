//! Which certificate a client gets: the one for the name that it asks for (SNI, RFC 6066 section 3), else the first one.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pair::Pair;

/// Certificates by name.
#[derive(Debug)]
pub(super) struct ByName {
    first: Option<Arc<CertifiedKey>>,
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// Without the `*.` that stands for one label (RFC 9525 section 6.3).
    wildcard: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
}

impl ByName {
    /// Of two certificates for one name the earlier one is preferred, unless the client cannot use it.
    pub(super) fn new(pairs: &[Arc<Pair>]) -> ByName {
        let mut by_name = ByName {
            first: pairs.first().map(|pair| Arc::clone(&pair.key)),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
        };
        for pair in pairs {
            for host in &pair.contents.hosts {
                let (table, name) = match host.strip_prefix("*.") {
                    Some(rest) => (&mut by_name.wildcard, rest),
                    None => (&mut by_name.exact, host.as_str()),
                };
                let keys = table.entry(name.into()).or_default();
                keys.push(Arc::clone(&pair.key));
            }
        }
        by_name
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        name.and_then(|name| self.find(name, schemes))
            .or(self.first.as_ref())
            .map(Arc::clone)
    }

    fn find(&self, name: &str, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let keys = self.exact.get(name).or_else(|| {
            let (label, rest) = name.split_once('.')?;
            self.wildcard.get(rest).filter(|_| !label.is_empty())
        })?;
        keys.iter()
            .find(|key| key.key.choose_scheme(schemes).is_some())
            .or(keys.first())
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}
