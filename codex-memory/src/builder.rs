//! A store with limits.

use std::fmt;

use bytes::Bytes;
use codex_traits::{Error, ErrorKind, Result};

use crate::{
    MemoryBackend, WhenFull,
    clock::{Clock, TimeSource},
    limits::{Limits, Listener},
    store::Store,
    system::SystemClock,
};

/// Settings of a [`MemoryBackend`].
///
/// ```
/// use codex_memory::{MemoryBackend, WhenFull};
///
/// # fn main() -> codex_traits::Result<()> {
/// // A cache: what was not read lately makes room.
/// let cache = MemoryBackend::builder().max_bytes(64 << 20).when_full(WhenFull::Evict).build()?;
/// // Sessions: a full store refuses, as Redis does with `noeviction`.
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
    listener: Option<Listener>,
    time: Option<TimeSource>,
}

impl MemoryBuilder {
    pub(crate) fn new() -> Self {
        Self {
            max_entries: usize::MAX,
            max_bytes: usize::MAX,
            when_full: WhenFull::default(),
            listener: None,
            time: None,
        }
    }

    /// At most this many entries at any time. Those that have expired count until they are
    /// reclaimed, which happens at the latest when room is needed.
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries;
        self
    }

    /// At most this many bytes for keys, values and what it takes to find them: 166 bytes are
    /// counted for each entry, a key of up to 46 bytes among them; the at most 64 shards themselves
    /// are not counted. See [`MemoryBackend::used_bytes`] for what it comes to in fact.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// What happens to a write for which there is no room. The default is [`WhenFull::Refuse`].
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Is told the key and the value of each entry that is evicted, after it is gone, in the thread
    /// of the write that needed the room. It may call the store. A panic in it is caught. Entries
    /// that expire or are removed are not told of.
    pub fn on_eviction(mut self, listener: impl Fn(&str, Bytes) + Send + Sync + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// A clock of the caller's in place of the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.time = Some(TimeSource::Given(Box::new(clock)));
        self
    }

    /// An empty store.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for a limit of zero: nothing could be written.
    pub fn build(self) -> Result<MemoryBackend> {
        if self.max_entries == 0 || self.max_bytes == 0 {
            let message = "max_entries and max_bytes must be at least 1";
            return Err(Error::new(ErrorKind::Config, "build", message));
        }
        let bounded = self.max_entries < usize::MAX || self.max_bytes < usize::MAX;
        let limits = bounded.then(|| Limits::new(self.max_entries, self.max_bytes, self.when_full, self.listener));
        let time = self.time.unwrap_or_else(|| TimeSource::System(SystemClock::start()));
        Ok(MemoryBackend::of(Store::new(time, limits)))
    }
}

// By hand: a listener has no `Debug`.
impl fmt::Debug for MemoryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBuilder")
            .field("max_entries", &self.max_entries)
            .field("max_bytes", &self.max_bytes)
            .field("when_full", &self.when_full)
            .finish_non_exhaustive()
    }
}
