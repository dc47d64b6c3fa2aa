//! Where the process listens, and the listener of the admin side, which has an engine of its own where it needs one.

use crate::accept::{self, BindError, Inherited, Opened};
use crate::config::model::{self, Address, Config, Engine, Listen, ListenTls, Server};

/// All that the configuration wants to listen on.
pub(super) fn addresses(config: &Config) -> Vec<Address> {
    let traffic = config.server.listen.iter();
    let traffic = traffic.map(|listen| listen.address.clone());
    let admin = config.admin.iter().map(|admin| admin.listen.clone());
    traffic.chain(admin).collect()
}

/// Opens the admin side's own listener.
///
/// # Errors
/// When its address cannot be bound.
pub(super) fn open_admin(
    admin: model::Admin,
    config: &Config,
    inherited: &mut Inherited,
) -> Result<(model::Admin, Opened), BindError> {
    let listen = Listen {
        address: admin.listen.clone(),
        proxy_protocol: false,
        tls: ListenTls::Plain,
        is_private: true,
    };
    // One thread is plenty for it, whatever the traffic gets; and the other engine knows no Unix sockets.
    let server = Server {
        listener_threads: 1,
        engine: match admin.listen {
            Address::Ip(_) => config.server.engine,
            Address::Unix(_) => Engine::Reactor,
        },
        ..config.server.clone()
    };
    Ok((admin, accept::open(&[listen], &server, None, inherited)?))
}
