//! The contract itself.

use std::{fmt, future::Future};

use bytes::Bytes;

use crate::{
    Capabilities, Expiry, OnMissing, Pattern, Result, ScanPage, ScanRequest, SetOptions, SetOutcome, Ttl, provided,
};

/// A key-value store that can hold caches and sessions.
///
/// Eight methods are required, four are provided on them; a backend overrides a provided one where its store can do it in one
/// round trip. Every sentence below is a clause of the conformance suite in `codex-testkit`; run it on what you write.
///
/// # Keys and values
///
/// A key is any UTF-8 text: the empty one, one with NUL or spaces, one of a megabyte. It is compared byte for byte. A value is any
/// run of bytes; an empty value is not a missing one.
///
/// # Absence
///
/// A key that has expired is gone for every verb, whether or not the store has got round to removing it. A miss is never a failure and
/// a failure never a miss: no verb answers `None`, `false`, `0` or an empty page because it could not ask. One exception is taken over
/// from Redis: in a [`get_many`](Self::get_many) a key that holds another type is `None`, where [`get`](Self::get) fails with
/// [`ErrorKind::Data`](crate::ErrorKind::Data).
///
/// # Expiry
///
/// [`Expiry::Never`] clears a time to live, [`Expiry::After`] replaces it, [`Expiry::Keep`] leaves it; a key that is created
/// under `Keep` gets none. Whole milliseconds are kept, rounded up. A value is never gone early, and late by no more than the backend
/// says. `After` zero is refused by every writing verb, also where its condition would not have held; only [`expire`](Self::expire)
/// takes it, and removes the key. A duration that the store cannot hold is refused. A refused or failed write leaves value and time
/// to live as they were.
///
/// # Atomicity
///
/// [`set`](Self::set) with a [`Condition`](crate::Condition) and [`del_if_equals`](Self::del_if_equals) compare and write in one step: of
/// many racers exactly one wins. That is the only primitive asked for; [`incr`](Self::incr) is provided on it. Calls on one key are
/// linearizable on one primary. Calls on many keys are atomic per key; whether [`get_many`](Self::get_many) is one snapshot is
/// [`Capability::AtomicMany`](crate::Capability::AtomicMany).
///
/// # Clones
///
/// Where a backend is `Clone`, a clone is another handle on the same store and sees every write at once. Two backends that
/// were built apart share nothing, unless they were pointed at the same server.
///
/// # Cancellation
///
/// A call whose future is dropped is applied once or not at all; the next call on the same handle gets its own answer. After a
/// failure, [`Error::may_have_executed`](crate::Error::may_have_executed) says whether the write may have happened all the same. A
/// backend sends nothing twice by itself unless doing so changes nothing.
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
///     Capabilities, Condition, Expiry, KvBackend, Result, ScanPage, ScanRequest, SetOptions, SetOutcome, Ttl,
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
///     /// The map without what has expired: small, and slow with many keys.
///     fn live(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
///         let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         let now = Instant::now();
///         map.retain(|_, entry| entry.deadline.is_none_or(|deadline| deadline > now));
///         map
///     }
/// }
///
/// fn deadline(expiry: Expiry, old: Option<Instant>, operation: &'static str) -> Result<Option<Instant>> {
///     // Refuses zero, and what is too long for any store.
///     let Some(millis) = expiry.to_millis(operation)? else {
///         return Ok(if expiry == Expiry::Keep { old } else { None });
///     };
///     let after = Duration::from_millis(millis.unsigned_abs());
///     let deadline = Instant::now().checked_add(after);
///     Ok(Some(deadline.ok_or_else(|| Expiry::too_long(operation))?))
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
///             return Ok(ScanPage::default()); // nobody was given a cursor: every page is the last
///         }
///         let map = self.live();
///         let keys = map.keys().filter(|key| request.pattern.matches(key)).cloned().collect();
///         Ok(ScanPage { keys, next: None })
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
/// (It hands out its whole keyspace as one page, which the suite's scan-05 refuses; `examples/custom_backend.rs` of the `codex-kv` package
/// pages properly and passes the whole suite.)
pub trait KvBackend: fmt::Debug + Send + Sync + 'static {
    /// What this backend can do beyond the common contract. What is declared is tested.
    fn capabilities(&self) -> Capabilities;

    /// The value of `key`, or `None` where there is none. Reading never changes the time to live.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`](crate::ErrorKind::Data) where the key holds what is no value (a Redis list).
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>>> + Send;

    /// Writes `value`, where the condition of `options` holds, with their expiry; one atomic step.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for an expiry of zero or one too long to be held,
    /// also where the condition would not have held. Nothing is changed then.
    fn set(&self, key: &str, value: Bytes, options: SetOptions) -> impl Future<Output = Result<SetOutcome>> + Send;

    /// Removes the keys and counts those that were there: a key named twice counts once, an expired one not at all. No keys are `Ok(0)`.
    ///
    /// # Errors
    ///
    /// Where the store fails; some of the keys may be removed then.
    fn del(&self, keys: &[&str]) -> impl Future<Output = Result<u64>> + Send;

    /// Removes `key` where it holds exactly `expected`, in one atomic step, and tells whether it did.
    ///
    /// # Errors
    ///
    /// Where the store fails.
    fn del_if_equals(&self, key: &str, expected: &[u8]) -> impl Future<Output = Result<bool>> + Send;

    /// Changes when `key` ends and tells whether it is there. [`Expiry::Never`] clears the time to live, [`Expiry::After`] zero
    /// removes the key, [`Expiry::Keep`] changes nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a duration too long to be held; nothing is changed then.
    fn expire(&self, key: &str, expiry: Expiry) -> impl Future<Output = Result<bool>> + Send;

    /// How long `key` has left.
    ///
    /// # Errors
    ///
    /// Where the store fails.
    fn ttl(&self, key: &str) -> impl Future<Output = Result<Ttl>> + Send;

    /// One page of the keys that match.
    ///
    /// A key that is there from the first page to the last is returned at least once, whatever comes and goes meanwhile, and perhaps
    /// more than once; one that was never there, or has expired, is not. Only a page without a cursor ends the scan. A scan ends while
    /// writers add keys. A page is bounded by the hint, give or take a factor, and never the whole keyspace. A scan that is abandoned
    /// leaks nothing. Keys that are not UTF-8, written by other programs, are left out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a hint of zero; for a made-up cursor that, or an end of the scan.
    fn scan(&self, request: ScanRequest<'_>) -> impl Future<Output = Result<ScanPage>> + Send;

    /// The values of `keys`, in the order asked, a key asked twice answered twice.
    ///
    /// A key that holds another type is `None` here, as Redis's MGET has it. No keys are an empty list.
    ///
    /// # Errors
    ///
    /// Where the store fails; there is no partial answer.
    fn get_many(&self, keys: &[&str]) -> impl Future<Output = Result<Vec<Option<Bytes>>>> + Send {
        provided::get_many(self, keys)
    }

    /// Writes all entries with the one expiry; of a key given twice the last value stays. No entries are `Ok(())`.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set): with a bad expiry nothing is written. Where the store fails midway, some entries may be written.
    fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> impl Future<Output = Result<()>> + Send {
        provided::set_many(self, entries, expiry)
    }

    /// Adds `delta` to the integer that `key` holds as canonical decimal text, keeps its time to live, and answers the sum.
    ///
    /// Where the key is missing, `on_missing` says what happens: start at zero with an expiry, or `Ok(None)`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`](crate::ErrorKind::Data) where the value is no such text or the sum does not fit 64 bits, and
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for an expiry that `set` would refuse; value and time
    /// to live stay as they were.
    fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> impl Future<Output = Result<Option<i64>>> + Send {
        provided::incr(self, key, delta, on_missing)
    }

    /// Removes every key that matches, page by page, and counts them. Touches nothing else. Keys that appear meanwhile may stay.
    ///
    /// # Errors
    ///
    /// Where the store fails; some of the keys may be removed then.
    fn del_matching(&self, pattern: &Pattern) -> impl Future<Output = Result<u64>> + Send {
        provided::del_matching(self, pattern)
    }
}
