//! Reads that the memory cannot answer.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use codex_traits::{Result, TrackedRead, Tracking, TrackingFeed as _, Ttl};

use super::{
    backend::Inner,
    entry::NEVER,
    state::{Note, Settled},
};

impl<R: Tracking> Inner<R> {
    /// Reads a value from the store, and keeps the answer.
    pub(super) async fn fetch(self: &Arc<Self>, key: &str) -> Result<Option<Bytes>> {
        let note = self.state.note(key);
        if note.is_written {
            return self.fetch_written(key).await;
        }
        Ok(self.read(key, &note).await?.0.value)
    }

    /// Reads a value that cannot be kept, because this handle is writing the key. The read is
    /// untracked, which is cheaper for the store: it returns no time to live and causes no report.
    async fn fetch_written(&self, key: &str) -> Result<Option<Bytes>> {
        self.state.count_miss();
        let value = self.backend.get(key).await?;
        self.state.refuse(key);
        Ok(value)
    }

    /// Runs `read`, an untracked read of a value that was too large to be kept.
    pub(super) async fn fetch_large<T>(
        &self,
        key: &str,
        read: impl Future<Output = Result<T>>,
        length: impl FnOnce(&T) -> usize,
    ) -> Result<T> {
        self.state.count_miss();
        let found = read.await?;
        self.state.drop_kept(key, length(&found));
        Ok(found)
    }

    /// Reads a value and its time to live from the store, and keeps the answer.
    pub(super) async fn fetch_with_ttl(self: &Arc<Self>, key: &str) -> Result<Option<(Bytes, Ttl)>> {
        let note = self.state.note(key);
        let (read, settled) = self.read(key, &note).await?;
        match (read.value, settled) {
            (Some(value), Settled::Kept) => Ok(Some((value, read.ttl))),
            (None, Settled::Kept) => Ok(None),
            // The value and the time to live may be from different moments, so read both again.
            (_, Settled::Refused) => {
                let found = Box::pin(self.backend.get_with_ttl(key)).await?;
                self.state.drop_key(key);
                Ok(found)
            }
        }
    }

    async fn read(self: &Arc<Self>, key: &str, note: &Note) -> Result<(TrackedRead, Settled)> {
        self.state.count_miss();
        let read = self.feed.get(key).await?;
        let settled = self.state.settle(key, note, &read);
        if let Some(node) = read.node {
            self.renew_after_read(node, key).await;
        }
        Ok((read, settled))
    }

    /// Answers the kept keys from memory, and reads the other keys from the store in one round
    /// trip.
    pub(super) async fn get_many(self: &Arc<Self>, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        let mut values = vec![None; keys.len()];
        let mut places = Vec::new();
        let mut missing = Vec::new();
        let mut notes = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            if let Ok(hit) = self.state.find(key) {
                values[place] = hit.value;
                if let Some(node) = hit.renew {
                    self.renew(node, key);
                }
            } else {
                self.state.count_miss();
                places.push(place);
                missing.push(*key);
                notes.push(self.state.note(key));
            }
        }
        if missing.is_empty() {
            return Ok(values);
        }
        let reads = Box::pin(self.feed.get_many(&missing)).await?;
        if reads.len() != missing.len() {
            return Err(wrong_number());
        }
        // An untracked answer refuses the fills of its bucket, so it comes after the tracked
        // answers. Thousands of them reach every bucket.
        for is_tracked in [true, false] {
            for (at, read) in reads.iter().enumerate() {
                if read.node.is_some() == is_tracked {
                    self.state.settle(missing[at], &notes[at], read);
                }
            }
        }
        let mut last = None;
        for (at, read) in reads.into_iter().enumerate() {
            if let Some(node) = read.node.filter(|node| last != Some(*node)) {
                last = Some(node);
                self.renew_after_read(node, missing[at]).await;
            }
            values[places[at]] = read.value;
        }
        Ok(values)
    }

    /// Returns the remaining time to live of a kept answer.
    pub(super) fn left(&self, deadline: u64) -> Ttl {
        if deadline == NEVER {
            return Ttl::Persistent;
        }
        // A hit lies before its deadline on a clock that is never behind this one.
        let left = deadline.saturating_sub(self.state.time.now()).max(1);
        Ttl::Remaining(Duration::from_nanos(left))
    }
}

fn wrong_number() -> codex_traits::Error {
    codex_traits::Error::new(
        codex_traits::ErrorKind::Server,
        "get_many",
        "the store's feed returned the wrong number of answers",
    )
}
