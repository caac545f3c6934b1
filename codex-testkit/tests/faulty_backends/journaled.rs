//! A store with a journal file, which is durable or has one fault.

use std::{
    collections::HashMap,
    env,
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    future::Future,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use codex_memory::{ManualClock, MemoryBackend};
use codex_testkit::{Harness, Time, VirtualTime, write_until_killed};
use codex_traits::{
    Capabilities, Capability, Condition, Error, ErrorKind, Expiry, KvBackend, OnMissing, Result, ScanPage, ScanRequest,
    SetOptions, SetOutcome, Ttl,
};

macro_rules! faults {
    ($($fault:ident $clause:ident $text:literal)*) => {
        /// A fault of the journal.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum JournalFault {
            $($fault,)*
        }

        /// Each fault, the clause that it must fail, and its description.
        pub(crate) const ALL: &[(JournalFault, &str, &str)] =
            &[$((JournalFault::$fault, stringify!($clause), $text),)*];

        /// Calls `$callback!` with every fault.
        #[allow(unused_macros, reason = "one test uses it")]
        macro_rules! every_journal_fault {
            ($callback:ident) => { $callback! { $($fault $clause)* } };
        }
    };
}

faults! {
    NothingIsStored dur_01 "a durable store is empty when it is reopened"
    TtlIsNotStored dur_01 "the TTL is not stored"
    OnlyTtlAtWriteIsStored dur_01 "a later change of the TTL is not stored"
    TtlStartsAnew dur_01 "the TTL restarts when the store is opened"
    ClosedTimeIsFree dur_01 "the time during which the store was closed does not count"
    RemovalsAreNotStored dur_01 "removed keys reappear when the store is reopened"
    ConditionalWritesAreNotStored dur_01 "a conditional write is not stored"
    CountersAreNotStored dur_01 "the sum of incr is not stored"
    ManyAreNotStored dur_01 "set_many stores only its first entry"
    EmptyIsNotStored dur_01 "an empty value is not stored"
    LargeIsNotStored dur_01 "a value of more than 64 KiB is not stored"
    OnlyFirstReopening dur_01 "opening the store loads the journal and then empties it"
    EmptyKeyIsNotStored dur_01 "the empty key is not stored"
    KeysWithLinesAreNotStored dur_01 "keys with a line break are not stored"
    OnlyAPartIsStored dur_01 "set_many stores only the first 500 entries of a call"
    TtlIsStoredInSeconds dur_01 "TTLs are stored in whole seconds"
    AnswersBeforeStoring dur_02 "a write is answered before it is stored, in batches of eight"
    StoresWhenClosed dur_02 "writes are stored only when the store is closed"
    LastIsHeldBack dur_02 "a write is stored only together with the next write"
    RemovalsWaitForClosing dur_02 "removals are stored only when the store is closed"
    CountersWaitForClosing dur_02 "sums of incr are stored only when the store is closed"
    UncleanIsUnreadable dur_02 "a store that was not closed is emptied when it is opened"
}

#[allow(
    unused_imports,
    clippy::single_component_path_imports,
    reason = "one test uses the macro, by this path"
)]
pub(crate) use every_journal_fault;

/// A key and its state after a change.
struct Record {
    key: String,
    value: Option<Bytes>,
    /// The deadline in milliseconds since 1970, or zero if there is none.
    deadline: u64,
}

/// The last line of a journal that was closed cleanly.
const CLOSED: &str = "closed";

impl Record {
    fn write(&self, out: &mut Vec<u8>) {
        let text = |bytes: &[u8]| {
            let mut text = String::with_capacity(bytes.len() * 2);
            for byte in bytes {
                let _ = write!(text, "{byte:02x}");
            }
            text
        };
        let value = self
            .value
            .as_ref()
            .map_or("-".to_owned(), |value| format!("={}", text(value)));
        out.extend(format!("{} {value} {}\n", text(self.key.as_bytes()), self.deadline).bytes());
    }

    fn read(line: &str) -> Option<Self> {
        let bytes = |text: &str| -> Option<Vec<u8>> {
            let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
            (0..text.len()).step_by(2).map(byte).collect()
        };
        let mut parts = line.split(' ');
        let key = String::from_utf8(bytes(parts.next()?)?).ok()?;
        let value = parts.next()?;
        let value = match value.strip_prefix('=') {
            Some(value) => Some(bytes(value)?.into()),
            None => None,
        };
        Some(Self {
            key,
            value,
            deadline: parts.next()?.parse().ok()?,
        })
    }
}

struct Journal {
    file: File,
    waiting: Vec<u8>,
    records: usize,
}

struct Inner {
    fault: Option<JournalFault>,
    path: PathBuf,
    clock: ManualClock,
    memory: MemoryBackend,
    journal: Mutex<Journal>,
    /// Serialises changes, so that the journal has them in order.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
pub(crate) struct Journaled(Arc<Inner>);

impl std::fmt::Debug for Journaled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Journaled")
    }
}

fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Server, "open", "the journal failed").with_source(error)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Inner {
    fn has(&self, fault: JournalFault) -> bool {
        self.fault == Some(fault)
    }

    /// Returns the milliseconds since 1970.
    fn now(&self) -> u64 {
        let since = self.clock.system_time().duration_since(SystemTime::UNIX_EPOCH);
        millis(since.unwrap_or_default())
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the records of this verb are journaled only when the store is closed.
    fn waits_for_closing(&self, verb: &str) -> bool {
        self.has(JournalFault::StoresWhenClosed)
            || self.has(JournalFault::RemovalsWaitForClosing) && verb.starts_with("del")
            || self.has(JournalFault::CountersWaitForClosing) && verb == "incr"
    }

    /// Appends the current state of the keys to the journal.
    async fn store(&self, verb: &'static str, keys: &[&str]) -> Result<()> {
        let mut lines = Vec::new();
        let keys = match self.fault {
            Some(JournalFault::OnlyAPartIsStored) => &keys[..keys.len().min(500)],
            _ => keys,
        };
        for key in keys {
            let value = self.memory.get(key).await?;
            let deadline = match self.memory.ttl(key).await? {
                Ttl::Remaining(left) => self.now() + millis(left),
                _ => 0,
            };
            let is_lost = match self.fault {
                Some(JournalFault::NothingIsStored) => true,
                Some(JournalFault::OnlyTtlAtWriteIsStored) => verb == "expire" && value.is_some(),
                Some(JournalFault::RemovalsAreNotStored) => value.is_none(),
                Some(JournalFault::ConditionalWritesAreNotStored) => verb == "conditional set",
                Some(JournalFault::CountersAreNotStored) => verb == "incr",
                Some(JournalFault::EmptyIsNotStored) => value.as_ref().is_some_and(Bytes::is_empty),
                Some(JournalFault::EmptyKeyIsNotStored) => key.is_empty(),
                Some(JournalFault::KeysWithLinesAreNotStored) => key.contains('\n'),
                Some(JournalFault::LargeIsNotStored) => value.as_ref().is_some_and(|value| value.len() > 65_536),
                _ => false,
            };
            let deadline = match self.fault {
                Some(JournalFault::TtlIsNotStored) => 0,
                Some(JournalFault::TtlIsStoredInSeconds) => deadline / 1000 * 1000,
                _ => deadline,
            };
            if !is_lost {
                Record {
                    key: (*key).to_owned(),
                    value,
                    deadline,
                }
                .write(&mut lines);
            }
            if self.has(JournalFault::ManyAreNotStored) && verb == "set_many" {
                break;
            }
        }
        let mut journal = self.journal();
        if self.waits_for_closing(verb) {
            journal.waiting.extend(lines);
            return Ok(());
        }
        if self.has(JournalFault::LastIsHeldBack) {
            std::mem::swap(&mut journal.waiting, &mut lines);
        } else if self.has(JournalFault::AnswersBeforeStoring) {
            journal.records += 1;
            journal.waiting.extend(lines);
            if !journal.records.is_multiple_of(8) {
                return Ok(());
            }
            lines = std::mem::take(&mut journal.waiting);
        }
        journal.file.write_all(&lines).map_err(failed)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = std::mem::take(&mut journal.waiting);
        rest.extend(format!("{CLOSED} {}\n", self.now()).bytes());
        let _ = journal.file.write_all(&rest);
    }
}

impl Journaled {
    pub(crate) async fn open(path: &Path, fault: Option<JournalFault>, clock: ManualClock) -> Result<Self> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(failed)?;
        let inner = Inner {
            fault,
            path: path.to_owned(),
            memory: MemoryBackend::with_clock(clock.clone()),
            clock,
            journal: Mutex::new(Journal {
                file,
                waiting: Vec::new(),
                records: 0,
            }),
            changing: tokio::sync::Mutex::default(),
        };
        inner.load(&text).await?;
        if inner.has(JournalFault::OnlyFirstReopening) {
            inner.journal().file.set_len(0).map_err(failed)?;
        }
        Ok(Self(Arc::new(inner)))
    }
}

impl Inner {
    async fn load(&self, text: &str) -> Result<()> {
        let closed = text
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix(CLOSED)?.trim().parse::<u64>().ok());
        let is_clean = text.is_empty() || text.lines().last().is_some_and(|line| line.starts_with(CLOSED));
        if self.has(JournalFault::UncleanIsUnreadable) && !is_clean {
            return Ok(());
        }
        let records = text.lines().filter_map(Record::read);
        let latest: HashMap<String, Record> = records.map(|record| (record.key.clone(), record)).collect();
        for (key, record) in latest {
            let Some(value) = record.value else { continue };
            let now = match closed {
                Some(closed) if self.has(JournalFault::ClosedTimeIsFree) => closed,
                _ => self.now(),
            };
            let expiry = match record.deadline {
                0 => Expiry::Never,
                deadline if deadline <= now => continue,
                _ if self.has(JournalFault::TtlStartsAnew) => Expiry::After(Duration::from_secs(100)),
                deadline => Expiry::After(Duration::from_millis(deadline - now)),
            };
            let _ = self
                .memory
                .set(&key, value, SetOptions::new().with_expiry(expiry))
                .await?;
        }
        Ok(())
    }
}

impl KvBackend for Journaled {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new().with(Capability::Durable)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.0.memory.get(key).await
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let _changing = self.0.changing.lock().await;
        let verb = if options.condition == Condition::Always {
            "set"
        } else {
            "conditional set"
        };
        let outcome = self.0.memory.set(key, value, options).await?;
        self.0.store(verb, &[key]).await?;
        Ok(outcome)
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        let _changing = self.0.changing.lock().await;
        let count = self.0.memory.del(keys).await?;
        self.0.store("del", keys).await?;
        Ok(count)
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let _changing = self.0.changing.lock().await;
        let removed = self.0.memory.del_if_equals(key, expected).await?;
        self.0.store("del_if_equals", &[key]).await?;
        Ok(removed)
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let _changing = self.0.changing.lock().await;
        let found = self.0.memory.expire(key, expiry).await?;
        self.0.store("expire", &[key]).await?;
        Ok(found)
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.0.memory.ttl(key).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        self.0.memory.scan(request).await
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        let _changing = self.0.changing.lock().await;
        self.0.memory.set_many(entries, expiry).await?;
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        self.0.store("set_many", &keys).await
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        let _changing = self.0.changing.lock().await;
        let sum = self.0.memory.incr(key, delta, on_missing).await?;
        self.0.store("incr", &[key]).await?;
        Ok(sum)
    }
}

/// The environment variables that make a test program the writer that dur-02 kills.
const WRITE_TO: &str = "JOURNALED_WRITE_TO";
const WITH_FAULT: &str = "JOURNALED_WITH_FAULT";

/// Writes to the journal that the environment names until the process is killed.
pub(crate) async fn write_if_told_to() {
    let Some(path) = env::var_os(WRITE_TO) else { return };
    let fault = env::var(WITH_FAULT).unwrap_or_default();
    let fault = ALL
        .iter()
        .map(|(fault, ..)| *fault)
        .find(|known| format!("{known:?}") == fault);
    let clock = ManualClock::starting_at(SystemTime::now());
    let backend = Journaled::open(Path::new(&path), fault, clock).await;
    let error = write_until_killed(&backend.unwrap_or_else(|error| panic!("{error}"))).await;
    panic!("a write failed: {error}");
}

pub(crate) struct JournaledHarness {
    fault: Option<JournalFault>,
    directory: PathBuf,
    files: AtomicU64,
    clock: ManualClock,
}

impl JournaledHarness {
    pub(crate) fn new(fault: Option<JournalFault>) -> Self {
        static HARNESSES: AtomicU64 = AtomicU64::new(0);
        let number = HARNESSES.fetch_add(1, Ordering::SeqCst);
        let directory = env::temp_dir().join(format!("codex-journaled-{}-{number}", process::id()));
        fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("no directory for journals: {error}"));
        Self {
            fault,
            directory,
            files: AtomicU64::new(0),
            clock: ManualClock::starting_at(SystemTime::now()),
        }
    }

    async fn open(&self, path: &Path) -> Journaled {
        let backend = Journaled::open(path, self.fault, self.clock.clone()).await;
        backend.unwrap_or_else(|error| panic!("cannot open the journal: {error}"))
    }
}

impl Drop for JournaledHarness {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Harness for JournaledHarness {
    type Backend = Journaled;

    async fn fresh(&self) -> Journaled {
        let number = self.files.fetch_add(1, Ordering::SeqCst);
        self.open(&self.directory.join(number.to_string())).await
    }

    fn time(&self) -> Time {
        let clock = self.clock.clone();
        Time::Virtual(VirtualTime::from_fn(move |by| clock.advance(by)))
    }

    fn reopen_from_storage(&self, backend: Journaled) -> Option<impl Future<Output = Journaled> + Send> {
        let path = backend.0.path.clone();
        drop(backend);
        Some(async move { self.open(&path).await })
    }

    fn killable_writer(&self, backend: &Journaled) -> Option<Command> {
        let program = env::current_exe().unwrap_or_else(|error| panic!("this program has no path: {error}"));
        let mut command = Command::new(program);
        // Selected by the end of its name, because some test programs have it in a module.
        command.args(["killable_writer", "--ignored", "--nocapture"]);
        command.env(WRITE_TO, &backend.0.path);
        if let Some(fault) = self.fault {
            command.env(WITH_FAULT, format!("{fault:?}"));
        }
        Some(command)
    }
}
