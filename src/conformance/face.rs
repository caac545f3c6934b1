//! The types that the clauses are run through. The clauses are compiled a second time with those of
//! `blocking/face.rs`.

pub(super) use crate::{Cache, CacheBuilder, SessionStore, SessionStoreBuilder};

/// Returns the async store of a store.
pub(super) fn asynchronous<B, C>(store: SessionStore<B, C>) -> SessionStore<B, C> {
    store
}
