//! The near cache under test, and the store below it.

use std::{future::Future, time::Duration};

use codex_traits::{KvBackend, Result};

/// Access to a store and to near caches on it, for a clause.
///
/// The clauses run on the caller's runtime and use tokio's timer. They take no time under a paused
/// clock.
pub trait NearHarness: Send + Sync {
    /// The near cache.
    type Near: KvBackend + Clone;
    /// A client of the same store without a near cache.
    type Bare: KvBackend + Clone;

    /// Returns a new near cache on the harness's store, with connections of its own.
    ///
    /// # Errors
    ///
    /// As for the builder of the near cache.
    fn near(&self) -> impl Future<Output = Result<Self::Near>> + Send;

    /// Returns a client that stands for another program. [`Disturbance::Cut`] may close its
    /// connections. No other disturbance may affect them.
    fn bare(&self) -> Self::Bare;

    /// Returns the backend below `near`, with the connections of `near`. The default is `None`.
    fn below(&self, near: &Self::Near) -> Option<Self::Bare> {
        let _ = near;
        None
    }

    /// Returns the `max_staleness` of the near caches.
    fn max_staleness(&self) -> Duration;

    /// Returns the longest time that a push takes while nothing disturbs the store.
    fn push_time(&self) -> Duration;

    /// Returns the tolerance of comparisons of times: zero under a paused clock.
    fn slack(&self) -> Duration;

    /// Disturbs the store or the network. Returns `false` if this harness cannot do so.
    fn disturb(&self, disturbance: Disturbance<'_>) -> impl Future<Output = bool> + Send;

    /// Returns the number of keys read from the store so far, or the number of requests that read
    /// keys. The default is `None`: the number is unknown.
    fn reads(&self) -> Option<u64> {
        None
    }

    /// Returns the size of `near` in bytes, and its limit. The default is `None`. The clause about
    /// memory reads at most 3,000 values of 1 KiB, so a limit of more than 2 MiB is not tested.
    fn memory(&self, near: &Self::Near) -> Option<(u64, u64)> {
        let _ = near;
        None
    }

    /// Returns the length of the longest value that a near cache keeps. The default is `None`.
    fn max_value_bytes(&self) -> Option<usize> {
        None
    }
}

/// A disturbance of the store, or of the network between it and the near caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disturbance<'a> {
    /// Closes every connection of the near caches.
    Cut,
    /// Holds back the answers and reports of streams. Other calls continue if possible.
    HoldStreams,
    /// Swallows all traffic in both directions, but closes no connection.
    BlackHole,
    /// Ends [`HoldStreams`](Self::HoldStreams), [`BlackHole`](Self::BlackHole) and
    /// [`Latency`](Self::Latency).
    Heal,
    /// Delays every answer and report by this duration.
    Latency(Duration),
    /// Removes every key.
    FlushAll,
    /// Reports that any key may have changed.
    ReportFlush,
    /// Writes to the same name in another database.
    WriteInAnotherDatabase(&'a str),
    /// Makes another node the primary for this key. The old primary closes no connection.
    FailOver(&'a str),
    /// Moves the key to another node.
    MoveKey(&'a str),
}
