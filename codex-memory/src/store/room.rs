//! The search for room in a bounded store.

use super::{Location, Store};
use crate::{
    accounting::{
        charge::{Charges, charge},
        limits::Limits,
    },
    index::directory::Slot,
    shard::shard::{Removed, Shard},
    time::clock::Reading,
};

/// The room that a write needs in addition to the room of the entry that it replaces.
#[derive(Clone, Copy, Default)]
pub(super) struct Needed {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

/// The outcome of a search for room.
pub(super) enum Room {
    Found,
    /// An entry of the shard was evicted, so there may be room now.
    Made(Removed, String),
    /// The shard has nothing to evict.
    NotHere,
    /// The entry alone exceeds the limits of the store.
    Never,
}

impl Store {
    /// Makes room for a write of `key` in any shard, starting with the shard after its own. Removes
    /// expired entries if there are any, and otherwise evicts an entry. Returns the freed bytes, or
    /// `None` if there is nothing to remove.
    pub(super) fn make_room(&self, place: Location, key: &str) -> Option<usize> {
        let count = self.shards.len();
        let mut others = (1..=count).map(|step| (place.shard + step) % count);
        self.reap_any(others.clone())
            .or_else(|| others.find_map(|shard| self.evict_from(shard, place, key)))
    }

    fn evict_from(&self, shard: usize, place: Location, spared: &str) -> Option<usize> {
        let is_own = shard == place.shard;
        let mut shard = self.write(shard);
        let reading = self.time.reading();
        let spared = if is_own { shard.find(place.hash, spared) } else { None };
        let (entry, key) = shard.evict(spared, reading)?;
        self.release(&entry);
        drop(shard);
        let bytes = charge(entry.footprint);
        self.notify_eviction(&key, entry, reading);
        Some(bytes)
    }

    pub(super) fn has_room(&self, needed: Needed) -> bool {
        let fits = |limits: &Limits| limits.has_room(needed.entries, needed.bytes);
        self.limits.as_ref().is_none_or(fits)
    }

    /// Charges the difference between the entry's size before and after the write. If there is no
    /// room for it, evicts an entry of this shard, if it has any. Spares the entry in `slot`, which
    /// is being written: its condition and its deadline depend on its old state.
    pub(super) fn find_room(
        &self,
        limits: &Limits,
        shard: &mut Shard,
        needed: Needed,
        charges: &Charges,
        slot: Option<Slot>,
        reading: Reading<'_>,
    ) -> Room {
        if limits.reserve(needed.entries, needed.bytes) {
            limits.release(0, charges.before.saturating_sub(charges.after));
            return Room::Found;
        }
        if charges.after > limits.max_bytes() {
            return Room::Never;
        }
        match shard.evict(slot, reading) {
            None => Room::NotHere,
            Some((evicted, key)) => {
                self.release(&evicted);
                Room::Made(evicted, key)
            }
        }
    }
}
