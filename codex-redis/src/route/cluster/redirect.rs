//! The answers by which a node refuses to run a command. A refused command has had no effect, so it
//! may be sent again.

use redis::Value;

use super::slot_map::host_of;
use crate::{config::settings::Address, wire::error::server_error};

pub(crate) enum Redirect {
    /// Another node serves the slot.
    Moved(Address),
    /// The key is moving to another node, or has moved there.
    Ask(Address),
    /// No node can serve the key at the moment. The state is transient.
    Later,
}

impl Redirect {
    /// Parses a redirection. `asked` replaces a host that the answer leaves out.
    pub(crate) fn of(reply: &Value, asked: &Address) -> Option<Self> {
        let error = server_error(reply)?;
        match error.code() {
            "MOVED" => place(error.details()?, asked).map(Self::Moved),
            "ASK" => place(error.details()?, asked).map(Self::Ask),
            "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "LOADING" => Some(Self::Later),
            _ => None,
        }
    }
}

/// Parses `3999 127.0.0.1:6381`. IPv6 addresses have no brackets.
fn place(details: &str, asked: &Address) -> Option<Address> {
    let (_, place) = details.split_once(' ')?;
    let (host, port) = place.trim().rsplit_once(':')?;
    let host = if host.is_empty() { host_of(asked)? } else { host };
    Some(Address::Tcp {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}
