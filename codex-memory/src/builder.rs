//! Settings of a store.

use std::{fmt, io, path::PathBuf, time::Duration};

use bytes::Bytes;
use codex_traits::{Error, ErrorKind, Result};

use crate::{
    MemoryBackend, WhenFull,
    accounting::limits::{EvictionListener, Limits},
    snapshot_file::SnapshotFile,
    store::Store,
    time::{
        clock::{Clock, TimeSource},
        system_clock::SystemClock,
    },
};

/// The default for [`MemoryBuilder::every`].
const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

/// Settings of a [`MemoryBackend`].
///
/// ```
/// use codex_memory::{MemoryBackend, WhenFull};
///
/// # fn main() -> codex_traits::Result<()> {
/// // A cache: entries that were not read lately are evicted.
/// let cache = MemoryBackend::builder().max_bytes(64 << 20).when_full(WhenFull::Evict).build()?;
/// // Sessions: a full store refuses writes, as Redis does with `noeviction`.
/// let sessions = MemoryBackend::builder().max_entries(100_000).build()?;
/// # let _ = (cache, sessions);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct MemoryBuilder {
    max_entries: usize,
    max_bytes: usize,
    when_full: WhenFull,
    listener: Option<EvictionListener>,
    time: Option<TimeSource>,
    snapshot_file: Option<PathBuf>,
    interval: Option<Duration>,
}

impl MemoryBuilder {
    pub(crate) fn new() -> Self {
        Self {
            max_entries: usize::MAX,
            max_bytes: usize::MAX,
            when_full: WhenFull::default(),
            listener: None,
            time: None,
            snapshot_file: None,
            interval: None,
        }
    }

    /// Limits the number of entries. Expired entries count until their memory is freed. A store
    /// that refuses writes when full frees it before it refuses one.
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries;
        self
    }

    /// Limits the bytes for keys, values and the index. Each entry is charged its value and 166
    /// bytes, which include a key of up to 46 bytes. The fixed cost of the shards, at most 64, is
    /// not charged. [`MemoryBackend::used_bytes`] returns the actual figure. When large values
    /// replace many small ones, it can exceed the limit by a tenth until the index has shrunk.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets how the store reacts to a write for which it has no room. The default is
    /// [`WhenFull::Refuse`].
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Sets a function that is called with the key and the value of each evicted entry. The
    /// function runs after the removal, in the thread of the write that needed the room. It may
    /// call the store, but a write that needs room in turn calls it again, without a limit on the
    /// recursion. A panic in it is caught. It is not called for entries that are removed or have
    /// expired.
    pub fn on_eviction(mut self, listener: impl Fn(&str, Bytes) + Send + Sync + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Sets the clock, in place of the system's monotonic clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.time = Some(TimeSource::Given(Box::new(clock)));
        self
    }

    /// Persists the entries in this file. [`build`](Self::build) reads the file if it exists. If
    /// entries have changed, the file is written at [intervals](Self::every) and when the last
    /// handle is dropped.
    ///
    /// Each snapshot is written to a second file with the suffix `.new`, synced, and renamed, so
    /// the file is always a complete snapshot. **A crash loses the writes since the last complete
    /// snapshot began**: at most the writes of one interval and of the time that a snapshot takes.
    /// If a snapshot cannot be written, [`health`](codex_traits::KvBackend::health) fails until a
    /// later snapshot succeeds. Dropping the last handle blocks until the last snapshot is written,
    /// and loses nothing if that succeeds. It cannot report an error: to see one, call
    /// [`MemoryBackend::save`], which writes the file immediately, before the shutdown.
    ///
    /// Values are not encrypted: anyone who can read the file can read the sessions in it. On Unix,
    /// only the owner of the file can read it. Only one store at a time may use a file. `build`
    /// resolves a relative path and symbolic links, once.
    pub fn snapshot_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.snapshot_file = Some(path.into());
        self
    }

    /// Sets the interval at which the [snapshot file](Self::snapshot_file) is written. The default
    /// is one minute.
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Creates the store, empty or with the entries of its snapshot file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for a limit or an interval of zero, an interval without a snapshot
    /// file, or a snapshot file that cannot be read or does not fit the limits; [`ErrorKind::Data`]
    /// for a snapshot file that is damaged or has another version. An error leaves the file
    /// unchanged.
    pub fn build(self) -> Result<MemoryBackend> {
        if self.max_entries == 0 || self.max_bytes == 0 {
            return Err(config("max_entries and max_bytes must be at least 1"));
        }
        if self.interval == Some(Duration::ZERO) {
            return Err(config("the interval of snapshots must be more than zero"));
        }
        if self.interval.is_some() && self.snapshot_file.is_none() {
            return Err(config("`every` needs a `snapshot_file`"));
        }
        let is_bounded = self.max_entries < usize::MAX || self.max_bytes < usize::MAX;
        let limits = is_bounded.then(|| Limits::new(self.max_entries, self.max_bytes, self.when_full, self.listener));
        let time = self.time.unwrap_or_else(|| TimeSource::System(SystemClock::start()));
        let store = Store::new(time, limits);
        let backend = MemoryBackend::of(store.clone());
        let Some(path) = self.snapshot_file else {
            return Ok(backend);
        };
        let interval = self.interval.unwrap_or(DEFAULT_INTERVAL);
        let file = SnapshotFile::open(store, &path, interval).map_err(|error| unreadable(&error))?;
        Ok(backend.with_snapshot_file(file))
    }
}

fn config(message: &'static str) -> Error {
    Error::new(ErrorKind::Config, "build", message)
}

fn unreadable(error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => ErrorKind::Data,
        _ => ErrorKind::Config,
    };
    Error::new(kind, "build", format!("the snapshot file cannot be used: {error}"))
}

impl fmt::Debug for MemoryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBuilder")
            .field("max_entries", &self.max_entries)
            .field("max_bytes", &self.max_bytes)
            .field("when_full", &self.when_full)
            .field("snapshot_file", &self.snapshot_file)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
