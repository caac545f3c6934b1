//! Caches and sessions on any key-value store.

mod adapt;
pub mod cache;
pub mod coder;
mod namespaced;
pub mod session;

pub use cache::{Cache, CacheBuilder, CacheError, CodecError, ComputeError, Json, Serializer, Timeout};
pub use codex_traits::*;
pub use namespaced::namespaced_key;
pub use session::{
    DjangoSigned, Session, SessionCodec, SessionError, SessionExpiry, SessionKey, SessionStore, SessionStoreBuilder,
};

#[cfg(feature = "memory")]
#[doc(inline)]
pub use codex_memory as memory;
#[cfg(feature = "redis")]
#[doc(inline)]
pub use codex_redis as redis;
#[cfg(feature = "testkit")]
#[doc(inline)]
pub use codex_testkit as testkit;
