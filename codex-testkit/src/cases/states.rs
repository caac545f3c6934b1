//! States of a key before a call: present, or absent for a reason.

use std::time::Duration;

use bytes::Bytes;
use codex_traits::{Expiry, KvBackend, SetOptions};

use crate::{
    Harness,
    context::{Context, Stamp, Store},
    failure::{Checked, ensure_eq},
};

/// The time to live of [`State::Timed`].
pub(crate) const TTL: Duration = Duration::from_secs(100);

/// The state of a key before the call under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The key never existed.
    Missing,
    /// The key had a time to live and was removed.
    Removed,
    /// The key has expired, and nothing has read it since.
    Expired,
    /// The key has expired and was read afterwards.
    SeenExpired,
    /// The key exists without a time to live.
    Persistent,
    /// The key exists with a time to live of [`TTL`].
    Timed,
}

impl State {
    pub(crate) const ALL: [Self; 6] = [
        Self::Missing,
        Self::Removed,
        Self::Expired,
        Self::SeenExpired,
        Self::Persistent,
        Self::Timed,
    ];

    pub(crate) fn is_present(self) -> bool {
        matches!(self, Self::Persistent | Self::Timed)
    }

    /// Returns the name of the state, for use in keys.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Missing => "a missing key",
            Self::Removed => "a removed key",
            Self::Expired => "an expired key",
            Self::SeenExpired => "an expired key that was read",
            Self::Persistent => "a key without TTL",
            Self::Timed => "a key with 100 s",
        }
    }
}

/// A key of a case, and its state before the call.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// The name of the case, so that a failure shows it.
    pub(crate) key: String,
    pub(crate) state: State,
    /// The value of the key, if the key exists.
    pub(crate) value: Bytes,
    stamp: Option<Stamp>,
}

impl Prepared {
    pub(crate) fn new(case: &str, state: State, value: impl Into<Bytes>) -> Self {
        Self {
            key: format!("{case} on {}", state.name()),
            state,
            value: value.into(),
            stamp: None,
        }
    }

    /// Checks that the key is unchanged.
    pub(crate) async fn is_unchanged<B: KvBackend>(&self, store: &Store<B>) -> Checked {
        if !self.state.is_present() {
            return store.lacks(&self.key).await;
        }
        store.holds(&self.key, &self.value).await?;
        self.keeps_its_ttl(store).await
    }

    /// Checks that the key has the time to live that `Expiry::Keep` leaves it.
    pub(crate) async fn keeps_its_ttl<B: KvBackend>(&self, store: &Store<B>) -> Checked {
        match (self.state, self.stamp) {
            (State::Timed, Some(stamp)) => store.has_ttl(&self.key, TTL, stamp).await,
            _ => store.is_persistent(&self.key).await,
        }
    }

    /// Checks that the key has the time to live that a write with `expiry` at `written` gives it.
    pub(crate) async fn has_expiry<B: KvBackend>(&self, store: &Store<B>, expiry: Expiry, written: Stamp) -> Checked {
        match expiry {
            Expiry::Never => store.is_persistent(&self.key).await,
            Expiry::After(ttl) => store.has_ttl(&self.key, ttl, written).await,
            Expiry::Keep => self.keeps_its_ttl(store).await,
        }
    }
}

/// Puts every key into its state, and waits until the short-lived keys have expired.
pub(crate) async fn prepare<H: Harness>(
    cx: &Context<'_, H>,
    store: &Store<H::Backend>,
    keys: &mut [Prepared],
) -> Checked {
    for prepared in &mut *keys {
        let (key, value) = (&prepared.key, prepared.value.clone());
        match prepared.state {
            State::Missing => {}
            State::Removed => {
                store.put_for(key, value, TTL).await?;
                ensure_eq!(store.del(&[key]).await?, 1, "del of {key:?}");
            }
            State::Expired | State::SeenExpired => {
                store.put_for(key, value, cx.short()).await?;
            }
            State::Persistent => {
                store.write(key, value, SetOptions::new()).await?;
            }
            State::Timed => prepared.stamp = Some(store.put_for(key, value, TTL).await?),
        }
    }
    cx.outlive(cx.short()).await;
    for prepared in keys.iter().filter(|prepared| prepared.state == State::SeenExpired) {
        store.lacks(&prepared.key).await?;
    }
    Ok(())
}
