//! A backend that keeps its entries in a file, and the conformance suite run on it.
//!
//! `cargo run -p codex-kv-tests --example durable_backend` runs the suite and prints the report;
//! `cargo test -p codex-kv-tests --example durable_backend` runs each clause as a test. A clause
//! kills a process in the middle of its writes and reads the file afterwards.
//!
//! The file is a [`redb`] database. All writes go through one thread, which commits all pending
//! writes in one transaction: many concurrent writers share one `fsync`, and no write is
//! acknowledged before it is on disk. Reads run on the caller's thread, on the last commit.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

#[path = "durable_backend/harness.rs"]
mod harness;

use std::{
    fmt, iter,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use codex_kv::{
    BackendError as Error, Capabilities, Capability, Condition, Cursor, ErrorKind, Expiry, KvBackend, Result, ScanPage,
    ScanRequest, SetOptions, SetOutcome, Ttl,
};
use redb::{Database, ReadableDatabase as _, ReadableTable, Table, TableDefinition, WriteTransaction};
use tokio::sync::oneshot;

const ENTRIES: TableDefinition<&str, Row> = TableDefinition::new("entries");
/// The keys in the order of their creation. A cursor is a position in that order.
const BY_AGE: TableDefinition<u64, &str> = TableDefinition::new("by_age");
/// The keys that expire, soonest first.
const BY_DEADLINE: TableDefinition<(u128, &str), ()> = TableDefinition::new("by_deadline");

/// The age, the deadline in nanoseconds since 1970, and the value.
type Row = (u64, Option<u128>, &'static [u8]);

/// The time since 1970.
pub(crate) type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Returns a clock that starts at the time of day and then follows the monotonic clock, so that a
/// correction of the time of day moves no deadline. Across restarts the time of day counts.
pub(crate) fn system_clock() -> Clock {
    let (day, start) = (SystemTime::now(), Instant::now());
    let since_1970 = day.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Arc::new(move || since_1970 + start.elapsed())
}

/// The time of the calls.
///
/// It stops during a commit: reads of the last commit and writes of the next commit see the same
/// time. Otherwise a read could find a key expired that a pending write has changed before its
/// deadline.
struct Time {
    clock: Clock,
    of_commit: Mutex<Option<Duration>>,
}

impl Time {
    fn of_commit(&self) -> MutexGuard<'_, Option<Duration>> {
        self.of_commit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle to a file. Clones are handles to the same file. Dropping the last handle closes the
/// file.
#[derive(Clone)]
pub(crate) struct DurableBackend(Arc<Store>);

struct Store {
    path: PathBuf,
    database: Arc<Database>,
    time: Arc<Time>,
    jobs: Option<mpsc::SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
}

/// A change. It returns a function that answers the caller after the commit.
type Job = Box<dyn FnOnce(&mut Tables<'_>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<()>) + Send>;

/// The capacity of the writer's queue, and the maximum number of further changes in a transaction.
/// A caller that finds the queue full blocks its thread until the next commit.
const MOST_JOBS: usize = 256;

impl DurableBackend {
    /// Opens the file at `path`, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened, is not a database, or is open in another process.
    pub(crate) fn open(path: &Path, clock: Clock) -> Result<Self> {
        let database = Arc::new(Database::create(path).map_err(failed)?);
        // Readers need every table to exist.
        let transaction = database.begin_write().map_err(failed)?;
        drop(Tables::open(&transaction, clock())?);
        transaction.commit().map_err(failed)?;
        let (jobs, waiting) = mpsc::sync_channel(MOST_JOBS);
        let time = Arc::new(Time {
            clock,
            of_commit: Mutex::default(),
        });
        let (written, writer_time) = (database.clone(), time.clone());
        let writer = thread::Builder::new().name("durable-backend".to_owned());
        let writer = writer.spawn(move || {
            while let Ok(first) = waiting.recv() {
                let batch: Vec<Job> = iter::once(first).chain(waiting.try_iter().take(MOST_JOBS)).collect();
                commit(&written, &writer_time, batch);
            }
        });
        Ok(Self(Arc::new(Store {
            path: path.to_owned(),
            database,
            time,
            jobs: Some(jobs),
            writer: Some(writer.map_err(failed)?),
        })))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Submits a change and waits until it is on disk. Dropping the future does not undo it.
    async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |tables| {
            let changed = change(tables);
            Box::new(move |committed| drop(answer.send(committed.and(changed))))
        });
        let sent = self.0.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        let answer = if sent { answered.await.ok() } else { None };
        let stopped = || Error::new(ErrorKind::Server, operation, "the writer has stopped");
        answer
            .ok_or_else(stopped)?
            .map_err(|error| error.with_operation(operation))
    }

    /// Runs `read` on the last commit.
    fn read<T>(
        &self,
        operation: &'static str,
        look: impl FnOnce(&redb::ReadTransaction, Duration) -> Result<T>,
    ) -> Result<T> {
        let (transaction, now) = {
            let of_commit = self.0.time.of_commit();
            let now = of_commit.unwrap_or_else(|| (self.0.time.clock)());
            (self.0.database.begin_read().map_err(failed), now)
        };
        let answer = transaction.and_then(|transaction| look(&transaction, now));
        answer.map_err(|error| error.with_operation(operation))
    }
}

/// Applies the changes of `batch` in one transaction, and answers the callers when it is on disk.
fn commit(database: &Database, time: &Time, batch: Vec<Job>) {
    // Every call of the batch has begun by now, so no key expires early.
    let now = *time.of_commit().insert((time.clock)());
    let mut answers: Vec<Answer> = Vec::new();
    let change = || {
        let transaction = database.begin_write().map_err(failed)?;
        let mut tables = Tables::open(&transaction, now)?;
        answers.extend(batch.into_iter().map(|job| job(&mut tables)));
        tables.sweep()?;
        drop(tables);
        transaction.commit().map_err(failed)
    };
    let committed = change();
    *time.of_commit() = None;
    for answer in answers {
        answer(committed.clone());
    }
}

/// Closes the file. The writer commits the pending changes first.
impl Drop for Store {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // The thread has ended either way, and the panic hook has reported a panic.
            let _ = writer.join();
        }
    }
}

// Implemented by hand, so that no keys or values are printed.
impl fmt::Debug for DurableBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DurableBackend")
    }
}

/// Converts an error of the database. After a failed write, redb fails every later commit, so a
/// partial change is never stored.
fn failed(error: impl Into<redb::Error>) -> Error {
    Error::new(ErrorKind::Server, "open", "the database file failed").with_source(error.into())
}

/// An entry that has not expired.
struct Entry {
    age: u64,
    deadline: Option<u128>,
    value: Bytes,
}

impl Entry {
    fn ttl(&self, now: Duration) -> Ttl {
        let left = |deadline: u128| {
            let nanos = deadline.saturating_sub(now.as_nanos());
            let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
            // A remainder of a billion fits.
            Duration::new(seconds, u32::try_from(nanos % 1_000_000_000).unwrap_or(0))
        };
        self.deadline
            .map_or(Ttl::Persistent, |deadline| Ttl::Remaining(left(deadline)))
    }
}

fn is_live(deadline: Option<u128>, now: Duration) -> bool {
    deadline.is_none_or(|deadline| now.as_nanos() < deadline)
}

/// Returns the entry of `key` unless it has expired.
fn live(entries: &impl ReadableTable<&'static str, Row>, key: &str, now: Duration) -> Result<Option<Entry>> {
    let row = entries.get(key).map_err(failed)?;
    Ok(row.and_then(|row| {
        let (age, deadline, value) = row.value();
        is_live(deadline, now).then(|| Entry {
            age,
            deadline,
            value: Bytes::copy_from_slice(value),
        })
    }))
}

/// The tables of a write transaction, with its time.
struct Tables<'t> {
    entries: Table<'t, &'static str, Row>,
    by_age: Table<'t, u64, &'static str>,
    by_deadline: Table<'t, (u128, &'static str), ()>,
    now: Duration,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction, now: Duration) -> Result<Self> {
        Ok(Self {
            entries: transaction.open_table(ENTRIES).map_err(failed)?,
            by_age: transaction.open_table(BY_AGE).map_err(failed)?,
            by_deadline: transaction.open_table(BY_DEADLINE).map_err(failed)?,
            now,
        })
    }

    fn live(&self, key: &str) -> Result<Option<Entry>> {
        live(&self.entries, key, self.now)
    }

    /// Returns the deadline of `expiry` for the existing entry.
    fn deadline(&self, expiry: Expiry, old: Option<&Entry>) -> Result<Option<u128>> {
        // Rounds up to a millisecond, and refuses zero and durations that no store has to accept.
        let millis = expiry.to_millis("set")?;
        Ok(match expiry {
            Expiry::Keep => old.and_then(|entry| entry.deadline),
            Expiry::Never | Expiry::After(_) => {
                millis.map(|millis| self.now.as_nanos() + u128::from(millis.unsigned_abs()) * 1_000_000)
            }
        })
    }

    fn set(&mut self, key: &str, value: &[u8], options: &SetOptions) -> Result<SetOutcome> {
        let old = self.live(key)?;
        // Checked before the condition: an invalid expiry is an error even if nothing would be
        // written.
        let deadline = self.deadline(options.expiry, old.as_ref())?;
        let holds = match &options.condition {
            Condition::Always => true,
            Condition::IfAbsent => old.is_none(),
            Condition::IfPresent => old.is_some(),
            Condition::IfEquals(expected) => old.as_ref().is_some_and(|entry| entry.value == expected),
        };
        if !holds {
            return Ok(SetOutcome::Refused);
        }
        self.put(key, value, deadline, old)?;
        Ok(SetOutcome::Written)
    }

    /// Writes `key`, whose live entry is `old`.
    fn put(&mut self, key: &str, value: &[u8], deadline: Option<u128>, old: Option<Entry>) -> Result<()> {
        self.remove(key)?;
        // A live entry keeps its position, so that a scan cannot miss it.
        let age = match old {
            Some(entry) => entry.age,
            None => self
                .by_age
                .last()
                .map_err(failed)?
                .map_or(1, |(age, _)| age.value() + 1),
        };
        self.entries.insert(key, (age, deadline, value)).map_err(failed)?;
        self.by_age.insert(age, key).map_err(failed)?;
        if let Some(deadline) = deadline {
            self.by_deadline.insert((deadline, key), ()).map_err(failed)?;
        }
        Ok(())
    }

    /// Removes `key`, and returns whether there was a live entry.
    fn remove(&mut self, key: &str) -> Result<bool> {
        let Some((age, deadline)) = self
            .entries
            .remove(key)
            .map_err(failed)?
            .map(|row| (row.value().0, row.value().1))
        else {
            return Ok(false);
        };
        self.by_age.remove(age).map_err(failed)?;
        if let Some(deadline) = deadline {
            self.by_deadline.remove((deadline, key)).map_err(failed)?;
        }
        Ok(is_live(deadline, self.now))
    }

    /// Removes some expired entries. This only keeps the file small; no verb depends on it.
    fn sweep(&mut self) -> Result<()> {
        const MOST: usize = 100;
        for _ in 0..MOST {
            let first = self.by_deadline.first().map_err(failed)?;
            let first: Option<(u128, String)> = first.map(|(key, _)| (key.value().0, key.value().1.into()));
            match first {
                Some((deadline, key)) if !is_live(Some(deadline), self.now) => drop(self.remove(&key)?),
                _ => break,
            }
        }
        Ok(())
    }
}

impl KvBackend for DurableBackend {
    fn capabilities(&self) -> Capabilities {
        let capabilities = Capabilities::new()
            .with(Capability::Durable)
            .with(Capability::LargeValues);
        // A read transaction is a snapshot.
        capabilities
            .with(Capability::AtomicMany)
            .with(Capability::AtomicGetWithTtl)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.get_with_ttl(key).await?.map(|(value, _)| value))
    }

    async fn get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>> {
        self.read("get", |transaction, now| {
            let entries = transaction.open_table(ENTRIES).map_err(failed)?;
            Ok(live(&entries, key, now)?.map(|entry| (entry.value.clone(), entry.ttl(now))))
        })
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.read("get_many", |transaction, now| {
            let entries = transaction.open_table(ENTRIES).map_err(failed)?;
            let value = |key| Ok(live(&entries, key, now)?.map(|entry| entry.value));
            keys.iter().copied().map(value).collect()
        })
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        Ok(self.get_with_ttl(key).await?.map_or(Ttl::Missing, |(_, ttl)| ttl))
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let key = key.to_owned();
        self.write("set", move |tables| tables.set(&key, &value, &options))
            .await
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        let entries: Vec<(String, Bytes)> = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        let options = SetOptions::new().with_expiry(expiry);
        self.write("set_many", move |tables| {
            // Checked even without entries, and before the first write.
            tables.deadline(expiry, None)?;
            entries
                .iter()
                .try_for_each(|(key, value)| tables.set(key, value, &options).map(drop))
        })
        .await
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        self.write("del", move |tables| {
            keys.iter()
                .try_fold(0, |count, key| Ok(count + u64::from(tables.remove(key)?)))
        })
        .await
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let (key, expected) = (key.to_owned(), expected.to_vec());
        self.write("del_if_equals", move |tables| {
            let equal = tables.live(&key)?.is_some_and(|entry| entry.value == expected);
            Ok(equal && tables.remove(&key)?)
        })
        .await
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let key = key.to_owned();
        self.write("expire", move |tables| {
            if expiry == Expiry::After(Duration::ZERO) {
                return tables.remove(&key);
            }
            let old = tables.live(&key)?;
            let deadline = tables.deadline(expiry, old.as_ref())?;
            let Some(value) = old.as_ref().map(|entry| entry.value.clone()) else {
                return Ok(false);
            };
            tables.put(&key, &value, deadline, old)?;
            Ok(true)
        })
        .await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        let count = request.checked_count_hint()?;
        self.read("scan", |transaction, now| {
            let entries = transaction.open_table(ENTRIES).map_err(failed)?;
            let by_age = transaction.open_table(BY_AGE).map_err(failed)?;
            // The cursor is the last age that was scanned and the newest age at the start of the
            // scan, so keys that are created later do not prolong the scan.
            let (seen, last) = if request.cursor.is_start() {
                (0, by_age.last().map_err(failed)?.map_or(0, |(age, _)| age.value()))
            } else {
                let numbers = request.cursor.as_str().split_once('-');
                let numbers = numbers.and_then(|(seen, last)| Some((seen.parse().ok()?, last.parse().ok()?)));
                numbers
                    .filter(|(seen, last): &(u64, u64)| seen <= last)
                    .ok_or_else(Error::unreadable_cursor)?
            };
            let mut ahead = by_age.range(seen.saturating_add(1)..=last).map_err(failed)?;
            let (mut keys, mut reached) = (Vec::new(), seen);
            for row in ahead.by_ref().take(count) {
                let (age, key) = row.map_err(failed)?;
                reached = age.value();
                if request.pattern.matches(key.value()) && live(&entries, key.value(), now)?.is_some() {
                    keys.push(key.value().to_owned());
                }
            }
            let next = ahead
                .next()
                .map(|_| Cursor::new(format!("{reached}-{last}")))
                .transpose()?;
            Ok(ScanPage::new(keys, next))
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    harness::write_if_told_to().await;
    let report = codex_kv::testkit::run(&harness::FileHarness::new()).await;
    println!("{report}");
    if report.failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod conformance {
    codex_kv::testkit::conformance_tests!(super::harness::FileHarness::new(), skip: {
        get_06: "the store holds nothing but plain values",
        many_06: "the store holds nothing but plain values",
        scan_09: "keys are text",
        scan_10: "one node",
        life_01: "in process, nothing goes out of service",
        life_02: "in process, nothing goes out of service",
        life_03: "in process, nothing goes out of service",
        life_05: "in process, no answer is lost",
        life_11: "in process, nothing goes out of service",
        life_12: "in process, there are no connections",
        life_13: "in process, there are no connections",
        life_14: "in process, there are no connections",
    });

    /// Not a test itself: the process that dur-02 starts and kills.
    #[tokio::test]
    #[ignore = "started by dur_02 in a process of its own"]
    async fn killable_writer() {
        super::harness::write_if_told_to().await;
    }
}
