//! What to dial.

use std::{fmt, sync::Arc, time::Duration};

use redis::Value;
use tokio::time::{Instant, timeout};

use super::sentinel::{Sentinels, text};
use crate::{
    config::settings::{Address, Settings},
    connection::{
        connect::{Link, ask, open},
        failure::DialError,
    },
    observe,
};

/// The longest pause between dials where the server can change: its place may have been taken by another one meanwhile.
const ELECTED_PAUSE: Duration = Duration::from_millis(500);

/// One server, and how to treat it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) origin: Origin,
    pub(crate) settings: Arc<Settings>,
}

/// Where the server is.
#[derive(Clone)]
pub(crate) enum Origin {
    At(Address),
    /// Where Sentinels say that the primary is.
    Elected(Arc<Sentinels>),
}

impl Endpoint {
    pub(crate) fn at(address: Address, settings: Arc<Settings>) -> Self {
        Self {
            origin: Origin::At(address),
            settings,
        }
    }

    pub(crate) fn longest_pause(&self) -> Duration {
        match self.origin {
            Origin::At(_) => self.settings.backoff_max,
            Origin::Elected(_) => self.settings.backoff_max.min(ELECTED_PAUSE),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::At(address) => address.fmt(f),
            Origin::Elected(sentinels) => sentinels.fmt(f),
        }
    }
}

/// Dials, within the connect timeout. The connection is driven by a task of the current runtime.
pub(crate) async fn dial(endpoint: &Endpoint) -> Result<Link, DialError> {
    let settings = &*endpoint.settings;
    let start = Instant::now();
    let attempt = async {
        match &endpoint.origin {
            Origin::At(address) => open(address, settings).await,
            Origin::Elected(sentinels) => {
                let link = open(&sentinels.primary().await?, settings).await?;
                is_primary(&link, settings).await?;
                Ok(link)
            }
        }
    };
    let dialled = timeout(settings.connect_timeout, attempt)
        .await
        .unwrap_or(Err(DialError::late()));
    let found = dialled.as_ref().map(Link::address);
    observe::dialled(
        endpoint,
        found.map_err(|error| (error.kind, error.message)),
        start.elapsed(),
    );
    dialled
}

/// Sentinels that have not heard of a fail-over yet name a server that is a replica by now.
async fn is_primary(link: &Link, settings: &Settings) -> Result<(), DialError> {
    let role = ask(link, &redis::cmd("ROLE"), settings).await?;
    match &role {
        Value::Array(parts) if parts.first().and_then(text) == Some("master") => Ok(()),
        // A user need not have the right to ask; then READONLY is how a replica is told.
        Value::ServerError(_) => Ok(()),
        _ => Err(DialError::server(
            "the server that the Sentinels name is not the primary",
        )),
    }
}
