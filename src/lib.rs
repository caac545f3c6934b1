#![doc = include_str!("../README.md")]
//!
//! # Feature flags
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `memory` | yes | `MemoryBackend`, and `memory://` in [`connect`] |
//! | `redis` | yes | `RedisBackend`, and `redis://`, `redis-cluster://`, `redis-sentinel://` and `redis+unix://` in [`connect`] |
//! | `redis-tls` | | `rediss://` in [`connect`], and `RedisTls` for a private certificate authority and a client certificate |
//! | `metrics` | | counters and histograms of caches and of the Redis backend, through the `metrics` facade |
//! | `testkit` | | the conformance suites: `testkit` for backends, `conformance` for caches and sessions |
//! | `testkit-redis` | | `testkit::redis`, a real Redis server for tests, and the suites that run against it |
//! | `chrono` | | dates and times in the coder |
//! | `rust_decimal` | | decimals in the coder |
//! | `uuid` | | UUIDs in the coder |
//! | `http` | | [`web::RequestSession`] with the header maps of the `http` crate, for other web frameworks |
//! | `encryption` | | encryption at rest: `session::Encrypted` and `cache::Encrypted`, with a `KeyRing` |
//! | `blocking` | | caches and sessions without `async`: `blocking` |
//! | `macros` | | the attribute `#[cached]`, which caches the results of a function |
//! | `messagepack` | | `MessagePack`, a format for the values of a cache |
//! | `compression` | | `Compressed`, which compresses large values of a cache |
//! | `axum` | | sessions in axum: `web::SessionLayer` and the extractor [`web::Session`] |
//! | `actix` | | sessions in actix-web: `web::actix::SessionMiddleware` and the extractor [`web::Session`] |
//! | `actix-session` | | `ActixSessionStore`, a store for `actix-session` 0.11 |
//! | `tower-sessions` | | `TowerSessionStore`, a store for `tower-sessions` 0.15 |
//! | `tower-sessions-0-14` | | the same for `tower-sessions` 0.14, which axum-login 0.18 uses |
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod __private;
mod adapt;
mod adapters;
#[cfg(feature = "blocking")]
pub mod blocking;
pub mod cache;
mod codec_error;
pub mod coder;
#[cfg(feature = "testkit")]
pub mod conformance;
mod connect;
#[cfg(feature = "redis")]
mod connect_near;
#[cfg(feature = "encryption")]
pub mod crypto;
#[cfg(any(feature = "compression", feature = "encryption", feature = "messagepack"))]
mod formats;
mod namespaced;
#[cfg(feature = "memory")]
pub mod near;
pub mod session;
mod striped;
pub mod web;

#[cfg(feature = "actix-session")]
pub use adapters::actix_session;
#[cfg(any(feature = "tower-sessions", feature = "tower-sessions-0-14"))]
pub use adapters::tower_sessions;
pub use cache::{
    Cache, CacheBuilder, CacheError, CacheStats, ComputeError, Group, Json, LoadState, Loaded, Loader, LoaderBuilder,
    Outage, Serializer, Timeout,
};
pub use codec_error::CodecError;
#[cfg(feature = "macros")]
#[doc = include_str!("../docs/cached.md")]
pub use codex_macros::cached;
pub use codex_traits::{
    AnyBackend, Capabilities, Capability, Condition, Cursor, Error, Error as BackendError, ErrorKind, Expiry,
    KvBackend, KvBackendExt, NodeId, OnMissing, Pattern, Result, ScanPage, ScanRequest, SetOptions, SetOutcome,
    TrackedRead, Tracking, TrackingFeed, TrackingListener, Ttl, parse_integer,
};
pub use connect::{connect, connect_lazy};
#[cfg(feature = "compression")]
pub use formats::Compressed;
#[cfg(feature = "messagepack")]
pub use formats::MessagePack;
pub use namespaced::namespaced_key;
#[cfg(feature = "memory")]
pub use near::{NearBackend, NearBuilder, NearStats};
pub use session::{
    DjangoSigned, Login, Session, SessionCodec, SessionError, SessionExpiry, SessionKey, SessionStore,
    SessionStoreBuilder,
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

/// The doctests of the guides. A guide to a feature is included next to the code of that feature.
#[cfg(all(doctest, feature = "axum", feature = "memory", feature = "redis"))]
mod guides {
    #[doc = include_str!("../docs/cluster.md")]
    struct Cluster;

    #[doc = include_str!("../docs/near-cache.md")]
    struct NearCache;

    #[doc = include_str!("../docs/sessions.md")]
    struct Sessions;

    #[doc = include_str!("../docs/cache.md")]
    struct Caches;

    #[doc = include_str!("../docs/django-cache.md")]
    struct DjangoCache;
}
