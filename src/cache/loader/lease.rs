//! Leases: the exclusive right to compute a key, across processes.
//!
//! Before it computes, a process claims the key with a conditional write: `IfAbsent` for a missing
//! key, `IfEquals` for a stale value or for a claim whose lease has expired. It fills the key with
//! `IfEquals` on its own claim. Each claim contains a random token, so a value that was deleted and
//! written again does not match the claim. Any `set`, `delete`, expiry or eviction changes the
//! bytes and voids the claim. The age of a claim is the difference between two times to live, both
//! reported by the store.

use std::time::Duration;

use bytes::Bytes;
use codex_traits::{Condition, Expiry, KvBackend, SetOptions, Ttl};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{
    super::{
        CacheError, Serializer,
        key::StoredKey,
        marker::{self, Stored},
        stats::Event,
        timer::sleep,
    },
    Found, Inner, LoadState,
    flight::FlightValue,
    run::Why,
};

/// The first wait between two reads of a key that another process is computing. Each wait is twice
/// as long as the one before, up to [`LONGEST_WAIT`].
const SHORTEST_WAIT: Duration = Duration::from_millis(2);
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// The stored state that a computation may replace.
pub(super) struct Claimed {
    /// The bytes that the key must still hold when it is filled, or `None` if it must be missing.
    pub(super) expected: Option<Bytes>,
    pub(super) lease: Option<Lease>,
    /// Whether the store could be reached. Otherwise nothing is stored.
    pub(super) is_stored: bool,
}

pub(super) enum Lease {
    /// The lease of a missing key. The placeholder expires with the lease.
    Placeholder,
    /// The lease of a stale value, which keeps its time to live.
    Value { value: Bytes, claimed_at: marker::Claim },
}

pub(super) enum Prepared {
    /// There is nothing to compute.
    Done(FlightValue),
    Compute(Claimed),
    /// The key is missing, and another process is computing it.
    Busy,
}

/// Whether to wait for another process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenBusy {
    Wait,
    Tell,
}

/// Returns the options of a write that succeeds only if the key still holds the bytes that were
/// read, or is still missing.
fn replacing(expected: Option<Bytes>, expiry: Expiry) -> SetOptions {
    let condition = expected.map_or(Condition::IfAbsent, Condition::IfEquals);
    SetOptions::new().with_condition(condition).with_expiry(expiry)
}

impl<T, E, B, S> Inner<T, E, B, S>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    E: Send + Sync + 'static,
    B: KvBackend,
    S: Serializer,
{
    /// Reads the key one last time before a computation, and claims it if leases are enabled.
    pub(super) async fn prepare(&self, key: &StoredKey, why: Why, busy: WhenBusy) -> Result<Prepared, CacheError> {
        let backend = &self.cache.shared.backend;
        let began = Instant::now();
        let mut wait = SHORTEST_WAIT;
        loop {
            let found = match backend.get_with_ttl(key).await {
                Ok(found) => found,
                // A lease never fails open: without the store, nothing is computed.
                Err(error) if self.settings.lease.is_some() => return self.cache.counted(Err(error.into())),
                Err(error) => return self.prepare_without_store(key, why, error.into()),
            };
            if why != Why::Refresh
                && let Some(value) = self.existing_value(found.clone(), why)
            {
                return Ok(Prepared::Done(value));
            }
            let raw = found.as_ref().map(|(raw, _)| raw.clone());
            let remaining = found.as_ref().and_then(|(_, ttl)| match ttl {
                Ttl::Remaining(remaining) => Some(*remaining),
                Ttl::Persistent | Ttl::Missing => None,
            });
            let unclaimed = Prepared::Compute(Claimed {
                expected: raw.clone(),
                lease: None,
                is_stored: true,
            });
            let Some(lease) = self.settings.lease else {
                return Ok(unclaimed);
            };
            let (claim, held, expiry) = match found.map(|(raw, _)| Stored::read(raw)) {
                Some(Stored::Placeholder { claim, .. })
                    if why != Why::Refresh && !claim.has_passed(lease, remaining) =>
                {
                    if busy == WhenBusy::Tell {
                        return Ok(Prepared::Busy);
                    }
                    if began.elapsed() >= self.settings.max_wait {
                        return Ok(unclaimed);
                    }
                    // The placeholder expires with the lease, so there is no need to wait longer.
                    let left = remaining.map_or(LONGEST_WAIT, |left| left + Duration::from_millis(1));
                    sleep(wait.min(left)).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                    continue;
                }
                None | Some(Stored::Placeholder { .. }) => {
                    (marker::placeholder(lease)?, Lease::Placeholder, Expiry::After(lease))
                }
                Some(Stored::Leased { value, claim, .. })
                    if why != Why::Refresh && !claim.has_passed(lease, remaining) =>
                {
                    return Ok(Prepared::Done(FlightValue {
                        bytes: value,
                        state: LoadState::Stale,
                        age: Duration::ZERO,
                    }));
                }
                Some(Stored::Value(value) | Stored::Leased { value, .. }) => {
                    // Without a time to live, the age of a claim would be unknown, so there is no
                    // lease.
                    let Some(remaining) = remaining else {
                        return Ok(unclaimed);
                    };
                    let claim = marker::leased(&value, remaining)?;
                    let claimed_at = marker::Claim::at(remaining);
                    (claim, Lease::Value { value, claimed_at }, Expiry::Keep)
                }
            };
            let claimed = backend.set(key, claim.clone(), replacing(raw, expiry)).await;
            if self.cache.counted(claimed.map_err(CacheError::from))?.is_written() {
                return Ok(Prepared::Compute(Claimed {
                    expected: Some(claim),
                    lease: Some(held),
                    is_stored: true,
                }));
            }
        }
    }

    /// Returns the value that makes a computation unnecessary: a fresh value or, if the caller
    /// found none, a stale value as well.
    fn existing_value(&self, found: Option<(Bytes, Ttl)>, why: Why) -> Option<FlightValue> {
        match self.found(found) {
            Found::Fresh(bytes, age) => Some(FlightValue {
                bytes,
                state: LoadState::Fresh,
                age,
            }),
            Found::Stale(bytes, age) if why == Why::Missing => Some(FlightValue {
                bytes,
                state: LoadState::Stale,
                age,
            }),
            _ => None,
        }
    }

    fn prepare_without_store(&self, key: &StoredKey, why: Why, error: CacheError) -> Result<Prepared, CacheError> {
        let last = match why {
            Why::Refresh => self.cache.instead_of(key, error)?,
            // The caller's look-up was counted.
            Why::Missing | Why::Stale => self.cache.instead_of_again(key, error)?,
        };
        Ok(match last {
            Some(bytes) => Prepared::Done(FlightValue {
                bytes,
                state: LoadState::Stale,
                age: self.settings.lifetime().unwrap_or_default(),
            }),
            None => Prepared::Compute(Claimed {
                expected: None,
                lease: None,
                is_stored: false,
            }),
        })
    }

    /// Stores a computed value if nothing has changed since the computation began, and returns
    /// whether it did.
    pub(super) async fn fill(
        &self,
        key: &StoredKey,
        value: &Bytes,
        expiry: Expiry,
        claimed: &Claimed,
    ) -> Result<bool, CacheError> {
        let backend = &self.cache.shared.backend;
        if let (Some(Lease::Value { claimed_at, .. }), Some(lease)) = (&claimed.lease, self.settings.lease) {
            // The claim of a value lives as long as the value, so its age has to be read from the
            // store.
            let remaining = match backend.ttl(key).await? {
                Ttl::Remaining(remaining) => Some(remaining),
                Ttl::Persistent | Ttl::Missing => None,
            };
            if claimed_at.has_passed(lease, remaining) {
                return Ok(false);
            }
        }
        let options = replacing(claimed.expected.clone(), expiry);
        let outcome = backend.set(key, marker::plain(value.clone()), options).await?;
        Ok(outcome.is_written())
    }

    /// Releases the lease of a failed computation, so that other processes need not wait for it to
    /// expire.
    pub(super) async fn release(&self, key: &StoredKey, claimed: &Claimed) {
        let backend = &self.cache.shared.backend;
        let released = match (&claimed.lease, &claimed.expected) {
            (Some(Lease::Placeholder), Some(expected)) => backend.del_if_equals(key, expected).await.map(drop),
            (Some(Lease::Value { value, .. }), Some(expected)) => {
                let options = replacing(Some(expected.clone()), Expiry::Keep);
                backend.set(key, marker::plain(value.clone()), options).await.map(drop)
            }
            _ => Ok(()),
        };
        if let Err(error) = released {
            self.cache.count(Event::Error);
            tracing::debug!(cache = self.cache.name(), loader = self.name, %error, "a lease could not be released and stays until it expires");
        }
    }
}
