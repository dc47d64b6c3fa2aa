//! Whether there is somebody to trust for every upstream that speaks TLS: whether the system names any authorities cannot be
//! seen in a configuration.

use crate::config::model::Config;
use crate::tls::client::ClientTls;

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

/// What is missing, a sentence for each upstream that cannot speak TLS as it is configured.
pub fn without_authorities(config: &Config) -> Vec<String> {
    let upstreams = config.upstreams.iter();
    upstreams
        .filter(|upstream| upstream.backends.iter().any(|backend| backend.at.is_tls()))
        .filter_map(|upstream| {
            let fault = ClientTls::new(&upstream.tls).err()?;
            Some(format!("upstream {}: {fault}", upstream.name))
        })
        .collect()
}
