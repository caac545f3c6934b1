//! The kept answers, and the state that decides whether an answer is kept. The handle and its
//! clones share it with the store, which reports changes to it.

use std::{
    fmt,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use codex_traits::{NodeId, TrackedRead, TrackingListener, Ttl};

use super::{
    buckets::Buckets,
    clock::Time,
    entry::{HEADER, Header, Kind, NEVER},
    memory::Memory,
    nodes::Nodes,
    stats::{Counters, Event, NearStats},
};

pub(super) struct State {
    pub(super) time: Time,
    pub(super) nodes: Nodes,
    memory: Memory,
    buckets: Buckets,
    counters: Counters,
    max_value_bytes: usize,
    max_staleness: u64,
    /// Whether keys can move between nodes, whose streams are not ordered with each other. The move
    /// of a missing key is not reported.
    keys_move: bool,
    /// The number of writes in flight whose keys are unknown.
    sweeps: AtomicUsize,
    /// The time until which no answer is kept, because the outcome of such a write is unknown.
    quiet_until: AtomicU64,
}

/// An answer from memory.
pub(super) struct Hit {
    pub(super) value: Option<Bytes>,
    /// The end of the answer's time to live.
    pub(super) deadline: u64,
    /// The node whose lease must be renewed, if that is due.
    pub(super) renew: Option<NodeId>,
}

/// The reason why there is no answer in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotKept {
    /// There is no valid answer.
    Nothing,
    /// The value was too large to be kept.
    Large,
}

/// The state noted before a read is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Note {
    /// The index of the key's bucket.
    bucket: usize,
    epoch: u64,
    generation: u64,
    /// Whether a write of this handle to the key, or to another key of its bucket, is in flight. No
    /// answer can be kept then.
    pub(super) is_written: bool,
    sent: u64,
}

/// The outcome for an answer: kept or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Kept,
    /// The answer is not kept. Its value and its time to live may be from different moments.
    Refused,
}

impl State {
    pub(super) fn new(
        time: Time,
        max_bytes: usize,
        max_value_bytes: usize,
        max_staleness: Duration,
        keys_move: bool,
    ) -> codex_traits::Result<Self> {
        let max_staleness = nanos(max_staleness);
        Ok(Self {
            time,
            nodes: Nodes::new(max_staleness),
            memory: Memory::new(max_bytes)?,
            buckets: Buckets::new(),
            counters: Counters::default(),
            max_value_bytes,
            max_staleness,
            keys_move,
            sweeps: AtomicUsize::new(0),
            quiet_until: AtomicU64::new(0),
        })
    }

    pub(super) fn stats(&self) -> NearStats {
        self.counters.read(self.memory.used_bytes())
    }

    /// Looks up a key in memory.
    #[inline]
    pub(super) fn find(&self, key: &str) -> Result<Hit, NotKept> {
        let mut found = Err(NotKept::Nothing);
        // The entry is checked in place, so that only a valid answer is cloned.
        let value = self.memory.get_from(key, |stored| {
            let header = Header::of(stored)?;
            found = self.check(&header);
            (found.is_ok() && header.kind == Kind::Present).then_some(HEADER)
        });
        let (deadline, renew) = found?;
        self.counters.count(Event::Hit);
        Ok(Hit { value, deadline, renew })
    }

    /// Returns the deadline of a valid answer, and the node whose lease must be renewed.
    #[inline]
    fn check(&self, header: &Header) -> Result<(u64, Option<NodeId>), NotKept> {
        // No answer, so it needs no lease. The lease may even have ended because the large value
        // delayed the proofs.
        if header.kind == Kind::Large {
            return Err(NotKept::Large);
        }
        let lease = self.nodes.lease(header.node, header.epoch);
        // Read the time last, so that the answer was valid at that time.
        let now = self.time.latest();
        if now >= lease || now >= header.deadline {
            return Err(NotKept::Nothing);
        }
        Ok((header.deadline, self.nodes.is_due(lease, now).then_some(header.node)))
    }

    /// Counts a read that goes to the store.
    pub(super) fn count_miss(&self) {
        self.counters.count(Event::Miss);
    }

    /// Records the state of a key before a read of it is sent.
    pub(super) fn note(&self, key: &str) -> Note {
        // Read the time first, so that a time to live starts no later than the request.
        let sent = self.time.now();
        let epoch = self.nodes.epoch();
        let bucket = self.buckets.place(key);
        let state = self.buckets.at(bucket);
        Note {
            bucket,
            epoch,
            generation: state.generation,
            is_written: state.writes > 0,
            sent,
        }
    }

    /// Keeps the answer to a read, if nothing has happened to its key since the note. Otherwise
    /// drops a kept answer that may be older.
    pub(super) fn settle(&self, key: &str, noted: &Note, read: &TrackedRead) -> Settled {
        let Some((node, stored)) = self.entry(noted, read) else {
            self.refuse(key);
            return Settled::Refused;
        };
        let mut bucket = self.buckets.at(noted.bucket);
        let is_on_stream = self.nodes.lease(node, noted.epoch) != 0;
        let is_unchanged = is_on_stream
            && bucket.generation == noted.generation
            && bucket.writes == 0
            && self.sweeps.load(Ordering::SeqCst) == 0
            && !self.is_quiet(bucket.quiet_until);
        if is_unchanged && self.memory.put(key, stored) {
            return Settled::Kept;
        }
        // The answers on one stream arrive in order, each after the reports of the changes that it
        // reflects. An answer of the stream that is kept now or later is therefore no older than
        // this one.
        let is_ordered = is_on_stream && !is_unchanged && !self.keys_move;
        if !is_ordered {
            bucket.generation = bucket.generation.wrapping_add(1);
            self.memory.remove(key);
        }
        drop(bucket);
        self.counters.count(Event::RefusedFill);
        Settled::Refused
    }

    /// Returns whether no answer may be kept now, because the outcome of a write to the bucket or
    /// of a sweep is unknown.
    fn is_quiet(&self, until: u64) -> bool {
        let until = until.max(self.quiet_until.load(Ordering::SeqCst));
        // Zero if there has been no such write, which avoids the cost of reading the clock.
        until > 0 && until > self.time.now()
    }

    /// Returns the entry for an answer that can be kept.
    fn entry(&self, noted: &Note, read: &TrackedRead) -> Option<(NodeId, Bytes)> {
        let node = read.node?;
        let (kind, deadline) = match (&read.value, read.ttl) {
            (Some(_), Ttl::Persistent) => (Kind::Present, NEVER),
            (Some(_), Ttl::Remaining(left)) => (Kind::Present, deadline(noted.sent, left)?),
            (None, Ttl::Missing) if self.keys_move => (Kind::Absent, noted.sent.saturating_add(self.max_staleness)),
            (None, Ttl::Missing) => (Kind::Absent, NEVER),
            // The value and the time to live are from different moments.
            (Some(_), Ttl::Missing) | (None, Ttl::Persistent | Ttl::Remaining(_)) => return None,
        };
        let value = read.value.as_deref().unwrap_or_default();
        let (kind, value) = if value.len() > self.max_value_bytes {
            (Kind::Large, &[][..])
        } else {
            (kind, value)
        };
        let header = Header {
            kind,
            node,
            epoch: noted.epoch,
            deadline,
        };
        Some((node, header.with(value)))
    }

    /// Counts an answer that is not kept, and drops a kept answer that may be older.
    pub(super) fn refuse(&self, key: &str) {
        self.drop_key(key);
        self.counters.count(Event::RefusedFill);
    }

    /// Drops a key, and prevents reads in flight from keeping it.
    pub(super) fn drop_key(&self, key: &str) {
        let mut bucket = self.buckets.of(key);
        bucket.generation = bucket.generation.wrapping_add(1);
        self.memory.remove(key);
    }

    /// Drops a key whose value was too large to be kept, and prevents reads in flight from keeping
    /// it. An entry that marks the value as large stays if a value of this length is too large.
    pub(super) fn drop_kept(&self, key: &str, length: usize) {
        let mut bucket = self.buckets.of(key);
        bucket.generation = bucket.generation.wrapping_add(1);
        let mut kind = None;
        let _ = self.memory.get_from(key, |stored| {
            kind = Header::of(stored).map(|header| header.kind);
            None
        });
        if kind != Some(Kind::Large) || length <= self.max_value_bytes {
            self.memory.remove(key);
        }
    }

    /// Begins a write of a key: no answer for it is kept until [`end_write`](Self::end_write).
    pub(super) fn begin_write(&self, key: &str) {
        let mut bucket = self.buckets.of(key);
        bucket.generation = bucket.generation.wrapping_add(1);
        bucket.writes = bucket.writes.saturating_add(1);
        self.memory.remove(key);
    }

    /// Ends a write of a key. If it `may_be_pending`, the store may still execute it, and no answer
    /// is kept for another `max_staleness`.
    pub(super) fn end_write(&self, key: &str, may_be_pending: bool) {
        let mut bucket = self.buckets.of(key);
        bucket.generation = bucket.generation.wrapping_add(1);
        bucket.writes = bucket.writes.saturating_sub(1);
        if may_be_pending {
            let until = self.time.now().saturating_add(self.max_staleness);
            bucket.quiet_until = bucket.quiet_until.max(until);
        }
        self.memory.remove(key);
    }

    /// Begins a write of unknown keys.
    pub(super) fn begin_sweep(&self) {
        self.sweeps.fetch_add(1, Ordering::SeqCst);
        self.nodes.flush_all();
        self.counters.count(Event::Flush);
    }

    /// Ends a write of unknown keys.
    pub(super) fn end_sweep(&self, may_be_pending: bool) {
        if may_be_pending {
            let until = self.time.now().saturating_add(self.max_staleness);
            self.quiet_until.fetch_max(until, Ordering::SeqCst);
        }
        self.nodes.flush_all();
        self.sweeps.fetch_sub(1, Ordering::SeqCst);
    }
}

impl TrackingListener for State {
    fn opening(&self, node: NodeId) {
        self.nodes.opening(node, self.time.now());
        self.counters.count(Event::Flush);
    }

    fn opened(&self, node: NodeId) {
        self.nodes.opened(node);
    }

    fn changed(&self, _: NodeId, key: &[u8]) {
        self.counters.count(Event::Invalidation);
        // Keys that are not UTF-8 are never read through this cache.
        if let Ok(key) = std::str::from_utf8(key) {
            self.drop_key(key);
        }
    }

    fn flushed(&self, node: NodeId) {
        self.nodes.flush(node);
        self.counters.count(Event::Flush);
    }

    fn closed(&self, node: NodeId) {
        self.nodes.closed(node);
        self.counters.count(Event::Flush);
    }
}

// Logs must not contain keys or values.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearState")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Returns the end of a time to live, or `None` if it is too far away to be represented: after 584
/// years.
fn deadline(sent: u64, left: Duration) -> Option<u64> {
    let left = u64::try_from(left.as_nanos()).ok()?;
    sent.checked_add(left).filter(|deadline| *deadline != NEVER)
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests;
