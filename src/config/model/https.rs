//! `redirect_https`: who comes without TLS is sent to the same place with it.

use serde::Serialize;

/// `server.redirect_https`, where it is switched on.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct RedirectHttps {
    /// Port of the place with TLS; 443 is left out of the URL. Default: that of the first listener with TLS, else 443.
    pub port: u16,
    /// Paths that are served without TLS too: what begins so. Default `/.well-known/acme-challenge/`.
    pub except: Vec<String>,
}

impl RedirectHttps {
    /// Whether `path`, in its normal form, is served without TLS too.
    pub fn spares(&self, path: &str) -> bool {
        let mut spared = self.except.iter();
        spared.any(|prefix| {
            path.strip_prefix(prefix.as_str()).is_some_and(|rest| {
                prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/')
            })
        })
    }
}
