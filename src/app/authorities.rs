//! Whether there is somebody to trust for every upstream, and every server that says who may pass, with TLS: whether the system names any authorities cannot be
//! seen in a configuration.

use crate::config::model::Config;
use crate::tls::client::ClientTls;
use crate::tls::failure::Failure;

use super::StartError;

/// That somebody is trusted wherever TLS is spoken.
///
/// # Errors
/// When that is not so.
pub(super) fn demand_authorities(config: &Config) -> Result<(), StartError> {
    let faults = without_authorities(config);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(StartError::Authorities(faults))
    }
}

/// What is missing, a sentence for each upstream and route that cannot speak TLS as it is configured.
pub fn without_authorities(config: &Config) -> Vec<String> {
    let upstreams = config.upstreams.iter();
    let upstreams = upstreams
        .filter(|upstream| upstream.backends.iter().any(|backend| backend.at.is_tls()))
        .filter_map(|upstream| {
            let fault = ClientTls::new(&upstream.tls).err()?;
            Some(format!("upstream {}: {fault}", upstream.name))
        });
    let routes = config.routes.iter().filter_map(|route| {
        let forward = route.auth.as_ref()?.forward.as_ref()?;
        let fault = ClientTls::new(forward.tls.as_ref()?).err()?;
        let fault = Failure::protocol(fault).about_server("route.auth.forward.tls");
        Some(format!("route {}: {fault}", route.name))
    });
    upstreams.chain(routes).collect()
}
