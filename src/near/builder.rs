//! The settings of a near cache.

use std::{fmt, sync::Arc, time::Duration};

use codex_memory::Clock;
use codex_traits::{Capability, Error, ErrorKind, Result, Tracking};

use super::{
    backend::{Inner, NearBackend},
    clock::Time,
    state::State,
};

const MAX_BYTES: usize = 64 << 20;
const MAX_VALUE_BYTES: usize = 64 << 10;
const MAX_STALENESS: Duration = Duration::from_secs(1);

/// The shortest `max_staleness`. Three round trips must fit in it.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(3600);

/// A builder of a [`NearBackend`].
#[must_use]
pub struct NearBuilder<R> {
    backend: R,
    max_bytes: usize,
    max_value_bytes: usize,
    max_staleness: Duration,
    clock: Option<Box<dyn Clock>>,
}

impl<R: Tracking> NearBuilder<R> {
    pub(super) fn new(backend: R) -> Self {
        Self {
            backend,
            max_bytes: MAX_BYTES,
            max_value_bytes: MAX_VALUE_BYTES,
            max_staleness: MAX_STALENESS,
            clock: None,
        }
    }

    /// Limits the bytes of the cached answers, including keys and overhead. The default is 64 MiB.
    /// Answers that were not read recently are evicted to make room.
    ///
    /// Each entry counts its key, its value, a header of 19 bytes and the 166 bytes of
    /// [`MemoryBuilder::max_bytes`](codex_memory::MemoryBuilder::max_bytes). The empty cache counts
    /// too. One eighth is kept free for the index of earlier entries, which is freed over time. A
    /// fixed 250 KiB of state that orders reads and writes is not counted.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets the size of the largest cached value, in bytes. The default is 64 KiB. A larger value
    /// is read from the store each time. `get` uses an untracked connection for it from the second
    /// time on.
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// Sets how long answers from memory may lag behind a store that no longer reports its changes,
    /// from 50 ms to an hour. The default is one second.
    ///
    /// While the connection works, a change is visible as soon as its push arrives. This setting
    /// bounds the staleness when the connection fails: a frozen server, a lost network, a demoted
    /// primary. While there are reads, the connection is checked after each third of this time.
    pub fn max_staleness(mut self, staleness: Duration) -> Self {
        self.max_staleness = staleness;
        self
    }

    /// Replaces the system's monotonic clock, for tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Box::new(clock));
        self
    }

    /// Checks the settings and starts tracking.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if a setting is out of range, or if the store, a proxy or the user's
    /// permissions do not allow tracking. The message says what is missing. The store's own error
    /// if the store cannot be reached.
    pub async fn build(self) -> Result<NearBackend<R>> {
        if !(SHORTEST..=LONGEST).contains(&self.max_staleness) {
            return Err(refused("max_staleness must be from 50 ms to 1 h"));
        }
        if self.max_bytes == 0 {
            return Err(refused("max_bytes must be at least 1"));
        }
        let keys_move = self.backend.capabilities().contains(Capability::Cluster);
        let time = match self.clock {
            Some(clock) => Time::Given(clock),
            None => Time::system(),
        };
        let state = Arc::new(State::new(
            time,
            self.max_bytes,
            self.max_value_bytes,
            self.max_staleness,
            keys_move,
        )?);
        let feed = Box::pin(self.backend.track(Arc::clone(&state) as _)).await?;
        Ok(NearBackend::of(Inner {
            backend: self.backend,
            feed,
            state,
            #[cfg(feature = "metrics")]
            metrics: super::metrics::Metrics::default(),
        }))
    }
}

fn refused(expected: &'static str) -> Error {
    Error::new(ErrorKind::Config, "build", expected)
}

impl<R: fmt::Debug> fmt::Debug for NearBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearBuilder")
            .field("backend", &self.backend)
            .field("max_bytes", &self.max_bytes)
            .field("max_value_bytes", &self.max_value_bytes)
            .field("max_staleness", &self.max_staleness)
            .finish_non_exhaustive()
    }
}
