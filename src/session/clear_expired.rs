//! Removal of expired sessions, which Django's other stores need and this store does not.

use std::future::{self, Future};

use codex_traits::KvBackend;

use super::{SessionCodec, SessionError, SessionStore};

/// The outcome of [`SessionStore::clear_expired`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClearExpired {
    /// Every backend removes expired records by itself, so there is nothing to do.
    NotNeeded,
}

impl<B: KvBackend, C: SessionCodec> SessionStore<B, C> {
    /// Returns at once, because every backend removes expired records by itself. This method exists
    /// for programs that call it on each of their stores.
    ///
    /// # Errors
    ///
    /// This method does not fail.
    pub fn clear_expired(&self) -> impl Future<Output = Result<ClearExpired, SessionError>> + Send + use<B, C> {
        future::ready(Ok(ClearExpired::NotNeeded))
    }
}
