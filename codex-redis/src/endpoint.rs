//! What to dial.

use std::{fmt, sync::Arc};

use crate::settings::{Address, Settings};

/// One server, and how to treat it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    pub(crate) settings: Arc<Settings>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
