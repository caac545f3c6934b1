//! The contract of a backend.

use std::{fmt, future::Future};

use bytes::Bytes;

use crate::{
    Capabilities, Expiry, OnMissing, Pattern, Result, ScanPage, ScanRequest, SetOptions, SetOutcome, Ttl, provided,
};

/// A key-value store that can hold caches and sessions.
///
/// Eight methods are required. Six more are provided on top of them. Override a provided method if
/// your store can do its work in one round trip. The conformance suite in `codex-testkit` checks
/// every sentence below as a clause. Run it on your backend.
///
/// The trait is not dyn-compatible, because its methods are native `async fn`s. Use
/// [`AnyBackend`](crate::AnyBackend) for a backend that is chosen at run time.
///
/// # Keys and values
///
/// A key is any UTF-8 text, including the empty string, text with NUL or spaces, and a text of one
/// megabyte. Keys are compared byte for byte. A value is any sequence of bytes. An empty value is
/// present, not missing.
///
/// # Absence
///
/// A key that has expired is absent for every verb, whether or not the store has removed it yet. A
/// miss is never reported as a failure, and a failure never as a miss: no verb returns `None`,
/// `false`, `0` or an empty page because it could not reach the store. There is one exception, as
/// in Redis: [`get_many`](Self::get_many) returns `None` for a key that holds another type, while
/// [`get`](Self::get) fails with [`ErrorKind::Data`](crate::ErrorKind::Data).
///
/// # Expiry
///
/// [`Expiry::Never`] clears a time to live, [`Expiry::After`] replaces it, and [`Expiry::Keep`]
/// leaves it unchanged. A key that is created under `Keep` gets no time to live. Backends keep
/// whole milliseconds, rounded up. A value never expires early, and it expires late by no more than
/// the backend documents. Every verb that writes a value refuses `After` zero, even if its
/// condition would not have held. Only [`expire`](Self::expire) accepts it, and removes the key.
/// Every store accepts durations up to [`Expiry::MAX`] and refuses a duration that it cannot hold.
/// A refused or failed write leaves the value and the time to live unchanged.
///
/// # Atomicity
///
/// [`set`](Self::set) with a [`Condition`](crate::Condition) and
/// [`del_if_equals`](Self::del_if_equals) compare and write in one step: exactly one of many racing
/// callers wins. This is the only atomic primitive that the contract requires. [`incr`](Self::incr)
/// is provided on top of it. Calls on one key are linearizable on one primary. Calls on many keys
/// are atomic per key. A backend whose [`get_many`](Self::get_many) is one snapshot declares
/// [`Capability::AtomicMany`](crate::Capability::AtomicMany).
///
/// # Clones
///
/// If a backend is `Clone`, a clone is another handle to the same store and sees every write
/// immediately. Two backends that were built separately share nothing, unless they connect to the
/// same server.
///
/// # Cancellation
///
/// A call whose future is dropped is applied once or not at all. The next call on the same handle
/// gets its own answer. After a failure,
/// [`Error::may_have_executed`](crate::Error::may_have_executed) says whether the write may have
/// happened. A backend retries a request by itself only if repeating it has no further effect.
///
/// # A complete backend
///
/// Write the methods as plain `async fn`:
///
/// ```
/// use std::{
///     collections::BTreeMap,
///     sync::{Arc, Mutex, MutexGuard, PoisonError},
///     time::{Duration, Instant},
/// };
///
/// use bytes::Bytes;
/// use codex_traits::{
///     Capabilities, Condition, Error, Expiry, KvBackend, Result, ScanPage, ScanRequest,
///     SetOptions, SetOutcome, Ttl,
/// };
///
/// struct Entry {
///     value: Bytes,
///     deadline: Option<Instant>,
/// }
///
/// #[derive(Clone, Default)]
/// struct MapBackend(Arc<Mutex<BTreeMap<String, Entry>>>);
///
/// impl MapBackend {
///     /// Returns the map without expired entries: short code, and slow with many keys.
///     fn live(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
///         let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         let now = Instant::now();
///         map.retain(|_, entry| entry.deadline.is_none_or(|deadline| deadline > now));
///         map
///     }
/// }
///
/// fn deadline(
///     expiry: Expiry,
///     old: Option<Instant>,
///     operation: &'static str,
/// ) -> Result<Option<Instant>> {
///     // Refuses zero, and a duration that is too long for any store.
///     let Some(millis) = expiry.to_millis(operation)? else {
///         return Ok(if expiry == Expiry::Keep { old } else { None });
///     };
///     let after = Duration::from_millis(millis.unsigned_abs());
///     let deadline = Instant::now().checked_add(after);
///     Ok(Some(deadline.ok_or_else(|| Error::expiry_too_long(operation))?))
/// }
///
/// impl std::fmt::Debug for MapBackend {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         f.write_str("MapBackend") // no keys, no values
///     }
/// }
///
/// impl KvBackend for MapBackend {
///     fn capabilities(&self) -> Capabilities {
///         Capabilities::new()
///     }
///
///     async fn get(&self, key: &str) -> Result<Option<Bytes>> {
///         Ok(self.live().get(key).map(|entry| entry.value.clone()))
///     }
///
///     async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
///         let mut map = self.live();
///         let old = map.get(key);
///         let deadline = deadline(options.expiry, old.and_then(|entry| entry.deadline), "set")?;
///         let holds = match options.condition {
///             Condition::Always => true,
///             Condition::IfAbsent => old.is_none(),
///             Condition::IfPresent => old.is_some(),
///             Condition::IfEquals(expected) => old.is_some_and(|entry| entry.value == expected),
///         };
///         if !holds {
///             return Ok(SetOutcome::Refused);
///         }
///         map.insert(key.to_owned(), Entry { value, deadline });
///         Ok(SetOutcome::Written)
///     }
///
///     async fn del(&self, keys: &[&str]) -> Result<u64> {
///         let mut map = self.live();
///         Ok(keys.iter().filter(|key| map.remove(**key).is_some()).count() as u64)
///     }
///
///     async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
///         let mut map = self.live();
///         let equal = map.get(key).is_some_and(|entry| entry.value == expected);
///         Ok(equal && map.remove(key).is_some())
///     }
///
///     async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
///         let mut map = self.live();
///         if expiry == Expiry::After(Duration::ZERO) {
///             return Ok(map.remove(key).is_some());
///         }
///         let old = map.get(key).and_then(|entry| entry.deadline);
///         let deadline = deadline(expiry, old, "expire")?;
///         Ok(map.get_mut(key).map(|entry| entry.deadline = deadline).is_some())
///     }
///
///     async fn ttl(&self, key: &str) -> Result<Ttl> {
///         let now = Instant::now();
///         Ok(match self.live().get(key).map(|entry| entry.deadline) {
///             None => Ttl::Missing,
///             Some(None) => Ttl::Persistent,
///             Some(Some(deadline)) => Ttl::Remaining(deadline.saturating_duration_since(now)),
///         })
///     }
///
///     async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
///         request.checked_count_hint()?;
///         if !request.cursor.is_start() {
///             return Ok(ScanPage::default()); // no page has a cursor, so each one is the last
///         }
///         let map = self.live();
///         let keys = map.keys().filter(|key| request.pattern.matches(key)).cloned().collect();
///         Ok(ScanPage::new(keys, None))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let backend = MapBackend::default();
/// let outcome = backend.set("k", "v".into(), SetOptions::if_absent()).await?;
/// assert!(outcome.is_written());
/// assert_eq!(backend.get("k").await?.as_deref(), Some(&b"v"[..]));
/// # Ok(())
/// # }
/// ```
///
/// This backend returns its whole keyspace as one page, which violates clause scan-05 of the suite.
/// `examples/custom_backend.rs` of the `codex-kv` package returns pages and passes the whole suite.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key-value backend",
    label = "this type does not implement `KvBackend`",
    note = "`KvBackend` is not dyn-compatible: use `AnyBackend` instead of `dyn KvBackend`"
)]
pub trait KvBackend: fmt::Debug + Send + Sync + 'static {
    /// Returns the features that this backend offers beyond the common contract. The suite tests
    /// each declared feature.
    fn capabilities(&self) -> Capabilities;

    /// Returns the value of `key`, or `None` if the key is absent. Reading never changes the time
    /// to live.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`](crate::ErrorKind::Data) if the key holds something other than a value (a
    /// Redis list).
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>>> + Send;

    /// Writes `value` with the expiry of `options` if the condition of `options` holds, in one
    /// atomic step.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if the expiry is zero or
    /// too long, even if the condition would not have held. Nothing is changed.
    fn set(&self, key: &str, value: Bytes, options: SetOptions) -> impl Future<Output = Result<SetOutcome>> + Send;

    /// Removes the keys and returns how many of them existed. A key that is given twice counts
    /// once. An expired key does not count. An empty list gives `Ok(0)`.
    ///
    /// # Errors
    ///
    /// If the store fails. Some of the keys may have been removed.
    fn del(&self, keys: &[&str]) -> impl Future<Output = Result<u64>> + Send;

    /// Removes `key` if it holds exactly `expected`, in one atomic step, and returns whether it
    /// did.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn del_if_equals(&self, key: &str, expected: &[u8]) -> impl Future<Output = Result<bool>> + Send;

    /// Updates the expiry of `key` and returns whether the key exists. [`Expiry::Never`] clears the
    /// time to live, [`Expiry::After`] zero removes the key, and [`Expiry::Keep`] changes nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a duration that is too
    /// long. Nothing is changed.
    fn expire(&self, key: &str, expiry: Expiry) -> impl Future<Output = Result<bool>> + Send;

    /// Returns the remaining time to live of `key`.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn ttl(&self, key: &str) -> impl Future<Output = Result<Ttl>> + Send;

    /// Returns one page of the keys that match.
    ///
    /// A key that exists from the first page to the last is returned at least once, and possibly
    /// more than once, regardless of concurrent writes. A key that never existed, or has expired,
    /// is not returned. Only a page without a cursor ends the scan. A scan ends even while writers
    /// add keys. The hint bounds the size of a page up to a constant factor; a page is never the
    /// whole keyspace. An abandoned scan leaks nothing. Keys that are not UTF-8, which other
    /// programs may have written, are left out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a hint of zero. A
    /// made-up cursor leads either to this error or to the end of the scan.
    fn scan(&self, request: ScanRequest<'_>) -> impl Future<Output = Result<ScanPage>> + Send;

    /// Returns the values of `keys` in the order of `keys`. A key that is given twice is returned
    /// twice.
    ///
    /// A key that holds another type is `None` here, as in Redis's MGET. An empty list of keys
    /// gives an empty list.
    ///
    /// # Errors
    ///
    /// If the store fails. There is no partial result.
    fn get_many(&self, keys: &[&str]) -> impl Future<Output = Result<Vec<Option<Bytes>>>> + Send {
        provided::get_many(self, keys)
    }

    /// Writes all entries with one expiry. If a key is given twice, its last value wins. An empty
    /// list gives `Ok(())`.
    ///
    /// # Errors
    ///
    /// The same errors as [`set`](Self::set). With an invalid expiry, nothing is written. If the
    /// store fails midway, some entries may have been written.
    fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> impl Future<Output = Result<()>> + Send {
        provided::set_many(self, entries, expiry)
    }

    /// Adds `delta` to the integer that `key` holds as canonical decimal text, keeps the time to
    /// live, and returns the sum.
    ///
    /// If the key is missing, `on_missing` decides whether to start at zero with an expiry or to
    /// return `Ok(None)`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`](crate::ErrorKind::Data) if the value is not such text or the sum does
    /// not fit in 64 bits. [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for an
    /// expiry that `set` would refuse. The value and the time to live are unchanged.
    fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> impl Future<Output = Result<Option<i64>>> + Send {
        provided::incr(self, key, delta, on_missing)
    }

    /// Removes every key that matches, page by page, and returns the number of removed keys. Other
    /// keys are not touched. Keys that are created during the call may remain.
    ///
    /// # Errors
    ///
    /// If the store fails. Some of the keys may have been removed.
    fn del_matching(&self, pattern: &Pattern) -> impl Future<Output = Result<u64>> + Send {
        provided::del_matching(self, pattern)
    }

    /// Returns the value of `key` and its remaining time to live, or `None` if the key is absent.
    /// The answer is never [`Ttl::Missing`].
    ///
    /// The value and the time to live belong to one moment if the backend declares
    /// [`Capability::AtomicGetWithTtl`](crate::Capability::AtomicGetWithTtl). Otherwise a
    /// concurrent write can fall between the two reads.
    ///
    /// # Errors
    ///
    /// The same errors as [`get`](Self::get).
    fn get_with_ttl(&self, key: &str) -> impl Future<Output = Result<Option<(Bytes, Ttl)>>> + Send {
        provided::get_with_ttl(self, key)
    }

    /// Checks that the store answers, for a readiness probe. Reads at most one key and writes none.
    ///
    /// # Errors
    ///
    /// If the store does not answer within the deadline of one call.
    fn health(&self) -> impl Future<Output = Result<()>> + Send {
        provided::health(self)
    }
}
