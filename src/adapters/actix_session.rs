//! Sessions of `actix-session` on any backend (feature `actix-session`).
//!
//! Use it in a service that already uses `actix-session`. For sessions that are shared with Django
//! and merged across concurrent requests, use [`web::actix`](crate::web::actix) (feature `actix`)
//! instead.

use std::{collections::HashMap, fmt, time::Duration};

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_web::cookie::time;
use anyhow::anyhow;
use bytes::Bytes;
use codex_traits::{Expiry, KvBackend, KvBackendExt as _, SetOptions};

use super::records::{Records, record_settings};

/// The maximum number of new keys to try. Two keys of 165 bits do not collide by chance.
const KEY_ATTEMPTS: usize = 8;

/// A store for `actix_session::SessionMiddleware` on a [`KvBackend`].
///
/// * A new session does not overwrite another session.
/// * If the backend fails, every call fails; a session is never reported as missing.
/// * The record expires with the session. It is unsigned JSON: `actix-session` signs or encrypts
///   the cookie that holds the key, not the record.
///
/// If two requests save the same session at the same time, the data of the later request wins.
///
/// ```
/// use codex_kv::{AnyBackend, actix_session::ActixSessionStore};
///
/// fn sessions(backend: AnyBackend) -> ActixSessionStore<AnyBackend> {
///     // For `actix_session::SessionMiddleware::new`. Records are `shop:actix-session:{key}`.
///     ActixSessionStore::new(backend).project("shop")
/// }
/// ```
#[derive(Clone)]
pub struct ActixSessionStore<B> {
    records: Records<B>,
    revive: bool,
}

record_settings!(ActixSessionStore, "actix-session");

impl<B: KvBackend> ActixSessionStore<B> {
    /// Returns a store that keeps its records under `actix-session:{key}`.
    pub fn new(backend: B) -> Self {
        Self {
            records: Records::new(backend, KEY_PREFIX),
            revive: true,
        }
    }

    /// Makes a request fail, with status 500, if it changes a session that has ended in the
    /// meantime.
    ///
    /// Without this setting, the contract of `actix-session` applies: the state is stored again
    /// under a new key. A request that is in progress during a logout can then log the user in
    /// again.
    #[must_use]
    pub fn refuse_ended(mut self) -> Self {
        self.revive = false;
        self
    }

    async fn store_anew(&self, value: Bytes, ttl: Duration) -> Result<SessionKey, anyhow::Error> {
        for _ in 0..KEY_ATTEMPTS {
            let key = crate::SessionKey::generate()?.as_str().to_owned();
            let written = self
                .records
                .backend
                .set_if_absent(&self.records.key(&key), value.clone(), Expiry::After(ttl))
                .await?;
            if written.is_written() {
                return key
                    .try_into()
                    .map_err(|_| anyhow!("a new session key is too long for a cookie"));
            }
        }
        Err(anyhow!("every new session key that was tried is taken"))
    }
}

impl<B: KvBackend> SessionStore for ActixSessionStore<B> {
    async fn load(&self, session_key: &SessionKey) -> Result<Option<HashMap<String, String>>, LoadError> {
        let stored = self.records.backend.get(&self.records.key(&session_key.as_ref())).await;
        let Some(value) = stored.map_err(|error| LoadError::Other(error.into()))? else {
            return Ok(None);
        };
        // The cause is dropped because the message of `serde_json` for a mismatch may contain the
        // value.
        let state = serde_json::from_slice(&value);
        state
            .map(Some)
            .map_err(|_| LoadError::Deserialization(anyhow!("the stored session is not a JSON object of strings")))
    }

    async fn save(
        &self,
        session_state: HashMap<String, String>,
        ttl: &time::Duration,
    ) -> Result<SessionKey, SaveError> {
        let value = encode(&session_state).map_err(SaveError::Serialization)?;
        let ttl = positive(ttl).map_err(SaveError::Other)?;
        self.store_anew(value, ttl).await.map_err(SaveError::Other)
    }

    async fn update(
        &self,
        session_key: SessionKey,
        session_state: HashMap<String, String>,
        ttl: &time::Duration,
    ) -> Result<SessionKey, UpdateError> {
        let value = encode(&session_state).map_err(UpdateError::Serialization)?;
        let ttl = positive(ttl).map_err(UpdateError::Other)?;
        let options = SetOptions::if_present().with_expiry(Expiry::After(ttl));
        let written = self
            .records
            .backend
            .set(&self.records.key(&session_key.as_ref()), value.clone(), options)
            .await
            .map_err(|error| UpdateError::Other(error.into()))?;
        if written.is_written() {
            Ok(session_key)
        } else if self.revive {
            self.store_anew(value, ttl).await.map_err(UpdateError::Other)
        } else {
            Err(UpdateError::Other(anyhow!(
                "the session was deleted elsewhere or has expired"
            )))
        }
    }

    async fn update_ttl(&self, session_key: &SessionKey, ttl: &time::Duration) -> Result<(), anyhow::Error> {
        let expiry = Expiry::After(positive(ttl)?);
        // A session that has ended in the meantime has no time to live to renew.
        let _exists = self
            .records
            .backend
            .expire(&self.records.key(&session_key.as_ref()), expiry)
            .await?;
        Ok(())
    }

    async fn delete(&self, session_key: &SessionKey) -> Result<(), anyhow::Error> {
        self.records
            .backend
            .del(&[&self.records.key(&session_key.as_ref())])
            .await?;
        Ok(())
    }
}

fn encode(state: &HashMap<String, String>) -> Result<Bytes, anyhow::Error> {
    let text = serde_json::to_vec(state).map_err(|_| anyhow!("the session cannot be written as JSON"))?;
    Ok(text.into())
}

fn positive(ttl: &time::Duration) -> Result<Duration, anyhow::Error> {
    let ttl = Duration::try_from(*ttl).ok().filter(|ttl| !ttl.is_zero());
    ttl.ok_or_else(|| anyhow!("a session's time to live must be longer than zero"))
}

impl<B: fmt::Debug> fmt::Debug for ActixSessionStore<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActixSessionStore")
            .field("records", &self.records)
            .field("revive", &self.revive)
            .finish()
    }
}
