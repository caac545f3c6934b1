//! Sessions of `tower-sessions` on any backend (feature `tower-sessions`).
//!
//! For a service that uses `tower-sessions` and wants to keep doing so. For sessions that are signed, shared with Django and
//! merged where requests meet, use `codex_kv::web` (feature `axum`) instead.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use codex_traits::{Expiry, KvBackend, KvBackendExt as _, SetOptions};
use tower_sessions_core::{
    SessionStore,
    session::{Id, Record},
    session_store::{Error, Result},
};

use crate::namespaced_key;

/// How many new ids to try before giving up. Two ids of 128 bits do not meet by chance.
const ID_ATTEMPTS: usize = 8;

/// A store for `tower_sessions::SessionManagerLayer` on a [`KvBackend`].
///
/// * `create` does not overwrite: a record whose id is taken gets another id.
/// * `save` does not bring back what was deleted or has expired: it fails, and nothing is written.
/// * An outage is an error from every call, never a session that is not there.
/// * The record expires with the session, and is JSON, not signed: who can write the store can write sessions.
///
/// Of two requests that save the same session at once, the later one's data stays: the trait hands over the whole session and does not say
/// what was changed.
///
/// ```
/// use codex_kv::{AnyBackend, tower_sessions::TowerSessionStore};
///
/// fn sessions(backend: AnyBackend) -> TowerSessionStore<AnyBackend> {
///     // For `tower_sessions::SessionManagerLayer::new`. Records are `shop:tower-session:{id}`.
///     TowerSessionStore::new(backend).project("shop")
/// }
/// ```
#[derive(Clone)]
pub struct TowerSessionStore<B> {
    backend: B,
    project: String,
    key_prefix: String,
}

impl<B: KvBackend> TowerSessionStore<B> {
    /// A store of records `tower-session:{id}`.
    pub fn new(backend: B) -> Self {
        Self {
            backend,
            project: String::new(),
            key_prefix: "tower-session".to_owned(),
        }
    }

    /// The first segment of every stored key. Empty, and then left out, unless set.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = project.into();
        self
    }

    /// The second segment of every stored key: `tower-session` unless set. An empty one is left out.
    #[must_use]
    pub fn key_prefix(mut self, key_prefix: impl Into<String>) -> Self {
        self.key_prefix = key_prefix.into();
        self
    }

    fn key(&self, id: &Id) -> String {
        namespaced_key(&self.project, &self.key_prefix, &id.to_string())
    }
}

#[async_trait]
impl<B: KvBackend> SessionStore for TowerSessionStore<B> {
    async fn create(&self, record: &mut Record) -> Result<()> {
        for _ in 0..ID_ATTEMPTS {
            let Some(left) = time_left(record) else {
                return Ok(());
            };
            // Encoded each time, because the id is a part of the record.
            let value = encode(record)?.into();
            let key = self.key(&record.id);
            let written = self.backend.set_if_absent(&key, value, Expiry::After(left)).await;
            if written.map_err(|error| backend(&error))?.is_written() {
                return Ok(());
            }
            record.id = Id::default();
        }
        Err(Error::Backend(
            "every new session id that was tried is taken".to_owned(),
        ))
    }

    async fn save(&self, record: &Record) -> Result<()> {
        let key = self.key(&record.id);
        let Some(left) = time_left(record) else {
            self.backend.del(&[&key]).await.map_err(|error| backend(&error))?;
            return Ok(());
        };
        let options = SetOptions::if_present().with_expiry(Expiry::After(left));
        let written = self
            .backend
            .set(&key, encode(record)?.into(), options)
            .await
            .map_err(|error| backend(&error))?;
        if written.is_written() {
            Ok(())
        } else {
            Err(Error::Backend(
                "the session was deleted elsewhere or has expired".to_owned(),
            ))
        }
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let Some(value) = self.backend.get(&self.key(id)).await.map_err(|error| backend(&error))? else {
            return Ok(None);
        };
        // What serde_json says of a mismatch can hold the value.
        let record: Record =
            serde_json::from_slice(&value).map_err(|_| Error::Decode("the stored session is no record".to_owned()))?;
        // A record copied under another id is not that session.
        Ok((record.id == *id).then_some(record))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.backend
            .del(&[&self.key(id)])
            .await
            .map_err(|error| backend(&error))?;
        Ok(())
    }
}

/// What is left of the session's time; none where it has passed.
fn time_left(record: &Record) -> Option<Duration> {
    let left = SystemTime::from(record.expiry_date)
        .duration_since(SystemTime::now())
        .ok();
    left.filter(|left| !left.is_zero())
}

fn encode(record: &Record) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|_| Error::Encode("the session has no form in JSON".to_owned()))
}

// The trait takes text alone; ours holds no key and no value.
fn backend(error: &codex_traits::Error) -> Error {
    Error::Backend(error.to_string())
}

impl<B: fmt::Debug> fmt::Debug for TowerSessionStore<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerSessionStore")
            .field("backend", &self.backend)
            .field("project", &self.project)
            .field("key_prefix", &self.key_prefix)
            .finish()
    }
}

/// Runs the guide's code as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../docs/from-tower-sessions.md")]
struct FromTowerSessions;
