//! The bounded memory for kept answers: the engine of codex-memory, whose calls never wait.

use bytes::Bytes;
use codex_memory::{MemoryBackend, WhenFull};
use codex_traits::{KvBackend as _, Result, SetOptions};
use futures_util::FutureExt as _;

/// One in this many bytes of the limit is kept free.
const SPARE: usize = 8;

#[derive(Debug)]
pub(super) struct Memory(MemoryBackend);

impl Memory {
    pub(super) fn new(max_bytes: usize) -> Result<Self> {
        let build = |bytes| {
            let builder = MemoryBackend::builder().max_bytes(bytes);
            builder.when_full(WhenFull::Evict).build()
        };
        // The engine does not count its shards towards its limit. The near cache does.
        let shards = build(max_bytes)?.used_bytes();
        let limit = max_bytes.saturating_sub(shards);
        // When a few large answers replace many small ones, the engine frees the index of the small
        // ones over time. Until then it exceeds its limit by up to a tenth.
        Ok(Self(build((limit - limit / SPARE).max(1))?))
    }

    /// Returns the part of an entry from the offset that `start` returns. An entry that `start`
    /// refuses is not cloned.
    #[inline]
    pub(super) fn get_from(&self, key: &str, start: impl FnOnce(&[u8]) -> Option<usize>) -> Option<Bytes> {
        self.0.get_from(key, start)
    }

    /// Stores an entry, and returns whether there was room.
    pub(super) fn put(&self, key: &str, stored: Bytes) -> bool {
        let set = self.0.set(key, stored, SetOptions::new()).now_or_never();
        matches!(set, Some(Ok(outcome)) if outcome.is_written())
    }

    /// Removes an entry, and returns whether it existed.
    pub(super) fn remove(&self, key: &str) -> bool {
        matches!(self.0.del(&[key]).now_or_never(), Some(Ok(1)))
    }

    pub(super) fn used_bytes(&self) -> usize {
        self.0.used_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_answers_that_replace_many_small_ones_stay_within_the_limit() {
        for limit in [64 << 10, 256 << 10, 1 << 20] {
            for small in [0, 100] {
                let memory = Memory::new(limit).unwrap();
                let put = |kind: &str, number: usize, length: usize| {
                    memory.put(&format!("{kind} {number}"), Bytes::from(vec![b'v'; length]));
                    let used = memory.used_bytes();
                    assert!(used <= limit, "{used} bytes of {limit} after {number} {kind} answers");
                };
                for number in 0..limit / 100 {
                    put("small", number, small);
                }
                for number in 0..limit / 300 {
                    put("large", number, number * 7919 % 6000);
                }
            }
        }
    }
}
