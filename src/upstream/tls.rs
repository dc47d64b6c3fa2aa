//! TLS as the backends of one upstream have it in common: with it go the sessions that can be resumed.

use std::sync::Arc;

use rustls::ClientConnection;

use crate::config::model::{self, UpstreamTls};
use crate::tls::client::ClientTls;
use crate::tls::failure::Failure;

/// What the `https://` backends of an upstream share.
#[derive(Debug)]
pub(super) struct Tls {
    settings: UpstreamTls,
    /// Without authorities there is none.
    made: Result<ClientTls, String>,
}

impl Tls {
    /// What `upstream` needs: `known` if that will do, nothing if it has no such backends.
    pub(super) fn of(upstream: &model::Upstream, known: Option<&Arc<Tls>>) -> Option<Arc<Tls>> {
        if let Some(known) = known
            && known.settings == upstream.tls
        {
            return Some(Arc::clone(known));
        }
        let is_spoken = upstream.backends.iter().any(|backend| backend.at.is_tls());
        is_spoken.then(|| {
            Arc::new(Tls {
                settings: upstream.tls.clone(),
                made: ClientTls::new(&upstream.tls),
            })
        })
    }

    /// The begin of a connection to the backend whose URL names `host`.
    pub(super) fn connection(&self, host: &str) -> Result<ClientConnection, Failure> {
        let made = self.made.as_ref().map_err(Clone::clone);
        made.and_then(|made| made.connection(host))
            .map_err(Failure::protocol)
    }
}
