//! What to dial.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    sentinel::Sentinels,
    settings::{Address, Settings},
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
