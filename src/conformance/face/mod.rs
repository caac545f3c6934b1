//! The types that the clauses use: the async types, or with the feature `blocking` wrappers
//! that choose between the async and the blocking types.

#[cfg(feature = "blocking")]
mod cache;
#[cfg(feature = "blocking")]
mod paired;
#[cfg(feature = "blocking")]
mod session_store;
#[cfg(feature = "blocking")]
mod threads;

#[cfg(feature = "blocking")]
pub(super) use {
    cache::{Cache, CacheBuilder},
    session_store::{SessionStore, SessionStoreBuilder, asynchronous},
};

#[cfg(not(feature = "blocking"))]
pub(super) use crate::{Cache, CacheBuilder, SessionStore, SessionStoreBuilder};
use crate::{KvBackend, session::CodecMissing};

/// The types that a clause uses: async or blocking.
#[derive(Debug, Clone, Copy)]
pub(super) enum Face {
    Async,
    #[cfg(feature = "blocking")]
    Blocking,
}

impl Face {
    pub(super) fn cache<B: KvBackend>(self, backend: B) -> CacheBuilder<B> {
        match self {
            #[cfg(not(feature = "blocking"))]
            Self::Async => Cache::builder(backend),
            #[cfg(feature = "blocking")]
            Self::Async => CacheBuilder::Async(crate::Cache::builder(backend)),
            #[cfg(feature = "blocking")]
            Self::Blocking => CacheBuilder::Blocking(crate::blocking::Cache::builder(backend)),
        }
    }

    pub(super) fn sessions<B: KvBackend>(self, backend: B) -> SessionStoreBuilder<B, CodecMissing> {
        match self {
            #[cfg(not(feature = "blocking"))]
            Self::Async => SessionStore::builder(backend),
            #[cfg(feature = "blocking")]
            Self::Async => SessionStoreBuilder::Async(crate::SessionStore::builder(backend)),
            #[cfg(feature = "blocking")]
            Self::Blocking => SessionStoreBuilder::Blocking(crate::blocking::SessionStore::builder(backend)),
        }
    }
}

/// Returns the async store behind a store.
#[cfg(not(feature = "blocking"))]
pub(super) fn asynchronous<B, C>(store: SessionStore<B, C>) -> SessionStore<B, C> {
    store
}
