//! Sessions of `tower-sessions` on any backend: 0.15 (feature `tower-sessions`), and 0.14 (feature
//! `tower-sessions-0-14`), which axum-login 0.18 uses.
//!
//! Use it in a service that already uses `tower-sessions`. For sessions that are signed, shared
//! with Django and merged across concurrent requests, use `codex_kv::web` instead.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use codex_traits::{Condition, Expiry, KvBackend, KvBackendExt as _, SetOptions};

use super::records::{Records, record_settings};

/// The maximum number of new ids to try. Two ids of 128 bits do not collide by chance.
const ID_ATTEMPTS: usize = 8;

/// The maximum number of attempts by a cache to write a record that other clients are writing too.
const CACHE_ATTEMPTS: usize = 100;

/// The tombstone of a deleted session in a cache. A record is never empty.
const DELETED: &[u8] = b"";

/// The lifetime of a tombstone in a cache: longer than any request that loaded the session before
/// its deletion.
const DELETED_FOR: Duration = Duration::from_secs(3_600);

/// A store for `tower_sessions::SessionManagerLayer` on a [`KvBackend`], for `tower-sessions` 0.14
/// and 0.15.
///
/// * `create` does not overwrite: if the id is taken, the record gets another id.
/// * `save` does not restore a session that was deleted or has expired: it fails and writes
///   nothing.
/// * If the backend fails, every call fails; a session is never reported as missing.
/// * The record expires with the session. It is unsigned JSON: anyone who can write to the store
///   can forge sessions.
///
/// If two requests save the same session at the same time, the data of the later request wins,
/// because the trait passes the whole session instead of the changes.
///
/// ```
/// use codex_kv::{AnyBackend, tower_sessions::TowerSessionStore};
///
/// fn sessions(backend: AnyBackend) -> TowerSessionStore<AnyBackend> {
///     // For `tower_sessions::SessionManagerLayer::new`. Records are `shop:tower-session:{id}`.
///     TowerSessionStore::new(backend).project("shop")
/// }
/// ```
///
/// # Use with `CachingSessionStore`
///
/// A `CachingSessionStore` combines a cache with an authoritative store. A store as above is the
/// authoritative store. The cache has a different contract, which [`as_cache`](Self::as_cache)
/// selects.
#[derive(Clone)]
pub struct TowerSessionStore<B> {
    records: Records<B>,
    contract: Contract,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contract {
    Store,
    Cache,
}

/// The error of a call, which converts to the error type of either version of the trait. It
/// contains no key or value.
enum Failure {
    Encode,
    Decode,
    Backend(String),
}

impl From<codex_traits::Error> for Failure {
    fn from(error: codex_traits::Error) -> Self {
        // The error types of the traits hold only text.
        Self::Backend(error.to_string())
    }
}

record_settings!(TowerSessionStore, "tower-session");

impl<B: KvBackend> TowerSessionStore<B> {
    /// Returns a store that keeps its records under `tower-session:{id}`.
    pub fn new(backend: B) -> Self {
        Self {
            records: Records::new(backend, KEY_PREFIX),
            contract: Contract::Store,
        }
    }

    /// Makes this store the cache half of a `tower_sessions::CachingSessionStore`. It needs its own
    /// backend or prefix.
    ///
    /// `CachingSessionStore` fills its cache with `save`, so `save` of the cache half also writes a
    /// record that is missing, after a restart or a miss. `create` writes under the id that the
    /// authoritative store has chosen, and an unreadable record is a miss. A session that was
    /// deleted, or saved after its expiry date, is remembered for an hour, so that a request that
    /// loaded it before cannot restore it.
    ///
    /// A cache in the memory of one process does not see changes by other processes. Use it in a
    /// service with a single process, or on a shared backend.
    ///
    /// ```
    /// # use codex_kv::{AnyBackend, memory::MemoryBackend, tower_sessions::TowerSessionStore};
    /// type Halves = (TowerSessionStore<MemoryBackend>, TowerSessionStore<AnyBackend>);
    ///
    /// fn halves(redis: AnyBackend) -> Halves {
    ///     // For `CachingSessionStore::new(cache, store)`.
    ///     (TowerSessionStore::new(MemoryBackend::new()).as_cache(), TowerSessionStore::new(redis))
    /// }
    /// ```
    #[must_use]
    pub fn as_cache(mut self) -> Self {
        self.contract = Contract::Cache;
        self
    }

    async fn create_record<R: Record>(&self, record: &mut R) -> Result<(), Failure> {
        if self.contract == Contract::Cache {
            return self.save_record(record).await;
        }
        for _ in 0..ID_ATTEMPTS {
            let Some(left) = time_left(record) else {
                return Ok(());
            };
            // Encoded in each iteration, because the id is part of the record.
            let (key, value) = (self.records.key(record.id()), record.encode()?);
            let written = self
                .records
                .backend
                .set_if_absent(&key, value, Expiry::After(left))
                .await?;
            if written.is_written() {
                return Ok(());
            }
            record.draw_id();
        }
        Err(Failure::Backend(
            "every new session id that was tried is taken".to_owned(),
        ))
    }

    async fn save_record<R: Record>(&self, record: &R) -> Result<(), Failure> {
        let key = self.records.key(record.id());
        let Some(left) = time_left(record) else {
            // A cache writes a tombstone, because another request that is still in flight could
            // fill the missing key again.
            return self.delete_record(record.id()).await;
        };
        let value = record.encode()?;
        match self.contract {
            Contract::Store => {
                let options = SetOptions::if_present().with_expiry(Expiry::After(left));
                if self.records.backend.set(&key, value, options).await?.is_written() {
                    return Ok(());
                }
                let gone = "the session was deleted elsewhere or has expired";
                Err(Failure::Backend(gone.to_owned()))
            }
            Contract::Cache => self.fill(&key, value, left).await,
        }
    }

    /// Writes the record, unless the session was deleted.
    async fn fill(&self, key: &str, value: Bytes, left: Duration) -> Result<(), Failure> {
        let mut condition = Condition::IfAbsent;
        for _ in 0..CACHE_ATTEMPTS {
            let options = SetOptions::expires_after(left).with_condition(condition);
            if self
                .records
                .backend
                .set(key, value.clone(), options)
                .await?
                .is_written()
            {
                return Ok(());
            }
            condition = match self.records.backend.get(key).await? {
                Some(deleted) if deleted == DELETED => return Ok(()),
                Some(stored) => Condition::IfEquals(stored),
                None => Condition::IfAbsent,
            };
        }
        let busy = "other requests kept changing this session";
        Err(Failure::Backend(busy.to_owned()))
    }

    async fn load_record<R: Record>(&self, id: &R::Id) -> Result<Option<R>, Failure> {
        let Some(value) = self.records.backend.get(&self.records.key(id)).await? else {
            return Ok(None);
        };
        match R::decode(&value) {
            // A record that was copied to the key of another id does not count as that session.
            Some(record) => Ok((record.id() == id).then_some(record)),
            None if self.contract == Contract::Cache => Ok(None),
            None => Err(Failure::Decode),
        }
    }

    async fn delete_record(&self, id: &(dyn fmt::Display + Sync)) -> Result<(), Failure> {
        let key = self.records.key(id);
        match self.contract {
            Contract::Store => self.records.backend.del(&[&key]).await.map(drop)?,
            Contract::Cache => {
                let options = SetOptions::expires_after(DELETED_FOR);
                // An unconditional write is never refused.
                let _written = self
                    .records
                    .backend
                    .set(&key, Bytes::from_static(DELETED), options)
                    .await?;
            }
        }
        Ok(())
    }
}

/// The record type of either version of `tower-sessions`.
trait Record: Sized + Send + Sync {
    type Id: fmt::Display + PartialEq + Send + Sync;

    fn id(&self) -> &Self::Id;
    fn draw_id(&mut self);
    fn expiry_date(&self) -> SystemTime;
    fn encode(&self) -> Result<Bytes, Failure>;
    fn decode(value: &[u8]) -> Option<Self>;
}

/// Returns the remaining time of the session, or `None` if it has expired.
fn time_left(record: &impl Record) -> Option<Duration> {
    let left = record.expiry_date().duration_since(SystemTime::now()).ok();
    left.filter(|left| !left.is_zero())
}

macro_rules! implement {
    ($version:ident) => {
        impl Record for $version::session::Record {
            type Id = $version::session::Id;

            fn id(&self) -> &Self::Id {
                &self.id
            }

            fn draw_id(&mut self) {
                self.id = Self::Id::default();
            }

            fn expiry_date(&self) -> SystemTime {
                self.expiry_date.into()
            }

            fn encode(&self) -> Result<Bytes, Failure> {
                serde_json::to_vec(self)
                    .map(Bytes::from)
                    .map_err(|_| Failure::Encode)
            }

            fn decode(value: &[u8]) -> Option<Self> {
                // The cause is dropped because the message of `serde_json` for a mismatch may
                // contain the value.
                serde_json::from_slice(value).ok()
            }
        }

        impl From<Failure> for $version::session_store::Error {
            fn from(failure: Failure) -> Self {
                match failure {
                    Failure::Encode => Self::Encode("the session cannot be written as JSON".to_owned()),
                    Failure::Decode => Self::Decode("the stored session is not a valid record".to_owned()),
                    Failure::Backend(text) => Self::Backend(text),
                }
            }
        }

        #[async_trait::async_trait]
        impl<B: KvBackend> $version::SessionStore for TowerSessionStore<B> {
            async fn create(&self, record: &mut $version::session::Record) -> $version::session_store::Result<()> {
                Ok(self.create_record(record).await?)
            }

            async fn save(&self, record: &$version::session::Record) -> $version::session_store::Result<()> {
                Ok(self.save_record(record).await?)
            }

            async fn load(
                &self,
                id: &$version::session::Id,
            ) -> $version::session_store::Result<Option<$version::session::Record>> {
                Ok(self.load_record(id).await?)
            }

            async fn delete(&self, id: &$version::session::Id) -> $version::session_store::Result<()> {
                Ok(self.delete_record(id).await?)
            }
        }
    };
}

#[cfg(feature = "tower-sessions")]
implement!(tower_sessions_core);
#[cfg(feature = "tower-sessions-0-14")]
implement!(tower_sessions_core_0_14);

impl<B: fmt::Debug> fmt::Debug for TowerSessionStore<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerSessionStore")
            .field("records", &self.records)
            .field("contract", &self.contract)
            .finish()
    }
}
