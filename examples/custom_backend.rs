//! A custom backend, and the conformance suite run on it.
//!
//! `cargo run --features testkit --example custom_backend` runs the suite and prints the report.
//! `cargo test --features testkit --example custom_backend` runs each clause as a test.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Bound,
    process::ExitCode,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use codex_kv::{
    Capabilities, Condition, Cursor, Error, Expiry, KvBackend, Result, ScanPage, ScanRequest, SetOptions, SetOutcome,
    Ttl,
    testkit::{Harness, Time, VirtualTime},
};

/// Entries in a map, and their keys in the order of insertion: a scan resumes from a position in
/// that order.
#[derive(Default)]
struct Entries {
    by_key: HashMap<String, Entry>,
    by_age: BTreeMap<u64, String>,
    next_age: u64,
    /// The time of the verb that holds the lock.
    now: Duration,
}

struct Entry {
    value: Bytes,
    deadline: Option<Duration>,
    age: u64,
}

impl Entries {
    /// Returns the entry of `key` unless it is expired.
    fn live(&self, key: &str) -> Option<&Entry> {
        self.by_key.get(key).filter(|entry| self.is_live(entry))
    }

    fn is_live(&self, entry: &Entry) -> bool {
        entry.deadline.is_none_or(|deadline| self.now < deadline)
    }

    /// Removes `key` and returns whether it existed and had not expired.
    fn remove(&mut self, key: &str) -> bool {
        let was_live = self.live(key).is_some();
        if let Some(entry) = self.by_key.remove(key) {
            self.by_age.remove(&entry.age);
        }
        was_live
    }

    fn write(&mut self, key: &str, value: Bytes, deadline: Option<Duration>) {
        // An existing entry keeps its position, so that a running scan cannot miss it.
        let age = if let Some(entry) = self.live(key) {
            entry.age
        } else {
            self.remove(key);
            self.next_age += 1;
            self.next_age
        };
        self.by_age.insert(age, key.to_owned());
        self.by_key.insert(key.to_owned(), Entry { value, deadline, age });
    }

    /// Returns the deadline of `key` under `expiry`.
    fn deadline(&self, key: &str, expiry: Expiry, operation: &'static str) -> Result<Option<Duration>> {
        // Rounds up to a millisecond, and refuses zero and durations that no store can hold.
        let millis = expiry.to_millis(operation)?;
        Ok(match expiry {
            Expiry::Keep => self.live(key).and_then(|entry| entry.deadline),
            Expiry::Never | Expiry::After(_) => {
                millis.map(|millis| self.now + Duration::from_millis(millis.unsigned_abs()))
            }
        })
    }
}

/// A handle to the entries. A clone is another handle to the same entries.
#[derive(Clone, Default)]
struct AgingBackend {
    entries: Arc<Mutex<Entries>>,
    clock: StillClock,
}

impl AgingBackend {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.now = self.clock.now();
        entries
    }
}

/// A clock that only `advance` moves. A store for production would read `Instant::now` instead.
#[derive(Clone, Default)]
struct StillClock(Arc<AtomicU64>);

impl StillClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

// Implemented by hand, so that no keys or values are printed.
impl fmt::Debug for AgingBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgingBackend")
    }
}

impl KvBackend for AgingBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.entries().live(key).map(|entry| entry.value.clone()))
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let mut entries = self.entries();
        let deadline = entries.deadline(key, options.expiry, "set")?;
        let old = entries.live(key);
        let holds = match options.condition {
            Condition::Always => true,
            Condition::IfAbsent => old.is_none(),
            Condition::IfPresent => old.is_some(),
            Condition::IfEquals(expected) => old.is_some_and(|entry| entry.value == expected),
        };
        if !holds {
            return Ok(SetOutcome::Refused);
        }
        entries.write(key, value, deadline);
        Ok(SetOutcome::Written)
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        let mut entries = self.entries();
        Ok(keys.iter().filter(|key| entries.remove(key)).count() as u64)
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let mut entries = self.entries();
        let equal = entries.live(key).is_some_and(|entry| entry.value == expected);
        Ok(equal && entries.remove(key))
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let mut entries = self.entries();
        if expiry == Expiry::After(Duration::ZERO) {
            return Ok(entries.remove(key));
        }
        let deadline = entries.deadline(key, expiry, "expire")?;
        let Some(value) = entries.live(key).map(|entry| entry.value.clone()) else {
            return Ok(false);
        };
        entries.write(key, value, deadline);
        Ok(true)
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        let entries = self.entries();
        Ok(match entries.live(key).map(|entry| entry.deadline) {
            None => Ttl::Missing,
            Some(None) => Ttl::Persistent,
            Some(Some(deadline)) => Ttl::Remaining(deadline.saturating_sub(entries.now)),
        })
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        let count = request.checked_count_hint()?;
        let entries = self.entries();
        // The cursor holds the last age seen and the last age of this scan, so that later writes do
        // not prolong it.
        let (seen, last) = if request.cursor.is_start() {
            (0, entries.next_age)
        } else {
            let numbers = request.cursor.as_str().split_once('-');
            let numbers = numbers.and_then(|(seen, last)| Some((seen.parse().ok()?, last.parse().ok()?)));
            numbers
                .filter(|(seen, last): &(u64, u64)| seen <= last)
                .ok_or_else(Error::unreadable_cursor)?
        };
        let mut ahead = entries
            .by_age
            .range((Bound::Excluded(seen), Bound::Unbounded))
            .take_while(|(age, _)| **age <= last);
        let mut page = ScanPage::default();
        let mut reached = seen;
        for (age, key) in ahead.by_ref().take(count) {
            reached = *age;
            if request.pattern.matches(key) && entries.live(key).is_some() {
                page.keys.push(key.clone());
            }
        }
        if ahead.next().is_some() {
            page.next = Some(Cursor::new(format!("{reached}-{last}"))?);
        }
        Ok(page)
    }
}

/// The harness, which creates stores and advances their clock.
#[derive(Default)]
struct AgingHarness {
    clock: StillClock,
}

impl Harness for AgingHarness {
    type Backend = AgingBackend;

    async fn fresh(&self) -> AgingBackend {
        // All stores share the clock that the suite advances.
        AgingBackend {
            entries: Arc::default(),
            clock: self.clock.clone(),
        }
    }

    fn time(&self) -> Time {
        let clock = self.clock.clone();
        Time::Virtual(VirtualTime::from_fn(move |by| clock.advance(by)))
    }

    fn reopen(&self, backend: &AgingBackend) -> Option<AgingBackend> {
        Some(backend.clone())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let report = codex_kv::testkit::run(&AgingHarness::default()).await;
    println!("{report}");
    if report.failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod conformance {
    codex_kv::testkit::conformance_tests!(super::AgingHarness::default(), skip: {
        dur_01: "the store ends with its process",
        dur_02: "the store ends with its process",
        exp_12: "the store has no wall clock",
        get_06: "the store holds nothing but plain values",
        life_01: "in process, nothing goes out of service",
        life_02: "in process, nothing goes out of service",
        life_03: "in process, nothing goes out of service",
        life_05: "in process, no answer is lost",
        life_11: "in process, nothing goes out of service",
        life_12: "in process, there are no connections",
        life_13: "in process, there are no connections",
        life_14: "in process, there are no connections",
        many_06: "the store holds nothing but plain values",
        scan_09: "keys are text",
        scan_10: "one node",
        ttl_01: "value and TTL are read in two steps",
    });
}
